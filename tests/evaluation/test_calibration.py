"""Expected calibration error against a plain loop, and where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lgmnet.evaluation.calibration import BINS, calibration_error


def by_hand(confidence: np.ndarray, right: np.ndarray) -> float:
    total = 0.0
    for place in range(BINS):
        low, high = place / BINS, (place + 1) / BINS
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return total


@given(st.integers(1, 500), st.integers(0, 2**32 - 1))
def test_it_is_the_loop(many, seed):
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(1e-6, 1, many)
    right = rng.random(many) < confidence**2
    came = calibration_error(torch.from_numpy(confidence), torch.from_numpy(right))
    assert came == pytest.approx(by_hand(confidence, right), abs=1e-12)


def test_what_is_as_often_right_as_it_says_is_calibrated():
    confidence = torch.tensor([0.75] * 4 + [1.0] * 3)
    right = torch.tensor([True, True, True, False] + [True] * 3)
    assert calibration_error(confidence, right) == pytest.approx(0, abs=1e-12)


def test_being_sure_and_wrong_costs_all():
    sure, wrong = torch.ones(5), torch.zeros(5, dtype=torch.bool)
    assert calibration_error(sure, wrong) == pytest.approx(1)
    assert calibration_error(0.6 * sure, ~wrong) == pytest.approx(0.4, abs=1e-6)
