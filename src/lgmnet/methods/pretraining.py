"""Base of the methods that pretrain an embedding by classification and adapt a linear head."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor, nn
from torch.nn import functional as F

from lgmnet.devices import without_autocast
from lgmnet.episode import Episode
from lgmnet.methods.base import Classifier, Method
from lgmnet.methods.classifiers import check_shapes
from lgmnet.nn.classification import ClassHead, require_class_head
from lgmnet.nn.embedding import build_embedding, embed


class PretrainedMethod(Method):
    """Embedding pretrained by ordinary classification; each task gets a linear head.

    In training, all samples of a task, support and queries alike, are classified among all training
    classes; after training, only a teacher (`RFS`) uses the head that does it.
    """

    training_modules = ("head",)

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.embedding = self.build_embedding(config)
        self.head: ClassHead | None = None

    @classmethod
    def build_embedding(cls, config: Any) -> nn.Module:
        """Build the layers that every sample passes first."""
        return build_embedding(config.embedding)

    def prepare(
        self,
        samples: Num[Tensor, "samples *feature"],
        labels: Int[Tensor, " samples"],
        groups: Int[Tensor, " classes"] | None,
    ) -> None:
        """Build the head that classifies all training classes; see `Method.prepare`."""
        if self.is_trainable:  # Without layers of its own there is nothing to pretrain.
            head = ClassHead(self.config.embedding.n_features, int(labels.max()) + 1)
            self.head = head.to(next(self.embedding.parameters()))

    def learn(
        self, episode: Episode, generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "tasks query way"]]:
        """Compute the loss of classification among all training classes; see `Method.learn`.

        Raises:
            ConfigError: if the data has no fixed set of classes.
        """
        head, classes, samples, labels = self.get_training_samples(episode)
        logits = head(self.features(samples).flatten(2))
        loss = self.compute_loss(head.loss(logits, labels, classes), logits, samples)
        return loss, head.task_log_p(logits[:, episode.support_x.shape[1] :], classes)

    def compute_loss(
        self,
        classification: Float[Tensor, ""],
        logits: Float[Tensor, "tasks samples classes"],
        samples: Float[Tensor, "tasks samples *feature"],
    ) -> Float[Tensor, ""]:
        """Compute the loss of training: here that of classification alone."""
        return classification

    def get_training_samples(self, episode: Episode) -> tuple[ClassHead, Tensor, Tensor, Tensor]:
        """Return the class head, the numbers of the classes, and all samples with their labels."""
        head, classes = require_class_head(self.head, episode.classes)
        samples = torch.cat([episode.support_x, episode.query_x], 1)
        return head, classes, samples, torch.cat([episode.support_y, episode.query_y], 1)

    def features(
        self, x: Float[Tensor, "tasks samples *feature"]
    ) -> Float[Tensor, "tasks samples views features"]:
        """Compute the features of each sample, in each view."""
        return embed(self.embedding, x, self.config.embedding.views).flatten(3)

    @classmethod
    def restore(cls, config: Any, way: int, state: Mapping[str, Tensor]) -> Classifier:
        """Rebuild a classifier (see `Method.restore`)."""
        n_features = config.embedding.n_features
        check_shapes(state, {"weight": (1, way, n_features), "bias": (1, way)})
        embedding = cls.build_embedding(config)
        return LinearClassifier(embedding, state["weight"], state["bias"], config).load(state)


class LinearClassifier(Classifier):
    """Linear head on the frozen embedding; the log-probabilities of all views are averaged.

    Args:
        embedding: Shared embedding.
        weight: Weight of each task's head.
        bias: Bias of each task's head.
        config: Config of the method; has the number of views, and ``normalize``, which is True if
            features are divided by their length before the head.
    """

    weight: Tensor
    bias: Tensor

    def __init__(
        self,
        embedding: nn.Module,
        weight: Float[Tensor, "tasks way features"],
        bias: Float[Tensor, "tasks way"],
        config: Any,
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.way = weight.shape[1]
        self.views = config.embedding.views
        self.normalize = config.normalize
        self.register_buffers({"weight": weight, "bias": bias})

    def forward(
        self, query_x: Float[Tensor, "tasks query *feature"]
    ) -> Float[Tensor, "tasks query way"]:
        """Compute log-probabilities of each query."""
        features = embed(self.embedding, query_x, self.views).flatten(3)
        with without_autocast(features.device):
            features = features.to(self.weight.dtype)
            if self.normalize:
                features = F.normalize(features, dim=-1)
            logits = features @ self.weight[:, None].mT + self.bias[:, None, None]
            return logits.log_softmax(-1).mean(2).log_softmax(-1)
