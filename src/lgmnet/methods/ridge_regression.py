"""Ridge regression as the head of an embedding that is learned for it (R2D2)."""

from dataclasses import dataclass

from lgmnet.methods.metric import MetricConfig, MetricMethod
from lgmnet.nn.matching import HeadConfig


@dataclass(frozen=True)
class RidgeRegressionConfig(MetricConfig):
    """All parts of the method; see `MetricConfig`.

    Raises:
        ConfigError: if a field has a value that is not allowed.

    >>> RidgeRegressionConfig().head.kind
    'ridge'
    """

    head: HeadConfig = HeadConfig("ridge")
    """``ridge``, as in the paper, with a learned scale and a learned regularization."""


class RidgeRegression(MetricMethod):
    """Meta-learning with Differentiable Closed-form Solvers (Bertinetto and others, ICLR 2019).

    https://arxiv.org/abs/1805.08136

    The method R2D2. Every sample is embedded. For each task, ridge regression maps the features X
    of the support to the one-hot labels Y, in closed form, and gradients flow through the
    solution::

        W = X^T (X X^T + lambda I)^-1 Y                                       (5)
        p(k | x) = softmax over k of alpha * f(x) W_k + beta                  (6)

    lambda and alpha are learned. The shift beta is left out: it is the same for all classes, so a
    softmax does not depend on it. Features have unit length here, so that lambda means the same for
    all embeddings; the paper leaves their lengths as they are.

    >>> import torch
    >>> method = RidgeRegression(RidgeRegressionConfig()).eval()
    >>> support_x, support_y = torch.rand(2, 5, 1, 28, 28), torch.arange(5).expand(2, -1)
    >>> classifier = method.adapt(support_x, support_y, way=5)  # Two tasks, 5-way 1-shot.
    >>> classifier(torch.rand(2, 3, 1, 28, 28)).shape
    torch.Size([2, 3, 5])
    """

    config_type = RidgeRegressionConfig
    config: RidgeRegressionConfig
