"""What classifiers hold that are a network with weights of its own for each task."""

from __future__ import annotations

from lgmnet.methods.base import Classifier
from lgmnet.modules.functional import Network, Statistics, Weights


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
