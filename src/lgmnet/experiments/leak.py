"""The leak in the reference code's test protocol, shown where there is nothing to be known.

The reference code (github.com/likesiwell/LGM-Net, ``data.py``, ``get_batch(augment=True)``) draws
one of five angles for each **class** of a task and turns support and query by it, at test time too:
a query then comes turned by the angle of its true class. Who can see an angle needs no classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from lgmnet.data.sampler import Sampler
from lgmnet.episode import Episode, EpisodeShape
from lgmnet.evaluation.audit import DataPath, accuracies, leave_unchanged, make_noise_dataset
from lgmnet.evaluation.evaluate import mean_and_ci95
from lgmnet.methods.matching_net import MatchingNet, MatchingNetConfig
from lgmnet.nn.embedding import EmbeddingConfig

WAY, QUERIES, TASKS = 5, 5, 4
ANGLES = (-45.0, -11.25, 0.0, 11.25, 45.0)
"""In degrees; the reference code's."""
SHAPE = (1, 28, 28)


@dataclass(frozen=True)
class Leak:
    """What noise was scored at by one protocol."""

    protocol: str
    accuracy: float
    """In percent."""
    ci95: float


def angle_of_its_class(episode: Episode, generator: torch.Generator) -> Episode:
    """The reference code's augmentation: one angle for each class, of support and queries."""
    angles = drawn_angles(generator, episode.tasks, episode.way)
    return replace(
        episode,
        support_x=turned(episode.support_x, angles.gather(1, episode.support_y.cpu())),
        query_x=turned(episode.query_x, angles.gather(1, episode.query_y.cpu())),
    )


def angle_of_its_own(episode: Episode, generator: torch.Generator) -> Episode:
    """The same angles, drawn for each image by itself."""
    support = drawn_angles(generator, *episode.support_y.shape)
    query = drawn_angles(generator, *episode.query_y.shape)
    return replace(
        episode,
        support_x=turned(episode.support_x, support),
        query_x=turned(episode.query_x, query),
    )


def drawn_angles(
    generator: torch.Generator, rows: int, columns: int
) -> Float[Tensor, "rows columns"]:
    """One of `ANGLES`, in degrees, for each place."""
    return torch.tensor(ANGLES)[torch.randint(len(ANGLES), (rows, columns), generator=generator)]


PROTOCOLS: dict[str, DataPath] = {
    "each class turned by an angle of its own (the reference code)": angle_of_its_class,
    "each image turned by an angle of its own": angle_of_its_own,
    "no image turned": leave_unchanged,
}


def turned(
    images: Float[Tensor, "tasks samples channels side side"],
    degrees: Float[Tensor, "tasks samples"],
) -> Float[Tensor, "tasks samples channels side side"]:
    """Each image turned by its angle; what comes in from outside is like the border."""
    angle = degrees.deg2rad().flatten().to(images)
    zero = torch.zeros_like(angle)
    rows = [
        torch.stack([angle.cos(), -angle.sin(), zero], 1),
        torch.stack([angle.sin(), angle.cos(), zero], 1),
    ]
    flat = images.flatten(0, 1)
    grid = F.affine_grid(torch.stack(rows, 1), list(flat.shape), align_corners=False)
    flat = F.grid_sample(flat, grid, padding_mode="border", align_corners=False)
    return flat.view_as(images)


def perfect_angle_detector(way: int = WAY, angles: int = len(ANGLES)) -> float:
    """What one scores, in percent, who sees angles alone and guesses among classes that share one.

    The number of classes that share the true one's angle is ``1 + Binomial(way - 1, 1 / angles)``,
    and the mean of its inverse ``(angles / way) (1 - (1 - 1 / angles)^way)``; at five of each this
    is ``1 - (4/5)^5``.
    """
    return 100 * angles / way * (1 - (1 - 1 / angles) ** way)


def demonstrate(
    *,
    steps: int = 300,
    episodes: int = 1000,
    seed: int = 0,
    progress: Callable[[int], object] = lambda done: None,
) -> list[Leak]:
    """Train a small Matching Network on noise under each protocol, and score it on other noise.

    Args:
        steps: Training steps for each protocol.
        episodes: Tasks for each score.
        seed: Of everything.
        progress: Told the number of training steps just done.
    """
    leaks = []
    for protocol, path in PROTOCOLS.items():
        generator = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            method = MatchingNet(
                MatchingNetConfig(
                    EmbeddingConfig(SHAPE, widths=(16, 32, 32), pooled=(True, True, True))
                )
            )
        optimizer = torch.optim.Adam(method.parameters(), lr=2e-3)
        sampler = Sampler(make_noise_dataset(SHAPE, torch.uint8, seed), generator)
        for _ in range(steps):
            e = path(sampler.sample(EpisodeShape(WAY, 1, QUERIES, TASKS)), generator)
            answers = method(e.support_x, e.support_y, e.query_x, e.way)
            loss = F.nll_loss(answers.flatten(0, 1), e.query_y.flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            progress(1)
        leaks.append(score(method.eval(), protocol, path, episodes, seed))
    return leaks


@torch.inference_mode()
def score(method: MatchingNet, protocol: str, path: DataPath, episodes: int, seed: int) -> Leak:
    """The accuracy on noise never seen in training, under a protocol."""
    generator = torch.Generator().manual_seed(seed)
    sampler = Sampler(make_noise_dataset(SHAPE, torch.uint8, seed + 1), generator)
    scores = []
    for _ in range(-(-episodes // TASKS)):
        e = path(sampler.sample(EpisodeShape(WAY, 1, QUERIES, TASKS)), generator)
        scores.append(accuracies(method.adapt(e.support_x, e.support_y, WAY)(e.query_x), e.query_y))
    mean, ci95 = mean_and_ci95(torch.cat(scores)[:episodes])
    return Leak(protocol, 100 * mean, 100 * ci95)
