"""Augmentation of drawings and photos: each image on its own, blind to its label."""

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
    flip: float = 0.0
    """Chance that an image is mirrored left to right."""
    light: float = 0.0
    """Largest relative change of brightness, of contrast and of the strength of colours."""

    def __call__(
        self,
        images: Float[Tensor, "tasks samples channels height width"],
        generator: torch.Generator,
        whole_task: Jitter | None = None,
    ) -> Float[Tensor, "tasks samples channels height width"]:
        """Jittered copies of the images.

        Args:
            images: Of several tasks.
            generator: Source of the changes.
            whole_task: A further change, drawn once for all images of a task: a task of other
                characters, still blind to their labels. Its ``thicken`` is not read.
        """
        tasks, samples = images.shape[:2]
        flat = images.flatten(0, 1)
        size = flat.shape[2:]
        affine, bends = self.draw(len(flat), size, generator)
        grid = F.affine_grid(affine, list(flat.shape), align_corners=False)
        if bends is not None:
            grid = grid + bends
        if whole_task is not None:
            # One after the other, but sampled once: pixels are blurred by one interpolation only.
            affine, bends = whole_task.draw(tasks, size, generator)
            grid = grid.view(tasks, -1, 2) @ affine[:, :, :2].mT + affine[:, None, :, 2]
            grid = grid.view(tasks, samples, *size, 2)
            grid = (grid if bends is None else grid + bends[:, None]).flatten(0, 1)
        flat = F.grid_sample(flat, grid.to(flat.device), align_corners=False)
        if self.thicken > 0:
            amount = torch.rand(len(flat), generator=generator)
            amount *= torch.rand(len(flat), generator=generator) < self.thicken
            thick = F.max_pool2d(flat, 3, stride=1, padding=1)
            flat = flat.lerp(thick, amount.to(flat).view(-1, 1, 1, 1))
        if self.light > 0:
            change = 2 * torch.rand(3, len(flat), generator=generator) - 1
            flat = relit(flat, 1 + self.light * change)
        return flat.view_as(images)

    def draw(
        self, n: int, size: tuple[int, ...], generator: torch.Generator
    ) -> tuple[Float[Tensor, "n 2 3"], Float[Tensor, "n height width 2"] | None]:
        """``n`` random affine maps, and smooth displacements where there is a ``warp``."""

        def uniform(largest: float) -> Tensor:
            return (torch.rand(n, generator=generator) * 2 - 1) * largest

        angle, shear = uniform(math.radians(self.degrees)), uniform(self.shear)
        wide, high = 1 + uniform(self.scale), 1 + uniform(self.scale)
        right, down = uniform(1.0), uniform(1.0)
        if self.degrees or self.scale or self.shear or self.warp:
            right, down = right * 2 * self.shift, down * 2 * self.shift
        else:  # By whole pixels, where nothing else would blur the image.
            right, down = (
                ((int(self.shift * side) + 0.5) * part).round() * 2 / side
                for part, side in ((right, size[1]), (down, size[0]))
            )
        rows = [
            torch.stack([wide * angle.cos(), shear - high * angle.sin(), right], 1),
            torch.stack([wide * angle.sin(), high * angle.cos(), down], 1),
        ]
        affine = torch.stack(rows, 1)
        if self.flip > 0:
            mirrored = torch.rand(n, generator=generator) < self.flip
            affine[:, :, 0] = torch.where(mirrored[:, None], -affine[:, :, 0], affine[:, :, 0])
        if self.warp == 0:
            return affine, None
        # Displacements at a few points, smooth between them: how a hand varies, not a camera.
        bends = torch.randn(n, 2, WARP_POINTS, WARP_POINTS, generator=generator)
        bends = F.interpolate(2 * self.warp * bends, size, mode="bicubic")
        return affine, bends.movedim(1, -1)


def relit(
    images: Float[Tensor, "samples channels height width"], factors: Float[Tensor, "3 samples"]
) -> Float[Tensor, "samples channels height width"]:
    """Images with brightness, contrast and colour times their factors, kept within 0..1."""
    brightness, contrast, colour = factors.to(images)[:, :, None, None, None]
    images = images * brightness
    images = images.mean((1, 2, 3), keepdim=True).lerp(images, contrast)
    return images.mean(1, keepdim=True).lerp(images, colour).clamp(0, 1)
