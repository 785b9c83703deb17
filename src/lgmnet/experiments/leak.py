"""Demonstration of the leak in the reference code's test protocol, on images without classes.

The reference code (github.com/likesiwell/LGM-Net, ``data.py``, ``get_batch(augment=True)``) draws
one of five angles for each **class** of a task and rotates its support and query images by it, at
test time too. The rotation of a query thus reveals its true class: a method that recognises angles
needs nothing else.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from lgmnet.data.sampler import Sampler
from lgmnet.episode import Episode, EpisodeShape
from lgmnet.evaluation.audit import (
    EpisodeTransform,
    accuracies,
    leave_unchanged,
    make_noise_dataset,
)
from lgmnet.evaluation.evaluate import mean_and_ci95
from lgmnet.methods.matching_net import MatchingNet, MatchingNetConfig
from lgmnet.nn.embedding import EmbeddingConfig
from lgmnet.progress import track_progress

LEAK_WAY = 5
LEAK_SHAPE = EpisodeShape(LEAK_WAY, shot=1, query=5, tasks=4)
"""Shape of a batch of tasks, in training and scoring."""
NOISE_SHAPE = (1, 28, 28)
ROTATION_ANGLES = (-45.0, -11.25, 0.0, 11.25, 45.0)
"""Angles of the reference code, in degrees."""


@dataclass(frozen=True)
class LeakScore:
    """Accuracy on pure noise under one protocol."""

    protocol: str
    accuracy: float
    """Mean over episodes, in percent."""
    ci95: float
    """Half-width of its 95 % interval, in percent."""


def rotate_by_class(episode: Episode, generator: torch.Generator) -> Episode:
    """Rotate the images of each class by one random angle, as the reference code does."""
    angles = draw_angles(generator, episode.tasks, episode.way)
    support_x = rotate_images(episode.support_x, angles.gather(1, episode.support_y.cpu()))
    query_x = rotate_images(episode.query_x, angles.gather(1, episode.query_y.cpu()))
    return replace(episode, support_x=support_x, query_x=query_x)


def rotate_by_image(episode: Episode, generator: torch.Generator) -> Episode:
    """Rotate every image by a random angle of its own."""
    support_angles = draw_angles(generator, *episode.support_y.shape)
    query_angles = draw_angles(generator, *episode.query_y.shape)
    support_x = rotate_images(episode.support_x, support_angles)
    query_x = rotate_images(episode.query_x, query_angles)
    return replace(episode, support_x=support_x, query_x=query_x)


def draw_angles(generator: torch.Generator, *shape: int) -> Float[Tensor, "rows columns"]:
    """Draw random elements of `ROTATION_ANGLES`, in degrees."""
    places = torch.randint(len(ROTATION_ANGLES), shape, generator=generator)
    return torch.tensor(ROTATION_ANGLES)[places]


PROTOCOLS: dict[str, EpisodeTransform] = {
    "one random rotation per class (the reference code)": rotate_by_class,
    "one random rotation per image": rotate_by_image,
    "no rotation": leave_unchanged,
}
"""Changes of an episode before the method receives it, by description."""


def rotate_images(
    images: Float[Tensor, "tasks samples channels side side"],
    degrees: Float[Tensor, "tasks samples"],
) -> Float[Tensor, "tasks samples channels side side"]:
    """Rotate every image by its angle; uncovered corners repeat the border."""
    angle = degrees.deg2rad().flatten().to(images)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    matrices = torch.stack([cos, -sin, zero, sin, cos, zero], 1).view(-1, 2, 3)
    flat = images.flatten(0, 1)
    grid = F.affine_grid(matrices, list(flat.shape), align_corners=False)
    flat = F.grid_sample(flat, grid, padding_mode="border", align_corners=False)
    return flat.view_as(images)


def perfect_angle_detector() -> float:
    """Compute the accuracy, in percent, of guessing among the classes with the query's angle.

    The number of classes that share the true one's angle is ``1 + Binomial(way - 1, 1 / angles)``.
    The mean of its inverse is ``(angles / way) (1 - (1 - 1 / angles)^way)``, which is
    ``1 - (4/5)^5`` for five classes and five angles.
    """
    angles = len(ROTATION_ANGLES)
    return 100 * angles / LEAK_WAY * (1 - (1 - 1 / angles) ** LEAK_WAY)


def demonstrate_leak(*, steps: int = 300, episodes: int = 1000, seed: int = 0) -> list[LeakScore]:
    """Train a small Matching Network on noise under each protocol, and score it on new noise."""
    embedding = EmbeddingConfig(NOISE_SHAPE, widths=(16, 32, 32), pooled=(True, True, True))
    scores = []
    with track_progress("training steps", steps * len(PROTOCOLS)) as progress:
        for protocol, transform in PROTOCOLS.items():
            generator = torch.Generator().manual_seed(seed)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                method = MatchingNet(MatchingNetConfig(embedding))
            optimizer = torch.optim.Adam(method.parameters(), lr=2e-3)
            sampler = Sampler(make_noise_dataset(NOISE_SHAPE, torch.uint8, seed), generator)
            for _ in range(steps):
                e = transform(sampler.sample(LEAK_SHAPE), generator)
                log_p = method(e.support_x, e.support_y, e.query_x, e.way)
                loss = F.nll_loss(log_p.flatten(0, 1), e.query_y.flatten())
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                progress.advance()
            accuracy, ci95 = score_on_noise(method.eval(), transform, episodes, seed)
            scores.append(LeakScore(protocol, accuracy, ci95))
    return scores


@torch.inference_mode()
def score_on_noise(
    method: MatchingNet, transform: EpisodeTransform, episodes: int, seed: int
) -> tuple[float, float]:
    """Compute mean accuracy and 95 % half-width in percent on noise not used in training."""
    generator = torch.Generator().manual_seed(seed)
    sampler = Sampler(make_noise_dataset(NOISE_SHAPE, torch.uint8, seed + 1), generator)
    scores = []
    for _ in range(-(-episodes // LEAK_SHAPE.tasks)):
        e = transform(sampler.sample(LEAK_SHAPE), generator)
        classifier = method.adapt(e.support_x, e.support_y, e.way)
        scores.append(accuracies(classifier(e.query_x), e.query_y))
    mean, ci95 = mean_and_ci95(torch.cat(scores)[:episodes])
    return 100 * mean, 100 * ci95
