"""Ridge regression from the features of a support set onto its classes, in closed form."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from lgmnet.devices import without_autocast
from lgmnet.nn.matching import one_hot

INITIAL_STRENGTH = 0.5
"""Initial strength of the regularization, for features of unit length."""


def learned_strength(fixed: float | None = None) -> nn.Parameter:
    """Make the parameter for the log of the strength of the regularization; a number fixes it."""
    start = torch.tensor(math.log(fixed or INITIAL_STRENGTH))
    return nn.Parameter(start, requires_grad=fixed is None)


def ridge_regression(
    support: Float[Tensor, "tasks support features"],
    support_y: Int[Tensor, "tasks support"],
    way: int,
    log_strength: Float[Tensor, ""] | Float[Tensor, "tasks 1 1"],
) -> Float[Tensor, "tasks way features"]:
    """Regress the one-hot labels of each task on its support samples (Bertinetto et al., 2019).

    With samples of unit length as the rows of X and one-hot labels as those of Y, the weights that
    minimize ``|X W - Y|^2 + strength |W|^2`` are::

        W = (X^T X + strength I)^-1 X^T Y = X^T (X X^T + strength I)^-1 Y       (4), (5)

    The second, dual form is used if there are fewer samples than features: its matrix has one row
    for each sample. At uneven shots every squared error is weighted by the mean number of samples
    of a class divided by that of its own class, so that each class weighs as much as any other;
    at even shots this changes nothing. The solution is differentiable in all arguments.

    Args:
        support: Features of the support samples.
        support_y: Their labels; every class occurs.
        way: Number of classes.
        log_strength: Log of the strength of the regularization, for all tasks or for each.

    Returns:
        Weights of each class, computed in 32 bits or more whatever the inputs are.
    """
    wide = torch.promote_types(support.dtype, torch.float32)
    with without_autocast(support.device):
        x, y = F.normalize(support.to(wide), dim=-1), one_hot(support_y, way).to(wide)
        shots = y.sum(1).gather(1, support_y.long())
        # A weighted error is an ordinary one of rows multiplied by the root of the weight.
        roots = (support.shape[1] / way / shots).sqrt()[..., None]
        x, y = roots * x, roots * y
        is_dual = x.shape[1] < x.shape[2]
        gram = x @ x.mT if is_dual else x.mT @ x
        strength = log_strength.to(wide).exp()
        factor = torch.linalg.cholesky(gram + strength * torch.eye(len(gram[0])).to(gram))
        if is_dual:
            return (x.mT @ torch.cholesky_solve(y, factor)).mT
        return torch.cholesky_solve(x.mT @ y, factor).mT
