"""Drawings before their embedding: centred, evened out in size and embedded in several views.

Nothing here is learned, and each image is treated by itself.
"""

import math
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lgmnet.config import require
from lgmnet.devices import without_autocast

MAX_SIZE_CHANGE = 1.6
TARGET_RADIUS = 0.62
"""Root mean square distance of the ink from its centre that stays as it is, in half sides of the
image: a third more than Omniglot's drawings have, so that they fill the image better."""

VIEWS = ((0, 1.0, 1.0), (8, 1.0, 1.0), (-8, 1.0, 1.0), (0, 0.9, 1.0), (0, 1.0, 0.9))
"""Rotation in degrees, relative width and relative height of each view; the first is the image."""


@dataclass(frozen=True)
class AlignmentConfig:
    """Alignment of drawings before their embedding.

    Raises:
        ConfigError: if a field has a value that is not allowed.
    """

    power: float = 0.5
    """Part of the differences in size that is evened out: 0 for none, 1 for all."""
    canvas: int | None = None
    """Side in pixels to which drawings are resampled; None keeps their size."""
    views: int = 1
    """Views of each drawing in evaluation, rotated and stretched a little; two drawings are similar
    if they are so in all views."""

    def __post_init__(self) -> None:
        require(self, "power", 0 <= self.power <= 1, "0 to 1")
        require(self, "canvas", self.canvas is None or self.canvas > 0, "positive or None")
        require(self, "views", 1 <= self.views <= len(VIEWS), f"1 to {len(VIEWS)}")


class AlignedEmbedding(nn.Module):
    """Embedding of aligned drawings; in evaluation each may be embedded in several views."""

    def __init__(self, layers: nn.Module, config: AlignmentConfig) -> None:
        super().__init__()
        self.layers = layers
        self.config = config

    def forward(
        self, images: Float[Tensor, "samples channels height width"]
    ) -> Float[Tensor, "samples *views_and_embedding"]:
        """Compute feature maps; with more than one view, axis 1 numbers the views."""
        images = align(images, self.config.power, self.config.canvas)
        if self.config.views == 1:
            return cast(Tensor, self.layers(images))
        views = images[:, None] if self.training else make_views(images, self.config.views)
        features: Tensor = self.layers(views.flatten(0, 1))
        return features.view(*views.shape[:2], *features.shape[1:])


def align(
    images: Float[Tensor, "samples channels height width"], power: float, side: int | None = None
) -> Float[Tensor, "samples channels side_out side_out"]:
    """Move the centre of mass of the ink to the middle of the image and even out its size.

    Ink is what is not zero; a blank image stays blank. ``power`` and ``side`` are those of
    `AlignmentConfig`, where ``side`` is the canvas.
    """
    with without_autocast(images.device):
        ink = images.to(torch.promote_types(images.dtype, torch.float32))
        across, down = ink.abs().sum((1, 2)), ink.abs().sum((1, 3))
        mass = across.sum(1).clamp_min(1e-6)
        x, variance_x = ink_moments(across, mass)
        y, variance_y = ink_moments(down, mass)
        size = ((variance_x + variance_y).sqrt() / TARGET_RADIUS).pow(power)
        size = size.clamp(1 / MAX_SIZE_CHANGE, MAX_SIZE_CHANGE)
        zero = torch.zeros_like(size)
        rows = [torch.stack([size, zero, x], 1), torch.stack([zero, size, y], 1)]
        return resample(ink, torch.stack(rows, 1), side).to(images.dtype)


def ink_moments(
    ink: Float[Tensor, "samples side"], mass: Float[Tensor, " samples"]
) -> tuple[Float[Tensor, " samples"], Float[Tensor, " samples"]]:
    """Compute mean and variance of the ink along one axis, which runs from -1 to 1."""
    side = ink.shape[1]
    at = torch.arange(1 - side, side, 2, dtype=ink.dtype, device=ink.device) / side
    mean = (ink * at).sum(1) / mass
    return mean, (ink * (at - mean[:, None]).square()).sum(1) / mass


def make_views(
    images: Float[Tensor, "samples channels height width"], views: int
) -> Float[Tensor, "samples views channels height width"]:
    """Make the first ``views`` of `VIEWS` of each image."""
    maps = []
    for degrees, width, height in VIEWS[1:views]:
        sin, cos = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
        maps.append([[width * cos, -height * sin, 0.0], [width * sin, height * cos, 0.0]])
    with without_autocast(images.device):
        ink = images.to(torch.promote_types(images.dtype, torch.float32))
        repeated = ink.repeat_interleave(views - 1, 0)
        others = resample(repeated, ink.new_tensor(maps).repeat(ink.shape[0], 1, 1))
        return torch.cat([images[:, None], others.to(images).unflatten(0, (-1, views - 1))], 1)


def resample(
    images: Float[Tensor, "samples channels height width"],
    maps: Float[Tensor, "samples 2 3"],
    side: int | None = None,
) -> Float[Tensor, "samples channels height_out width_out"]:
    """Resample each image by its affine map, from positions in the result to those in the image."""
    size = [side, side] if side is not None else list(images.shape[2:])
    grid = F.affine_grid(maps, [*images.shape[:2], *size], align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)
