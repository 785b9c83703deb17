"""The paper's figure 3: tasks in the plane, on a square grid of points."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lgmnet.data.synthetic.plane import PLANES
from lgmnet.experiments.results import RunOptions, check_experiment_file, open_picture

GRID_POINTS = 160
"""Points of the grid along each axis."""
GRID_REACH = 3.0
"""Largest coordinate of the grid."""
CLASS_COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")
PANELS_PER_FAMILY, PANEL_WAY, POINTS_PER_CLASS = 4, 3, 15


def reproduce(options: RunOptions) -> list[Path]:
    """Draw figure 3: several tasks of each family, their points and the true region of each class.

    It depends only on the seed, so it has no result file.
    """
    path = options.pages / "figure3.png"
    check_experiment_file(path, overwrite=options.overwrite)
    labels = torch.arange(PANEL_WAY).repeat_interleave(POINTS_PER_CLASS).numpy()
    with open_picture(path, 2.6 * PANELS_PER_FAMILY, 2.7 * len(PLANES)) as figure:
        axes = figure.subplots(len(PLANES), PANELS_PER_FAMILY, squeeze=False)
        for name, row in zip(PLANES, axes, strict=True):
            plane = PLANES[name]("train")
            generator = torch.Generator().manual_seed(options.seed)
            for ax in row:
                task = plane.draw_tasks(1, PANEL_WAY, generator)
                points = plane.draw_points(task, POINTS_PER_CLASS, generator).view(-1, 2).numpy()
                regions = (
                    plane.true_classes(task, make_grid()).view(GRID_POINTS, GRID_POINTS).numpy()
                )
                draw_task(ax, regions, points, labels)
            row[0].set_ylabel(name)
        figure.supxlabel("Dots: samples of three classes. Background: true class of each point.")
    return [path]


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
    colours = {"cmap": ListedColormap(CLASS_COLOURS[:way]), "vmin": -0.5, "vmax": way - 0.5}
    ax.imshow(classes, alpha=0.4, **grid, **colours)
    for label in range(way if boundaries is not None else 0):
        ax.contour(boundaries == label, [0.5], colors="k", linewidths=0.6, **grid)
    ax.scatter(*points.T, c=labels, edgecolors="k", s=24, linewidths=0.6, **colours)
    ax.set(xticks=[], yticks=[])
