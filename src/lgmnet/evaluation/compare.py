"""Comparison of several methods on the same episodes."""

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from lgmnet.data.sampler import Sampler
from lgmnet.data.task_source import TaskSource
from lgmnet.episode import EpisodeShape
from lgmnet.errors import ConfigError
from lgmnet.evaluation.evaluate import Score, evaluate, mean_and_ci95
from lgmnet.methods.base import Method
from lgmnet.progress import track_progress

MIN_TIMINGS, MAX_TIMINGS, MAX_TIMING_SECONDS = 3, 15, 1.0
"""Repetitions of a timing: the maximum, unless the time runs out after the minimum."""


@dataclass(frozen=True)
class ComparisonRow:
    """Results of one method in a comparison."""

    name: str
    score: Score
    difference: float
    """Mean accuracy of this method minus that of the first one, in percentage points."""
    difference_ci95: float
    """Half-width of its 95 % interval, with the episodes paired."""
    adapt_ms: float
    """Median milliseconds to adapt to one task."""
    query_ms: float
    """Median milliseconds to classify a single query."""
    parameters: int
    """Number of weights that meta-training learns."""


def compare(
    methods: Mapping[str, Method],
    source: TaskSource,
    shape: EpisodeShape,
    *,
    episodes: int = 1000,
    seed: int = 0,
) -> list[ComparisonRow]:
    """Score several methods on the same episodes and compare each with the first.

    The source must have classes that no method was trained on. ``shape.tasks`` is ignored.

    Raises:
        ConfigError: if there are fewer than two methods.
        EpisodeError: if the source does not have enough classes or samples.

    >>> from lgmnet.data.synthetic.vectors import SyntheticVectors
    >>> from lgmnet.model.model import load_model
    >>> method = load_model("vectors").method
    >>> rows = compare(
    ...     {"a": method, "b": method}, SyntheticVectors("test"), EpisodeShape(5, 1, 5), episodes=4
    ... )
    >>> rows[1].difference
    0.0
    """
    if len(methods) < 2:
        raise ConfigError(f"A comparison needs at least two models; there is {len(methods)}.")
    rows: list[ComparisonRow] = []
    with track_progress("models", len(methods)) as progress:
        for name, method in methods.items():
            progress.advance(1, name)
            score = evaluate(method, source, shape, episodes=episodes, seed=seed)
            first = rows[0].score if rows else score
            scores, first_scores = torch.tensor([score.scores, first.scores], dtype=torch.float64)
            mean, ci95 = mean_and_ci95(scores - first_scores)
            timings = measure_timings(method, source, shape)
            parameters = sum(p.numel() for p in method.parameters() if p.requires_grad)
            rows.append(ComparisonRow(name, score, 100 * mean, 100 * ci95, *timings, parameters))
    return rows


@torch.no_grad()
def measure_timings(method: Method, source: TaskSource, shape: EpisodeShape) -> tuple[float, float]:
    """Measure the median milliseconds to adapt to one task and to classify a single query.

    The number of threads is that of torch.
    """
    sampler = Sampler(source, torch.Generator().manual_seed(0))
    device = method.device
    e = sampler.sample(EpisodeShape(shape.way, shape.shot, query=1, tasks=1)).to(device)
    query_x = e.query_x[:, :1]
    training = method.training
    method.eval()
    adapt_seconds: list[float] = []
    query_seconds: list[float] = []
    first_start = time.perf_counter()
    try:
        while len(adapt_seconds) < MAX_TIMINGS:
            start = time.perf_counter()
            if len(adapt_seconds) >= MIN_TIMINGS and start - first_start > MAX_TIMING_SECONDS:
                break
            classifier = method.adapt(e.support_x, e.support_y, e.way)
            synchronize(device)
            adapted = time.perf_counter()
            classifier(query_x)
            synchronize(device)
            adapt_seconds.append(adapted - start)
            query_seconds.append(time.perf_counter() - adapted)
    finally:
        method.train(training)
    return 1000 * statistics.median(adapt_seconds), 1000 * statistics.median(query_seconds)


def synchronize(device: torch.device) -> None:
    """Wait until a device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
