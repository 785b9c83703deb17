"""Direct training: a network trained on the support set alone, without any meta-learning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from lgmnet.methods.base import Method
from lgmnet.methods.classifiers import NetworkClassifier
from lgmnet.nn.embedding import EmbeddingConfig, need
from lgmnet.nn.stateless import (
    Network,
    Statistics,
    Weights,
    adam,
    build_network,
    init_bodies,
    need_nothing_before,
)


@dataclass(frozen=True)
class TrainFromScratchConfig(EmbeddingConfig):
    """How a network is trained on one support set.

    ``embedding_widths`` are those of the whole network below its linear head.

    Raises:
        ConfigError: naming the field that cannot be.
    """

    may_be_bare: ClassVar[bool] = False

    steps: int = 200
    """Adam's steps on the whole support set."""
    rate: float = 0.01
    """Adam's learning rate."""

    def __post_init__(self) -> None:
        super().__post_init__()
        need(self, "steps", self.steps > 0, "positive")
        need(self, "rate", self.rate > 0, "positive")
        need_nothing_before(self)


class TrainFromScratch(Method):
    """A network trained from random weights by gradient descent on the support set alone.

    The paper's second column of figure 4. Every task gets a network of its own; nothing is learned
    from one task for another, so there is nothing to meta-train.
    """

    config_type = TrainFromScratchConfig
    config: TrainFromScratchConfig

    def _adapt(
        self, support_x: Tensor, support_y: Tensor, way: int, generator: torch.Generator | None
    ) -> FromScratchClassifier:
        network, config = build_network(self.config), self.config

        def trained(weights: Weights, x: Tensor, y: Tensor) -> tuple[Weights, Statistics]:
            def gradient(weights: Weights) -> Weights:
                return network.gradient(lambda w: -(network(w, x) * y).sum(-1).mean(), weights)

            start = weights | network.initial_head(way, x)
            weights = adam(gradient, start, config.steps, config.rate)
            return weights, network.statistics(weights, x)

        with torch.inference_mode(False), torch.no_grad():
            x = support_x.clone()
            y = F.one_hot(support_y.long(), way).to(x)
            over_tasks = network.over_tasks(trained, x.device)
            weights, statistics = over_tasks(init_bodies(network, x, generator), x, y)
        return FromScratchClassifier(network, weights, statistics)

    @classmethod
    def restore(
        cls, config: TrainFromScratchConfig, way: int, state: Mapping[str, Tensor]
    ) -> FromScratchClassifier:
        """The classifier that `adapt` once made (see `Method.restore`)."""
        network = build_network(config)
        weights = network.checked(state, network.weight_shapes(way))
        statistics = {name: state[name] for name in network.statistics_names}
        classifier = FromScratchClassifier(network, weights, statistics)
        classifier.load_state_dict(state)
        return classifier.eval()


class FromScratchClassifier(NetworkClassifier):
    """A network with the weights that training on one support set gave it.

    Args:
        network: The network without its weights.
        weights: The weights of each task.
        statistics: What the support set of each task is normalised by in each layer.
    """

    def __init__(self, network: Network, weights: Weights, statistics: Statistics) -> None:
        super().__init__(network, weights, statistics, weights["head_bias"].shape[-1])

    def forward(
        self, query_x: Float[Tensor, "tasks query *feature"]
    ) -> Float[Tensor, "tasks query way"]:
        """Log-probabilities of each query; it is normalised by the support's statistics."""
        answer = self.network.over_tasks(lambda w, s, q: self.network(w, q, s), query_x.device)
        answers: Tensor = answer(self.weights, self.statistics, query_x)
        return answers
