"""Ordinary classification among all training classes: for pretraining or as an auxiliary loss."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from lgmnet.config import require
from lgmnet.errors import ConfigError


@dataclass(frozen=True)
class AuxiliaryConfig:
    """Auxiliary loss of training: the embedding also classifies all training classes.

    As in TADAM (Oreshkin et al., NeurIPS 2018).

    Raises:
        ConfigError: if a field has a value that is not allowed.
    """

    weight: float = 1.0
    """Weight of this loss."""
    pooled: bool = False
    """True if the mean over the feature map is classified, not the whole map. With thousands of
    classes, a layer for whole maps costs more than all the rest."""

    def __post_init__(self) -> None:
        require(self, "weight", self.weight > 0, "positive")


class ClassHead(nn.Linear):
    """Linear layer with a row for every training class.

    After training, only a teacher (`RFS`) uses it.
    """

    def forward(
        self, embedded: Float[Tensor, "tasks samples features"]
    ) -> Float[Tensor, "tasks samples classes"]:
        """Compute logits among all training classes, in 32 bits or more."""
        logits = super().forward(embedded)
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    @staticmethod
    def loss(
        logits: Float[Tensor, "tasks samples classes"],
        labels: Int[Tensor, "tasks samples"],
        classes: Int[Tensor, "tasks way"],
    ) -> Float[Tensor, ""]:
        """Compute the cross-entropy of samples among all training classes.

        ``labels`` count within a task, ``classes`` among all training classes.
        """
        numbers = classes.gather(1, labels.long())
        return F.cross_entropy(logits.flatten(0, 1), numbers.flatten())

    @staticmethod
    def task_log_p(
        logits: Float[Tensor, "tasks samples classes"], classes: Int[Tensor, "tasks way"]
    ) -> Float[Tensor, "tasks samples way"]:
        """Compute log-probabilities among the classes of each task; without gradients."""
        rows = classes[:, None].expand(-1, logits.shape[1], -1)
        return logits.detach().gather(2, rows).log_softmax(-1)


def require_class_head(head: ClassHead | None, classes: Tensor | None) -> tuple[ClassHead, Tensor]:
    """Check that a method with a class head is trained on a finite set of classes.

    Raises:
        ConfigError: if the classes are infinite, or `lgmnet.methods.Method.prepare` was not called.
    """
    if head is None or classes is None:
        raise ConfigError(
            "This method or config also learns to classify all training classes, but this data has "
            "no fixed set of classes. Choose another method, a config without classification, or "
            "other data."
        )
    return head, classes
