"""Leave-one-out validation: classifiers predict support samples that they were not fitted to."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from lgmnet.classifier.classifier import embed_support
from lgmnet.classifier.support import Support, to_float
from lgmnet.model.model import Model


@dataclass(frozen=True)
class LeaveOneOut:
    """Predictions for support samples by classifiers that were not fitted to them."""

    indices: Int[Tensor, " samples"]
    """Indices of the samples in the support set."""
    labels: Int[Tensor, " samples"]
    """Class index of each sample."""
    probabilities: Float[Tensor, "samples classes"]

    @property
    def n_samples(self) -> int:
        """Number of samples that were left out."""
        return len(self.indices)

    @property
    def n_correct(self) -> int:
        """Number of samples that were classified correctly."""
        return int((self.probabilities.argmax(1) == self.labels).sum())


@torch.inference_mode()
def leave_one_out(
    model: Model,
    support: Support,
    way: int,
    max_folds: int = 10,
    *,
    embedded: Float[Tensor, "samples *embedding"] | None = None,
) -> LeaveOneOut | None:
    """Predict support samples by classifiers that are fitted to the other samples.

    The first classifier leaves out the first sample of each class that has more than one, the
    second leaves out the second sample, and so on, up to ``max_folds``. Each sample is predicted
    once, by a classifier with one shot less. ``embedded`` is the result of `embed_support`, if
    known.

    Returns:
        The predictions; None if every class has one sample.
    """
    if embedded is None:
        embedded = embed_support(model, support)
    embedded = embedded.to(to_float(support.samples[:1]).dtype)
    method = model.inference_method.without_embedding()
    labels = support.labels
    # Position of a sample among those of its class.
    rank = F.one_hot(labels, way).cumsum(0).gather(1, labels[:, None])[:, 0] - 1
    n_folds = int(rank.max()) + 1
    if n_folds == 1:
        return None
    has_others = labels.bincount(minlength=way)[labels] > 1
    indices, probabilities = [], []
    # Not one batch of tasks: with uneven shots, their support sets have different sizes.
    for fold in range(min(n_folds, max_folds)):
        held_out = has_others & (rank == fold)
        classifier = method.adapt(embedded[~held_out][None], labels[~held_out][None], way)
        indices.append(held_out.nonzero()[:, 0])
        probabilities.append(classifier(embedded[held_out][None])[0].exp())
    order = torch.cat(indices)
    return LeaveOneOut(order, labels[order], torch.cat(probabilities))
