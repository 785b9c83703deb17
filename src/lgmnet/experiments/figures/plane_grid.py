"""Square part of the plane that figures of plane tasks show, as a grid of points."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

GRID_POINTS = 160
"""Points of the grid along each axis."""
GRID_REACH = 3.0
"""Largest coordinate that the figures show."""
GRID_EXTENT = (-GRID_REACH, GRID_REACH, -GRID_REACH, GRID_REACH)
"""Left, right, bottom and top of the figures, as `matplotlib.axes.Axes.imshow` takes them."""
CLASS_COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")


def make_grid() -> Float[Tensor, "points 2"]:
    """Return the points of the grid, row by row from the bottom."""
    steps = torch.linspace(-GRID_REACH, GRID_REACH, GRID_POINTS)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack([x, y], -1).view(-1, 2)
