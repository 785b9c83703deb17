"""Calibration of the probabilities that a method predicts."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

BINS = 15


def calibration_error(
    confidence: Float[Tensor, " queries"], correct: Bool[Tensor, " queries"]
) -> float:
    """Expected calibration error (Naeini et al., AAAI 2015; Guo et al., ICML 2017), 0 to 1.

    Predictions are sorted by confidence into 15 bins of equal width. In each bin, the mean
    confidence is compared with the share of correct predictions::

        ECE = sum over bins of |bin| / n * |accuracy(bin) - confidence(bin)|

    Args:
        confidence: Largest probability of each prediction.
        correct: True for each correct prediction.
    """
    bins = (confidence.double() * BINS).ceil().long().sub(1).clamp(0, BINS - 1)
    differences = torch.zeros(BINS, dtype=torch.float64, device=confidence.device)
    differences.index_add_(0, bins, confidence.double() - correct.double())
    return float(differences.abs().sum() / len(confidence))
