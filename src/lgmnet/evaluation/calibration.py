"""How far the probabilities that a method gives are from how often it is right."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

BINS = 15


def calibration_error(
    confidence: Float[Tensor, " answers"], right: Bool[Tensor, " answers"]
) -> float:
    """Expected calibration error (Naeini et al., AAAI 2015; Guo et al., ICML 2017), 0 to 1.

    Answers are sorted into 15 bins of equal width by their confidence; in each, the mean confidence
    is compared to the part that is right::

        ECE = sum over bins of |bin| / n * |accuracy(bin) - confidence(bin)|

    Args:
        confidence: The largest probability of each answer.
        right: Whether the answer was right.
    """
    place = (confidence.double() * BINS).ceil().long().sub(1).clamp(0, BINS - 1)
    apart = torch.zeros(BINS, dtype=torch.float64, device=confidence.device)
    apart.index_add_(0, place, confidence.double() - right.double())
    return float(apart.abs().sum() / len(confidence))
