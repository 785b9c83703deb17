"""Classifiers that compare the features of queries with those of their support."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from lgmnet.methods.base import QueryAnalysis
from lgmnet.methods.classifiers import AttentionClassifier
from lgmnet.nn.embedding import embed
from lgmnet.nn.matching import SIMILARITIES, Scale, one_hot
from lgmnet.nn.ridge import mix_ridge_regressions
from lgmnet.nn.target import TargetNet, TargetWeights, embed_for_task


class MetricClassifier(AttentionClassifier):
    """Keys of the support, and the layers that a query passes before it is compared with them.

    The other arguments are those of `AttentionClassifier`.

    Args:
        embedding: Shared embedding.
        target: Further layers without their weights, or None.
        weights: Weights of these layers for each task.
        config: Config of the method; has the number of views and the kind of the head.
    """

    def __init__(
        self,
        embedding: nn.Module,
        target: TargetNet | None,
        weights: TargetWeights,
        keys: Float[Tensor, "tasks keys features"],
        support_y: Int[Tensor, "tasks keys"],
        way: int,
        scale: Scale,
        config: Any,
    ) -> None:
        super().__init__(keys, support_y, way, scale, SIMILARITIES[config.head.kind])
        self.views = config.embedding.views
        self.groups: tuple[int, ...] = config.embedding.groups
        self.embedding = embedding
        self.target = target
        self.register_buffers(weights)

    @property
    def weights(self) -> TargetWeights:
        """Weights of the further layers by name."""
        return self.get_buffers(self.target.weight_names if self.target else ())

    def share_support(
        self,
        analysis: QueryAnalysis,
        support: Float[Tensor, "tasks support features"],
        support_y: Int[Tensor, "tasks support"],
    ) -> Float[Tensor, "tasks query support"] | None:
        """Trace answers of a ridge regression back; see `Classifier.share_support`.

        The weights W_k of class k are a sum over the support samples x_i, so the score of a query q
        is, up to a factor, the sum of ``(q x_i) c_i (y_ik - x_i W_k)``, where c_i is 1 over the
        number of samples of the class of i. The share of a sample of class k is its part of those
        terms of the class that are positive, times the probability of the class. Where two ridge
        regressions are mixed, their solution is computed again.
        """
        if self.similarity != "linear" or analysis.embedding is None:
            return None
        support, queries = (x.to(self.keys) for x in (support, analysis.embedding))
        labels = one_hot(support_y, self.way).to(support)
        own = support_y.long()[..., None]
        shots = labels.sum(1).gather(1, own[..., 0])
        if self.target is not None and self.target.config.natural:
            halves, query_halves = support.chunk(2, -1), queries.chunk(2, -1)
            log_strength = self.get_buffer("log_strength")
            duals = mix_ridge_regressions((halves[0], halves[1]), support_y, self.way, log_strength)
            terms = sum(
                (
                    query @ half.mT * dual.gather(2, own).mT
                    for query, half, dual in zip(query_halves, halves, duals, strict=True)
                ),
                torch.zeros(()),
            )
        else:
            support, queries = (F.normalize(x, dim=-1) for x in (support, queries))
            errors = 1 - (support @ self.keys.mT).gather(2, own)[..., 0]
            terms = queries @ support.mT * (errors / shots)[:, None]
        terms = terms.clamp_min(0)
        index = own.mT.expand_as(terms)
        sums = (terms @ labels).gather(2, index)
        parts = torch.where(sums > 0, terms / sums, 1 / shots[:, None])
        return parts * analysis.log_p.exp().to(parts).gather(2, index)

    @property
    def group_shares(self) -> Float[Tensor, "tasks groups"] | None:
        """Share of each group in the squared weights that tell classes apart.

        The weights are those of ridge regression, minus their mean over the classes; see
        `Classifier.group_shares`.
        """
        n_groups = len(self.groups)
        n_halves, rest = divmod(self.keys.shape[2], sum(self.groups))
        if self.similarity != "linear" or n_groups == 1 or rest:
            return None
        squares = (self.keys - self.keys.mean(1, keepdim=True)).square().sum(1)
        squares = squares.unflatten(1, (n_halves, -1)).sum(1)
        parts = torch.stack([part.sum(1) for part in squares.split(self.groups, 1)], 1)
        return parts / parts.sum(1, keepdim=True)

    def embed_queries(
        self, query_x: Float[Tensor, "tasks query *feature"]
    ) -> Float[Tensor, "tasks query features"]:
        """Compute the features of queries, eq. (4) of LGM-Net."""
        embedded = embed(self.embedding, query_x, self.views)
        return embed_for_task(self.target, self.weights, embedded)
