"""The paper's figure 4: decision boundaries of three ways to find weights for a plane task."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from lgmnet.config import from_json
from lgmnet.data.synthetic.plane import PLANES, Plane
from lgmnet.episode import EpisodeShape
from lgmnet.errors import extra
from lgmnet.evaluation.compare import compare
from lgmnet.experiments.figures.plane_grid import GRID_POINTS, draw_task, make_grid
from lgmnet.experiments.options import RunOptions
from lgmnet.experiments.recipes.vectors import plane as plane_recipe
from lgmnet.experiments.results import collect_provenance, read_result, write_result
from lgmnet.experiments.table_page import format_table
from lgmnet.experiments.tables import Entry
from lgmnet.experiments.train_entry import train_entry
from lgmnet.io import atomic_write, check_writable, write_text
from lgmnet.methods.base import Method
from lgmnet.methods.from_scratch import TrainFromScratch, TrainFromScratchConfig
from lgmnet.methods.random_weights import RandomWeights, RandomWeightsConfig
from lgmnet.nn.embedding import vector_embedding
from lgmnet.progress import track_progress

BOUNDARY_SHAPE = EpisodeShape(3, 5, 15)
"""Shape of the tasks of the figure."""
RIVAL_WIDTHS = (64, 64, 64, 64)
"""Layer widths of the rivals: as many layers as LGM-Net's embedding and TargetNet together."""
LGM_NET, DIRECT_TRAINING, RANDOM_WEIGHTS = "LGM-Net", "direct training", "random weights"
PANEL_METHODS = (RANDOM_WEIGHTS, DIRECT_TRAINING, LGM_NET)
"""Columns of the figure, from left to right."""


@dataclass(frozen=True)
class MethodScore:
    """Accuracy of one method on one family of tasks, in percent."""

    method: str
    accuracy: float
    ci95: float
    difference: float
    """Difference to LGM-Net over the same tasks."""
    difference_ci95: float


@dataclass(frozen=True)
class Family:
    """Scores on many tasks of one family, and decision boundaries in one task."""

    name: str
    way: int
    shot: int
    episodes: int
    seed: int
    scores: tuple[MethodScore, ...]
    """Scores of LGM-Net, direct training and random weights."""
    support_x: tuple[tuple[float, float], ...]
    """Support points of the pictured task."""
    support_y: tuple[int, ...]
    truth: tuple[str, ...]
    """True class at every point of the grid: a text per row, a digit per point."""
    answers: dict[str, Any]
    """Predicted class at every point of the grid in the same form, by the method's name."""


def reproduce(options: RunOptions) -> list[Path]:
    """Train LGM-Net on each family, score it with its rivals, and draw figure 4 and its page.

    Returns:
        Paths of the picture and the page.
    """
    picture, page = options.pages / "figure4.png", options.pages / "figure4.md"
    file = options.results / "figure4.json"
    for path in (picture, page):
        check_writable(path)
    if not options.from_results:
        check_writable(file)
        write_result(file, "figure4", collect_provenance() | run_families(options))
    result = read_result(file, "figure4", "families")
    families = [from_json(Family, family) for family in result["families"]]
    draw_boundaries(families, picture)
    write_text(page, format_page(families, result["minutes"]))
    return [picture, page]


def run_families(options: RunOptions) -> dict[str, Any]:
    """Train LGM-Net on each family of tasks, and score it with its rivals.

    Returns:
        Families, and minutes of training by family, as JSON values.
    """
    families, minutes = [], {}
    with track_progress("families", len(PLANES)) as progress:
        for name in PLANES:
            progress.print(f"figure4: {name}")
            entry = Entry(name, plane_recipe(name).for_steps(options.steps))
            method, cost = train_entry(entry, options.models / "tables")
            family = compare_on_family(name, method, options)
            families.append(dataclasses.asdict(family))
            minutes[name] = cost.seconds / 60
            progress.advance()
    return {"families": families, "minutes": minutes}


def compare_on_family(name: str, method: Method, options: RunOptions) -> Family:
    """Score LGM-Net and its rivals on the same unseen tasks of a family, and record one task.

    Args:
        name: Name of the family, a key of `lgmnet.data.synthetic.plane.PLANES`.
        method: LGM-Net, trained on the family.
        options: Number of tasks to score, and their seed.
    """
    plane, shape = PLANES[name]("test"), BOUNDARY_SHAPE
    embedding = vector_embedding(2, *RIVAL_WIDTHS)
    methods = {
        LGM_NET: method,
        DIRECT_TRAINING: TrainFromScratch(TrainFromScratchConfig(embedding)).eval(),
        RANDOM_WEIGHTS: RandomWeights(RandomWeightsConfig(embedding)).eval(),
    }
    with track_progress("episodes", len(methods) * options.episodes) as progress:
        rows = compare(
            methods,
            plane,
            shape,
            episodes=options.episodes,
            seed=options.seed,
            progress=lambda method_name, done: progress.advance(done, method_name),
        )
    return Family(
        name,
        shape.way,
        shape.shot,
        options.episodes,
        options.seed,
        tuple(
            MethodScore(r.name, r.score.accuracy, r.score.ci95, r.difference, r.difference_ci95)
            for r in rows
        ),
        **predict_grid(plane, methods, options.seed + 1),
    )


@torch.no_grad()
def predict_grid(plane: Plane, methods: Mapping[str, Method], seed: int) -> dict[str, Any]:
    """Draw one task, and predict the class of every point of the grid with each method.

    Returns:
        Fields of `Family` that describe the task.
    """
    way, shot = BOUNDARY_SHAPE.way, BOUNDARY_SHAPE.shot
    generator = torch.Generator().manual_seed(seed)
    task = plane.tasks(1, way, generator)
    support_x = plane.points(task, shot, generator).view(1, -1, 2)
    support_y = torch.arange(way).repeat_interleave(shot)[None]
    grid = make_grid()
    answers = {
        name: method.adapt(support_x, support_y, way)(grid[None]).argmax(-1)
        for name, method in methods.items()
    }
    return {
        "support_x": tuple((float(x), float(y)) for x, y in support_x[0].tolist()),
        "support_y": tuple(support_y[0].tolist()),
        "truth": encode_classes(plane.regions(task, grid)[0]),
        "answers": {name: encode_classes(answer[0]) for name, answer in answers.items()},
    }


def encode_classes(classes: Int[Tensor, " points"]) -> tuple[str, ...]:
    """Write the class of each point of the grid as a digit, one text per row."""
    rows = classes.view(GRID_POINTS, GRID_POINTS).tolist()
    return tuple("".join(map(str, row)) for row in rows)


def decode_classes(rows: Sequence[str]) -> np.ndarray:
    """Read what `encode_classes` wrote, as an array [rows, columns] of the grid."""
    return np.array([[int(digit) for digit in row] for row in rows])


def format_page(families: Sequence[Family], minutes: Mapping[str, float]) -> str:
    """Write the page with the scores beside the figure, as Markdown.

    Args:
        families: Results of all families.
        minutes: Minutes of training of LGM-Net, by family.
    """
    rows = []
    for family in families:
        scores = {score.method: score for score in family.scores}
        rivals = [scores[name] for name in (DIRECT_TRAINING, RANDOM_WEIGHTS)]
        rows.append(
            [
                f"{family.name}, {family.way}-way {family.shot}-shot",
                *(f"{scores[m].accuracy:.1f} ± {scores[m].ci95:.1f}" for m in PANEL_METHODS),
                *(f"{-rival.difference:+.1f} ± {rival.difference_ci95:.1f}" for rival in rivals),
                f"{minutes[family.name]:.1f}",
            ]
        )
    titles = [
        "family",
        *PANEL_METHODS,
        f"LGM-Net minus {DIRECT_TRAINING}",
        f"LGM-Net minus {RANDOM_WEIGHTS}",
        "training of LGM-Net, minutes",
    ]
    lines = [
        "# Decision boundaries of tasks in the plane",
        "",
        "![Rows: families of tasks. Columns: random weights, direct training, LGM-Net.]"
        "(figure4.png)",
        "",
        *format_table(titles, rows),
        "",
        f"Accuracy in %, mean and 95 % interval over the same {families[0].episodes} unseen tasks "
        f"(15 queries per class, seed {families[0].seed}). The differences are paired, in "
        "percentage points. Direct training takes 200 steps of Adam per task. Generated by "
        "`lgmnet reproduce figure4 --from-results`.",
    ]
    return "\n".join(lines) + "\n"


def draw_boundaries(families: Sequence[Family], path: Path) -> None:
    """Draw the figure: a row per family, a column per method.

    Args:
        families: Results of all families.
        path: PNG file to write.

    Raises:
        UserError: if matplotlib is not installed.
    """
    with extra("quickstart", "pictures"):
        from matplotlib.figure import Figure

    size = (3 * len(PANEL_METHODS), 3.2 * len(families))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(families), len(PANEL_METHODS), squeeze=False)
    for family, row in zip(families, axes, strict=True):
        truth = decode_classes(family.truth)
        points, labels = np.array(family.support_x), np.array(family.support_y)
        scores = {score.method: score for score in family.scores}
        for name, ax in zip(PANEL_METHODS, row, strict=True):
            draw_task(ax, decode_classes(family.answers[name]), points, labels, truth)
            score = scores[name]
            ax.set_title(f"{name}\n{score.accuracy:.1f} ± {score.ci95:.1f} %", fontsize=10)
        row[0].set_ylabel(f"{family.name}, {family.way}-way {family.shot}-shot")
    figure.supxlabel(
        "Background: predicted class. Lines: true boundaries. Dots: support set. "
        f"Accuracy over {families[0].episodes} tasks.",
        fontsize=9,
    )
    with atomic_write(path) as draft:
        figure.savefig(draft, dpi=110, format="png")
