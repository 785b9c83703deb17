"""Matching Networks: a query is answered by attention over the support samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lgmnet.episode import check_every_class_shown
from lgmnet.methods.base import Method
from lgmnet.methods.classifiers import AttentionClassifier
from lgmnet.nn.embedding import EmbeddingConfig, build_embedding, embed, features_of, need
from lgmnet.nn.matching import learned_scale


@dataclass(frozen=True)
class MatchingNetConfig(EmbeddingConfig):
    """Everything that makes one Matching Network differ from another.

    Raises:
        ConfigError: naming the field that cannot be.
    """

    full_context: bool = False
    """Whether each sample is embedded in the light of the whole support set, by LSTMs; the order of
    the support samples then has a say, as in the paper."""
    context_steps: int = 5
    """Processing steps of the queries' LSTM; not read without ``full_context``."""
    temperature: float | None = 10.0
    """Initial inverse temperature of the attention, learned from there; None is the paper's (1)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        need(self, "context_steps", self.context_steps > 0, "positive")
        temperature = self.temperature
        need(self, "temperature", temperature is None or temperature > 0, "positive or None")
        need(self, "views", self.views == 1 or not self.full_context, "1 with 'full_context'")


class MatchingNet(Method):
    """Matching Networks for One Shot Learning (Vinyals and others, NeurIPS 2016).

    https://arxiv.org/abs/1606.04080

    Every sample is embedded, f' for queries and g' for the support (here one network); a query's
    answer is the support's labels, weighted by likeness::

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
        self.embedding = build_embedding(config)
        self.context = build_context(config, self.embedding)
        self.log_scale = learned_scale(config.temperature)

    def _adapt(
        self, support_x: Tensor, support_y: Tensor, way: int, generator: torch.Generator | None
    ) -> MatchingClassifier:
        keys = embed(self.embedding, support_x, self.config.views).flatten(2)
        if self.context is not None:
            keys = self.context.of_support(keys)
        return MatchingClassifier(
            self.embedding,
            self.context,
            keys,
            support_y,
            way,
            self.log_scale.exp(),
            self.config.views,
        )

    @classmethod
    def restore(
        cls, config: MatchingNetConfig, way: int, state: Mapping[str, Tensor]
    ) -> MatchingClassifier:
        """The classifier that `adapt` once made (see `Method.restore`)."""
        check_every_class_shown(state["support_y"], way)
        embedding = build_embedding(config)
        classifier = MatchingClassifier(
            embedding,
            build_context(config, embedding),
            state["keys"],
            state["support_y"],
            way,
            state["scale"],
            config.views,
        )
        classifier.load_state_dict(state)
        return classifier.eval()


class MatchingClassifier(AttentionClassifier):
    """The support samples as they are attended to.

    Args:
        embedding: The shared embedding.
        context: Full-context embeddings, or None.
        keys: Embeddings of the support samples.
        support_y: Labels of the support samples.
        way: Number of classes.
        scale: Inverse temperature of the attention.
        views: How many views of each sample the embedding gives.
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
        """Embeddings of queries, in the light of the support where that is asked for."""
        queries = embed(self.embedding, query_x, self.views).flatten(2)
        return queries if self.context is None else self.context.of_queries(queries, self.keys)


class FullContext(nn.Module):
    """Embeddings of support and queries in the light of the whole support set (appendix A).

    Args:
        features: Length of the embeddings.
        steps: Processing steps K of the queries' LSTM.
    """

    def __init__(self, features: int, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.support = nn.LSTM(features, features, batch_first=True, bidirectional=True)
        # A part r of the state that is read, not learned, is as good as a part of the input.
        self.query = nn.LSTMCell(2 * features, features)

    def of_support(
        self, support: Float[Tensor, "tasks support features"]
    ) -> Float[Tensor, "tasks support features"]:
        """g(x_i, S) of each support sample."""
        ahead, back = self.support(support)[0].chunk(2, dim=-1)
        return cast(Tensor, ahead + back + support)

    def of_queries(
        self,
        query: Float[Tensor, "tasks query features"],
        support: Float[Tensor, "tasks support features"],
    ) -> Float[Tensor, "tasks query features"]:
        """f(x, S) of each query, which no other query has a part in."""
        embedded = query.flatten(0, 1)
        hidden = cell = read = torch.zeros_like(embedded)
        for _ in range(self.steps):
            hidden, cell = self.query(torch.cat([embedded, read], -1), (hidden, cell))  # eq. (2)
            hidden = hidden + embedded  # eq. (3)
            attention = (hidden.view_as(query) @ support.mT).softmax(-1)  # eq. (5)
            read = (attention @ support).flatten(0, 1)  # eq. (4)
        return hidden.view_as(query)


def build_context(config: MatchingNetConfig, embedding: nn.Module) -> FullContext | None:
    """Full-context embeddings, where a config asks for them, for samples of this embedding."""
    if not config.full_context:
        return None
    return FullContext(features_of(config, embedding), config.context_steps)
