"""Projection of embeddings to the plane, for the map of the studio's page."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Projection:
    """Projection to the two main axes (PCA) of support embeddings of length 1."""

    center: Float[Tensor, " features"]
    axes: Float[Tensor, "2 features"]

    @classmethod
    def fit(cls, embedding: Float[Tensor, "support features"]) -> Projection:
        """Fit the axes along which the support embeddings vary most."""
        unit = F.normalize(embedding.float(), dim=-1)
        center = unit.mean(0)
        axes = torch.linalg.svd(unit - center, full_matrices=False).Vh[:2]
        # The sign of an axis is arbitrary: make its largest entry positive, so that the map does
        # not flip from one version of a classifier to the next.
        signs = axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()
        return cls(center, F.pad(axes * signs, (0, 0, 0, 2 - len(axes))))

    def transform(self, embedding: Float[Tensor, "samples features"]) -> list[tuple[float, float]]:
        """Return the point in the plane of each embedding."""
        points = (F.normalize(embedding.float(), dim=-1) - self.center) @ self.axes.mT
        return [(round(x, 4), round(y, 4)) for x, y in points.tolist()]
