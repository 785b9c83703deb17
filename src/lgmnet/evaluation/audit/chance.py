"""Tests of whether an accuracy is above that of guessing."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

MAX_ALARM_PROBABILITY = 1e-7
"""Probability below which a result is not explained by chance. An audit makes about a hundred such
tests, so chance alone fails about one audit in 100,000."""
N_TAIL_POINTS = 4001


def accuracies(
    log_p: Float[Tensor, "tasks query way"], labels: Int[Tensor, "tasks query"]
) -> Float[Tensor, " tasks"]:
    """Compute the accuracy of each task, 0..1."""
    return (log_p.argmax(-1) == labels).double().mean(1).cpu()


def tail_probability(t: float, df: int) -> float:
    """Probability that a Student's t variable with ``df`` degrees of freedom exceeds ``t``.

    The density is integrated numerically, so that no library of statistics is needed.
    """
    if t < 0:
        return 1 - tail_probability(-t, df)
    u = torch.linspace(0, 1, N_TAIL_POINTS, dtype=torch.float64)[:-1]
    x = t + u / (1 - u)
    density = torch.distributions.StudentT(torch.tensor(float(df), dtype=torch.float64))
    integrand = density.log_prob(x).exp() / (1 - u).square()
    return min(0.5, torch.trapezoid(integrand, u).item())


def probability_of_chance(values: Float[Tensor, " n"], expected: float) -> float:
    """Probability that independent values with this mean have a mean as large as ``values``.

    One-sided one-sample t-test. Constant values have probability 1 if they do not exceed the
    expected mean, and 0 if they do.
    """
    excess = values.double().mean().item() - expected
    spread = values.double().std().item()
    if spread < 1e-12:
        return 0.0 if excess > 1e-9 else 1.0
    return tail_probability(excess / (spread / math.sqrt(len(values))), len(values) - 1)


def probability_of_equal_means(a: Float[Tensor, " n"], b: Float[Tensor, " m"]) -> float:
    """Two-sided two-sample t-test with pooled variance."""
    df = len(a) + len(b) - 2
    pooled = ((len(a) - 1) * a.var() + (len(b) - 1) * b.var()).item() / df
    difference = abs((a.mean() - b.mean()).item())
    if pooled < 1e-24:
        return 0.0 if difference > 1e-9 else 1.0
    return 2 * tail_probability(difference / math.sqrt(pooled * (1 / len(a) + 1 / len(b))), df)


def excess_dispersion(counts: Float[Tensor, " cells"], expected: Float[Tensor, " cells"]) -> float:
    """Standardise Pearson's statistic of counts against expected counts.

    About 0 for counts drawn independently with these expectations, and larger if some cells are
    preferred; in standard deviations.
    """
    statistic = ((counts - expected).square() / expected).sum().item()
    df = max(1, len(counts) - 1)
    # The variance of the statistic for small expected counts (Haldane, 1937), equal cells.
    variance = 2 * df * max(1 - 1 / max(counts.sum().item(), 1.0), 1e-9)
    return (statistic - df) / math.sqrt(variance)
