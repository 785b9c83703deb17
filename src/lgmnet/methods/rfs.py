"""RFS: logistic regression on an embedding that is pretrained by classification and distilled."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor
from torch.nn import functional as F

from lgmnet.config import require
from lgmnet.errors import ConfigError
from lgmnet.methods.base import Method
from lgmnet.methods.logistic_regression import LogisticRegression, LogisticRegressionConfig
from lgmnet.nn.classification import ClassHead


@dataclass(frozen=True)
class RFSConfig(LogisticRegressionConfig):
    """Embedding, fitting of the head, and self-distillation.

    Raises:
        ConfigError: if a field has a value that is not allowed.

    >>> RFSConfig().strength
    1.0
    """

    distillation_weight: float = 0.5
    """Weight of the teacher's answers; the labels have the rest."""
    distillation_temperature: float = 4.0
    """Temperature at which answers are compared."""

    def __post_init__(self) -> None:
        super().__post_init__()
        weight, temperature = self.distillation_weight, self.distillation_temperature
        require(self, "distillation_weight", 0 <= weight <= 1, "0 to 1")
        require(self, "distillation_temperature", temperature > 0, "positive")


class RFS(LogisticRegression):
    """Rethinking Few-Shot Image Classification: a Good Embedding Is All You Need? (Tian, 2020).

    https://arxiv.org/abs/2003.11539 (ECCV 2020)

    The embedding learns to classify all training classes; a task's classifier is a logistic
    regression on features of unit length. A training that starts from such a model (``--from``) is
    the next generation: it begins with fresh weights, and the earlier model is its teacher, f_t::

        loss = (1 - w) cross-entropy + w T^2 KL(softmax f_t(x) / T, softmax f(x) / T)     (5)

    >>> import torch
    >>> method = RFS(RFSConfig()).eval()
    >>> support_x, support_y = torch.rand(2, 5, 1, 28, 28), torch.arange(5).expand(2, -1)
    >>> classifier = method.adapt(support_x, support_y, way=5)  # Two tasks, 5-way 1-shot.
    >>> classifier(torch.rand(2, 3, 1, 28, 28)).shape
    torch.Size([2, 3, 5])
    """

    config_type = RFSConfig
    config: RFSConfig
    training_modules = ("teacher",)

    def __init__(self, config: RFSConfig) -> None:
        super().__init__(config)
        self.teacher: RFS | None = None

    def start_from(self, other: Method) -> None:
        """Take a trained model as the teacher; the weights stay fresh."""
        if not isinstance(other, RFS) or other.head is None:
            raise RuntimeError("it is no RFS")
        self.teacher = copy.deepcopy(other).eval().requires_grad_(False)

    def prepare(
        self,
        samples: Num[Tensor, "samples *feature"],
        labels: Int[Tensor, " samples"],
        groups: Int[Tensor, " classes"] | None,
    ) -> None:
        """Build the head that classifies all training classes; see `Method.prepare`.

        Raises:
            ConfigError: if the teacher classifies another number of classes.
        """
        super().prepare(samples, labels, groups)
        if self.teacher is not None and self.teacher.head is not None and self.head is not None:
            came, expected = self.teacher.head.out_features, self.head.out_features
            if came != expected:
                raise ConfigError(
                    f"The model to start from must classify the same {expected} training classes, "
                    f"but classifies {came}. Take one that was trained on the same split."
                )

    def train(self, mode: bool = True) -> RFS:
        """Switch to training or evaluation; the teacher stays in evaluation."""
        super().train(mode)
        if self.teacher is not None:
            self.teacher.eval()
        return self

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **options: Any) -> Any:
        """Load weights; the head is built first if they have one, since teachers need it."""
        if self.head is None and "head.weight" in state_dict:
            n_classes, n_features = state_dict["head.weight"].shape
            self.head = ClassHead(n_features, n_classes)
        return super().load_state_dict(state_dict, *args, **options)

    def compute_loss(
        self,
        classification: Float[Tensor, ""],
        logits: Float[Tensor, "tasks samples classes"],
        samples: Float[Tensor, "tasks samples *feature"],
    ) -> Float[Tensor, ""]:
        """Add the loss of distillation if there is a teacher, eq. (5)."""
        if self.teacher is None or self.teacher.head is None:
            return classification
        with torch.no_grad():
            answers = self.teacher.head(self.teacher.features(samples).flatten(2))
        temperature = self.config.distillation_temperature
        weight = self.config.distillation_weight
        teacher, student = (
            (x / temperature).log_softmax(-1).flatten(0, 1) for x in (answers, logits)
        )
        divergence = F.kl_div(student, teacher, reduction="batchmean", log_target=True)
        return (1 - weight) * classification + weight * temperature**2 * divergence
