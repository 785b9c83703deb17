"""Choice of the unlabelled samples that are most worth labelling next."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Num
from torch import Tensor
from torch.nn import functional as F

from lgmnet.classifier.classifier import FittedClassifier, require_probabilities
from lgmnet.classifier.copies import MAX_FEATURE_DISTANCE, is_copy
from lgmnet.classifier.support import to_float, to_support_samples
from lgmnet.errors import ConfigError

MAX_REFERENCES = 2000
"""Largest number of unlabelled samples, drawn at random, on which the worth is measured."""


@dataclass(frozen=True)
class Suggestion:
    """Unlabelled sample that is worth labelling."""

    index: int
    """Place of the sample among those given."""
    label: str
    """The classifier's answer."""
    probability: float
    """Probability of that answer."""
    worth: float
    """Part of the distances of all samples given to their nearest labelled sample that vanishes
    when this one is labelled after the ones before it, 0..1."""


@torch.inference_mode()
def suggest(
    fitted: FittedClassifier, samples: Num[Tensor, "samples *feature"], number: int = 10
) -> list[Suggestion]:
    """Suggest which unlabelled samples to label next, the most valuable first.

    Each is the one that, once labelled, brings all samples given closest to their nearest labelled
    one: a greedy maximum of the facility-location function (Nemhauser, Wolsey and Fisher, 1978) of
    the cosines in the classifier's own embedding. So it stands for many others, unlike an outlier,
    and a second one of the same kind is worth little. Of uncertainty, cluster centres, the farthest
    samples and others, it was the best choice with few labels (``docs/dev/log.md``).

    >>> from lgmnet import fit_classifier, load_model
    >>> samples = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    >>> fitted = fit_classifier(load_model("vectors"), samples, [0, 1], ["left", "right"])
    >>> new = torch.tensor([[0.0, 1.0], [0.1, 0.9], [0.6, 0.5]])
    >>> [suggestion.index for suggestion in suggest(fitted, new)]  # The first one is labelled.
    [2, 1]

    Args:
        fitted: The classifier, with its support samples.
        samples: Unlabelled samples of the kind and shape that the model takes.
        number: Largest number of suggestions. Copies of labelled samples, and of samples that are
            suggested already, are left out.

    Raises:
        ConfigError: if the number is not positive, or the classifier was saved without its support
            samples.
        DataError: if the samples are not of the kind and shape that the model takes.
    """
    if number < 1:
        raise ConfigError(f"The number of suggestions must be positive, but is {number}.")
    fitted.support.require_samples()
    labelled = fitted.support.samples
    stored = to_support_samples(
        samples, tuple(labelled.shape[1:]), fitted.backbone, fitted.engine
    ).to(labelled)
    if not len(stored):
        return []
    log_p, embedded = embed_and_answer(fitted, stored)
    _, support = embed_and_answer(fitted, labelled)
    probabilities, answers = log_p.exp().max(1)
    center = torch.cat([embedded, support]).mean(0)
    x, keys = (F.normalize(part - center, dim=1) for part in (embedded, support))
    references = x[draw_references(len(x)).to(x.device)]
    nearest = (references @ keys.T).max(1).values
    similarity = references @ x.T
    total = float((1 - nearest).sum())
    max_distance = MAX_FEATURE_DISTANCE if fitted.backbone else 0.0
    suggestions: list[Suggestion] = []
    is_open = torch.ones(len(x), dtype=torch.bool, device=x.device)
    while len(suggestions) < number and bool(is_open.any()):
        gains = (similarity - nearest[:, None]).clamp_min(0).sum(0).masked_fill(~is_open, -1)
        best = int(gains.argmax())
        is_open[best] = False
        if is_copy(stored[best], labelled, max_distance):
            continue
        suggestions.append(
            Suggestion(
                best,
                fitted.classes[int(answers[best])],
                float(probabilities[best]),
                float(gains[best]) / max(total, 1e-12),
            )
        )
        labelled = torch.cat([labelled, stored[best : best + 1]])
        nearest = torch.maximum(nearest, similarity[:, best])
    return suggestions


def embed_and_answer(
    fitted: FittedClassifier, samples: Num[Tensor, "samples *feature"]
) -> tuple[Float[Tensor, "samples classes"], Float[Tensor, "samples features"]]:
    """Compute log-probabilities of samples, and their embedding.

    The embedding is that in which the classifier compares samples; the samples themselves, if its
    method compares none.
    """
    batches = list(fitted.analyze_batches(samples))
    log_p = require_probabilities(torch.cat([batch.log_p for batch in batches]))
    embeddings = [batch.embedding for batch in batches if batch.embedding is not None]
    if not embeddings:
        return log_p, to_float(samples).flatten(1).float()
    return log_p, torch.cat(embeddings).float()


def draw_references(n_samples: int) -> Tensor:
    """Draw the indices of at most `MAX_REFERENCES` samples, always the same ones."""
    order = torch.randperm(n_samples, generator=torch.Generator().manual_seed(0))
    return order[:MAX_REFERENCES]
