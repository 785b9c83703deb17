"""Random weights: a matching head on a network that is never trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lgmnet.config import require
from lgmnet.methods.base import Classifier, Method
from lgmnet.methods.classifiers import AttentionClassifier, select_keys
from lgmnet.nn.embedding import EmbeddingConfig
from lgmnet.nn.stateless import StatelessNetwork, Statistics, Weights, require_plain


@dataclass(frozen=True)
class RandomWeightsConfig:
    """Network that is never trained, and its matching head.

    Raises:
        ConfigError: if a field has a value that is not allowed.

    >>> RandomWeightsConfig().embedding.feature_shape
    (1, 28, 28)
    """

    embedding: EmbeddingConfig = EmbeddingConfig()
    """The network."""
    temperature: float = 10.0
    """Inverse temperature of the matching head."""

    def __post_init__(self) -> None:
        require(self, "temperature", self.temperature > 0, "positive")
        require_plain(self.embedding)


class RandomWeights(Method):
    """Matching head on a network with random weights: the paper's first column of figure 4.

    >>> import torch
    >>> method = RandomWeights(RandomWeightsConfig()).eval()
    >>> support_x, support_y = torch.rand(2, 5, 1, 28, 28), torch.arange(5).expand(2, -1)
    >>> classifier = method.adapt(support_x, support_y, way=5)  # Two tasks, 5-way 1-shot.
    >>> classifier(torch.rand(2, 3, 1, 28, 28)).shape
    torch.Size([2, 3, 5])
    """

    config_type = RandomWeightsConfig
    config: RandomWeightsConfig

    def _adapt(
        self, support_x: Tensor, support_y: Tensor, way: int, generator: torch.Generator | None
    ) -> RandomClassifier:
        network = StatelessNetwork(self.config.embedding)
        weights = network.init_bodies(support_x, generator)
        device = support_x.device
        keys = network.over_tasks(network.embed, device)(weights, support_x)
        statistics = network.over_tasks(network.statistics, device)(weights, support_x)
        temperature = self.config.temperature
        return RandomClassifier(network, weights, statistics, keys, support_y, way, temperature)

    @classmethod
    def restore(
        cls, config: RandomWeightsConfig, way: int, state: Mapping[str, Tensor]
    ) -> Classifier:
        """Rebuild a classifier (see `Method.restore`)."""
        network = StatelessNetwork(config.embedding)
        tensors = network.select_state(state, network.body_shapes)
        keys = select_keys(state, way)
        return RandomClassifier(network, *tensors, *keys, way, config.temperature).load(state)


class RandomClassifier(AttentionClassifier):
    """Support samples embedded by a random network.

    Args:
        network: Network without its weights.
        weights: Random weights of each task.
        statistics: Statistics of each task's support set in each layer.
        keys: Embeddings of the support samples.
        support_y: Label of each key.
        way: Number of classes.
        temperature: Inverse temperature of the matching head.
    """

    def __init__(
        self,
        network: StatelessNetwork,
        weights: Weights,
        statistics: Statistics,
        keys: Float[Tensor, "tasks support features"],
        support_y: Int[Tensor, "tasks support"],
        way: int,
        temperature: float,
    ) -> None:
        super().__init__(keys, support_y, way, temperature)
        self.network = network
        self.register_buffers(weights | statistics)

    def embed_queries(
        self, query_x: Float[Tensor, "tasks query *feature"]
    ) -> Float[Tensor, "tasks query features"]:
        """Pass queries through each task's network, normalized by its support's statistics."""
        network = self.network
        weights = self.get_buffers(network.body_shapes)
        statistics = self.get_buffers(network.statistics_names)
        embed = network.over_tasks(lambda w, s, q: network.embed(w, q, s), query_x.device)
        queries: Tensor = embed(weights, statistics, query_x)
        return queries
