"""Tables of factors for tests, and a test of independence."""

from __future__ import annotations

import torch
from torch import Tensor

from lgmnet.data.synthetic.criteria import Factor, FactorTable, draw_factor_values
from tests.support.random import seeded

FACTORS = (
    Factor("class", tuple(f"class {i}" for i in range(6)), is_content=True),
    Factor("tint", ("none", "red", "blue")),
    Factor("tilt", ("none", "left", "right", "over")),
    Factor("grain", ("none", "fine"), is_held_out=True),
)


def small_table(
    *, images: int = 120, versions: int = 4, groups: int = 2, held_out: bool = True
) -> FactorTable:
    """Make a table of images of six classes; nothing varies in the first version of each."""
    n_varied = torch.full((images, versions), 2)
    n_varied[:, 0] = 0
    values = draw_factor_values(FACTORS, n_varied.flatten(), 1, seeded(), held_out=held_out)[:, 0]
    image = torch.arange(images).repeat_interleave(versions)
    # Classes 0 to 2 are in the first group, 3 to 5 in the second.
    values[:, 0] = image * 6 // images
    return FactorTable(FACTORS, values, image, values[:, 0].long() * groups // 6)


def dependence(a: Tensor, b: Tensor) -> float:
    """Compute how far two columns are from independence, in standard deviations of chance.

    The statistic is Pearson's chi-square of their table of counts. Under independence it has a mean
    of its degrees of freedom and a variance of twice as many.
    """
    a, b = a.unique(return_inverse=True)[1], b.unique(return_inverse=True)[1]
    n_a, n_b = int(a.max()) + 1, int(b.max()) + 1
    counts = torch.bincount(a * n_b + b, minlength=n_a * n_b).view(n_a, n_b).double()
    expected = counts.sum(1, keepdim=True) * counts.sum(0) / counts.sum()
    freedom = (n_a - 1) * (n_b - 1)
    statistic = ((counts - expected) ** 2 / expected).sum()
    return float((statistic - freedom) / (2 * freedom) ** 0.5) if freedom else 0.0
