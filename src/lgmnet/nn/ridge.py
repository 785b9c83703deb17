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


MIXTURES = (0.0, 0.5, 1.0)
"""Parts of the second half in the mixtures of two halves."""
LOG_PRIOR = (0.0, -2.0, -4.0)
"""Log weight of each mixture before the support is asked: the first half is trusted more."""
EVIDENCE = 30.0
"""Factor of the leave-one-out errors in the log weights of the mixtures."""
NATURAL_STRENGTH = 0.01
"""Strength of the regularization of the second half."""
LEAVE_ONE_OUT_SCALE = 8.0
"""Inverse temperature of leave-one-out predictions."""


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
        roots, _ = weigh_classes(y, support_y)
        x, y = roots * x, roots * y
        is_dual = x.shape[1] < x.shape[2]
        gram = x @ x.mT if is_dual else x.mT @ x
        strength = log_strength.to(wide).exp()
        factor = torch.linalg.cholesky(gram + strength * torch.eye(len(gram[0])).to(gram))
        if is_dual:
            return (x.mT @ torch.cholesky_solve(y, factor)).mT
        return torch.cholesky_solve(x.mT @ y, factor).mT


def weigh_classes(
    labels: Float[Tensor, "tasks support way"], support_y: Int[Tensor, "tasks support"]
) -> tuple[Float[Tensor, "tasks support 1"], Float[Tensor, "tasks support"]]:
    """Weigh the support samples so that each class counts as much as any other.

    A weighted error is an ordinary one of rows multiplied by the root of the weight.

    Args:
        labels: One-hot labels.
        support_y: The same labels as numbers.

    Returns:
        Root of the weight of each sample, and the number of samples of its class.
    """
    shots = labels.sum(1).gather(1, support_y.long())
    return (labels.shape[1] / labels.shape[2] / shots).sqrt()[..., None], shots


def mix_ridge_regressions(
    halves: tuple[Float[Tensor, "tasks support features"], Float[Tensor, "tasks support features"]],
    support_y: Int[Tensor, "tasks support"],
    way: int,
    log_strength: Float[Tensor, ""] | Float[Tensor, "tasks 1 1"],
) -> tuple[Float[Tensor, "tasks support way"], Float[Tensor, "tasks support way"]]:
    """Regress the labels on two kinds of features, as far as each predicts the support.

    Generated gains are right for tasks such as those of training, and may leave out what another
    domain needs. So three ridge regressions are mixed: on the first half, on both, and on the
    second. With kernels A and B of the halves, a part b of the second, and one-hot labels Y::

        K_b = (1 - b) A + b B,  R_b = (K_b + strength_b I)^-1,  duals_b = R_b Y
        prediction for sample i from all others = y_i - duals_b,i / R_b,ii
        log weight_b = prior_b - 30 * mean cross-entropy of these predictions + constant

    Samples that are alone in their class have no such prediction; with one shot the prior decides.
    At uneven shots errors are weighted as in `ridge_regression`.

    Args:
        halves: Features of the support, of unit length each.
        support_y: Labels; every class occurs.
        way: Number of classes.
        log_strength: Log of the strength of the regularization of the first half.

    Returns:
        Weight of each sample in the weights of each class, for each half.
    """
    wide = torch.promote_types(halves[0].dtype, torch.float32)
    with without_autocast(halves[0].device):
        y = one_hot(support_y, way).to(wide)
        roots, shots = weigh_classes(y, support_y)
        kernels = [roots * (x.to(wide) @ x.to(wide).mT) * roots.mT for x in halves]
        identity = torch.eye(support_y.shape[1]).to(y)
        has_others = (shots > 1).to(y)
        duals, errors = [], []
        for part in MIXTURES:
            strength = (1 - part) * log_strength.to(wide).exp() + part * NATURAL_STRENGTH
            kernel = (1 - part) * kernels[0] + part * kernels[1]
            inverse = torch.linalg.inv(kernel + strength * identity)
            solution = inverse @ (roots * y)
            left_out = y - solution / inverse.diagonal(dim1=-2, dim2=-1)[..., None] / roots
            log_p = (LEAVE_ONE_OUT_SCALE * left_out).log_softmax(-1)
            loss = -(log_p * y).sum(-1) * has_others
            errors.append(loss.sum(1) / has_others.sum(1).clamp_min(1))
            duals.append(roots * solution)
        log_weights = torch.tensor(LOG_PRIOR).to(y) - EVIDENCE * torch.stack(errors, 1)
        weights = log_weights.softmax(1)[:, :, None, None] * torch.stack(duals, 1)
        parts = torch.tensor(MIXTURES).to(y)[:, None, None]
        return ((1 - parts) * weights).sum(1), (parts * weights).sum(1)
