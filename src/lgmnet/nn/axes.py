"""Compression of long vectors of features to axes, group by group, fitted in closed form."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor, nn
from torch.nn import functional as F

from lgmnet.config import require

MIN_VARIANCE = 1e-4
"""Least variance of an axis, relative to the largest of its group, when it is enlarged."""
CLASS_SHRINKAGE = 3.0
"""Added to the variance within classes along every axis, in units of their mean."""


@dataclass(frozen=True)
class AxisGroup:
    """Columns of the features that are compressed together, and how.

    Raises:
        ConfigError: if a field has a value that is not allowed.
    """

    name: str
    """Name of the group, such as ``block 4, mean``."""
    start: int
    """First column."""
    stop: int
    """Column behind the last."""
    axes: int
    """Number of axes."""
    whitening: Literal["half", "classes"] = "half"
    """``half``: principal axes, each divided by the fourth root of its variance, so that small ones
    count more than before and less than large ones. ``classes``: features are whitened by the
    variance within the training classes first."""
    is_rooted: bool = False
    """If True, the square roots of the features are taken, in vectors of unit length."""

    def __post_init__(self) -> None:
        require(self, "start", self.start >= 0, "0 or more")
        width = self.stop - self.start
        require(self, "stop", width > 0, "more than 'start'")
        require(self, "axes", 0 < self.axes <= width, f"1 to {width}, the columns")


class GroupedAxes(nn.Module):
    """Linear compression of each group of features; the mean square length of a group is 1.

    Args:
        groups: Groups of columns; a column may be in several.
    """

    def __init__(self, groups: Sequence[AxisGroup]) -> None:
        super().__init__()
        self.groups = tuple(groups)
        for i, group in enumerate(self.groups):
            width = group.stop - group.start
            self.register_buffer(f"centre_{i}", torch.zeros(width))
            projection = torch.zeros(width, group.axes)
            # Not `torch.eye`: on the meta device, where classifiers from files are checked, that
            # imports PyTorch's compiler, which takes a second.
            projection.diagonal().fill_(1.0)
            self.register_buffer(f"projection_{i}", projection)
        self.register_buffer("natural", torch.ones(self.n_axes))

    @property
    def n_axes(self) -> int:
        """Number of axes of all groups."""
        return sum(group.axes for group in self.groups)

    def forward(self, x: Float[Tensor, "samples features"]) -> Float[Tensor, "samples axes"]:
        """Compress features."""
        buffers = dict(self.named_buffers(recurse=False))
        # All groups in one pass where that is possible: each operation takes microseconds, however
        # few columns it has.
        columns = torch.cat([select_columns(x, group) for group in self.groups], 1)
        centre = torch.cat([buffers[f"centre_{i}"] for i in range(len(self.groups))])
        parts = (columns - centre.to(columns)).split([g.stop - g.start for g in self.groups], 1)
        return torch.cat(
            [part @ buffers[f"projection_{i}"].to(part) for i, part in enumerate(parts)], 1
        )

    @torch.no_grad()
    def fit(
        self,
        samples: Num[Tensor, "samples features"],
        labels: Int[Tensor, " samples"],
        is_plain: Bool[Tensor, " samples"],
    ) -> None:
        """Fit all groups to training samples.

        Args:
            samples: Features of the training samples.
            labels: Class of each sample; negative where it is unknown.
            is_plain: True for samples that vary within their class as samples of a task do; the
                variance within classes is theirs.
        """
        chosen = is_plain & (labels >= 0)
        classes = labels[chosen].unique(return_inverse=True)[1]
        scales = []
        for i, group in enumerate(self.groups):
            x = select_columns(samples, group)
            self.get_buffer(f"centre_{i}").copy_(x.mean(0))
            projection, scale = fit_axes(x, x[chosen], classes, group)
            self.get_buffer(f"projection_{i}").copy_(projection)
            scales.append(scale)
        self.get_buffer("natural").copy_(torch.cat(scales))


def fit_axes(
    x: Float[Tensor, "samples features"],
    labelled: Float[Tensor, "labelled features"],
    classes: Int[Tensor, " labelled"],
    group: AxisGroup,
) -> tuple[Float[Tensor, "features axes"], Float[Tensor, " axes"]]:
    """Fit the projection of one group of features to its axes.

    Args:
        x: Features of all samples.
        labelled: Features of the samples that the variance within classes is taken from.
        classes: Their classes, ``0..classes-1``.
        group: Number of axes, and how they are whitened.

    Returns:
        The projection, and the factor of each axis that gives it its natural scale back: that of a
        rotation. Axes whitened by classes have none, so there it is 0.
    """
    is_half = group.whitening == "half"
    first = torch.eye(x.shape[1])
    if not is_half:
        variances, axes = torch.linalg.eigh(within_class_covariance(labelled, classes))
        scales = (variances + CLASS_SHRINKAGE * variances.mean()).rsqrt()
        first = (axes * scales) @ axes.mT
    variances, axes = torch.linalg.eigh(first.mT @ torch.cov(x.mT) @ first)
    variances, axes = variances.flip(0)[: group.axes], axes.flip(1)[:, : group.axes]
    variances = variances.clamp_min(MIN_VARIANCE * variances[0])
    scale = variances**-0.25 if is_half else torch.ones_like(variances)
    scale = scale * (variances * scale.square()).sum().rsqrt()
    return first @ (axes * scale), 1 / scale if is_half else torch.zeros_like(scale)


def select_columns(
    x: Num[Tensor, "samples features"], group: AxisGroup
) -> Float[Tensor, "samples columns"]:
    """Select the columns of a group, and take their roots if it is rooted."""
    part = x[:, group.start : group.stop]
    if part.dtype != torch.float64:
        part = part.float()
    return F.normalize(part.clamp_min(0), p=1, dim=1).sqrt() if group.is_rooted else part


def within_class_covariance(
    x: Float[Tensor, "samples features"], labels: Int[Tensor, " samples"]
) -> Float[Tensor, "features features"]:
    """Compute the covariance of samples around the means of their classes."""
    counts = labels.bincount()
    means = x.new_zeros(len(counts), x.shape[1]).index_add_(0, labels, x) / counts[:, None].to(x)
    differences = x - means[labels]
    return differences.mT @ differences / max(1, len(x) - len(counts))
