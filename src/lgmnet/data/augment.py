"""Augmentation of drawings and photos, independent of labels and of other images."""

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
    """Small random changes of images, drawn for each image independently of its class.

    The reference code rotates a query by an angle drawn for its true class, at test time too, so
    the angle reveals the class. Here the changes depend neither on labels nor on other images.
    """

    degrees: float = 10.0
    """Largest rotation in either direction."""
    scale: float = 0.1
    """Largest relative change of height and of width."""
    shift: float = 0.07
    """Largest shift in either direction, as a fraction of the image's side."""
    shear: float = 0.1
    """Largest shear in either direction."""
    warp: float = 0.0
    """Standard deviation of smooth random displacements, as a fraction of the image's side."""
    thicken: float = 0.0
    """Probability that strokes are thickened, by a random fraction of one pixel on each side."""
    flip: float = 0.0
    """Probability that an image is mirrored left to right."""

    def __call__(
        self,
        images: Float[Tensor, "tasks samples channels height width"],
        generator: torch.Generator,
        whole_task: Jitter | None = None,
    ) -> Float[Tensor, "tasks samples channels height width"]:
        """Return changed copies of the images.

        Args:
            images: Images of a batch of tasks.
            generator: CPU generator of the changes.
            whole_task: Additional change that is drawn once for all images of a task, which makes a
                task of other characters. Its ``thicken`` is ignored.
        """
        tasks, samples = images.shape[:2]
        flat = images.flatten(0, 1)
        size = flat.shape[2:]
        affine, warp = self._draw_maps(len(flat), size, generator)
        grid = F.affine_grid(affine, list(flat.shape), align_corners=False)
        if warp is not None:
            grid = grid + warp
        if whole_task is not None:
            # The two maps are composed before sampling, so that only one interpolation blurs.
            affine, warp = whole_task._draw_maps(tasks, size, generator)
            grid = grid.view(tasks, -1, 2) @ affine[:, :, :2].mT + affine[:, None, :, 2]
            grid = grid.view(tasks, samples, *size, 2)
            grid = (grid if warp is None else grid + warp[:, None]).flatten(0, 1)
        flat = F.grid_sample(flat, grid.to(flat.device), align_corners=False)
        if self.thicken > 0:
            amount = torch.rand(len(flat), generator=generator)
            amount *= torch.rand(len(flat), generator=generator) < self.thicken
            thick = F.max_pool2d(flat, 3, stride=1, padding=1)
            flat = flat.lerp(thick, amount.to(flat).view(-1, 1, 1, 1))
        return flat.view_as(images)

    def _draw_maps(
        self, n: int, size: tuple[int, ...], generator: torch.Generator
    ) -> tuple[Float[Tensor, "n 2 3"], Float[Tensor, "n height width 2"] | None]:
        """Draw ``n`` affine maps and, if ``warp`` is positive, smooth displacements."""

        def uniform(limit: float) -> Tensor:
            return (torch.rand(n, generator=generator) * 2 - 1) * limit

        angle, shear = uniform(math.radians(self.degrees)), uniform(self.shear)
        width, height = 1 + uniform(self.scale), 1 + uniform(self.scale)
        right, down = uniform(1.0), uniform(1.0)
        if self.degrees or self.scale or self.shear or self.warp:
            right, down = right * 2 * self.shift, down * 2 * self.shift
        else:  # Nothing else blurs the image, so shift it by whole pixels.
            right, down = (
                ((int(self.shift * side) + 0.5) * fraction).round() * 2 / side
                for fraction, side in ((right, size[1]), (down, size[0]))
            )
        rows = [
            torch.stack([width * angle.cos(), shear - height * angle.sin(), right], 1),
            torch.stack([width * angle.sin(), height * angle.cos(), down], 1),
        ]
        affine = torch.stack(rows, 1)
        if self.flip > 0:
            is_mirrored = torch.rand(n, generator=generator) < self.flip
            affine[:, :, 0] = torch.where(is_mirrored[:, None], -affine[:, :, 0], affine[:, :, 0])
        if self.warp == 0:
            return affine, None
        # Random displacements at a few points and smooth in between, as handwriting varies.
        warp = torch.randn(n, 2, WARP_POINTS, WARP_POINTS, generator=generator)
        warp = F.interpolate(2 * self.warp * warp, size, mode="bicubic")
        return affine, warp.movedim(1, -1)
