"""Statistics of features over the training classes: their centre and variance within classes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Variation:
    """Centre of features and their variance within classes, for the largest axes and the rest.

    The leading axis numbers several sets of statistics; it is 1 where all tasks share one.
    """

    mean: Float[Tensor, "sets features"]
    axes: Float[Tensor, "sets features axes"]
    """Orthonormal columns, in order of increasing variance."""
    variances: Float[Tensor, "sets axes_and_1"]
    """Mean variance along the rest, then the variance along each axis; the mean over all features
    is 1."""

    def select(self, sets: Int[Tensor, " tasks"]) -> Variation:
        """Select a set of statistics for each task."""
        return Variation(self.mean[sets], self.axes[sets], self.variances[sets])


class SqrtNormalize(nn.Module):
    """Signed square root of each feature, scaled so that vectors have the length sqrt(features).

    Features of networks have long tails; their roots hardly do (Yang, Liu and Xu, "Free lunch for
    few-shot learning", ICLR 2021, after Tukey).
    """

    def forward(self, x: Float[Tensor, "samples features"]) -> Float[Tensor, "samples features"]:
        """Normalize features."""
        roots: Tensor = F.normalize(x.sign() * x.abs().sqrt(), dim=-1)
        return roots * math.sqrt(x.shape[-1])


def rescale(
    x: Float[Tensor, "tasks samples features"],
    centre: Float[Tensor, "tasks features"],
    axes: Float[Tensor, "tasks_or_1 features axes"],
    scales: Float[Tensor, "tasks axes_and_1"],
) -> Float[Tensor, "tasks samples features"]:
    """Centre features, scale each axis by its own scale and the rest by the first.

    ``s_0 x + sum over axes a of (s_a - s_0) <x, a> a``: an identity plus a change of low rank.
    """
    x = x - centre[:, None]
    rest, along = scales[:, :1], scales[:, 1:]
    axes = axes[0] if len(axes) == 1 else axes
    return rest[:, None] * x + (x @ axes * (along - rest)[:, None]) @ axes.mT


def estimate_variation(
    samples: Float[Tensor, "samples features"],
    labels: Int[Tensor, " samples"],
    groups: Int[Tensor, " classes"],
    axes: int,
) -> Variation:
    """Compute the statistics of all classes, then those without each group of classes.

    All classes count alike, whatever their numbers of samples.

    Args:
        samples: Samples of all classes.
        labels: Label of each sample, ``0..classes-1``; every class occurs.
        groups: Group of each class, ``0..groups-1``.
        axes: Number of axes with statistics of their own.
    """
    counts = labels.bincount().to(samples)
    means = samples.new_zeros(len(counts), samples.shape[1]).index_add(0, labels, samples)
    means /= counts[:, None]
    within = (samples - means[labels]) / counts.sqrt()[labels, None]
    n = int(groups.max()) + 1
    sample_groups = groups[labels]
    parts = torch.stack([(some := within[sample_groups == g]).mT @ some for g in range(n)])
    classes = groups.bincount(minlength=n).to(samples)
    centres = samples.new_zeros(n, samples.shape[1]).index_add(0, groups, means)
    others = 1 - torch.eye(n) if n > 1 else torch.ones(1, 1)  # A single group cannot be left out.
    members = torch.cat([torch.ones(1, n), others]).to(samples)
    n_classes = (members @ classes)[:, None]
    covariances = (members @ parts.flatten(1) / n_classes).unflatten(1, parts.shape[1:])
    variances, vectors = cast(tuple[Tensor, Tensor], torch.linalg.eigh(covariances))
    variances = variances / variances.mean(1, keepdim=True)
    rest = samples.shape[1] - axes
    smallest_k = variances[:, : rest or 1].mean(1, keepdim=True)
    return Variation(
        members @ centres / n_classes,
        vectors[:, :, rest:].contiguous(),
        torch.cat([smallest_k, variances[:, rest:]], 1),
    )
