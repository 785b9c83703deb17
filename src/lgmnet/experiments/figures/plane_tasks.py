"""The paper's figure 3: what tasks in the plane look like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from lgmnet.data.synthetic.plane import PLANES
from lgmnet.errors import extra
from lgmnet.experiments.figures.boundaries import COLOURS, REACH, SIDE, grid
from lgmnet.io import atomic_write

TASKS, WAY, POINTS = 4, 3, 15


def draw_tasks(path: Path, seed: int = 0) -> None:
    """Some tasks of each family: their points, and the regions that are nearest to each class.

    Args:
        path: The PNG to write.
        seed: Of the tasks and points.

    Raises:
        UserError: if matplotlib is not installed.
    """
    with extra("quickstart", "pictures"):
        from matplotlib.colors import ListedColormap
        from matplotlib.figure import Figure

    figure = Figure(figsize=(2.6 * TASKS, 2.7 * len(PLANES)), layout="constrained")
    axes = figure.subplots(len(PLANES), TASKS, squeeze=False)
    shown: dict[str, Any] = {"cmap": ListedColormap(COLOURS[:WAY]), "vmin": -0.5, "vmax": WAY - 0.5}
    labels = torch.arange(WAY).repeat_interleave(POINTS).numpy()
    for name, line in zip(PLANES, axes, strict=True):
        plane = PLANES[name]("train")
        generator = torch.Generator().manual_seed(seed)
        for ax in line:
            task = plane.tasks(1, WAY, generator)
            x, y = plane.points(task, POINTS, generator).view(-1, 2).T.numpy()
            regions = plane.regions(task, grid()).view(SIDE, SIDE).numpy()
            box = (-REACH, REACH, -REACH, REACH)
            ax.imshow(regions, origin="lower", extent=box, alpha=0.3, **shown)
            ax.scatter(x, y, c=labels, edgecolors="k", s=18, linewidths=0.5, **shown)
            ax.set_xticks([])
            ax.set_yticks([])
        line[0].set_ylabel(name)
    figure.supxlabel("Dots: samples of three classes. Fields: the class a point belongs to.")
    with atomic_write(path) as draft:
        figure.savefig(draft, dpi=110, format="png")
