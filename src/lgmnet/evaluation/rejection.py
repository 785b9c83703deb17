"""Telling what is of none of the classes: a threshold, and how often it errs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lgmnet.data.sampler import Sampler
from lgmnet.data.task_source import TaskSource
from lgmnet.episode import EpisodeShape
from lgmnet.errors import ConfigError
from lgmnet.evaluation.evaluate import tasks_per_batch
from lgmnet.methods.base import Method


@dataclass(frozen=True)
class Rejection:
    """When a query of a task is said to be of none of its classes, and how often that is wrong."""

    way: int
    shot: int
    threshold: float
    """A query whose similarity (`Classifier.similarity`) is below this belongs to no class."""
    chosen_on: str
    """The data and split whose classes chose the threshold, as ``data:split``."""
    measured_on: str
    """The data and split on whose classes the rates were measured."""
    false_accept: float
    """Part of queries of no class that are taken for one, in percent."""
    false_reject: float
    """Part of queries of a class that are said to be of none, in percent."""


@torch.inference_mode()
def measure_similarities(
    method: Method,
    source: TaskSource,
    shape: EpisodeShape,
    *,
    episodes: int = 500,
    seed: int = 0,
    progress: Callable[[int], object] = lambda done: None,
) -> tuple[Float[Tensor, " known"], Float[Tensor, " foreign"]]:
    """How like their tasks' classes queries are: those of the classes, and those of as many others.

    Args:
        method: In evaluation mode; asked in tasks of half of the classes drawn.
        source: Where the tasks come from; must have twice as many classes as ``way``.
        shape: Way, shot and query of a task.
        episodes: How many tasks.
        seed: Of the tasks.
        progress: Told the number of episodes just done.

    Raises:
        EpisodeError: if the source cannot give such tasks.
        ConfigError: if the method compares classes only with each other.
    """
    drawn = EpisodeShape(2 * shape.way, shape.shot, shape.query)
    source.check(drawn)
    sampler = Sampler(source, torch.Generator().manual_seed(seed))
    known, foreign = [], []
    device, done = method.device, 0
    while done < episodes:
        tasks = min(tasks_per_batch(drawn), episodes - done)
        e = sampler.sample(EpisodeShape(drawn.way, drawn.shot, drawn.query, tasks))
        # Classes come one after the other: the first half are shown, the others are foreign.
        shown = shape.way * shape.shot
        support_x, support_y = e.support_x[:, :shown], e.support_y[:, :shown]
        classifier = method.adapt(support_x.to(device), support_y.to(device), shape.way)
        similarity = classifier.analyze(e.query_x.to(device)).similarity
        if similarity is None:
            raise ConfigError(
                f"A {type(classifier).__name__} compares classes only with each other, so it "
                "cannot tell that a query belongs to none of them."
            )
        found = similarity.cpu()
        own, others = found.split([shape.way * shape.query] * 2, 1)
        known.append(own.flatten())
        foreign.append(others.flatten())
        done += tasks
        progress(tasks)
    return torch.cat(known), torch.cat(foreign)


def equal_error_threshold(
    known: Float[Tensor, " known"], foreign: Float[Tensor, " foreign"]
) -> float:
    """The threshold that rejects as large a part of the known as it accepts of the foreign."""
    known, foreign = known.double().sort().values, foreign.double().sort().values
    candidates = torch.cat([known, foreign]).sort().values
    rejected = torch.searchsorted(known, candidates) / len(known)
    accepted = 1 - torch.searchsorted(foreign, candidates) / len(foreign)
    return float(candidates[(rejected - accepted).abs().argmin()])


def rejection(
    method: Method,
    chosen_on: TaskSource,
    measured_on: TaskSource,
    shape: EpisodeShape,
    *,
    episodes: int = 500,
    seed: int = 0,
    progress: Callable[[int], object] = lambda done: None,
) -> Rejection:
    """Choose a threshold on some classes, and measure its errors on others.

    Args:
        method: In evaluation mode.
        chosen_on: Classes never trained on, nor tested on.
        measured_on: Test classes.
        shape: Way, shot and query of the tasks.
        episodes: How many tasks of each.
        seed: Of the tasks.
        progress: Told the number of episodes just done.

    Raises:
        EpisodeError: if a source cannot give tasks of twice as many classes.
        ConfigError: if the method compares classes only with each other.
    """
    about: dict[str, Any] = {"episodes": episodes, "seed": seed, "progress": progress}
    threshold = equal_error_threshold(*measure_similarities(method, chosen_on, shape, **about))
    known, foreign = measure_similarities(method, measured_on, shape, **about)
    return Rejection(
        way=shape.way,
        shot=shape.shot,
        threshold=threshold,
        chosen_on=f"{chosen_on.name}:{chosen_on.split}",
        measured_on=f"{measured_on.name}:{measured_on.split}",
        false_accept=100 * (foreign >= threshold).double().mean().item(),
        false_reject=100 * (known < threshold).double().mean().item(),
    )
