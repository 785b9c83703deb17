"""MAML: weights from which a few gradient steps on the support set lead to a good classifier."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lgmnet.config import require
from lgmnet.methods.base import Classifier, Method
from lgmnet.methods.classifiers import NetworkClassifier, embed_samples
from lgmnet.nn.alignment import AlignedEmbedding
from lgmnet.nn.embedding import EmbeddingConfig
from lgmnet.nn.stateless import StatelessNetwork, Statistics, Weights


@dataclass(frozen=True)
class MAMLConfig:
    """Network, and its gradient steps on one support set.

    Raises:
        ConfigError: if a field has a value that is not allowed.

    >>> MAMLConfig().inner_steps
    5
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
        require(embedding, "readout", embedding.readout == "last", "'last' for this method")
        require(self, "inner_steps", self.inner_steps > 0, "positive")
        require(self, "inner_rate", self.inner_rate > 0, "positive")
        if alignment := embedding.alignment:
            require(alignment, "views", alignment.views == 1, "1 for this method")
            require(alignment, "canvas", alignment.canvas is None, "None for this method")


class MAML(Method):
    """Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks (Finn and others, 2017).

    https://arxiv.org/abs/1703.03400

    Initial weights are learned; a task's classifier is the network after a few steps of gradient
    descent on the loss L of its support set S_i. The meta-gradient is of second order::

        theta_i = theta - alpha * grad L(f_theta, S_i), repeated              (1)

    The head starts at zero instead of learned weights, so that tasks may have any number of classes
    and no class is favoured by its position (Kao, Chiu and Chen, ICLR 2022: it even helps).

    >>> import torch
    >>> method = MAML(MAMLConfig(inner_steps=2)).eval()
    >>> support_x, support_y = torch.rand(2, 5, 1, 28, 28), torch.arange(5).expand(2, -1)
    >>> classifier = method.adapt(support_x, support_y, way=5)  # Two tasks, 5-way 1-shot.
    >>> classifier(torch.rand(2, 3, 1, 28, 28)).shape
    torch.Size([2, 3, 5])
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
    ) -> NetworkClassifier:
        config, network = self.config, self.network
        body = dict(self.body.items())

        def adapt_task(x: Tensor, y: Tensor) -> tuple[Weights, Statistics]:
            weights = network.init_head(way, x) | body

            def loss(weights: Weights) -> Tensor:
                return -(network(weights, x) * y).sum(-1).mean()

            for _ in range(config.inner_steps):  # eq. (1)
                step = network.gradient(loss, weights, create_graph=is_training)
                rate = config.inner_rate
                weights = {n: torch.add(w, step[n], alpha=-rate) for n, w in weights.items()}
            return weights, network.statistics(weights, x)

        # Inner gradients need tensors that autograd may keep, even where no outer ones are needed.
        is_training = torch.is_grad_enabled()
        with torch.inference_mode(False), torch.set_grad_enabled(is_training):
            x = embed_samples(self.embedding, support_x.clone())
            y = F.one_hot(support_y.long(), way).to(x)
            weights, statistics = network.over_tasks(adapt_task, x.device)(x, y)
        weights = {name: weights[name] for name in network.weight_shapes(way)}
        return self.build_classifier(weights, statistics)

    @classmethod
    def restore(cls, config: MAMLConfig, way: int, state: Mapping[str, Tensor]) -> Classifier:
        """Rebuild a classifier (see `Method.restore`)."""
        method = cls(config)
        tensors = method.network.select_state(state, method.network.weight_shapes(way))
        return method.build_classifier(*tensors).load(state)

    def build_classifier(self, weights: Weights, statistics: Statistics) -> NetworkClassifier:
        """Build a classifier with adapted weights and the statistics of the support set."""
        by_queries = self.config.query_statistics
        return NetworkClassifier(
            self.network, weights, statistics, self.embedding, query_statistics=by_queries
        )
