"""Interval of a share that was counted."""

import math

Z95 = 1.959964
"""Quantile of the normal distribution for an interval of 95 %."""


def wilson_interval(share: float, n: float | int) -> tuple[float, float]:
    """Compute the 95 % interval of an accuracy in percent (Wilson, 1927, without continuity).

    Args:
        share: Share of correct answers, 0..1.
        n: Number of independent answers, above 0.
    """
    z2 = Z95**2
    center = share + z2 / (2 * n)
    half = Z95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    low, high = ((center + sign * half) / (1 + z2 / n) for sign in (-1, 1))
    return 100 * max(low, 0.0), 100 * min(high, 1.0)
