"""MAML: weights from which a few gradient steps on the support set lead to a good classifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lgmnet.methods.base import Method
from lgmnet.methods.classifiers import NetworkClassifier
from lgmnet.nn.alignment import DrawingEmbedding
from lgmnet.nn.embedding import EmbeddingConfig, need
from lgmnet.nn.stateless import Network, Statistics, Weights, build_network

Order = Literal["first", "second", "anil"]


@dataclass(frozen=True)
class MAMLConfig(EmbeddingConfig):
    """Everything that makes one MAML differ from another.

    ``embedding_widths`` and ``embedding_pooled`` are those of the network below its linear head;
    with ``intertask_norm`` its layers are normalised over the support set of the one task, without
    it each sample by itself.

    Raises:
        ConfigError: naming the field that cannot be.
    """

    may_be_bare: ClassVar[bool] = False

    order: Order = "second"
    """``second``: the meta-gradient flows through the inner gradients; ``first``: they count as
    constants (FOMAML); ``anil``: only the head is adapted (Raghu et al., ICLR 2020)."""
    inner_steps: int = 5
    """Gradient steps on the support set."""
    inner_rate: float = 0.4
    """Learning rate of these steps."""
    query_statistics: bool = False
    """Whether queries are normalised by the statistics of all queries together, as in the paper's
    code; that is transductive. Else they are normalised by those of the support set."""

    def __post_init__(self) -> None:
        super().__post_init__()
        orders = ("first", "second", "anil")
        need(self, "order", self.order in orders, "'first', 'second' or 'anil'")
        need(self, "inner_steps", self.inner_steps > 0, "positive")
        need(self, "inner_rate", self.inner_rate > 0, "positive")
        need(self, "views", self.views == 1, "1 for this method")
        need(self, "canvas", self.canvas is None, "None for this method")


class MAML(Method):
    """Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks (Finn and others, 2017).

    https://arxiv.org/abs/1703.03400

    What is learned is where to start from; a task's classifier is the network after a few steps of
    gradient descent on the loss L of its support set S_i::

        theta_i = theta - alpha * grad L(f_theta, S_i), repeated              (1)

    The head starts at zero, not at learned weights, so that tasks may have any number of classes
    and none is favoured by its place (Kao, Chiu and Chen, ICLR 2022: it even helps).
    """

    config_type = MAMLConfig
    config: MAMLConfig

    def __init__(self, config: MAMLConfig) -> None:
        super().__init__(config)
        self.is_transductive = config.query_statistics
        if config.align is not None:
            self.embedding = DrawingEmbedding(nn.Identity(), config.align, views=1)
        self.network = build_network(config)
        self.body = nn.ParameterDict(self.network.initial_body())

    def _adapt(
        self, support_x: Tensor, support_y: Tensor, way: int, generator: torch.Generator | None
    ) -> MAMLClassifier:
        config, network = self.config, self.network
        body = dict(self.body.items())

        def adapted(x: Tensor, y: Tensor) -> tuple[Weights, Statistics]:
            moving = network.initial_head(way, x)
            fixed: Weights = {}
            if config.order == "anil":
                fixed = body
            else:
                moving |= body

            def loss(moving: Weights) -> Tensor:
                return -(network({**fixed, **moving}, x) * y).sum(-1).mean()

            further = outer and config.order != "first"
            for _ in range(config.inner_steps):  # eq. (1)
                step = network.gradient(loss, moving, further=further)
                moving = {
                    name: torch.add(w, step[name], alpha=-config.inner_rate)
                    for name, w in moving.items()
                }
            return moving, network.statistics({**fixed, **moving}, x)

        # Inner gradients need tensors that autograd may keep, even where nobody needs outer ones.
        outer = torch.is_grad_enabled()
        with torch.inference_mode(False), torch.set_grad_enabled(outer):
            x = embed_each(self.embedding, support_x.clone())
            y = F.one_hot(support_y.long(), way).to(x)
            weights, statistics = network.over_tasks(adapted, x.device)(x, y)
        if config.order == "anil":
            tasks = len(support_x)
            # Copies: a classifier stays what it is when its method goes on learning.
            weights |= {name: w.expand(tasks, *w.shape).clone() for name, w in body.items()}
        weights = {name: weights[name] for name in network.weight_shapes(way)}
        return MAMLClassifier(self.embedding, network, weights, statistics, config)

    @classmethod
    def restore(cls, config: MAMLConfig, way: int, state: Mapping[str, Tensor]) -> MAMLClassifier:
        """The classifier that `adapt` once made (see `Method.restore`)."""
        method = cls(config)
        names = method.network.weight_shapes(way)
        weights = method.network.checked(state, names)
        statistics = {name: state[name] for name in method.network.statistics_names}
        classifier = MAMLClassifier(method.embedding, method.network, weights, statistics, config)
        classifier.load_state_dict(state)
        return classifier.eval()


class MAMLClassifier(NetworkClassifier):
    """A network after its steps of gradient descent on a support set.

    Args:
        embedding: What every sample passes first: the alignment of drawings, or nothing.
        network: The network without its weights.
        weights: The adapted weights of each task.
        statistics: What the support set of each task is normalised by in each layer.
        config: Whether queries are normalised by their own statistics.
    """

    def __init__(
        self,
        embedding: nn.Module,
        network: Network,
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
        """Log-probabilities of each query."""
        x = embed_each(self.embedding, query_x)

        def answer(weights: Weights, statistics: Statistics, query: Tensor) -> Tensor:
            used = None if self.query_statistics else statistics
            return self.network(weights, query, used)

        over_tasks = self.network.over_tasks(answer, x.device)
        answers: Tensor = over_tasks(self.weights, self.statistics, x)
        return answers


def embed_each(
    embedding: nn.Module, x: Float[Tensor, "tasks samples *feature"]
) -> Float[Tensor, "tasks samples *feature"]:
    """Every sample of every task through what does not depend on the task."""
    embedded: Tensor = embedding(x.flatten(0, 1))
    return embedded.view_as(x)
