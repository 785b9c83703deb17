"""Prototypical Networks: a class is the mean of its support samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lgmnet.config import require
from lgmnet.devices import without_autocast
from lgmnet.methods.base import Classifier, Method
from lgmnet.methods.classifiers import check_shapes
from lgmnet.nn.embedding import EmbeddingConfig, build_embedding, embed
from lgmnet.nn.matching import class_means, learned_scale, require_temperature, squared_distances

Distance = Literal["euclidean", "cosine"]


@dataclass(frozen=True)
class ProtoNetConfig:
    """All parts of a Prototypical Network.

    Raises:
        ConfigError: if a field has a value that is not allowed.
    """

    embedding: EmbeddingConfig = EmbeddingConfig()
    """Shared embedding."""
    distance: Distance = "euclidean"
    """``euclidean``: squared, as in the paper; ``cosine``: the paper's alternative."""
    temperature: float | None = None
    """Initial inverse temperature of the softmax, learned from there; None is the paper's (1)."""

    def __post_init__(self) -> None:
        distances = ("euclidean", "cosine")
        require(self, "distance", self.distance in distances, "'euclidean' or 'cosine'")
        require_temperature(self, self.temperature)


class ProtoNet(Method):
    """Prototypical Networks for Few-shot Learning (Snell, Swersky and Zemel, NeurIPS 2017).

    https://arxiv.org/abs/1703.05175

    Every sample is embedded. The prototype of a class is the mean of its support samples'
    embeddings, and a query belongs to the classes whose prototypes are near::

        c_k = mean over the support samples x of class k of embedding(x)      (1)
        p(k | x) = softmax over k of -scale * |embedding(x) - c_k|^2          (2)
    """

    config_type = ProtoNetConfig
    config: ProtoNetConfig

    def __init__(self, config: ProtoNetConfig) -> None:
        super().__init__(config)
        self.embedding = build_embedding(config.embedding)
        self.log_scale = learned_scale(config.temperature)

    def _adapt(
        self, support_x: Tensor, support_y: Tensor, way: int, generator: torch.Generator | None
    ) -> ProtoClassifier:
        embedded = embed(self.embedding, support_x, self.config.embedding.views)
        prototypes = class_means(embedded.flatten(2), support_y, way)  # eq. (1)
        return ProtoClassifier(self.embedding, prototypes, self.log_scale.exp(), self.config)

    @classmethod
    def restore(cls, config: ProtoNetConfig, way: int, state: Mapping[str, Tensor]) -> Classifier:
        """Rebuild a classifier (see `Method.restore`)."""
        n_features = config.embedding.views * config.embedding.n_features
        check_shapes(state, {"prototypes": (1, way, n_features), "scale": ()})
        embedding = build_embedding(config.embedding)
        return ProtoClassifier(embedding, state["prototypes"], state["scale"], config).load(state)


class ProtoClassifier(Classifier):
    """Prototypes of a task's classes; ``config`` has the distance and the number of views."""

    prototypes: Tensor
    scale: Tensor

    def __init__(
        self,
        embedding: nn.Module,
        prototypes: Float[Tensor, "tasks way features"],
        scale: Float[Tensor, ""],
        config: ProtoNetConfig,
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.way = prototypes.shape[1]
        self.distance = config.distance
        self.views = config.embedding.views
        self.register_buffers({"prototypes": prototypes, "scale": scale})

    def forward(
        self, query_x: Float[Tensor, "tasks query *feature"]
    ) -> Float[Tensor, "tasks query way"]:
        """Compute log-probabilities of each query, eq. (2); views count by their mean."""
        queries = embed(self.embedding, query_x, self.views).flatten(2)
        with without_autocast(queries.device):
            prototypes = self.prototypes
            queries = queries.to(prototypes.dtype)
            if self.distance == "cosine":
                similarity = F.normalize(queries, dim=-1) @ F.normalize(prototypes, dim=-1).mT
            else:
                similarity = -squared_distances(queries, prototypes) / self.views
            return (self.scale * similarity).log_softmax(-1)
