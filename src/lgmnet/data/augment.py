"""Augmentation of drawings: each image on its own, blind to its label."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

WARP_POINTS = 4


@dataclass(frozen=True)
class Jitter:
    """A small random change of every image, drawn for each image independently of its class.

    (The reference code turns a query by an angle drawn for its true class, at test time too; the
    angle then tells the class. Nothing here can: neither labels nor neighbours are seen.)
    """

    degrees: float = 10.0
    """Largest rotation either way."""
    scale: float = 0.1
    """Largest relative change of height and of width."""
    shift: float = 0.07
    """Largest shift either way, as a part of the image's side."""
    shear: float = 0.1
    """Largest shear either way."""
    warp: float = 0.0
    """Typical displacement of a smooth random deformation, as a part of the image's side."""
    thicken: float = 0.0
    """Chance that strokes are thickened, by a random part of one pixel each side."""

    def __call__(
        self,
        images: Float[Tensor, "tasks samples channels height width"],
        generator: torch.Generator,
    ) -> Float[Tensor, "tasks samples channels height width"]:
        """Jittered copies of the images."""
        flat = images.flatten(0, 1)

        def uniform(largest: float) -> Tensor:
            return (torch.rand(len(flat), generator=generator) * 2 - 1) * largest

        angle, shear = uniform(math.radians(self.degrees)), uniform(self.shear)
        wide, high = 1 + uniform(self.scale), 1 + uniform(self.scale)
        right, down = uniform(2 * self.shift), uniform(2 * self.shift)
        rows = [
            torch.stack([wide * angle.cos(), shear - high * angle.sin(), right], 1),
            torch.stack([wide * angle.sin(), high * angle.cos(), down], 1),
        ]
        grid = F.affine_grid(torch.stack(rows, 1), list(flat.shape), align_corners=False)
        if self.warp > 0:
            # Displacements at a few points, smooth between them: how a hand varies, not a camera.
            bends = torch.randn(len(flat), 2, WARP_POINTS, WARP_POINTS, generator=generator)
            bends = F.interpolate(2 * self.warp * bends, flat.shape[2:], mode="bicubic")
            grid = grid + bends.movedim(1, -1)
        flat = F.grid_sample(flat, grid.to(flat.device), align_corners=False)
        if self.thicken > 0:
            amount = torch.rand(len(flat), generator=generator)
            amount *= torch.rand(len(flat), generator=generator) < self.thicken
            thick = F.max_pool2d(flat, 3, stride=1, padding=1)
            flat = flat.lerp(thick, amount.to(flat).view(-1, 1, 1, 1))
        return flat.view_as(images)
