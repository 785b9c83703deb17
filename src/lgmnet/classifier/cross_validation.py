"""Leave-one-out validation: classifiers predict support samples that they were not fitted to."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lgmnet.classifier.copies import MAX_FEATURE_DISTANCE, find_copies
from lgmnet.classifier.fit import embed_support
from lgmnet.classifier.support import Support, to_float
from lgmnet.criterion import Criterion
from lgmnet.evaluation.interval import wilson_interval
from lgmnet.model.model import Model
from lgmnet.progress import track_progress

MAX_FOLDS = 50
"""Largest number of classifiers that are fitted. If a class has more samples, each classifier
leaves out several of it at a time."""
DESIGN_EFFECT = 1.2
"""Variance of the estimate as a multiple of that of independent answers: every support sample takes
part in most of them. It was chosen on tasks of Omniglot, and the rule of `LeaveOneOut.interval`
after tasks of photos were seen as well; 50 further tasks of photos, of the same pool of images, are
all that checks them (``docs/dev/log.md``)."""


@dataclass(frozen=True)
class LeaveOneOut:
    """Predictions for support samples by classifiers that were not fitted to them."""

    indices: Int[Tensor, " samples"]
    """Indices of the samples in the support set, each image once, without its copies."""
    labels: Int[Tensor, " samples"]
    """Class index of each sample."""
    probabilities: Float[Tensor, "samples classes"]
    shot: float
    """Mean number of images of a class."""
    n_single: int
    """Number of images that cannot be left out, because their class has no other image."""
    n_copies: int
    """Number of support samples that are copies of another one in the same class."""
    conflicts: tuple[tuple[int, ...], ...]
    """Indices of the samples of each image that is in several classes."""

    @property
    def n_samples(self) -> int:
        """Number of images that were left out."""
        return len(self.indices)

    @property
    def n_correct(self) -> int:
        """Number of images that were classified correctly."""
        return int((self.probabilities.argmax(1) == self.labels).sum())

    @property
    def accuracy(self) -> float | None:
        """Accuracy in percent; None if no image could be left out."""
        return 100 * self.n_correct / self.n_samples if self.n_samples else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of the accuracy on new images, in percent; None if none was left out.

        The answers are those of classifiers with one shot less. One shot more avoids none of their
        errors (the lower end) to one in ``shot`` (the upper end: errors inverse to the shots). Both
        ends are Wilson's for `DESIGN_EFFECT` times fewer images.
        """
        if not self.n_samples:
            return None
        share, n = self.n_correct / self.n_samples, self.n_samples / DESIGN_EFFECT
        low, _ = wilson_interval(share, n)
        _, high = wilson_interval(1 - (1 - share) * (1 - 1 / self.shot), n)
        return low, high

    def as_json(self, sources: Sequence[str]) -> dict[str, Any]:
        """Convert to plain numbers and texts; ``sources`` are those of the support set."""
        return {
            "asked": self.n_samples,
            "right": self.n_correct,
            "accuracy": self.accuracy,
            "interval": self.interval and list(self.interval),
            "not_asked": self.n_single,
            "copies": self.n_copies,
            "in_several_classes": [
                [sources[i] or f"sample {i}" for i in group] for group in self.conflicts
            ],
        }


@torch.inference_mode()
def leave_one_out(
    model: Model,
    support: Support,
    way: int,
    *,
    by: Criterion = "auto",
    embedded: Float[Tensor, "samples *embedding"] | None = None,
) -> LeaveOneOut:
    """Predict support samples by classifiers that are fitted to the other samples.

    Copies of the same image are left out together and counted once. The first classifier leaves out
    the first image of each class that has more than one, the second leaves out the second image,
    and so on. So each image is predicted once, by a classifier with one shot less. ``by`` is
    that of the classifier (see `fit_classifier`), and ``embedded`` is the result of
    `embed_support`, if known.

    Raises:
        ConfigError: if the support has no samples (see `Support`).
    """
    support.require_samples()
    if embedded is None:
        embedded = embed_support(model, support)
    embedded = embedded.to(to_float(support.samples[:1]).dtype)
    method = model.inference_method_by(by).without_embedding()
    max_distance = MAX_FEATURE_DISTANCE if model.backbone else 0.0
    labels, images = support.labels, find_copies(support.samples, max_distance)
    pairs = torch.stack([images, labels], 1).tolist()
    first_of_pair = {tuple(pair): i for i, pair in reversed(list(enumerate(pairs)))}
    asked, probabilities = [], []
    # Not one batch of tasks: with uneven shots, their support sets have different sizes.
    with track_progress("images left out", len(first_of_pair)) as progress:
        for left_out in draw_folds(labels, images, way):
            mask = torch.isin(images, left_out)
            held_out = sorted(i for (image, _), i in first_of_pair.items() if mask[image])
            classifier = method.adapt(embedded[~mask][None], labels[~mask][None], way)
            probabilities.append(classifier(embedded[held_out][None])[0].exp())
            asked += held_out
            progress.advance(len(held_out))
    order = torch.tensor(asked, dtype=torch.int64)
    by_image: dict[int, list[int]] = {}
    for (image, _), i in sorted(first_of_pair.items(), key=lambda item: item[1]):
        by_image.setdefault(image, []).append(i)
    return LeaveOneOut(
        order,
        labels[order],
        torch.cat([torch.empty(0, way, dtype=embedded.dtype), *probabilities]),
        shot=len(first_of_pair) / way,
        n_single=len(first_of_pair) - len(order),
        n_copies=len(labels) - len(first_of_pair),
        conflicts=tuple(tuple(group) for group in by_image.values() if len(group) > 1),
    )


def draw_folds(
    labels: Int[Tensor, " samples"], images: Int[Tensor, " samples"], way: int
) -> Iterator[Int[Tensor, " left_out"]]:
    """Yield the images to leave out together, so that a sample of each class is left.

    Args:
        labels: Class of each sample.
        images: Image that each sample shows; copies show the same one.
        way: Number of classes.
    """

    def leaves_all_classes(left_out: Tensor) -> bool:
        rest: Bool[Tensor, " samples"] = ~torch.isin(images, left_out)
        return bool(labels[rest].bincount(minlength=way).all())

    by_class = [list(dict.fromkeys(images[labels == c].tolist())) for c in range(way)]
    n_folds = min(max(map(len, by_class)), MAX_FOLDS)
    done: set[int] = set()
    for fold in range(n_folds):
        members = [image for own in by_class if len(own) > 1 for image in own[fold::n_folds]]
        left_out = [image for image in dict.fromkeys(members) if image not in done]
        if not left_out:
            continue
        done |= set(left_out)
        together = torch.tensor(left_out)
        if leaves_all_classes(together):
            yield together
        else:  # An image is in several classes, or a class is small: one at a time.
            yield from (one for one in together[:, None] if leaves_all_classes(one))
