"""Matching Networks: a query is classified by attention over the support samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lgmnet.config import require
from lgmnet.methods.base import Classifier, Method
from lgmnet.methods.classifiers import AttentionClassifier, check_shapes, select_keys
from lgmnet.nn.embedding import EmbeddingConfig, build_embedding, embed
from lgmnet.nn.matching import learned_scale, require_temperature

MAX_STEPS = 100
"""Limit for the processing steps, which a classifier file can demand; the paper has 10."""


@dataclass(frozen=True)
class MatchingNetConfig:
    """All parts of a Matching Network.

    Raises:
        ConfigError: if a field has a value that is not allowed.
    """

    embedding: EmbeddingConfig = EmbeddingConfig()
    """Shared embedding."""
    full_context_steps: int = 0
    """0: each sample is embedded by itself. Else full-context embeddings: LSTMs embed each sample
    together with the whole support set, with so many processing steps for queries. The order of the
    support samples then matters, as in the paper."""
    temperature: float | None = 10.0
    """Initial inverse temperature of the attention, learned from there; None is the paper's (1)."""

    def __post_init__(self) -> None:
        has_steps = 0 <= self.full_context_steps <= MAX_STEPS
        require(self, "full_context_steps", has_steps, f"0 to {MAX_STEPS}")
        require_temperature(self, self.temperature)
        one_view = self.embedding.views == 1
        expected = "0 where drawings are embedded in several views"
        require(self, "full_context_steps", one_view or not self.full_context_steps, expected)


class MatchingNet(Method):
    """Matching Networks for One Shot Learning (Vinyals and others, NeurIPS 2016).

    https://arxiv.org/abs/1606.04080

    Every sample is embedded, by f' for queries and g' for the support (here one network). A query's
    answer is the mean of the support's labels, weighted by similarity::

        a(x, x_i) = softmax over i of scale * cos(f(x, S), g(x_i, S))
        p(y | x, S) = sum over i of a(x, x_i) y_i                             (1)

    Without full context, f = f' and g = g'. With it (appendix A.1 and A.2)::

        g(x_i, S) = h_i + h_i' + g'(x_i), of a bidirectional LSTM over the support
        h_k^, c_k = LSTM(f'(x), [h_k-1, r_k-1], c_k-1)                        (2)
        h_k = h_k^ + f'(x)                                                    (3)
        r_k-1 = sum over i of softmax(h_k-1^T g(x_i)) g(x_i)                  (4), (5)
        f(x, S) = h_K
    """

    config_type = MatchingNetConfig
    config: MatchingNetConfig

    def __init__(self, config: MatchingNetConfig) -> None:
        super().__init__(config)
        self.embedding = build_embedding(config.embedding)
        self.context = build_context(config)
        self.log_scale = learned_scale(config.temperature)

    def _adapt(
        self, support_x: Tensor, support_y: Tensor, way: int, generator: torch.Generator | None
    ) -> MatchingClassifier:
        keys = embed(self.embedding, support_x, self.config.embedding.views).flatten(2)
        if self.context is not None:
            keys = self.context.embed_support(keys)
        scale, views = self.log_scale.exp(), self.config.embedding.views
        return MatchingClassifier(self.embedding, self.context, keys, support_y, way, scale, views)

    @classmethod
    def restore(
        cls, config: MatchingNetConfig, way: int, state: Mapping[str, Tensor]
    ) -> Classifier:
        """Rebuild a classifier (see `Method.restore`)."""
        layers = build_embedding(config.embedding), build_context(config)
        check_shapes(state, {"scale": ()})
        keys, views = select_keys(state, way), config.embedding.views
        return MatchingClassifier(*layers, *keys, way, state["scale"], views).load(state)


class MatchingClassifier(AttentionClassifier):
    """Embeddings of the support samples; the other arguments are those of `AttentionClassifier`.

    Args:
        embedding: Shared embedding.
        context: Full-context embeddings, or None.
        views: Number of views of each sample that the embedding gives.
    """

    def __init__(
        self,
        embedding: nn.Module,
        context: FullContext | None,
        keys: Float[Tensor, "tasks support features"],
        support_y: Int[Tensor, "tasks support"],
        way: int,
        scale: Float[Tensor, ""],
        views: int,
    ) -> None:
        super().__init__(keys, support_y, way, scale)
        self.embedding = embedding
        self.context = context
        self.views = views

    def embed_queries(
        self, query_x: Float[Tensor, "tasks query *feature"]
    ) -> Float[Tensor, "tasks query features"]:
        """Embed queries, together with the support if there are full-context embeddings."""
        queries = embed(self.embedding, query_x, self.views).flatten(2)
        return queries if self.context is None else self.context.embed_queries(queries, self.keys)


class FullContext(nn.Module):
    """Embeddings of samples together with the whole support set (appendix A).

    Queries take ``steps`` processing steps, K in the paper.
    """

    def __init__(self, features: int, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.support = nn.LSTM(features, features, batch_first=True, bidirectional=True)
        # The part r of the state is read, not learned, so it can just as well be an input.
        self.query = nn.LSTMCell(2 * features, features)

    def embed_support(
        self, support: Float[Tensor, "tasks support features"]
    ) -> Float[Tensor, "tasks support features"]:
        """Compute g(x_i, S) of each support sample."""
        ahead, back = self.support(support)[0].chunk(2, dim=-1)
        return cast(Tensor, ahead + back + support)

    def embed_queries(
        self,
        query: Float[Tensor, "tasks query features"],
        support: Float[Tensor, "tasks support features"],
    ) -> Float[Tensor, "tasks query features"]:
        """Compute f(x, S) of each query; no other query matters."""
        embedded = query.flatten(0, 1)
        hidden = cell = read = torch.zeros_like(embedded)
        for _ in range(self.steps):
            hidden, cell = self.query(torch.cat([embedded, read], -1), (hidden, cell))  # eq. (2)
            hidden = hidden + embedded  # eq. (3)
            attention = (hidden.view_as(query) @ support.mT).softmax(-1)  # eq. (5)
            read = (attention @ support).flatten(0, 1)  # eq. (4)
        return hidden.view_as(query)


def build_context(config: MatchingNetConfig) -> FullContext | None:
    """Build full-context embeddings on top of the shared embedding, if the config has them."""
    steps = config.full_context_steps
    return FullContext(config.embedding.n_features, steps) if steps else None
