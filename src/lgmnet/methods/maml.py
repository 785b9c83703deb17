"""MAML: weights from which a few gradient steps on the support set lead to a good classifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lgmnet.config import require
from lgmnet.methods.base import Method
from lgmnet.methods.classifiers import NetworkClassifier
from lgmnet.nn.alignment import AlignedEmbedding
from lgmnet.nn.embedding import EmbeddingConfig
from lgmnet.nn.stateless import StatelessNetwork, Statistics, Weights


@dataclass(frozen=True)
class MAMLConfig:
    """Network, and its gradient steps on one support set.

    Raises:
        ConfigError: if a field has a value that is not allowed.
    """

    embedding: EmbeddingConfig = EmbeddingConfig()
    """The network below its linear head. With ``norm="intertask"`` its layers are normalized over
    the support set of the one task."""
    inner_steps: int = 5
    """Gradient steps on the support set."""
    inner_rate: float = 0.4
    """Learning rate of these steps."""
    query_statistics: bool = False
    """If True, queries are normalized by the statistics of all queries, as in the paper's code,
    which is transductive; else by those of the support set."""

    def __post_init__(self) -> None:
        embedding = self.embedding
        require(embedding, "widths", len(embedding.widths) > 0, "positive numbers, at least one")
        require(self, "inner_steps", self.inner_steps > 0, "positive")
        require(self, "inner_rate", self.inner_rate > 0, "positive")
        if embedding.alignment:
            require(embedding.alignment, "views", embedding.views == 1, "1 for this method")
            canvas = embedding.alignment.canvas
            require(embedding.alignment, "canvas", canvas is None, "None for this method")


class MAML(Method):
    """Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks (Finn and others, 2017).

    https://arxiv.org/abs/1703.03400

    Initial weights are learned; a task's classifier is the network after a few steps of gradient
    descent on the loss L of its support set S_i. The meta-gradient is of second order::

        theta_i = theta - alpha * grad L(f_theta, S_i), repeated              (1)

    The head starts at zero instead of learned weights, so that tasks may have any number of classes
    and no class is favoured by its position (Kao, Chiu and Chen, ICLR 2022: it even helps).
    """

    config_type = MAMLConfig
    config: MAMLConfig

    def __init__(self, config: MAMLConfig) -> None:
        super().__init__(config)
        self.is_transductive = config.query_statistics
        if config.embedding.alignment is not None:
            self.embedding = AlignedEmbedding(nn.Identity(), config.embedding.alignment)
        self.network = StatelessNetwork(config.embedding)
        self.body = nn.ParameterDict(self.network.init_body())

    def _adapt(
        self, support_x: Tensor, support_y: Tensor, way: int, generator: torch.Generator | None
    ) -> MAMLClassifier:
        config, network = self.config, self.network
        body = dict(self.body.items())

        def adapt_task(x: Tensor, y: Tensor) -> tuple[Weights, Statistics]:
            weights = network.init_head(way, x) | body

            def loss(weights: Weights) -> Tensor:
                return -(network(weights, x) * y).sum(-1).mean()

            for _ in range(config.inner_steps):  # eq. (1)
                step = network.gradient(loss, weights, create_graph=is_training)
                weights = {
                    name: torch.add(w, step[name], alpha=-config.inner_rate)
                    for name, w in weights.items()
                }
            return weights, network.statistics(weights, x)

        # Inner gradients need tensors that autograd may keep, even where no outer ones are needed.
        is_training = torch.is_grad_enabled()
        with torch.inference_mode(False), torch.set_grad_enabled(is_training):
            x = embed_samples(self.embedding, support_x.clone())
            y = F.one_hot(support_y.long(), way).to(x)
            weights, statistics = network.over_tasks(adapt_task, x.device)(x, y)
        weights = {name: weights[name] for name in network.weight_shapes(way)}
        return MAMLClassifier(self.embedding, network, weights, statistics, config)

    @classmethod
    def restore(cls, config: MAMLConfig, way: int, state: Mapping[str, Tensor]) -> MAMLClassifier:
        """Rebuild a classifier (see `Method.restore`)."""
        method = cls(config)
        shapes = method.network.weight_shapes(way)
        weights = method.network.select_weights(state, shapes)
        statistics = {name: state[name] for name in method.network.statistics_names}
        classifier = MAMLClassifier(method.embedding, method.network, weights, statistics, config)
        classifier.load_state_dict(state)
        return classifier.eval()


class MAMLClassifier(NetworkClassifier):
    """Network after its steps of gradient descent on a support set.

    Args:
        embedding: Alignment of drawings, or an identity.
        network: Network without its weights.
        weights: Adapted weights of each task.
        statistics: Statistics of each task's support set in each layer.
        config: Config of the method; says how queries are normalized.
    """

    def __init__(
        self,
        embedding: nn.Module,
        network: StatelessNetwork,
        weights: Weights,
        statistics: Statistics,
        config: MAMLConfig,
    ) -> None:
        super().__init__(network, weights, statistics, weights["head_bias"].shape[-1])
        self.embedding = embedding
        self.query_statistics = config.query_statistics

    def forward(
        self, query_x: Float[Tensor, "tasks query *feature"]
    ) -> Float[Tensor, "tasks query way"]:
        """Compute log-probabilities of each query."""
        x = embed_samples(self.embedding, query_x)

        def answer(weights: Weights, statistics: Statistics, query: Tensor) -> Tensor:
            return self.network(weights, query, None if self.query_statistics else statistics)

        over_tasks = self.network.over_tasks(answer, x.device)
        log_p: Tensor = over_tasks(self.weights, self.statistics, x)
        return log_p


def embed_samples(
    embedding: nn.Module, x: Float[Tensor, "tasks samples *feature"]
) -> Float[Tensor, "tasks samples *feature"]:
    """Pass every sample of every task through layers that do not depend on the task."""
    embedded: Tensor = embedding(x.flatten(0, 1))
    return embedded.view_as(x)
