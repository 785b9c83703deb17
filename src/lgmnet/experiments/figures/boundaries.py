"""The paper's figure 4: what three ways of finding weights make of tasks in the plane."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from lgmnet.data.synthetic.plane import PLANES, Plane
from lgmnet.data.task_source import check_feature_shape
from lgmnet.episode import EpisodeShape
from lgmnet.errors import extra
from lgmnet.evaluation.compare import compare
from lgmnet.experiments.tables import markdown
from lgmnet.io import atomic_write
from lgmnet.methods.base import Method
from lgmnet.methods.from_scratch import TrainFromScratch, TrainFromScratchConfig
from lgmnet.methods.random_weights import RandomWeights, RandomWeightsConfig

WIDTHS = (64, 64, 64, 64)
"""Of the rivals' networks: as many layers as LGM-Net's embedding and TargetNet together."""
OURS, DIRECT, RANDOM = "LGM-Net", "direct training", "random weights"
COLUMNS = (RANDOM, DIRECT, OURS)
SIDE, REACH = 160, 3.0
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")


@dataclass(frozen=True)
class Line:
    """What one method scored on a family, in percent."""

    method: str
    accuracy: float
    ci95: float
    difference: float
    """To LGM-Net, over the same tasks."""
    difference_ci95: float


@dataclass(frozen=True)
class Family:
    """What one family of tasks gave: scores on many tasks, and one task to look at."""

    name: str
    way: int
    shot: int
    episodes: int
    seed: int
    lines: tuple[Line, ...]
    """LGM-Net, direct training and random weights."""
    support_x: tuple[tuple[float, float], ...]
    """The support points of the task."""
    support_y: tuple[int, ...]
    truth: tuple[str, ...]
    """The true class at every point of the grid: a digit for each, a text for each row."""
    answers: dict[str, Any]
    """The class that each method gives to every point, likewise, by the method's name."""


def rivals() -> dict[str, Method]:
    """What LGM-Net is compared with: networks that learn nothing from one task for another."""
    vectors: dict[str, Any] = {"feature_shape": (2,), "embedding_widths": WIDTHS}
    return {
        DIRECT: TrainFromScratch(TrainFromScratchConfig(**vectors)).eval(),
        RANDOM: RandomWeights(RandomWeightsConfig(**vectors)).eval(),
    }


def grid() -> Tensor:
    """The points of the picture, [side * side, 2]."""
    along = torch.linspace(-REACH, REACH, SIDE)
    down, across = torch.meshgrid(along, along, indexing="ij")
    return torch.stack([across, down], -1).view(-1, 2)


def look_at(
    name: str,
    method: Method,
    shape: EpisodeShape,
    *,
    episodes: int = 500,
    seed: int = 0,
    progress: Callable[[int], object] = lambda done: None,
) -> Family:
    """Score LGM-Net and its rivals on the same unseen tasks of a family, and draw one of them.

    Args:
        name: Of the family, a key of `lgmnet.data.synthetic.plane.PLANES`.
        method: LGM-Net, trained on the family.
        shape: Way, shot and queries of a task.
        episodes: Tasks to score.
        seed: Of the tasks.
        progress: Told the number of episodes just done.

    Raises:
        DataError: if the method does not take points of the plane.
    """
    plane = PLANES[name]("test")
    check_feature_shape(plane, method.inputs.shape)
    methods = {OURS: method, **rivals()}
    rows = compare(
        methods,
        plane,
        shape,
        episodes=episodes,
        seed=seed,
        progress=lambda _, done: progress(done),
    )
    lines = tuple(
        Line(row.name, row.score.accuracy, row.score.ci95, row.difference, row.difference_ci95)
        for row in rows
    )
    return drawn(plane, methods, lines, shape, episodes, seed)


@torch.no_grad()
def drawn(
    plane: Plane,
    methods: Mapping[str, Method],
    lines: tuple[Line, ...],
    shape: EpisodeShape,
    episodes: int,
    seed: int,
) -> Family:
    """One further task, and what each method says of every point of the plane."""
    generator = torch.Generator().manual_seed(seed + 1)
    task = plane.tasks(1, shape.way, generator)
    support_x = plane.points(task, shape.shot, generator).view(1, -1, 2)
    support_y = torch.arange(shape.way).repeat_interleave(shape.shot)[None]
    points = grid()
    answers = {
        name: method.adapt(support_x, support_y, shape.way)(points[None]).argmax(-1)
        for name, method in methods.items()
    }
    x = [(float(across), float(down)) for across, down in support_x[0].tolist()]
    return Family(
        plane.name,
        shape.way,
        shape.shot,
        episodes,
        seed,
        lines,
        tuple(x),
        tuple(support_y[0].tolist()),
        spelled(plane.regions(task, points)[0]),
        {name: spelled(answer[0]) for name, answer in answers.items()},
    )


def spelled(classes: Int[Tensor, " points"]) -> tuple[str, ...]:
    """The class of each point of the grid as a digit, row after row."""
    return tuple("".join(map(str, row)) for row in classes.view(SIDE, SIDE).tolist())


def read(rows: Sequence[str]) -> np.ndarray:
    """What `spelled` wrote, [side, side]."""
    return np.array([[int(digit) for digit in row] for row in rows])


def page(families: Sequence[Family], minutes: Mapping[str, float]) -> str:
    """The scores beside the figure, as Markdown.

    Args:
        families: What each family gave.
        minutes: That LGM-Net was trained on each.
    """
    rows = []
    for family in families:
        of = {line.method: line for line in family.lines}
        rows.append(
            [
                f"{family.name}, {family.way}-way {family.shot}-shot",
                *(f"{of[name].accuracy:.1f} ± {of[name].ci95:.1f}" for name in COLUMNS),
                *(
                    f"{-of[name].difference:+.1f} ± {of[name].difference_ci95:.1f}"
                    for name in (DIRECT, RANDOM)
                ),
                f"{minutes[family.name]:.1f}",
            ]
        )
    lines = [
        "# Tasks in the plane: decision boundaries",
        "",
        "![Rows: the families; columns: random weights, direct training, LGM-Net.](figure4.png)",
        "",
        *markdown(
            ["family", *COLUMNS, f"ahead of {DIRECT}", f"ahead of {RANDOM}", "training, minutes"],
            rows,
        ),
        "",
        f"Accuracy in % over the same {families[0].episodes} unseen tasks (15 queries a class, "
        f"seed {families[0].seed}), and how far LGM-Net is ahead, paired, in points; mean and 95 % "
        "interval. Direct training takes 200 steps of Adam a task. Drawn by `lgmnet reproduce "
        "figure4 --from-results`.",
    ]
    return "\n".join(lines) + "\n"


def draw_figure(families: list[Family], path: Path) -> None:
    """The figure: a row for each family, a column for each method.

    Raises:
        UserError: if matplotlib is not installed.
    """
    with extra("quickstart", "pictures"):
        from matplotlib.colors import ListedColormap
        from matplotlib.figure import Figure

    figure = Figure(figsize=(3 * len(COLUMNS), 3.2 * len(families)), layout="constrained")
    axes = figure.subplots(len(families), len(COLUMNS), squeeze=False)
    box = (-REACH, REACH, -REACH, REACH)
    for family, line in zip(families, axes, strict=True):
        way = family.way
        colours = ListedColormap(COLOURS[:way])
        scores = {line.method: line for line in family.lines}
        for name, ax in zip(COLUMNS, line, strict=True):
            shown: dict[str, Any] = {"cmap": colours, "vmin": -0.5, "vmax": way - 0.5}
            ax.imshow(read(family.answers[name]), origin="lower", extent=box, alpha=0.45, **shown)
            for label in range(way):
                true = (read(family.truth) == label).astype(float)
                ax.contour(true, [0.5], origin="lower", extent=box, colors="k", linewidths=0.6)
            x, y = np.array(family.support_x).T
            ax.scatter(x, y, c=family.support_y, edgecolors="k", s=28, linewidths=0.7, **shown)
            score = scores[name]
            ax.set_title(f"{name}\n{score.accuracy:.1f} ± {score.ci95:.1f} %", fontsize=10)
            ax.set_xticks([])
            ax.set_yticks([])
        line[0].set_ylabel(f"{family.name}, {way}-way {family.shot}-shot")
    figure.supxlabel(
        "Fields: answers. Lines: true borders. Dots: the support set. "
        f"Accuracy: over {families[0].episodes} tasks.",
        fontsize=9,
    )
    with atomic_write(path) as draft:
        figure.savefig(draft, dpi=110, format="png")
