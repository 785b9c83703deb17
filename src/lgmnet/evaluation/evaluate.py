"""The number that a method earns: mean and 95 % interval over many episodes, protocol beside it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.sampler import Sampler
from lgmnet.data.task_source import TaskSource
from lgmnet.episode import EpisodeShape
from lgmnet.errors import ConfigError
from lgmnet.evaluation.cache import cache_embeddings, is_worth_caching
from lgmnet.evaluation.calibration import calibration_error
from lgmnet.methods.base import Method
from lgmnet.methods.ensemble import Ensemble

IMAGES_A_BATCH = 2048


@dataclass(frozen=True)
class Score:
    """Accuracy of a method on one kind of task, with all that is needed to obtain it again."""

    data: str
    split: str
    split_hash: str
    protocol: str
    """Whether queries are answered one by one (inductive), and how the context was taken."""
    way: int
    shot: int
    query: int
    episodes: int
    seed: int
    accuracy: float
    """Mean over episodes, in percent."""
    ci95: float
    """Half of the 95 % interval of that mean, in percent."""
    seconds: float
    scores: tuple[float, ...]
    """Accuracy of every episode, 0..1, in the order of drawing."""
    calibration_error: float | None = None
    """How far probabilities are from how often they are right (`calibration_error`), in percent."""

    @property
    def task(self) -> str:
        """The kind of task, as the field writes it."""
        return f"{self.way}-way {self.shot}-shot"


@torch.inference_mode()
def evaluate(
    method: Method,
    source: TaskSource,
    shape: EpisodeShape,
    *,
    episodes: int = 1000,
    seed: int = 0,
    draws: int = 0,
    progress: Callable[[int], object] = lambda done: None,
) -> Score:
    """Score a method on fresh episodes, without training anything.

    Args:
        method: Is left as it came, in training mode or not.
        source: The split to score on.
        shape: Size of a task; ``tasks`` is not read, batches are chosen by size.
        episodes: How many tasks.
        seed: Of the tasks (and of the draws).
        draws: 0 for the method's best single guess; M to average over M random draws.
        progress: Told the number of episodes just done.

    Raises:
        EpisodeError: if the source cannot give such tasks.
        ConfigError: if there are too few episodes for an interval.
    """
    if episodes < 2:
        raise ConfigError(f"'episodes' must be at least 2 for an interval, but is {episodes}.")
    source.check(shape)
    device = method.device
    noise = torch.Generator(device).manual_seed(seed)
    batch = tasks_per_batch(shape)
    started = time.perf_counter()
    training = method.training
    method.eval()
    scores: list[float] = []
    sure, right = [], []
    try:
        answering = method
        if isinstance(source, ClassDataset) and is_worth_caching(method, source, shape, episodes):
            answering, source = cache_embeddings(method, source)
        sampler = Sampler(source, torch.Generator().manual_seed(seed))
        while len(scores) < episodes:
            tasks = min(batch, episodes - len(scores))
            episode = sampler.sample(EpisodeShape(shape.way, shape.shot, shape.query, tasks))
            support_x, support_y = episode.support_x.to(device), episode.support_y.to(device)
            classifier = (
                Ensemble(answering, support_x, support_y, shape.way, draws, noise)
                if draws
                else answering.adapt(support_x, support_y, shape.way)
            )
            best = classifier(episode.query_x.to(device)).max(-1)
            right.append(best.indices == episode.query_y.to(device))
            sure.append(best.values.exp())
            scores += right[-1].double().mean(1).tolist()
            progress(tasks)
    finally:
        method.train(training)
    accuracy, ci95 = mean_and_ci95(torch.tensor(scores, dtype=torch.float64))
    return Score(
        data=source.name,
        split=source.split,
        split_hash=source.split_hash,
        protocol=protocol(method, draws),
        way=shape.way,
        shot=shape.shot,
        query=shape.query,
        episodes=episodes,
        seed=seed,
        accuracy=100 * accuracy,
        ci95=100 * ci95,
        seconds=time.perf_counter() - started,
        scores=tuple(scores),
        calibration_error=100
        * calibration_error(torch.cat(sure).flatten(), torch.cat(right).flatten()),
    )


def tasks_per_batch(shape: EpisodeShape) -> int:
    """How many tasks are drawn and answered at once.

    The tasks of a score are the first of those of a longer one, as far as they fill batches.
    """
    return max(1, IMAGES_A_BATCH // (shape.way * shape.per_class))


def protocol(method: Method, draws: int = 0) -> str:
    """How queries are answered, in words that stand beside every number."""
    kind = "transductive" if method.is_transductive else "inductive"
    return f"{kind}, mean of {draws} draws" if draws else kind


def mean_and_ci95(scores: Float[Tensor, " episodes"]) -> tuple[float, float]:
    """Mean and half-width of its 95 % interval, 1.96 standard errors, over episodes."""
    return scores.mean().item(), 1.96 * scores.std().item() / math.sqrt(len(scores))
