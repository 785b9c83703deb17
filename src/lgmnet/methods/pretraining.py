"""What methods share that pretrain an embedding by classification and adapt a linear head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from lgmnet.methods.base import Classifier, Method
from lgmnet.nn.classification import ClassHead
from lgmnet.nn.embedding import EmbeddingConfig, build_embedding, embed, features_of, need


@dataclass(frozen=True)
class PretrainedConfig(EmbeddingConfig):
    """The embedding, and the classes that it is pretrained to tell apart.

    Raises:
        ConfigError: naming the field that cannot be.
    """

    classes: int = 64
    """Classes to pretrain on: as many as the training split has."""

    def __post_init__(self) -> None:
        super().__post_init__()
        need(self, "classes", self.classes > 1, "at least 2")


class Pretrained(Method):
    """An embedding pretrained by ordinary classification; each task gets a linear head.

    In training, all images of a task, support and queries alike, are told apart among all training
    classes; the head that does it is not used after training.
    """

    config: PretrainedConfig

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__(config)
        self.embedding = build_embedding(config)
        # Without layers of its own there is nothing to pretrain.
        self.head = (
            ClassHead(features_of(config, self.embedding), config.classes)
            if config.embedding_widths
            else None
        )

    def learn(
        self,
        support_x: Tensor,
        support_y: Tensor,
        query_x: Tensor,
        query_y: Tensor,
        way: int,
        generator: torch.Generator | None = None,
        classes: Int[Tensor, "tasks way"] | None = None,
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "tasks query way"]]:
        """The loss of classification, and what the head says of the queries among their classes.

        See `Method.learn`.

        Raises:
            ConfigError: if there are more training classes than ``classes`` of the config.
        """
        assert self.head is not None, "there is nothing to learn"
        images, labels = torch.cat([support_x, query_x], 1), torch.cat([support_y, query_y], 1)
        logits = self.head(self.features(images).flatten(2))
        loss = self.head.loss(logits, labels, classes)
        return loss, self.head.among(logits[:, support_x.shape[1] :], classes)

    def features(
        self, x: Float[Tensor, "tasks samples *feature"]
    ) -> Float[Tensor, "tasks samples views features"]:
        """What a head sees of each sample, in each view."""
        return embed(self.embedding, x, self.config.views).flatten(3)

    @classmethod
    def restore(cls, config: Any, way: int, state: Mapping[str, Tensor]) -> LinearClassifier:
        """The classifier that `adapt` once made (see `Method.restore`)."""
        if state["weight"].ndim != 3 or state["weight"].shape[1] != way:
            raise RuntimeError(f"this is not a head of {way} classes")
        classifier = LinearClassifier(
            build_embedding(config), state["weight"], state["bias"], config, cls.unit_length(config)
        )
        classifier.load_state_dict(state)
        return classifier.eval()

    @staticmethod
    def unit_length(config: Any) -> bool:
        """Whether the heads of this method see features divided by their length."""
        return True


class LinearClassifier(Classifier):
    """A linear head on the frozen embedding; the log-probabilities of several views are averaged.

    Args:
        embedding: The shared embedding.
        weight: Of each task's head.
        bias: Of each task's head.
        config: How many views.
        unit_length: Whether features are divided by their length before the head.
    """

    weight: Tensor
    bias: Tensor

    def __init__(
        self,
        embedding: nn.Module,
        weight: Float[Tensor, "tasks way features"],
        bias: Float[Tensor, "tasks way"],
        config: PretrainedConfig,
        unit_length: bool,
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.way = weight.shape[1]
        self.views = config.views
        self.unit_length = unit_length
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    def forward(
        self, query_x: Float[Tensor, "tasks query *feature"]
    ) -> Float[Tensor, "tasks query way"]:
        """Log-probabilities of each query."""
        features = embed(self.embedding, query_x, self.views).flatten(3)
        with torch.autocast(features.device.type, enabled=False):
            features = features.to(self.weight.dtype)
            if self.unit_length:
                features = F.normalize(features, dim=-1)
            logits = features @ self.weight[:, None].mT + self.bias[:, None, None]
            return logits.log_softmax(-1).mean(2).log_softmax(-1)
