"""Several methods on the very same episodes, and how sure their differences are."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from lgmnet.data.sampler import Sampler
from lgmnet.data.task_source import TaskSource
from lgmnet.episode import EpisodeShape
from lgmnet.errors import ConfigError
from lgmnet.evaluation.evaluate import Score, evaluate, mean_and_ci95
from lgmnet.methods.base import Method

REPEATS, FEWEST, SECONDS = 15, 3, 1.0
"""How often a method is timed: less often, but no less than so, once it has taken so long."""


@dataclass(frozen=True)
class Row:
    """One method's line of a comparison."""

    name: str
    score: Score
    difference: float
    """Mean over episodes of this method's accuracy less the first one's, in percent points."""
    difference_ci95: float
    """Half-width of its 95 % interval; the episodes are paired."""
    adapt_ms: float
    """Median milliseconds to adapt to one task."""
    query_ms: float
    """Median milliseconds to answer one query alone."""
    parameters: int
    """Numbers that meta-training learned."""


def compare(
    methods: Mapping[str, Method],
    source: TaskSource,
    shape: EpisodeShape,
    *,
    episodes: int = 1000,
    seed: int = 0,
    progress: Callable[[str, int], object] = lambda name, done: None,
) -> list[Row]:
    """Score several methods on the same episodes and pair them with the first.

    Args:
        methods: By name; at least two.
        source: Where the tasks come from; classes that none of them was trained on.
        shape: Way, shot and queries of a task; ``tasks`` is not read.
        episodes: How many tasks.
        seed: Of the tasks.
        progress: Told a method's name and the number of episodes just done.

    Raises:
        ConfigError: if there are fewer than two methods.
        EpisodeError: if the source cannot give such tasks.
    """
    if len(methods) < 2:
        raise ConfigError(f"A comparison needs at least two models; there is {len(methods)}.")
    rows: list[Row] = []
    for name, method in methods.items():
        score = evaluate(
            method,
            source,
            shape,
            episodes=episodes,
            seed=seed,
            progress=lambda done, name=name: progress(name, done),  # type: ignore[misc]
        )
        first = rows[0].score if rows else score
        difference, ci95 = paired_difference(score, first)
        adapt_ms, query_ms = measure_timings(method, source, shape)
        parameters = sum(p.numel() for p in method.parameters() if p.requires_grad)
        rows.append(Row(name, score, difference, ci95, adapt_ms, query_ms, parameters))
    return rows


def paired_difference(score: Score, first: Score) -> tuple[float, float]:
    """Mean and 95 % half-width of the difference over the same episodes, in percent points."""
    apart = torch.tensor(score.scores, dtype=torch.float64) - torch.tensor(
        first.scores, dtype=torch.float64
    )
    mean, ci95 = mean_and_ci95(apart)
    return 100 * mean, 100 * ci95


def measure_timings(method: Method, source: TaskSource, shape: EpisodeShape) -> tuple[float, float]:
    """Median milliseconds to adapt to one task and to answer one query, with torch's threads."""
    sampler = Sampler(source, torch.Generator().manual_seed(0))
    episode = sampler.sample(EpisodeShape(shape.way, shape.shot, 1, 1))
    device = method.device
    support_x, support_y = episode.support_x.to(device), episode.support_y.to(device)
    query = episode.query_x[:, :1].to(device)
    training = method.training
    method.eval()
    adapting: list[float] = []
    answering: list[float] = []
    try:
        with torch.no_grad():
            begun = time.perf_counter()
            while len(adapting) < REPEATS:
                if len(adapting) >= FEWEST and time.perf_counter() - begun > SECONDS:
                    break
                started = time.perf_counter()
                classifier = method.adapt(support_x, support_y, shape.way)
                finish(device)
                adapted = time.perf_counter()
                classifier(query)
                finish(device)
                adapting.append(adapted - started)
                answering.append(time.perf_counter() - adapted)
    finally:
        method.train(training)
    return 1000 * statistics.median(adapting), 1000 * statistics.median(answering)


def finish(device: torch.device) -> None:
    """Wait for what a device was asked to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
