"""Square part of the plane, as a grid of points, in the figures of plane tasks."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

GRID_POINTS = 160
"""Points of the grid along each axis."""
GRID_REACH = 3.0
"""Largest coordinate of the grid."""
CLASS_COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")


def make_grid() -> Float[Tensor, "points 2"]:
    """Return the points of the grid, row by row from the bottom."""
    steps = torch.linspace(-GRID_REACH, GRID_REACH, GRID_POINTS)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack([x, y], -1).view(-1, 2)


def draw_task(
    ax: Any,
    classes: Int[np.ndarray, "rows columns"],
    points: Float[np.ndarray, "samples 2"],
    labels: Int[np.ndarray, " samples"],
    boundaries: Int[np.ndarray, "rows columns"] | None = None,
) -> None:
    """Draw one task.

    Args:
        ax: Axes of matplotlib.
        classes: Class of every point of the grid, drawn as background.
        points: Samples of the task.
        labels: Classes of the samples.
        boundaries: Class of every point of the grid, drawn as boundary lines; None for no lines.
    """
    from matplotlib.colors import ListedColormap

    way = labels.max() + 1
    grid = {"origin": "lower", "extent": (-GRID_REACH, GRID_REACH) * 2}
    colours: dict[str, Any] = {
        "cmap": ListedColormap(CLASS_COLOURS[:way]),
        "vmin": -0.5,
        "vmax": way - 0.5,
    }
    ax.imshow(classes, alpha=0.4, **grid, **colours)
    for label in range(way if boundaries is not None else 0):
        ax.contour(boundaries == label, [0.5], colors="k", linewidths=0.6, **grid)
    ax.scatter(*points.T, c=labels, edgecolors="k", s=24, linewidths=0.6, **colours)
    ax.set_xticks([])
    ax.set_yticks([])
