"""Ordinary classification among all training classes: to pretrain by, or to learn beside."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from lgmnet.errors import ConfigError


class ClassHead(nn.Linear):
    """A linear layer with a row for every training class; of no use after training.

    Args:
        features: Length of the embeddings.
        classes: Number of training classes.
    """

    def forward(
        self, embedded: Float[Tensor, "tasks samples features"]
    ) -> Float[Tensor, "tasks samples classes"]:
        """Logits among all training classes; in 32 bits or more."""
        logits = super().forward(embedded)
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    def loss(
        self,
        logits: Float[Tensor, "tasks samples classes"],
        labels: Int[Tensor, "tasks samples"],
        classes: Int[Tensor, "tasks way"] | None,
    ) -> Float[Tensor, ""]:
        """Cross-entropy of samples among all training classes.

        Args:
            logits: Of samples of several tasks.
            labels: Their labels within their tasks.
            classes: Numbers of the tasks' classes among all training classes.

        Raises:
            ConfigError: if there are more classes than rows, or classes without end.
        """
        numbers = self.checked(classes).gather(1, labels.long())
        return F.cross_entropy(logits.flatten(0, 1), numbers.flatten())

    def among(
        self,
        logits: Float[Tensor, "tasks samples classes"],
        classes: Int[Tensor, "tasks way"] | None,
    ) -> Float[Tensor, "tasks samples way"]:
        """Log-probabilities of samples among the classes of their own task; for showing only.

        Raises:
            ConfigError: as `loss`.
        """
        rows = self.checked(classes)[:, None].expand(-1, logits.shape[1], -1)
        return logits.detach().gather(2, rows).log_softmax(-1)

    def checked(self, classes: Int[Tensor, "tasks way"] | None) -> Int[Tensor, "tasks way"]:
        """The classes, if there is a row for each.

        Raises:
            ConfigError: if not.
        """
        if classes is None:
            raise ConfigError(
                "'classes' cannot be learned from this data, whose classes have no end; take a "
                "method or a config that does not classify in training."
            )
        if int(classes.max()) >= self.out_features:
            raise ConfigError(
                f"'classes' must be at least {int(classes.max()) + 1}, the number of training "
                f"classes, but is {self.out_features}."
            )
        return classes
