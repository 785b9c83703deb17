"""Expected accuracy of a classifier with more images, from the images at hand."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.classifier.copies import MAX_FEATURE_DISTANCE, find_copies
from lgmnet.classifier.cross_validation import LeaveOneOut, leave_one_out
from lgmnet.classifier.fit import embed_support
from lgmnet.classifier.support import to_float
from lgmnet.methods.base import Method
from lgmnet.model.model import Model

PARTS = (2, 4)
"""Classifiers are fitted to halves and to quarters of the images of each class."""
N_DIVISIONS = 4
"""Number of random divisions of the images into halves, and into quarters."""
MAX_VALUES = 1 << 24
"""Limit for the values of all queries that one batch of classifiers answers (64 MB)."""
SLOPE, SLOPE_DEVIATION = 0.5, 0.4
"""Mean and standard deviation of the exponent of a learning curve, before any image is seen."""
DESIGN_EFFECT = 2.5
"""Variance of an error as a multiple of that of independent answers (see ``docs/dev/log.md``)."""
MAX_SLOPE = 2.0
N_SLOPES, N_ERRORS = 41, 200


@dataclass(frozen=True)
class CurvePoint:
    """Share of wrong answers of classifiers that were fitted to some of the images."""

    shot: float
    """Mean number of images of a class that the classifiers were fitted to."""
    error: float
    """Share of wrong answers to the other images, 0..1."""
    n_images: int
    """Number of different images that were asked."""


@dataclass(frozen=True)
class ExpectedAccuracy:
    """Accuracy on new images that a classifier is expected to have with more images."""

    shot: float
    """Mean number of images of a class that it would have then, copies left out."""
    accuracy: float
    """Expected accuracy in percent."""
    interval: tuple[float, float]
    """95 % interval of it, in percent."""

    def as_json(self) -> dict[str, Any]:
        """Convert to plain numbers."""
        return {"shot": self.shot, "accuracy": self.accuracy, "interval": list(self.interval)}


def expected_accuracy_with_more(
    fitted: FittedClassifier, model: Model, factor: float = 2.0
) -> ExpectedAccuracy | None:
    """Estimate the accuracy with ``factor`` times as many images, from the images at hand.

    >>> import lgmnet
    >>> model = lgmnet.load_model("vectors")
    >>> samples = torch.tensor([[0.0, 1.0], [0.1, 1.0], [1.0, 0.0], [1.0, 0.1]])
    >>> fitted = lgmnet.fit_classifier(model, samples, [0, 0, 1, 1], ["left", "right"])
    >>> expected = expected_accuracy_with_more(fitted, model)
    >>> expected.shot, expected.interval[0] <= expected.accuracy <= expected.interval[1]
    (4.0, True)

    Args:
        fitted: The classifier, with its support samples.
        model: Model that fitted it.
        factor: Number of images as a multiple of those of the classifier, copies left out.

    Returns:
        The second result of `estimate_accuracies`.

    Raises:
        ConfigError: as `estimate_accuracies` does.
    """
    return estimate_accuracies(fitted, model, factor)[1]


@torch.inference_mode()
def estimate_accuracies(
    fitted: FittedClassifier,
    model: Model,
    factor: float = 2.0,
    *,
    embedded: Float[Tensor, "samples *embedding"] | None = None,
) -> tuple[LeaveOneOut, ExpectedAccuracy | None]:
    """Estimate the accuracy of a classifier now, and with ``factor`` times as many images.

    Classifiers are fitted to all images but one, to halves and to quarters, and asked about the
    others (`leave_one_out`, `measure_curve`). Their errors are extrapolated (`extrapolate`).

    Args:
        fitted: The classifier, with its support samples.
        model: Model that fitted it.
        factor: Number of images as a multiple of those of the classifier, copies left out.
        embedded: Result of `embed_support` for it, if known.

    Returns:
        The result of `leave_one_out`, and the accuracy with more images; None if no class has two
        different images.

    Raises:
        ConfigError: if another model fitted the classifier, or it was saved without its support
            samples.
    """
    fitted.check_model(model)
    support, way = fitted.support, len(fitted.classes)
    support.require_samples()
    if embedded is None:
        embedded = embed_support(model, support)
    now = leave_one_out(model, support, way, by=fitted.by, embedded=embedded)
    if not now.n_samples:
        return now, None
    images = find_copies(support.samples, MAX_FEATURE_DISTANCE if fitted.backbone else 0.0)
    pairs = torch.stack([images, support.labels], 1).tolist()
    first_of_pair = {tuple(pair): i for i, pair in reversed(list(enumerate(pairs)))}
    kept = sorted(first_of_pair.values())
    distinct = embedded[kept].to(to_float(support.samples[:1]).dtype)
    method = model.inference_method_by(fitted.by).without_embedding()
    labels = support.labels[kept]
    shots = labels.bincount(minlength=way)
    shot = float((shots - (shots > 1).long()).double().mean())  # A lone image is never left out.
    points = [CurvePoint(shot, 1 - now.n_correct / now.n_samples, now.n_samples)]
    points += measure_curve(method, distinct, labels, way)
    return now, extrapolate(points, factor * now.shot, way)


def extrapolate(points: Sequence[CurvePoint], shot: float, way: int) -> ExpectedAccuracy:
    """Extrapolate a learning curve to another number of images.

    The error falls as a power of the number of images (Hestness et al., 2017), from at most that of
    guessing::

        error(shot) = min(error_0 (shot / shot_0)^-slope, 1 - 1 / way)

    The result is the mean of its posterior on a grid, and the shortest interval with 95 % of it.
    The slope is normal beforehand (`SLOPE`, `SLOPE_DEVIATION`), but not negative, and the error has
    Jeffreys' prior. Errors are binomial, of `DESIGN_EFFECT` times fewer answers.

    Args:
        points: Errors at one or several numbers of images.
        shot: Mean number of images of a class to extrapolate to.
        way: Number of classes.
    """
    slopes = torch.linspace(0, MAX_SLOPE, N_SLOPES, dtype=torch.float64)[:, None]
    # At equal distances of this angle, errors are distributed by Jeffreys' prior.
    angles = torch.linspace(0, torch.pi / 2, N_ERRORS, dtype=torch.float64)
    errors = angles.sin().square()[None]

    def curve(at: float) -> Float[Tensor, "slopes errors"]:
        return (errors * (at / points[0].shot) ** -slopes).clamp_max(1 - 1 / way)

    log_p = -0.5 * ((slopes - SLOPE) / SLOPE_DEVIATION).square() + torch.zeros_like(errors)
    for point in points:
        expected = curve(point.shot)
        error = torch.tensor(point.error, dtype=torch.float64)
        log_likelihood = error.xlogy(expected) + torch.special.xlog1py(1 - error, -expected)
        log_p = log_p + point.n_images / DESIGN_EFFECT * log_likelihood
    weights = (log_p - log_p.max()).exp().flatten()
    values, order = (100 * (1 - curve(shot))).flatten().sort()
    shares = (weights[order] / weights.sum()).cumsum(0)
    # The shortest interval, because one between quantiles never contains 100 %.
    ends = torch.searchsorted(shares, shares + 0.95).clamp_max(len(shares) - 1)
    starts = (shares <= 0.05).nonzero()[:, 0]
    widths = values[ends[starts]] - values[starts]
    first = int(starts[widths.argmin()])
    low, high = float(values[first]), float(values[ends[first]])
    high = 100.0 if high > 99.9 else high  # The grid is no finer.
    mean = float((weights[order] * values).sum() / weights.sum())
    return ExpectedAccuracy(shot, mean, (low, high))


@torch.inference_mode()
def measure_curve(
    method: Method,
    embedded: Float[Tensor, "images *embedding"],
    labels: Int[Tensor, " images"],
    way: int,
) -> Iterator[CurvePoint]:
    """Measure the errors of classifiers that are fitted to parts of a support set.

    Each class is divided at random into `PARTS` parts. A classifier is fitted to one part of each
    class and asked about all other images. A class with one image keeps it in every part.

    Args:
        method: Method without its embedding.
        embedded: Embedded images, none of them twice.
        labels: Class of each image.
        way: Number of classes.

    Yields:
        One point of the learning curve for each number of parts that gives one.
    """
    generator = torch.Generator().manual_seed(0)
    shots = labels.bincount(minlength=way)
    for parts in PARTS:
        sizes = (shots // parts).clamp_min(1)
        if bool((sizes >= (shots - 1).clamp_min(1)).all()):
            continue  # Leaving out one image at a time has given this point.
        masks = torch.stack(
            [
                draw_part(labels, way, sizes, part, order)
                for order in (
                    torch.randperm(len(labels), generator=generator) for _ in range(N_DIVISIONS)
                )
                for part in range(parts)
            ]
        )
        wrong = torch.cat(
            [
                find_errors(method, embedded, labels, way, some)
                for some in masks.split(max(1, MAX_VALUES // embedded.numel()))
            ]
        )
        n_asked = (~masks).sum(0)
        is_asked = n_asked > 0
        shares = (wrong & ~masks).sum(0)[is_asked] / n_asked[is_asked]
        yield CurvePoint(float(sizes.double().mean()), float(shares.double().mean()), len(shares))


def draw_part(
    labels: Int[Tensor, " images"],
    way: int,
    sizes: Int[Tensor, " way"],
    part: int,
    order: Int[Tensor, " images"],
) -> Bool[Tensor, " images"]:
    """Return which images belong to one part of a division that ``order`` makes."""
    mask = torch.zeros(len(labels), dtype=torch.bool)
    for label in range(way):
        members = order[labels[order] == label]
        size = int(sizes[label])
        mask[members[(part * size + torch.arange(size)) % len(members)]] = True
    return mask


def find_errors(
    method: Method,
    embedded: Float[Tensor, "images *embedding"],
    labels: Int[Tensor, " images"],
    way: int,
    masks: Bool[Tensor, "tasks images"],
) -> Bool[Tensor, "tasks images"]:
    """Find the images that classifiers, each fitted to those of its mask, answer wrongly."""
    support = torch.stack([embedded[mask] for mask in masks])
    support_y = torch.stack([labels[mask] for mask in masks])
    classifier = method.adapt(support, support_y, way)
    log_p: Tensor = classifier(embedded.expand(len(masks), *embedded.shape))
    return log_p.argmax(2) != labels
