"""Data and methods on which leaks are planted."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.episode import EpisodeShape
from lgmnet.evaluation.audit import Audit, Check, EpisodeTransform, leave_unchanged
from lgmnet.evaluation.audit.run import plan_checks, run_safely
from lgmnet.evaluation.audit.trials import fixed_randomness
from lgmnet.methods import Method, ProtoNetConfig
from lgmnet.nn.embedding import EmbeddingConfig
from tests.support.models import build_method, drawings
from tests.support.random import seeded

N_CLASSES, N_IMAGES = 14, 24
EMBEDDING = EmbeddingConfig((1, 28, 28), widths=(8, 8), pooled=(True, True))
COLOURED = EmbeddingConfig((3, 32, 32), widths=(8, 8), pooled=(True, True))


@functools.cache
def pixels(seed: int = 0) -> Tensor:
    """Draw characters, [classes * images, 1, 28, 28]; callers copy before they change them."""
    return drawings(N_CLASSES, N_IMAGES, seed).flatten(0, 1)


@functools.cache
def photo_pixels(seed: int = 0) -> Tensor:
    """Draw coloured textures, [classes * images, 3, 32, 32]: each class has its own hues."""
    generator = seeded(seed)
    coarse = torch.randn(N_CLASSES, 1, 3, 8, 8, generator=generator)
    varied = torch.randn(N_CLASSES, N_IMAGES, 3, 8, 8, generator=generator)
    smooth = torch.nn.functional.interpolate(
        (0.5 * coarse + varied).flatten(0, 1), (32, 32), mode="bicubic"
    )
    fine = torch.randn(smooth.shape, generator=generator)
    return (128 + 40 * smooth + 8 * fine).clamp(0, 255).to(torch.uint8)


def dataset(
    images: Tensor, split: str = "test", *, n: int = N_IMAGES, kind: type = ClassDataset
) -> ClassDataset:
    """Make a data set of ``n`` images a class, with class names of its own."""
    classes = len(images) // n
    names = [f"{split} {i:03}" for i in range(classes)]
    made: ClassDataset = kind(images, [n] * classes, names, name="characters", split=split)
    return made


def conv_net(seed: int = 0, kind: Callable[..., Method] | None = None) -> Method:
    """Build a small Prototypical Network with fresh weights."""
    config = ProtoNetConfig(EMBEDDING)
    if kind is None:
        return build_method("proto-net", config, seed).eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind(config).eval()


FULL = bool(os.environ.get("LGMNET_FULL_AUDIT"))
"""True to make all checks in every test, not only those that a test is about."""


def choose(kinds: Iterable[str], every: int = 2) -> list[str]:
    """Choose every second kind, or all of them with `FULL`."""
    return list(kinds)[:: 1 if FULL else every]


METHOD_CHECKS = (
    "repeatability",
    "query independence",
    "task independence",
    "memory",
    "hidden labels",
    "query order",
    "small changes",
)
SOURCE_CHECKS = (
    "fair draws",
    "duplicates",
    "marks",
    "images without classes",
    "random query labels",
)
OVERLAP = ("training overlap",)


def run_checks(
    first: Sequence[str],
    method: Method | None = None,
    source: object = None,
    trained_on: Sequence[object] | None = (),
    transform: EpisodeTransform = leave_unchanged,
    *,
    is_leaking: bool = False,
    episodes: int = 64,
    seed: int = 0,
) -> Audit:
    """Audit a small honest method on honest characters, unless others are given.

    Args:
        first: Names of the checks to begin with; without `FULL` there are no others.
        method: Method to audit.
        source: Source of the test tasks.
        trained_on: Training data.
        transform: Transform of the episodes.
        is_leaking: True to stop after the first check that fails.
        episodes: Number of tasks of each check that measures an accuracy.
        seed: Seed of the audit.
    """
    planned = plan_checks(
        method or conv_net(),
        source or dataset(pixels()),  # type: ignore[arg-type]
        trained_on=trained_on,  # type: ignore[arg-type]
        transform=transform,
        shape=EpisodeShape(5, 1, 11),  # More than 50 queries.
        episodes=episodes,
        seed=seed,
    )
    names = [*first, *(name for name in planned if FULL and name not in first)]
    checks: list[Check] = []
    with torch.no_grad(), fixed_randomness(seed):
        for name in names:
            checks.append(Check(name, *run_safely(planned[name])))
            if is_leaking and checks[-1].outcome == "failed":
                break
    return Audit(tuple(checks))


def explain(result: Audit) -> str:
    """Describe the checks that did not pass."""
    lines = [f"{c.outcome} {c.name}: {c.reason}" for c in result.checks if not c.passed]
    return "\n".join(lines) or "all passed"
