"""Expected calibration error against a plain loop and for known cases."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lgmnet.evaluation.evaluate import ECE_BINS, calibration_error


def calibration_loop(confidence: np.ndarray, correct: np.ndarray) -> float:
    total = 0.0
    for i in range(ECE_BINS):
        low, high = i / ECE_BINS, (i + 1) / ECE_BINS
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            total += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    return total


@given(st.integers(1, 500), st.integers(0, 2**32 - 1))
def test_the_error_equals_that_of_the_loop(n, seed):
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(1e-6, 1, n)
    correct = rng.random(n) < confidence**2
    error = calibration_error(torch.from_numpy(confidence), torch.from_numpy(correct))
    assert error == pytest.approx(calibration_loop(confidence, correct), abs=1e-12)


def test_the_error_is_0_if_accuracy_equals_confidence():
    confidence = torch.tensor([0.75] * 4 + [1.0] * 3)
    correct = torch.tensor([True, True, True, False] + [True] * 3)
    assert calibration_error(confidence, correct) == pytest.approx(0, abs=1e-12)


def test_the_error_is_1_if_certain_predictions_are_wrong():
    certain, wrong = torch.ones(5), torch.zeros(5, dtype=torch.bool)
    assert calibration_error(certain, wrong) == pytest.approx(1)
    assert calibration_error(0.6 * certain, ~wrong) == pytest.approx(0.4, abs=1e-6)
