"""The paper's figure 4: decision boundaries of three ways to find weights for a plane task."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from lgmnet.data.synthetic.plane import PLANES, Plane
from lgmnet.episode import EpisodeShape
from lgmnet.errors import FileFormatError
from lgmnet.evaluation.compare import compare
from lgmnet.experiments.figures.plane_tasks import GRID_POINTS, draw_task, make_grid
from lgmnet.experiments.recipes.vectors import plane as plane_recipe
from lgmnet.experiments.results import RunOptions, check_experiment_file, load_or_run, open_picture
from lgmnet.experiments.table_page import format_table
from lgmnet.experiments.tables import DEFAULT_EPISODES, Entry, train_entry
from lgmnet.io import write_text
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
RIVALS = (DIRECT_TRAINING, RANDOM_WEIGHTS)
PANEL_METHODS = (RANDOM_WEIGHTS, DIRECT_TRAINING, LGM_NET)
"""Columns of the figure, from left to right."""


def reproduce(options: RunOptions) -> list[Path]:
    """Train LGM-Net on each family, score it with its rivals, and draw figure 4 and its page."""
    picture, page = options.pages / "figure4.png", options.pages / "figure4.md"
    for path in (picture, page):
        check_experiment_file(path, overwrite=options.overwrite)
    result = load_or_run(options, "figure4", "families", run_families)
    try:
        text = format_page(result["families"], result["minutes"])
        draw_boundaries(result["families"], picture)
    except KeyError as error:
        raise FileFormatError(
            f"'{options.results / 'figure4.json'}' is damaged: it has no {error}. "
            "Run 'lgmnet reproduce figure4' again."
        ) from error
    write_text(page, text)
    return [picture, page]


def run_families(options: RunOptions) -> dict[str, Any]:
    """Train LGM-Net on each family of tasks, and score it with its rivals."""
    families, minutes = [], {}
    with track_progress("families", len(PLANES)) as progress:
        for name in PLANES:
            progress.print(f"figure4: {name}")
            entry = Entry(name, plane_recipe(name).for_steps(options.steps))
            models = options.models / "tables" / entry.run.data
            method, cost = train_entry(entry, models, overwrite=options.overwrite)
            families.append(compare_on_family(name, method, options))
            minutes[name] = cost.seconds / 60
            progress.advance()
    return {"families": families, "minutes": minutes}


def compare_on_family(name: str, method: Method, options: RunOptions) -> dict[str, Any]:
    """Score LGM-Net and its rivals on the same unseen tasks of a family, and record one task.

    Returns:
        Shape, number and seed of the tasks; scores of each method in percent, with the difference
        to LGM-Net over the same tasks; and the results of `predict_grid`.
    """
    plane, shape = PLANES[name]("test"), BOUNDARY_SHAPE
    embedding = vector_embedding(2, *RIVAL_WIDTHS)
    methods = {
        LGM_NET: method,
        DIRECT_TRAINING: TrainFromScratch(TrainFromScratchConfig(embedding)).eval(),
        RANDOM_WEIGHTS: RandomWeights(RandomWeightsConfig(embedding)).eval(),
    }
    episodes, seed = options.episodes or DEFAULT_EPISODES, options.seed
    rows = compare(methods, plane, shape, episodes=episodes, seed=seed)
    scores = [
        {"method": row.name, "accuracy": row.score.accuracy, "ci95": row.score.ci95}
        | {"difference": row.difference, "difference_ci95": row.difference_ci95}
        for row in rows
    ]
    tasks = {"way": shape.way, "shot": shape.shot, "episodes": episodes, "seed": seed}
    grid = predict_grid(plane, methods, seed + 1)
    return {"name": name, **tasks, "scores": scores, **grid}


@torch.no_grad()
def predict_grid(plane: Plane, methods: Mapping[str, Method], seed: int) -> dict[str, Any]:
    """Draw one task, and predict the class of every point of the grid with each method.

    Returns:
        Support points and their classes; the true class of every point of the grid, and by method
        the predicted one, as a text per row with a digit per point.
    """
    way, shot = BOUNDARY_SHAPE.way, BOUNDARY_SHAPE.shot
    generator = torch.Generator().manual_seed(seed)
    task = plane.draw_tasks(1, way, generator)
    support_x = plane.draw_points(task, shot, generator).view(1, -1, 2)
    support_y = torch.arange(way).repeat_interleave(shot)[None]
    grid = make_grid()
    answers = {
        name: encode_classes(method.adapt(support_x, support_y, way)(grid[None])[0].argmax(-1))
        for name, method in methods.items()
    }
    truth = encode_classes(plane.true_classes(task, grid)[0])
    support = {"support_x": support_x[0].tolist(), "support_y": support_y[0].tolist()}
    return {**support, "truth": truth, "answers": answers}


def encode_classes(classes: Int[Tensor, " points"]) -> list[str]:
    """Write the class of each point of the grid as a digit, one text per row."""
    rows = classes.view(GRID_POINTS, GRID_POINTS).tolist()
    return ["".join(map(str, row)) for row in rows]


def decode_classes(rows: Sequence[str]) -> np.ndarray:
    """Read what `encode_classes` wrote, as an array [rows, columns] of the grid."""
    return np.array([[int(digit) for digit in row] for row in rows])


def format_page(families: Sequence[Mapping[str, Any]], minutes: Mapping[str, float]) -> str:
    """Write the page with the scores beside the figure and the minutes of training, as Markdown."""
    rows = []
    for family in families:
        scores = {score["method"]: score for score in family["scores"]}
        accuracies = [format_accuracy(scores[name]) for name in PANEL_METHODS]
        differences = [
            f"{-scores[name]['difference']:+.1f} ± {scores[name]['difference_ci95']:.1f}"
            for name in RIVALS
        ]
        training = f"{minutes[family['name']]:.1f}"
        rows.append([format_task(family), *accuracies, *differences, training])
    titles = ["family", *PANEL_METHODS, *(f"LGM-Net minus {name}" for name in RIVALS)]
    blocks = [
        "# Decision boundaries of tasks in the plane",
        "![Rows: families of tasks. Columns: random weights, direct training, LGM-Net.]"
        "(figure4.png)",
        format_table([*titles, "training of LGM-Net, minutes"], rows),
        f"Accuracy in %, mean and 95 % interval over the same {families[0]['episodes']} unseen "
        f"tasks (15 queries per class, seed {families[0]['seed']}). The differences are paired, in "
        "percentage points. Direct training takes 200 steps of Adam per task. Generated by "
        "`lgmnet reproduce figure4 --from-results`.",
    ]
    return "\n\n".join(blocks) + "\n"


def draw_boundaries(families: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the figure to a PNG file: a row per family, a column per method."""
    with open_picture(path, 3.0 * len(PANEL_METHODS), 3.2 * len(families)) as figure:
        axes = figure.subplots(len(families), len(PANEL_METHODS), squeeze=False)
        for family, row in zip(families, axes, strict=True):
            truth = decode_classes(family["truth"])
            points, labels = np.array(family["support_x"]), np.array(family["support_y"])
            scores = {score["method"]: score for score in family["scores"]}
            for name, ax in zip(PANEL_METHODS, row, strict=True):
                draw_task(ax, decode_classes(family["answers"][name]), points, labels, truth)
                ax.set_title(f"{name}\n{format_accuracy(scores[name])} %", fontsize=10)
            row[0].set_ylabel(format_task(family))
        figure.supxlabel(
            "Background: predicted class. Lines: true boundaries. Dots: support set. "
            f"Accuracy over {families[0]['episodes']} tasks.",
            fontsize=9,
        )


def format_accuracy(score: Mapping[str, Any]) -> str:
    """Format an accuracy with its interval."""
    return f"{score['accuracy']:.1f} ± {score['ci95']:.1f}"


def format_task(family: Mapping[str, Any]) -> str:
    """Format the kind of task of a family."""
    return f"{family['name']}, {family['way']}-way {family['shot']}-shot"
