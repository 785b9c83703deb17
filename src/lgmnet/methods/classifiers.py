"""Base classes of classifiers: those that attend to their support, and those that are networks."""

from __future__ import annotations

from abc import abstractmethod

from jaxtyping import Float, Int
from torch import Tensor

from lgmnet.methods.base import Classifier, QueryAnalysis
from lgmnet.nn.matching import cosine_matching, match_support
from lgmnet.nn.stateless import StatelessNetwork, Statistics, Weights


class AttentionClassifier(Classifier):
    """Classifier whose queries attend to keys of the support by cosine similarity.

    Args:
        keys: Support samples, or class means, in the space in which queries are compared.
        support_y: Label of each key.
        way: Number of classes.
        scale: Inverse temperature of the attention.
    """

    keys: Tensor
    support_y: Tensor
    scale: Tensor

    def __init__(
        self,
        keys: Float[Tensor, "tasks support features"],
        support_y: Int[Tensor, "tasks support"],
        way: int,
        scale: Float[Tensor, ""] | Float[Tensor, "tasks 1 1"],
    ) -> None:
        super().__init__()
        self.way = way
        self.register_buffer("keys", keys)
        self.register_buffer("support_y", support_y)
        self.register_buffer("scale", scale)

    @abstractmethod
    def embed_queries(
        self, query_x: Float[Tensor, "tasks query *feature"]
    ) -> Float[Tensor, "tasks query features"]:
        """Embed queries in the space of the keys."""

    def forward(
        self, query_x: Float[Tensor, "tasks query *feature"]
    ) -> Float[Tensor, "tasks query way"]:
        """Compute log-probabilities of each query with `cosine_matching`."""
        queries = self.embed_queries(query_x)
        return cosine_matching(queries, self.keys, self.support_y, self.way, self.scale)

    def analyze(self, query_x: Float[Tensor, "tasks query *feature"]) -> QueryAnalysis:
        """See `Classifier.analyze`."""
        queries = self.embed_queries(query_x)
        match = match_support(queries, self.keys, self.support_y, self.way, self.scale)
        return QueryAnalysis(match.log_p, match.similarity, match.attention, queries)

    @property
    def support_embedding(self) -> Float[Tensor, "tasks keys features"]:
        """See `Classifier.support_embedding`."""
        return self.keys


class NetworkClassifier(Classifier):
    """Network with weights of each task and the statistics of its support set.

    Args:
        network: Network without its weights.
        weights: Weights of each task.
        statistics: Statistics of each task's support set in each layer.
        way: Number of classes.
    """

    def __init__(
        self, network: StatelessNetwork, weights: Weights, statistics: Statistics, way: int
    ) -> None:
        super().__init__()
        self.network = network
        self.way = way
        self.weight_names, self.statistics_names = tuple(weights), tuple(statistics)
        for name, tensor in {**weights, **statistics}.items():
            self.register_buffer(name, tensor)

    @property
    def weights(self) -> Weights:
        """Weights by name."""
        return {name: self.get_buffer(name) for name in self.weight_names}

    @property
    def statistics(self) -> Statistics:
        """Statistics of each layer by name."""
        return {name: self.get_buffer(name) for name in self.statistics_names}
