"""What is known of features before any task: their centre, and how they vary within a class."""

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
    """Centre of features, and their variance within classes, of the largest axes and of the rest.

    The leading axis is of several sets of statistics, or 1 where all tasks share one.
    """

    mean: Float[Tensor, "sets features"]
    axes: Float[Tensor, "sets features axes"]
    """Orthonormal columns, from the smallest variance kept to the largest."""
    variances: Float[Tensor, "sets axes_and_1"]
    """Along the rest, as one mean, and along each axis; their mean over all features is 1."""

    def of(self, sets: Int[Tensor, " tasks"]) -> Variation:
        """For each task its own set."""
        return Variation(self.mean[sets], self.axes[sets], self.variances[sets])


class SqrtNormalize(nn.Module):
    """The root of each feature, its sign kept, all brought to one length (1 a feature on average).

    Features of networks have long tails, and their roots hardly any (Yang, Liu and Xu, "Free lunch
    for few-shot learning", ICLR 2021, after Tukey).
    """

    def forward(self, x: Float[Tensor, "samples features"]) -> Float[Tensor, "samples features"]:
        """Features as tasks see them."""
        roots: Tensor = F.normalize(x.sign() * x.abs().sqrt(), dim=-1)
        return roots * math.sqrt(x.shape[-1])


def rescale(
    x: Float[Tensor, "tasks samples features"],
    centre: Float[Tensor, "tasks features"],
    axes: Float[Tensor, "tasks_or_1 features axes"],
    scales: Float[Tensor, "tasks axes_and_1"],
) -> Float[Tensor, "tasks samples features"]:
    """Features about a centre, each axis multiplied by its own scale and the rest by the first.

    ``s_0 x + sum over axes a of (s_a - s_0) <x, a> a``: an identity and a change of low rank.
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
    """What is known from all classes, then what is known without each group of them.

    All classes count alike, however many samples they have.

    Args:
        samples: Of all classes.
        labels: Of each sample, ``0..classes-1``; every class occurs.
        groups: Of each class, ``0..groups-1``.
        axes: How many to keep.
    """
    counts = labels.bincount().to(samples)
    means = samples.new_zeros(len(counts), samples.shape[1]).index_add(0, labels, samples)
    means /= counts[:, None]
    within = (samples - means[labels]) / counts.sqrt()[labels, None]
    n = int(groups.max()) + 1
    of_group = groups[labels]
    parts = torch.stack([(some := within[of_group == g]).mT @ some for g in range(n)])
    classes = groups.bincount(minlength=n).to(samples)
    centres = samples.new_zeros(n, samples.shape[1]).index_add(0, groups, means)
    others = 1 - torch.eye(n) if n > 1 else torch.ones(1, 1)  # An only group cannot be left out.
    kept = torch.cat([torch.ones(1, n), others]).to(samples)
    of_sets = (kept @ classes)[:, None]
    covariances = (kept @ parts.flatten(1) / of_sets).unflatten(1, parts.shape[1:])
    variances, vectors = cast(tuple[Tensor, Tensor], torch.linalg.eigh(covariances))
    variances = variances / variances.mean(1, keepdim=True)
    rest = samples.shape[1] - axes
    smallest_k = variances[:, : rest or 1].mean(1, keepdim=True)
    return Variation(
        kept @ centres / of_sets,
        vectors[:, :, rest:].contiguous(),
        torch.cat([smallest_k, variances[:, rest:]], 1),
    )
