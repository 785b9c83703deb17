"""Logistic regression on a frozen embedding: what a practitioner would do today."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lgmnet.config import require
from lgmnet.errors import require_extra
from lgmnet.methods.pretraining import LinearClassifier, PretrainedMethod
from lgmnet.nn.embedding import EmbeddingConfig
from lgmnet.nn.whitening import SqrtNormalize

MAX_ITERATIONS = 1000


@dataclass(frozen=True)
class LogisticRegressionConfig:
    """Embedding, and fitting of the head.

    Raises:
        ConfigError: if a field has a value that is not allowed.

    >>> LogisticRegressionConfig().strength
    1.0
    """

    embedding: EmbeddingConfig = EmbeddingConfig()
    """Shared embedding; for features that are given, one of vectors without layers."""
    strength: float = 1.0
    """Scikit-learn's C: the larger, the weaker the regularization."""
    normalize: bool = True
    """If True, features are divided by their length first."""
    roots: bool = False
    """If True, each feature is replaced by its signed square root before that; for vectors only."""

    def __post_init__(self) -> None:
        require(self, "strength", self.strength > 0, "positive")
        is_valid = not (self.roots and self.embedding.gives_maps)
        require(self, "roots", is_valid, "False where embeddings are maps")


class LogisticRegression(PretrainedMethod):
    """Scikit-learn's logistic regression on a pretrained, frozen embedding of unit length.

    As in Rethinking Few-Shot Image Classification: a Good Embedding Is All You Need? (Tian and
    others, ECCV 2020), https://arxiv.org/abs/2003.11539.

    >>> import torch
    >>> method = LogisticRegression(LogisticRegressionConfig()).eval()
    >>> support_x, support_y = torch.rand(2, 5, 1, 28, 28), torch.arange(5).expand(2, -1)
    >>> classifier = method.adapt(support_x, support_y, way=5)  # Two tasks, 5-way 1-shot.
    >>> classifier(torch.rand(2, 3, 1, 28, 28)).shape
    torch.Size([2, 3, 5])
    """

    config_type = LogisticRegressionConfig
    config: LogisticRegressionConfig

    @classmethod
    def build_embedding(cls, config: LogisticRegressionConfig) -> nn.Module:
        """Build the layers that every sample passes first, the square root among them."""
        embedding = super().build_embedding(config)
        return nn.Sequential(embedding, SqrtNormalize()) if config.roots else embedding

    def _adapt(
        self, support_x: Tensor, support_y: Tensor, way: int, generator: torch.Generator | None
    ) -> LinearClassifier:
        with require_extra("quickstart", "logistic regressions"):
            from sklearn.linear_model import LogisticRegression as Solver
        with torch.no_grad():
            x = self.features(support_x).double()
            x = F.normalize(x, dim=-1) if self.config.normalize else x
            points, labels = x.flatten(1, 2).cpu(), support_y.repeat_interleave(x.shape[2], 1).cpu()
            axes, points = reduce_dimensions(points)
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
        if axes is not None:
            weight = weight @ axes.mT.to(weight)
        return LinearClassifier(self.embedding, weight, bias, self.config)


def reduce_dimensions(
    points: Float[Tensor, "tasks points features"],
) -> tuple[Float[Tensor, "tasks features axes"] | None, Float[Tensor, "tasks points _"]]:
    """Describe the points of each task by their coordinates in the space that they span.

    The weights of a regularized regression lie in that space, and no length in it changes, so the
    solution is the same. With thousands of features, finding it takes a fraction of the time.

    Returns:
        Orthonormal axes of the space and the coordinates of the points; None and the points as they
        are if there are no more features than points.
    """
    if points.shape[2] <= points.shape[1]:
        return None, points
    axes, coordinates = torch.linalg.qr(points.mT)
    return axes, coordinates.mT
