"""Matching Networks: a query is classified by attention over the support samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lgmnet.config import require
from lgmnet.methods.metric import MetricConfig, MetricMethod
from lgmnet.methods.metric_classifier import MetricClassifier

MAX_STEPS = 100
"""Limit for the processing steps, which a classifier file can demand; the paper has 10."""


@dataclass(frozen=True)
class MatchingNetConfig(MetricConfig):
    """All parts of a Matching Network; see `MetricConfig`.

    Raises:
        ConfigError: if a field has a value that is not allowed.

    >>> MatchingNetConfig().head.kind
    'attention'
    """

    full_context_steps: int = 0
    """0: each sample is embedded by itself. Else full-context embeddings: LSTMs embed each sample
    together with the whole support set, with so many processing steps for queries. The order of the
    support samples then matters, as in the paper."""

    def __post_init__(self) -> None:
        super().__post_init__()
        has_context = self.full_context_steps > 0
        has_steps = 0 <= self.full_context_steps <= MAX_STEPS
        require(self, "full_context_steps", has_steps, f"0 to {MAX_STEPS}")
        expected = "0 where drawings are embedded in several views"
        require(self, "full_context_steps", self.embedding.views == 1 or not has_context, expected)
        is_plain = self.head.kind == "attention" and self.target is None
        expected = "0 unless the head is 'attention' and there is no 'target'"
        require(self, "full_context_steps", is_plain or not has_context, expected)

    @staticmethod
    def upgrade(values: Mapping[str, Any]) -> dict[str, Any]:
        """Rename the fields that had other names in earlier files (see `lgmnet.config`)."""
        values = MetricConfig.upgrade(values)
        if "temperature" in values:
            values["head"] = {"temperature": values.pop("temperature")}
        return values


class MatchingNet(MetricMethod):
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

    >>> import torch
    >>> method = MatchingNet(MatchingNetConfig()).eval()
    >>> support_x, support_y = torch.rand(2, 5, 1, 28, 28), torch.arange(5).expand(2, -1)
    >>> classifier = method.adapt(support_x, support_y, way=5)  # Two tasks, 5-way 1-shot.
    >>> classifier(torch.rand(2, 3, 1, 28, 28)).shape
    torch.Size([2, 3, 5])
    """

    config_type = MatchingNetConfig
    config: MatchingNetConfig

    def __init__(self, config: MatchingNetConfig) -> None:
        super().__init__(config)
        self.context = build_context(config)

    def fit_keys(
        self,
        features: Float[Tensor, "tasks support features"],
        support_y: Int[Tensor, "tasks support"],
        way: int,
        generator: torch.Generator | None,
        log_strength: Float[Tensor, "tasks 1 1"] | float = 0.0,
    ) -> tuple[Float[Tensor, "tasks keys features"], Int[Tensor, "tasks keys"]]:
        """Embed the support in its full context, if there is one; see `MetricMethod`."""
        if self.context is not None:
            features = self.context.embed_support(features)
        return super().fit_keys(features, support_y, way, generator, log_strength)

    def _adapt(
        self, support_x: Tensor, support_y: Tensor, way: int, generator: torch.Generator | None
    ) -> MetricClassifier:
        classifier = super()._adapt(support_x, support_y, way, generator)
        assert isinstance(classifier, MatchingClassifier)
        classifier.context = self.context
        return classifier

    @classmethod
    def build_classifier(
        cls, config: Any, way: int, state: Mapping[str, Tensor]
    ) -> MatchingClassifier:
        """Build a classifier for a state; see `MetricMethod.build_classifier`."""
        classifier = super().build_classifier(config, way, state)
        assert isinstance(classifier, MatchingClassifier)
        classifier.context = build_context(config)
        return classifier


class MatchingClassifier(MetricClassifier):
    """Embeddings of the support samples, and full-context embeddings of queries if there are any.

    The arguments are those of `MetricClassifier`.
    """

    context: FullContext | None

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.context = None

    def embed_queries(
        self, query_x: Float[Tensor, "tasks query *feature"]
    ) -> Float[Tensor, "tasks query features"]:
        """Embed queries, together with the support if there are full-context embeddings."""
        queries = super().embed_queries(query_x)
        return queries if self.context is None else self.context.embed_queries(queries, self.keys)


MatchingNet.classifier_type = MatchingClassifier


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
