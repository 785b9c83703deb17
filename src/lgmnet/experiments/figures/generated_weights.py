"""The paper's figure 5: generated weights of several tasks, by t-SNE, and two numbers beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lgmnet.data.sampler import Sampler
from lgmnet.data.task_source import TaskSource
from lgmnet.episode import EpisodeShape
from lgmnet.errors import ConfigError, extra
from lgmnet.io import atomic_write
from lgmnet.methods.base import Method
from lgmnet.methods.lgm_net import LGMClassifier

COLOUR_MAP = "tab10"


@dataclass(frozen=True)
class Clouds:
    """The weights generated for several tasks, many times each."""

    way: int
    shot: int
    draws: int
    """Draws of the context, each with the support in another order, for each task."""
    seed: int
    places: tuple[tuple[float, float], ...]
    """Where t-SNE puts each draw, task after task."""
    ratio: float
    """Mean distance between weights of two tasks over that between two draws of one."""
    reordering: float
    """Largest change of a task's weights when its support is reordered and nothing is drawn, as a
    part of their length."""

    @property
    def tasks(self) -> int:
        """How many tasks."""
        return len(self.places) // self.draws


def look_at_weights(
    method: Method,
    source: TaskSource,
    shape: EpisodeShape,
    *,
    draws: int = 20,
    seed: int = 0,
) -> Clouds:
    """Generate the weights of several tasks again and again.

    Args:
        method: An LGM-Net.
        source: Where the tasks come from.
        shape: ``tasks`` says how many; queries are not read.
        draws: For each task.
        seed: Of tasks, orders and draws.

    Raises:
        ConfigError: if the method generates no weights.
    """
    generator = torch.Generator().manual_seed(seed)
    episode = Sampler(source, generator).sample(shape).clone()
    noise = torch.Generator(method.device).manual_seed(seed)
    support_x, support_y = episode.support_x.to(method.device), episode.support_y.to(method.device)
    drawn, plain = [], []
    for _ in range(draws):
        order = torch.randperm(support_y.shape[1], generator=generator)
        x, y = support_x[:, order], support_y[:, order]
        drawn.append(weights_of(method, x, y, shape.way, noise))
        plain.append(weights_of(method, x, y, shape.way, None))
    clouds, orders = torch.stack(drawn, 1), torch.stack(plain, 1)
    changes = (orders - orders[:, :1]).norm(dim=2) / orders[:, :1].norm(dim=2)
    return Clouds(
        shape.way,
        shape.shot,
        draws,
        seed,
        places(clouds.flatten(0, 1), seed),
        between_to_within(clouds),
        changes.max().item(),
    )


@torch.no_grad()
def weights_of(
    method: Method,
    support_x: Float[Tensor, "tasks support *feature"],
    support_y: Int[Tensor, "tasks support"],
    way: int,
    generator: torch.Generator | None,
) -> Float[Tensor, "tasks numbers"]:
    """All generated weights and biases of each task, side by side.

    Raises:
        ConfigError: if the method generates none.
    """
    classifier = method.adapt(support_x, support_y, way, generator=generator)
    if not isinstance(classifier, LGMClassifier):
        raise ConfigError(f"A {type(method).__name__} generates no weights; give an LGM-Net.")
    return torch.cat([w.flatten(1) for w in classifier.weights.values()], 1).double().cpu()


def between_to_within(clouds: Float[Tensor, "tasks draws numbers"]) -> float:
    """Mean distance of two draws of different tasks, over that of two draws of the same."""
    tasks, draws = clouds.shape[:2]
    flat = clouds.flatten(0, 1)
    apart = torch.cdist(flat, flat)
    task = torch.arange(tasks).repeat_interleave(draws)
    same = task[:, None] == task
    other_draw = ~torch.eye(len(flat), dtype=torch.bool)
    return (apart[~same].mean() / apart[same & other_draw].mean()).item()


def places(weights: Float[Tensor, "samples numbers"], seed: int) -> tuple[tuple[float, float], ...]:
    """Places in the plane by t-SNE (van der Maaten and Hinton, 2008)."""
    with extra("quickstart", "pictures of weights"):
        from sklearn.manifold import TSNE
    perplexity = min(30.0, (len(weights) - 1) / 3)
    solver = TSNE(perplexity=perplexity, init="pca", random_state=seed)
    found = solver.fit_transform(weights.numpy())
    return tuple((float(x), float(y)) for x, y in found)


def draw_clouds(clouds: Clouds, path: Path) -> None:
    """The figure: a dot for each draw, a colour for each task.

    Raises:
        UserError: if matplotlib is not installed.
    """
    with extra("quickstart", "pictures"):
        from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 5.4), layout="constrained")
    ax = figure.subplots()
    x, y = np.array(clouds.places).T
    task = np.repeat(np.arange(clouds.tasks), clouds.draws)
    ax.scatter(x, y, c=task, cmap=COLOUR_MAP, s=22, edgecolors="k", linewidths=0.3)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_title(
        f"Generated weights: {clouds.tasks} tasks, {clouds.way}-way {clouds.shot}-shot, "
        f"{clouds.draws} draws each",
        fontsize=10,
    )
    figure.supxlabel(
        f"Weights of two tasks are {clouds.ratio:.1f} times as far apart as two draws of one.\n"
        f"Reordering a support set changes its weights by {clouds.reordering:.1e} of their length.",
        fontsize=9,
    )
    with atomic_write(path) as draft:
        figure.savefig(draft, dpi=110, format="png")
