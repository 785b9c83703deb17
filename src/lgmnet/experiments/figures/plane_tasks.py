"""The paper's figure 3: tasks in the plane."""

from __future__ import annotations

from pathlib import Path

import torch

from lgmnet.data.synthetic.plane import PLANES
from lgmnet.errors import require_extra
from lgmnet.experiments.figures.plane_grid import GRID_POINTS, draw_task, make_grid
from lgmnet.experiments.options import RunOptions
from lgmnet.io import atomic_write

PANELS_PER_FAMILY = 4
PANEL_WAY = 3
POINTS_PER_CLASS = 15


def reproduce(options: RunOptions) -> list[Path]:
    """Draw figure 3; it depends only on the seed, so it has no result file.

    Returns:
        Path of the picture.
    """
    picture = options.pages / "figure3.png"
    draw_tasks(picture, options.seed)
    return [picture]


def draw_tasks(path: Path, seed: int) -> None:
    """Draw several tasks of each family: their points and the true region of each class.

    Args:
        path: PNG file to write.
        seed: Seed of the tasks and points.

    Raises:
        UserError: if matplotlib is not installed.
    """
    with require_extra("quickstart", "pictures"):
        from matplotlib.figure import Figure

    size = (2.6 * PANELS_PER_FAMILY, 2.7 * len(PLANES))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(PLANES), PANELS_PER_FAMILY, squeeze=False)
    labels = torch.arange(PANEL_WAY).repeat_interleave(POINTS_PER_CLASS).numpy()
    for name, row in zip(PLANES, axes, strict=True):
        plane = PLANES[name]("train")
        generator = torch.Generator().manual_seed(seed)
        for ax in row:
            task = plane.draw_tasks(1, PANEL_WAY, generator)
            points = plane.draw_points(task, POINTS_PER_CLASS, generator).view(-1, 2).numpy()
            regions = plane.true_classes(task, make_grid()).view(GRID_POINTS, GRID_POINTS).numpy()
            draw_task(ax, regions, points, labels)
        row[0].set_ylabel(name)
    figure.supxlabel("Dots: samples of three classes. Background: true class of each point.")
    with atomic_write(path) as draft:
        figure.savefig(draft, dpi=110, format="png")
