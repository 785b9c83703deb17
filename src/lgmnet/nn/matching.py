"""The matching head: a query is answered by the support samples that it resembles."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

Scale = Float[Tensor, ""] | Float[Tensor, "tasks 1 1"] | float
"""An inverse temperature: one for all tasks, or one for each."""


def cosine_matching(
    query: Float[Tensor, "tasks query features"],
    support: Float[Tensor, "tasks support features"],
    support_y: Int[Tensor, "tasks support"],
    way: int,
    scale: Scale = 1.0,
) -> Float[Tensor, "tasks query way"]:
    """Attention over all support samples by cosine similarity (docs/method.md, eq. 5 and 6).

    ``a = softmax_k(scale * cos(q, s_k))``, ``p(c) = sum_k a_k [y_k = c]``. At uneven shots each
    class's attention is divided by its number of samples, so that a class does not win by being
    shown more often; at even shots this changes nothing.

    Args:
        query: Target embeddings of the queries.
        support: Target embeddings of the support samples.
        support_y: Labels ``0..way-1``; every class occurs.
        way: Number of classes.
        scale: Inverse temperature of the softmax; 1 is the paper's head.

    Returns:
        Log-probabilities; they are computed in 32 bits or more whatever the inputs are.
    """
    with torch.autocast(query.device.type, enabled=False):
        scores = scale * cosines(query, support)
        return log_mean_exp_by_class(scores, support_y, way).log_softmax(-1)


@dataclass(frozen=True)
class SupportMatch:
    """Result of comparing queries with keys of the support."""

    log_p: Float[Tensor, "tasks query way"]
    """As `cosine_matching` gives it."""
    similarity: Float[Tensor, "tasks query"]
    """``max_c log mean_k exp(scale * cos(q, s_k)) / scale`` over the keys k of class c: with one
    shot the largest cosine, between -1 and 1."""
    attention: Float[Tensor, "tasks query support"]
    """The attention a of `cosine_matching`; over the keys of a class it sums to its probability."""


def match_support(
    query: Float[Tensor, "tasks query features"],
    support: Float[Tensor, "tasks support features"],
    support_y: Int[Tensor, "tasks support"],
    way: int,
    scale: Scale = 1.0,
) -> SupportMatch:
    """Compare queries with keys of the support; arguments are those of `cosine_matching`."""
    with torch.autocast(query.device.type, enabled=False):
        scores = scale * cosines(query, support)
        by_class = log_mean_exp_by_class(scores, support_y, way)
        shots = members(support_y, way).sum(1).gather(1, support_y.long()).to(scores)
        attention = (scores - shots.log()[:, None]).softmax(-1)
        return SupportMatch(by_class.log_softmax(-1), (by_class / scale).amax(-1), attention)


def cosines(
    query: Float[Tensor, "tasks query features"], support: Float[Tensor, "tasks support features"]
) -> Float[Tensor, "tasks query support"]:
    """Cosines between queries and support samples, in 32 bits or more."""
    wide = torch.promote_types(query.dtype, torch.float32)
    return F.normalize(query.to(wide), dim=-1) @ F.normalize(support.to(wide), dim=-1).mT


def log_mean_exp_by_class(
    scores: Float[Tensor, "tasks query support"], support_y: Int[Tensor, "tasks support"], way: int
) -> Float[Tensor, "tasks query way"]:
    """``log(mean_k exp(scores_k))`` over the support samples of each class, without overflow."""
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
    """The mean of each class's support samples; computed in 32 bits or more."""
    of_class = members(support_y, way).to(torch.promote_types(support.dtype, torch.float32))
    with torch.autocast(support.device.type, enabled=False):
        return (of_class / of_class.sum(1, keepdim=True)).mT @ support.to(of_class)


def members(support_y: Int[Tensor, "tasks support"], way: int) -> Bool[Tensor, "tasks support way"]:
    """Which class each support sample is of; unlike `F.one_hot`, also of a way not known yet."""
    return support_y[..., None] == torch.arange(way, device=support_y.device)


def squared_distances(
    query: Float[Tensor, "tasks query features"], to: Float[Tensor, "tasks points features"]
) -> Float[Tensor, "tasks query points"]:
    """Squared Euclidean distances, at least 0; computed in 32 bits or more."""
    with torch.autocast(query.device.type, enabled=False):
        wide = torch.promote_types(query.dtype, torch.float32)
        query, to = query.to(wide), to.to(wide)
        lengths = query.square().sum(-1, keepdim=True) + to.square().sum(-1)[:, None]
        return (lengths - 2 * query @ to.mT).clamp_min(0)


def learned_scale(temperature: float | None) -> nn.Parameter:
    """Logarithm of a head's inverse temperature, learned from there; None fixes it at 1."""
    start = torch.tensor(math.log(temperature or 1.0))
    return nn.Parameter(start, requires_grad=temperature is not None)
