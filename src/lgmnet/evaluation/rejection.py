"""Rejection of queries that belong to none of the classes: thresholds and their error rates."""

import math
from dataclasses import dataclass, replace
from numbers import Real

import numpy as np
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

RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
"""Rates of false rejections whose thresholds are stored."""
NEWTON_STEPS, PENALTY = 25, 1.0


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
    slope: float = 0.0
    """Slope of the log-odds of belonging to a class over the similarity (`none_probability`); 0 in
    files of releases that did not measure it."""
    midpoint: float = 0.0
    """Similarity at which a query is as likely to belong to a class as to none."""
    rate_thresholds: tuple[float, ...] = ()
    """Thresholds that reject the shares `RATES` of the queries of one of the classes."""

    def __post_init__(self) -> None:
        require(self, "way", self.way >= 2, "at least 2")
        require(self, "shot", self.shot >= 1, "at least 1")
        n_rates = len(self.rate_thresholds)
        require(self, "rate_thresholds", n_rates in (0, len(RATES)), f"none or {len(RATES)}")

    @property
    def has_probabilities(self) -> bool:
        """True if the probability of belonging to no class is known."""
        return self.slope > 0

    def none_probability(self, similarity: Float[Tensor, "*queries"]) -> Float[Tensor, "*queries"]:
        """Compute the probability that queries belong to no class, if every second one does.

        It is a logistic regression on the similarities of `chosen_on` (Platt, 1999).
        """
        return torch.sigmoid(self.slope * (self.midpoint - similarity))

    def threshold_for(self, rate: float | None) -> float:
        """Return the threshold that rejects a share of the queries of one of the classes.

        Args:
            rate: The share, 0..1, on the classes of `chosen_on`; None for `threshold`.

        Raises:
            ConfigError: if the rate is out of range, or none but `threshold` is known.
        """
        if rate is None:
            return self.threshold
        stated: object = rate  # Callers may be untyped.
        if not isinstance(stated, Real) or not RATES[0] <= rate <= RATES[-1]:
            raise ConfigError(
                f"The rate of false rejections must lie between {RATES[0]} and {RATES[-1]}, but is "
                f"{rate}."
            )
        if not self.rate_thresholds:
            raise ConfigError(
                "The model has one threshold for 'none of these' only, so the rate of false "
                "rejections cannot be chosen. Run 'lgmnet calibrate' again, then forge again."
            )
        return float(np.interp(math.log(rate), np.log(RATES), self.rate_thresholds))


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


def fit_log_odds(
    in_class: Float[Tensor, " in_class"], out_of_class: Float[Tensor, " out_of_class"]
) -> tuple[float, float]:
    """Fit a logistic regression of belonging to a class on the similarity, by Newton's method.

    Returns:
        Slope and midpoint of the log-odds.
    """
    x = torch.cat([in_class, out_of_class]).double()
    y = torch.cat([torch.ones(len(in_class)), torch.zeros(len(out_of_class))]).double()
    mean, scale = x.mean(), x.std().clamp_min(1e-9)
    features = torch.stack([(x - mean) / scale, torch.ones_like(x)], 1)
    weights = torch.zeros(2, dtype=torch.float64)
    for _ in range(NEWTON_STEPS):
        p = torch.sigmoid(features @ weights)
        # The penalty keeps the slope finite if the similarities can be separated.
        gradient = features.T @ (p - y) + PENALTY * weights
        curvature = features.T @ (features * (p * (1 - p))[:, None]) + PENALTY * torch.eye(2)
        weights = weights - torch.linalg.solve(curvature, gradient)
    slope, offset = weights.tolist()
    return slope / float(scale), float(mean) - offset * float(scale) / slope


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
    slope, midpoint = fit_log_odds(*choice)
    rates = torch.tensor(RATES, dtype=torch.float64)
    return Rejection(
        way=shape.way,
        shot=shape.shot,
        threshold=threshold,
        chosen_on=f"{chosen_on.name}:{chosen_on.split}",
        measured_on=f"{measured_on.name}:{measured_on.split}",
        false_accept=100 * (out_of_class >= threshold).double().mean().item(),
        false_reject=100 * (in_class < threshold).double().mean().item(),
        slope=slope,
        midpoint=midpoint,
        rate_thresholds=tuple(torch.quantile(choice[0].double(), rates).tolist()),
    )
