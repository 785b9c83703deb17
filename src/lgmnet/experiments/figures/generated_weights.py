"""The paper's figure 5: generated weights of several tasks, projected by t-SNE."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lgmnet.config import from_json
from lgmnet.data.registry import open_source
from lgmnet.data.sampler import Sampler
from lgmnet.data.task_source import TaskSource
from lgmnet.episode import EpisodeShape
from lgmnet.errors import ConfigError, require_extra
from lgmnet.experiments.results import RunOptions, check_experiment_file, load_or_run, open_picture
from lgmnet.methods.base import Method
from lgmnet.methods.lgm_net import LGMClassifier
from lgmnet.model.model import load_model

PROJECTED_SHAPE = EpisodeShape(5, 5, 1, 8)
"""Shape of the tasks of the figure."""


@dataclass(frozen=True)
class WeightProjection:
    """Weights generated several times for each of several tasks, projected to the plane."""

    way: int
    shot: int
    draws: int
    """Number of draws of the context per task, each with the support set in another order."""
    seed: int
    positions: tuple[tuple[float, float], ...]
    """Position of each draw by t-SNE, task by task."""
    ratio: float
    """Mean distance between weights of two tasks, divided by that between two draws of one."""
    reordering: float
    """Largest change of a task's weights when its support set is reordered and the context is not
    drawn, relative to their norm."""

    @property
    def tasks(self) -> int:
        """Number of tasks."""
        return len(self.positions) // self.draws


def reproduce(options: RunOptions) -> list[Path]:
    """Generate weights with the shipped model of Omniglot, and draw figure 5."""
    picture = options.pages / "figure5.png"
    check_experiment_file(picture, overwrite=options.overwrite)
    result = load_or_run(options, "figure5", "projection", run_omniglot)
    draw_projection(from_json(WeightProjection, result["projection"]), picture)
    return [picture]


def run_omniglot(options: RunOptions) -> dict[str, Any]:
    """Project weights that the shipped model generates for test classes of Omniglot."""
    model, source = load_model("omniglot"), open_source("omniglot", "vinyals/test")
    projection = project_weights(model.method, source, PROJECTED_SHAPE, seed=options.seed)
    about = {"model": model.name, "data": source.name, "split": source.split}
    return {**about, "projection": dataclasses.asdict(projection)}


def project_weights(
    method: Method, source: TaskSource, shape: EpisodeShape, *, draws: int = 20, seed: int = 0
) -> WeightProjection:
    """Generate the weights of several tasks repeatedly, and project them to the plane.

    Args:
        method: An LGM-Net.
        source: Source of the tasks.
        shape: Shape of the tasks, and their number ``tasks``; queries are ignored.
        draws: Number of draws per task.
        seed: Seed of tasks, support orders and context draws.

    Raises:
        ConfigError: if the method generates no weights.
    """
    generator = torch.Generator().manual_seed(seed)
    episode = Sampler(source, generator).sample(shape).clone()
    noise = torch.Generator(method.device).manual_seed(seed)
    support_x, support_y = episode.support_x.to(method.device), episode.support_y.to(method.device)
    random_draws, reorderings = [], []
    for _ in range(draws):
        order = torch.randperm(support_y.shape[1], generator=generator)
        x, y = support_x[:, order], support_y[:, order]
        random_draws.append(generate_weights(method, x, y, shape.way, noise))
        reorderings.append(generate_weights(method, x, y, shape.way, None))
    weights, reordered = torch.stack(random_draws, 1), torch.stack(reorderings, 1)
    changes = (reordered - reordered[:, :1]).norm(dim=2) / reordered[:, :1].norm(dim=2)
    positions = project_with_tsne(weights.flatten(0, 1), seed)
    ratio, reordering = between_to_within(weights), changes.max().item()
    return WeightProjection(shape.way, shape.shot, draws, seed, positions, ratio, reordering)


@torch.no_grad()
def generate_weights(
    method: Method,
    support_x: Float[Tensor, "tasks support *feature"],
    support_y: Int[Tensor, "tasks support"],
    way: int,
    generator: torch.Generator | None,
) -> Float[Tensor, "tasks numbers"]:
    """Concatenate all generated weights and biases of each task.

    Raises:
        ConfigError: if the method generates no weights.
    """
    classifier = method.adapt(support_x, support_y, way, generator=generator)
    if not isinstance(classifier, LGMClassifier):
        raise ConfigError(f"{type(method).__name__} generates no weights; use an LGM-Net.")
    return torch.cat([w.flatten(1) for w in classifier.weights.values()], 1).double().cpu()


def between_to_within(weights: Float[Tensor, "tasks draws numbers"]) -> float:
    """Divide the mean distance between draws of two tasks by that between two draws of one."""
    tasks, draws = weights.shape[:2]
    flat = weights.flatten(0, 1)
    distances = torch.cdist(flat, flat)
    task = torch.arange(tasks).repeat_interleave(draws)
    same_task = task[:, None] == task
    other_draw = ~torch.eye(len(flat), dtype=torch.bool)
    return (distances[~same_task].mean() / distances[same_task & other_draw].mean()).item()


def project_with_tsne(
    weights: Float[Tensor, "samples numbers"], seed: int
) -> tuple[tuple[float, float], ...]:
    """Project weights to the plane by t-SNE (van der Maaten and Hinton, 2008)."""
    with require_extra("quickstart", "pictures of weights"):
        from sklearn.manifold import TSNE
    perplexity = min(30.0, (len(weights) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="pca", random_state=seed)
    return tuple((float(x), float(y)) for x, y in tsne.fit_transform(weights.numpy()))


def draw_projection(projection: WeightProjection, path: Path) -> None:
    """Draw the figure to a PNG file: a dot per draw, a colour per task."""
    task = np.repeat(np.arange(projection.tasks), projection.draws)
    style: dict[str, Any] = {"cmap": "tab10", "s": 22, "edgecolors": "k", "linewidths": 0.3}
    with open_picture(path, 6.0, 5.4) as figure:
        ax = figure.subplots()
        ax.scatter(*np.array(projection.positions).T, c=task, **style)
        ax.set(xticks=[], yticks=[])
        ax.set_title(
            f"Generated weights: {projection.tasks} tasks, {projection.way}-way "
            f"{projection.shot}-shot, {projection.draws} draws each",
            fontsize=10,
        )
        figure.supxlabel(
            f"Weights of two tasks are {projection.ratio:.1f} times as far apart as two draws of "
            f"one.\nReordering the support set changes its weights by {projection.reordering:.1e} "
            "of their norm.",
            fontsize=9,
        )
