"""Drawings before their embedding: put in the middle, evened out in size, seen from several sides.

Nothing here is learned, and each image is treated on its own.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

LARGEST_CHANGE = 1.6
RADIUS = 0.62
"""Root mean square distance of ink from its centre that stays as it is, in half sides of the image:
a third more than Omniglot's drawings have, so that they fill the image better."""

VIEWS = ((0, 1.0, 1.0), (8, 1.0, 1.0), (-8, 1.0, 1.0), (0, 0.9, 1.0), (0, 1.0, 0.9))
"""Degrees turned, and width and height seen, of each view; the first shows an image as it is."""


class DrawingEmbedding(nn.Module):
    """An embedding of drawings, aligned first; in evaluation each may be embedded in several views.

    Args:
        layers: The embedding of images.
        align: Power of `aligned`; None leaves the images where they are.
        views: How many of `VIEWS` to embed in evaluation; in training it is one.
        canvas: Side to which images are drawn anew when they are aligned; None keeps theirs.
    """

    def __init__(
        self, layers: nn.Module, align: float | None, views: int, canvas: int | None = None
    ) -> None:
        super().__init__()
        self.layers = layers
        self.align = align
        self.views = views
        self.canvas = canvas

    def forward(
        self, images: Float[Tensor, "samples channels height width"]
    ) -> Float[Tensor, "samples *views_and_embedding"]:
        """Feature maps of images; where there is more than one view, axis 1 numbers them."""
        if self.align is not None:
            images = aligned(images, self.align, self.canvas)
        if self.views == 1:
            return cast(Tensor, self.layers(images))
        shown = images[:, None] if self.training else viewed(images, self.views)
        features: Tensor = self.layers(shown.flatten(0, 1))
        return features.view(*shown.shape[:2], *features.shape[1:])


def aligned(
    images: Float[Tensor, "samples channels height width"], power: float, side: int | None = None
) -> Float[Tensor, "samples channels side_out side_out"]:
    """Images moved so that their ink's centre of mass is in the middle, and evened out in size.

    Args:
        images: Ink is what is not zero. A blank image stays blank.
        power: How much of the differences in size goes: at 0 none, at 1 all of it.
        side: Height and width to draw them at; None keeps theirs.
    """
    with torch.autocast(images.device.type, enabled=False):
        ink = images.to(torch.promote_types(images.dtype, torch.float32))
        across, down = ink.abs().sum((1, 2)), ink.abs().sum((1, 3))
        mass = across.sum(1).clamp_min(1e-6)
        x, spread_x = centre(across, mass)
        y, spread_y = centre(down, mass)
        size = ((spread_x + spread_y).sqrt() / RADIUS).pow(power)
        size = size.clamp(1 / LARGEST_CHANGE, LARGEST_CHANGE)
        zero = torch.zeros_like(size)
        rows = [torch.stack([size, zero, x], 1), torch.stack([zero, size, y], 1)]
        return resampled(ink, torch.stack(rows, 1), side).to(images.dtype)


def centre(
    ink: Float[Tensor, "samples side"], mass: Float[Tensor, " samples"]
) -> tuple[Float[Tensor, " samples"], Float[Tensor, " samples"]]:
    """Mean and variance of the ink along one axis, which runs from -1 to 1."""
    side = ink.shape[1]
    at = torch.arange(1 - side, side, 2, dtype=ink.dtype, device=ink.device) / side
    mean = (ink * at).sum(1) / mass
    return mean, (ink * (at - mean[:, None]).square()).sum(1) / mass


def viewed(
    images: Float[Tensor, "samples channels height width"], views: int
) -> Float[Tensor, "samples views channels height width"]:
    """The first ``views`` of `VIEWS` of each image."""
    maps = [
        [
            [wide * math.cos(turn), -high * math.sin(turn), 0.0],
            [wide * math.sin(turn), high * math.cos(turn), 0.0],
        ]
        for degrees, wide, high in VIEWS[1:views]
        for turn in [math.radians(degrees)]
    ]
    with torch.autocast(images.device.type, enabled=False):
        ink = images.to(torch.promote_types(images.dtype, torch.float32))
        repeated = ink.repeat_interleave(views - 1, 0)
        others = resampled(repeated, ink.new_tensor(maps).repeat(ink.shape[0], 1, 1))
        return torch.cat([images[:, None], others.to(images).unflatten(0, (-1, views - 1))], 1)


def resampled(
    images: Float[Tensor, "samples channels height width"],
    maps: Float[Tensor, "samples 2 3"],
    side: int | None = None,
) -> Float[Tensor, "samples channels height_out width_out"]:
    """Each image through its affine map, from where a pixel is to where it is read."""
    size = [side, side] if side is not None else list(images.shape[2:])
    grid = F.affine_grid(maps, [*images.shape[:2], *size], align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)
