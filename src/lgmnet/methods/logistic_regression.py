"""Logistic regression on a frozen embedding: what a practitioner would do today."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lgmnet.config import require
from lgmnet.errors import require_extra
from lgmnet.methods.pretraining import LinearClassifier, PretrainedMethod
from lgmnet.nn.embedding import EmbeddingConfig

MAX_ITERATIONS = 1000


@dataclass(frozen=True)
class LogisticRegressionConfig:
    """Embedding, and fitting of the head.

    Raises:
        ConfigError: if a field has a value that is not allowed.
    """

    embedding: EmbeddingConfig = EmbeddingConfig()
    """Shared embedding; for features that are given, one of vectors without layers."""
    strength: float = 1.0
    """Scikit-learn's C: the larger, the weaker the regularization."""
    normalize: bool = True
    """If True, features are divided by their length first."""

    def __post_init__(self) -> None:
        require(self, "strength", self.strength > 0, "positive")


class LogisticRegression(PretrainedMethod):
    """Scikit-learn's logistic regression on a pretrained, frozen embedding of unit length.

    As in Rethinking Few-Shot Image Classification: a Good Embedding Is All You Need? (Tian and
    others, ECCV 2020), https://arxiv.org/abs/2003.11539.
    """

    config_type = LogisticRegressionConfig
    config: LogisticRegressionConfig

    def _adapt(
        self, support_x: Tensor, support_y: Tensor, way: int, generator: torch.Generator | None
    ) -> LinearClassifier:
        with require_extra("quickstart", "logistic regressions"):
            from sklearn.linear_model import LogisticRegression as Solver
        with torch.no_grad():
            x = self.features(support_x).double()
            x = F.normalize(x, dim=-1) if self.config.normalize else x
            points, labels = x.flatten(1, 2).cpu(), support_y.repeat_interleave(x.shape[2], 1).cpu()
        heads = []
        for task in zip(points.numpy(), labels.numpy(), strict=True):  # The solver takes one task.
            solver = Solver(C=self.config.strength, max_iter=MAX_ITERATIONS).fit(*task)
            head = solver.coef_, solver.intercept_
            # For two classes, the solver gives one row.
            heads.append([np.concatenate([-p, p]) / 2 for p in head] if way == 2 else head)
        wide = torch.promote_types(support_x.dtype, torch.float32)
        weight, bias = (
            torch.from_numpy(np.stack(parts)).to(support_x.device, wide)
            for parts in zip(*heads, strict=True)
        )
        return LinearClassifier(self.embedding, weight, bias, self.config)
