"""Training from scratch: a network trained on the support set alone, without meta-learning."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lgmnet.config import require
from lgmnet.methods.base import Classifier, Method
from lgmnet.methods.classifiers import NetworkClassifier
from lgmnet.nn.embedding import EmbeddingConfig
from lgmnet.nn.stateless import StatelessNetwork, Statistics, Weights, adam, require_plain


@dataclass(frozen=True)
class TrainFromScratchConfig:
    """Network, and its training on one support set.

    Raises:
        ConfigError: if a field has a value that is not allowed.

    >>> TrainFromScratchConfig().embedding.feature_shape
    (1, 28, 28)
    """

    embedding: EmbeddingConfig = EmbeddingConfig()
    """The whole network below its linear head."""
    steps: int = 200
    """Adam's steps on the whole support set."""
    rate: float = 0.01
    """Adam's learning rate."""

    def __post_init__(self) -> None:
        require(self, "steps", self.steps > 0, "positive")
        require(self, "rate", self.rate > 0, "positive")
        require_plain(self.embedding)


class TrainFromScratch(Method):
    """Network trained from random weights by gradient descent on the support set alone.

    The paper's second column of figure 4. Every task gets a network of its own; nothing is carried
    from task to task, so there is nothing to meta-train.

    >>> import torch
    >>> method = TrainFromScratch(TrainFromScratchConfig(steps=2)).eval()
    >>> support_x, support_y = torch.rand(2, 5, 1, 28, 28), torch.arange(5).expand(2, -1)
    >>> classifier = method.adapt(support_x, support_y, way=5)  # Two tasks, 5-way 1-shot.
    >>> classifier(torch.rand(2, 3, 1, 28, 28)).shape
    torch.Size([2, 3, 5])
    """

    config_type = TrainFromScratchConfig
    config: TrainFromScratchConfig

    def _adapt(
        self, support_x: Tensor, support_y: Tensor, way: int, generator: torch.Generator | None
    ) -> NetworkClassifier:
        network, config = StatelessNetwork(self.config.embedding), self.config

        def train(weights: Weights, x: Tensor, y: Tensor) -> tuple[Weights, Statistics]:
            def gradient(weights: Weights) -> Weights:
                return network.gradient(lambda w: -(network(w, x) * y).sum(-1).mean(), weights)

            start = weights | network.init_head(way, x)
            weights = adam(gradient, start, config.steps, config.rate)
            return weights, network.statistics(weights, x)

        with torch.inference_mode(False), torch.no_grad():
            x = support_x.clone()
            y = F.one_hot(support_y.long(), way).to(x)
            over_tasks = network.over_tasks(train, x.device)
            weights, statistics = over_tasks(network.init_bodies(x, generator), x, y)
        return NetworkClassifier(network, weights, statistics)

    @classmethod
    def restore(
        cls, config: TrainFromScratchConfig, way: int, state: Mapping[str, Tensor]
    ) -> Classifier:
        """Rebuild a classifier (see `Method.restore`)."""
        network = StatelessNetwork(config.embedding)
        tensors = network.select_state(state, network.weight_shapes(way))
        return NetworkClassifier(network, *tensors).load(state)
