"""What classifiers share: those that attend to their support, and those that are a network each."""

from __future__ import annotations

from abc import abstractmethod

from jaxtyping import Float, Int
from torch import Tensor

from lgmnet.methods.base import Classifier
from lgmnet.nn.matching import attention, cosine_matching, similarity
from lgmnet.nn.stateless import Network, Statistics, Weights


class AttentionClassifier(Classifier):
    """The support samples, to which queries attend by cosine similarity.

    Whoever is one says how it sees queries (`seen`), and calls `keep` when it is made.
    """

    keys: Tensor
    support_y: Tensor
    scale: Tensor

    def keep(
        self,
        keys: Float[Tensor, "tasks support features"],
        support_y: Int[Tensor, "tasks support"],
        way: int,
        scale: Float[Tensor, ""] | Float[Tensor, "tasks 1 1"],
    ) -> None:
        """Keep what is attended to.

        Args:
            keys: The support samples as queries are seen.
            support_y: Their labels.
            way: Number of classes.
            scale: Inverse temperature of the attention.
        """
        self.way = way
        self.register_buffer("keys", keys)
        self.register_buffer("support_y", support_y)
        self.register_buffer("scale", scale)

    @abstractmethod
    def seen(
        self, query_x: Float[Tensor, "tasks query *feature"]
    ) -> Float[Tensor, "tasks query features"]:
        """Queries as they are compared to the keys."""

    def forward(
        self, query_x: Float[Tensor, "tasks query *feature"]
    ) -> Float[Tensor, "tasks query way"]:
        """Log-probabilities of each query, by `cosine_matching`."""
        return cosine_matching(self.seen(query_x), *self.kept)

    @property
    def kept(self) -> tuple[Tensor, Tensor, int, Tensor]:
        """What is attended to, as the functions of `lgmnet.nn.matching` take it."""
        return self.keys, self.support_y, self.way, self.scale

    def attention(
        self, query_x: Float[Tensor, "tasks query *feature"]
    ) -> Float[Tensor, "tasks query support"]:
        """See `Classifier.attention`."""
        return attention(self.seen(query_x), *self.kept)

    def similarity(
        self, query_x: Float[Tensor, "tasks query *feature"]
    ) -> Float[Tensor, "tasks query"]:
        """See `Classifier.similarity`."""
        return similarity(self.seen(query_x), *self.kept)


class NetworkClassifier(Classifier):
    """A network with the weights of each task, and what its support set is normalised by.

    Args:
        network: The network without its weights.
        weights: The weights of each task.
        statistics: What the support set of each task is normalised by in each layer.
        way: Number of classes.
    """

    def __init__(
        self, network: Network, weights: Weights, statistics: Statistics, way: int
    ) -> None:
        super().__init__()
        self.network = network
        self.way = way
        self.weight_names, self.statistics_names = tuple(weights), tuple(statistics)
        for name, tensor in {**weights, **statistics}.items():
            self.register_buffer(name, tensor)

    @property
    def weights(self) -> Weights:
        """The weights by name."""
        return {name: self.get_buffer(name) for name in self.weight_names}

    @property
    def statistics(self) -> Statistics:
        """The statistics of each layer by name."""
        return {name: self.get_buffer(name) for name in self.statistics_names}
