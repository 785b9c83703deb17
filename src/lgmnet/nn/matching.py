"""Heads: comparison of queries with keys, which are support samples or one key for each class."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from lgmnet.config import require
from lgmnet.devices import without_autocast

Scale = Float[Tensor, ""] | Float[Tensor, "tasks 1 1"] | float
"""Inverse temperature: one for all tasks, or one for each."""
Similarity = Literal["cosine", "euclidean", "linear"]
"""Similarity of a query q to a key k: ``cosine``; ``euclidean``: the negative squared
distance; ``linear``: the inner product of k with q at unit length."""
HeadKind = Literal["attention", "means", "euclidean", "ridge"]
SIMILARITIES: dict[HeadKind, Similarity] = {
    "attention": "cosine",
    "means": "cosine",
    "euclidean": "euclidean",
    "ridge": "linear",
}
"""Similarity of each kind of head."""


@dataclass(frozen=True)
class HeadConfig:
    """Head of a method that compares queries with the support.

    Raises:
        ConfigError: if a field has a value that is not allowed.
    """

    kind: HeadKind = "attention"
    """``attention``: cosines to all support samples (Matching Networks, LGM-Net); ``means``:
    cosines to the mean of each class's samples of unit length; ``euclidean``: squared distances to
    the class means (Prototypical Networks); ``ridge``: ridge regression onto the classes (R2D2,
    `lgmnet.nn.ridge`)."""
    temperature: float | None = 10.0
    """Initial inverse temperature, learned from there; None is the paper's head (1)."""
    strength: float | None = None
    """Strength of the regularization of ``ridge``, fixed; None to learn it."""

    def __post_init__(self) -> None:
        require(self, "kind", self.kind in SIMILARITIES, " or ".join(map(repr, SIMILARITIES)))
        strength, is_ridge = self.strength, self.kind == "ridge"
        valid = strength is None or (is_ridge and strength > 0)
        require(self, "strength", valid, "positive or None" if is_ridge else "None for this head")
        temperature = self.temperature
        require(self, "temperature", temperature is None or temperature > 0, "positive or None")


def matching_log_p(
    query: Float[Tensor, "tasks query features"],
    support: Float[Tensor, "tasks support features"],
    support_y: Int[Tensor, "tasks support"],
    way: int,
    scale: Scale = 1.0,
    similarity: Similarity = "cosine",
) -> Float[Tensor, "tasks query way"]:
    """Compute log-probabilities by attention over the support (eq. 5 and 6 of LGM-Net).

    ``a = softmax_k(scale * cos(q, s_k))``, ``p(c) = sum_k a_k [y_k = c]``. At uneven shots each
    class's attention is divided by its number of samples, so that a class does not win by having
    more of them; at even shots this changes nothing. With one key for each class, p is a.

    Args:
        query: Target embeddings of the queries.
        support: Target embeddings of the support samples, or other keys.
        support_y: Their labels; every class occurs.
        way: Number of classes.
        scale: Inverse temperature of the softmax; 1 is the paper's head.
        similarity: Similarity in place of the cosine.

    Returns:
        Log-probabilities, computed in 32 bits or more whatever the inputs are.
    """
    with without_autocast(query.device):
        scores = scale * compute_similarities(query, support, similarity)
        return log_mean_exp_by_class(scores, support_y, way).log_softmax(-1)


@dataclass(frozen=True)
class SupportMatch:
    """Result of comparing queries with keys of the support."""

    log_p: Float[Tensor, "tasks query way"]
    """As `matching_log_p` gives it."""
    similarity: Float[Tensor, "tasks query"]
    """``max_c log mean_k exp(scale * cos(q, s_k)) / scale`` over the keys k of class c: with one
    shot the largest cosine, between -1 and 1. Of linear keys the largest cosine as well, because
    the length of the weights depends on the task."""
    attention: Float[Tensor, "tasks query support"]
    """The attention a of `matching_log_p`; over the keys of a class it sums to its probability."""


def match_support(
    query: Float[Tensor, "tasks query features"],
    support: Float[Tensor, "tasks support features"],
    support_y: Int[Tensor, "tasks support"],
    way: int,
    scale: Scale = 1.0,
    similarity: Similarity = "cosine",
) -> SupportMatch:
    """Compare queries with keys of the support; arguments are those of `matching_log_p`."""
    with without_autocast(query.device):
        scores = scale * compute_similarities(query, support, similarity)
        by_class = log_mean_exp_by_class(scores, support_y, way)
        shots = one_hot(support_y, way).sum(1).gather(1, support_y.long()).to(scores)
        attention = (scores - shots.log()[:, None]).softmax(-1)
        closeness = by_class / scale
        if similarity == "linear":
            closeness = compute_similarities(query, support, "cosine")
        return SupportMatch(by_class.log_softmax(-1), closeness.amax(-1), attention)


def compute_similarities(
    query: Float[Tensor, "tasks query features"],
    keys: Float[Tensor, "tasks keys features"],
    similarity: Similarity,
) -> Float[Tensor, "tasks query keys"]:
    """Compute the similarity of each query to each key, in 32 bits or more."""
    if similarity == "euclidean":
        return -squared_distances(query, keys)
    wide = torch.promote_types(query.dtype, torch.float32)
    query, keys = F.normalize(query.to(wide), dim=-1), keys.to(wide)
    return query @ (F.normalize(keys, dim=-1) if similarity == "cosine" else keys).mT


def log_mean_exp_by_class(
    scores: Float[Tensor, "tasks query support"], support_y: Int[Tensor, "tasks support"], way: int
) -> Float[Tensor, "tasks query way"]:
    """Compute ``log(mean_k exp(scores_k))`` over the samples k of each class, without overflow."""
    tasks, query, _ = scores.shape
    index = support_y.long()[:, None].expand_as(scores)
    empty = scores.new_full((tasks, query, way), -torch.inf)
    peak = empty.scatter_reduce(2, index, scores.detach(), "amax")
    total = torch.zeros_like(empty).scatter_add(2, index, torch.exp(scores - peak.gather(2, index)))
    shots = torch.zeros_like(empty).scatter_add(2, index, torch.ones_like(scores))
    return peak + torch.log(total / shots)


def class_means(
    support: Float[Tensor, "tasks support features"],
    support_y: Int[Tensor, "tasks support"],
    way: int,
) -> Float[Tensor, "tasks way features"]:
    """Compute the mean of each class's support samples, in 32 bits or more."""
    weights = one_hot(support_y, way).to(torch.promote_types(support.dtype, torch.float32))
    with without_autocast(support.device):
        return (weights / weights.sum(1, keepdim=True)).mT @ support.to(weights)


def one_hot(support_y: Int[Tensor, "tasks support"], way: int) -> Bool[Tensor, "tasks support way"]:
    """Encode labels as one-hot rows; unlike `F.one_hot`, also where ``way`` is not known yet."""
    return support_y[..., None] == torch.arange(way, device=support_y.device)


def squared_distances(
    query: Float[Tensor, "tasks query features"], to: Float[Tensor, "tasks points features"]
) -> Float[Tensor, "tasks query points"]:
    """Compute squared Euclidean distances, in 32 bits or more; never negative."""
    with without_autocast(query.device):
        wide = torch.promote_types(query.dtype, torch.float32)
        query, to = query.to(wide), to.to(wide)
        lengths = query.square().sum(-1, keepdim=True) + to.square().sum(-1)[:, None]
        return (lengths - 2 * query @ to.mT).clamp_min(0)


def learned_scale(temperature: float | None) -> nn.Parameter:
    """Make the parameter for the log of an inverse temperature; None fixes it at 1."""
    start = torch.tensor(math.log(temperature or 1.0))
    return nn.Parameter(start, requires_grad=temperature is not None)
