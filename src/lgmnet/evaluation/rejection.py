"""Rejection of queries that belong to none of the classes: thresholds and their error rates."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from lgmnet.config import require
from lgmnet.data.sampler import Sampler
from lgmnet.data.task_source import TaskSource
from lgmnet.episode import EpisodeShape
from lgmnet.errors import ConfigError
from lgmnet.evaluation.evaluate import tasks_per_batch
from lgmnet.methods.base import Method
from lgmnet.progress import track_progress


@dataclass(frozen=True)
class Rejection:
    """Threshold that rejects queries of none of the classes, with its error rates.

    Raises:
        ConfigError: if a number of classes or of samples is too small.
    """

    way: int
    shot: int
    threshold: float
    """Similarity (`QueryAnalysis.similarity`) below which a query belongs to no class."""
    chosen_on: str
    """Data and split whose classes chose the threshold, as ``data:split``."""
    measured_on: str
    """Data and split whose classes the error rates were measured on, as ``data:split``."""
    false_accept: float
    """Share of the queries of none of the classes that are accepted, in percent."""
    false_reject: float
    """Share of the queries of one of the classes that are rejected, in percent."""

    def __post_init__(self) -> None:
        require(self, "way", self.way >= 2, "at least 2")
        require(self, "shot", self.shot >= 1, "at least 1")


@torch.inference_mode()
def measure_similarities(
    method: Method,
    source: TaskSource,
    shape: EpisodeShape,
    *,
    episodes: int = 500,
    seed: int = 0,
) -> tuple[Float[Tensor, " in_class"], Float[Tensor, " out_of_class"]]:
    """Measure the similarity of queries to the classes of tasks.

    Each task is drawn with twice as many classes as ``way``. The method, in evaluation mode, adapts
    to the first half; the queries of the other half belong to none of its classes.

    Returns:
        Similarities of the queries of the task's classes, and of as many queries of other classes.

    Raises:
        EpisodeError: if the source does not have enough classes or samples.
        ConfigError: if the method compares classes only with each other.
    """
    sampled = EpisodeShape(2 * shape.way, shape.shot, shape.query)
    source.check(sampled)
    sampler = Sampler(source, torch.Generator().manual_seed(seed))
    in_class, out_of_class = [], []
    batch_size = tasks_per_batch(sampled)
    with track_progress("episodes", episodes) as progress:
        for start in range(0, episodes, batch_size):
            tasks = min(batch_size, episodes - start)
            e = sampler.sample(replace(sampled, tasks=tasks)).to(method.device)
            # Samples are sorted by class: the first half belongs to the first half of the classes.
            n_support = shape.way * shape.shot
            support_x, support_y = e.support_x[:, :n_support], e.support_y[:, :n_support]
            classifier = method.adapt(support_x, support_y, shape.way)
            similarity = classifier.analyze(e.query_x).similarity
            if similarity is None:
                raise ConfigError(
                    f"A {type(classifier).__name__} compares classes only with each other, so it "
                    "cannot tell that a query belongs to none of them."
                )
            first_half, second_half = similarity.cpu().chunk(2, 1)
            in_class.append(first_half.flatten())
            out_of_class.append(second_half.flatten())
            progress.advance(tasks)
    return torch.cat(in_class), torch.cat(out_of_class)


def equal_error_threshold(
    in_class: Float[Tensor, " in_class"], out_of_class: Float[Tensor, " out_of_class"]
) -> float:
    """Compute the threshold at which false rejects and false accepts are equally frequent."""
    in_class, out_of_class = in_class.double().sort().values, out_of_class.double().sort().values
    candidates = torch.cat([in_class, out_of_class]).sort().values
    false_rejects = torch.searchsorted(in_class, candidates) / len(in_class)
    false_accepts = 1 - torch.searchsorted(out_of_class, candidates) / len(out_of_class)
    return float(candidates[(false_rejects - false_accepts).abs().argmin()])


def calibrate_rejection(
    method: Method,
    chosen_on: TaskSource,
    measured_on: TaskSource,
    shape: EpisodeShape,
    *,
    episodes: int = 500,
    seed: int = 0,
) -> Rejection:
    """Choose a threshold on some classes and measure its error rates on others.

    The method must be in evaluation mode. The classes to choose on are neither training nor test
    classes; the error rates are measured on test classes. ``episodes`` tasks of each are drawn.

    Raises:
        EpisodeError: if a source does not have twice as many classes as ``way``, or enough samples.
        ConfigError: if the method compares classes only with each other.
    """
    choice, (in_class, out_of_class) = (
        measure_similarities(method, source, shape, episodes=episodes, seed=seed)
        for source in (chosen_on, measured_on)
    )
    threshold = equal_error_threshold(*choice)
    return Rejection(
        way=shape.way,
        shot=shape.shot,
        threshold=threshold,
        chosen_on=f"{chosen_on.name}:{chosen_on.split}",
        measured_on=f"{measured_on.name}:{measured_on.split}",
        false_accept=100 * (out_of_class >= threshold).double().mean().item(),
        false_reject=100 * (in_class < threshold).double().mean().item(),
    )
