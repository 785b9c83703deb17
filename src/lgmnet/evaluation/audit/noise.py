"""Pictures that say nothing about any class."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lgmnet.data.class_dataset import ClassDataset

NOISE_CLASSES, NOISE_IMAGES, NOISE_GRAIN = 64, 20, 9
"""Classes and images per class of noise, and the height of its grain in pixels."""


def draw_noise(
    n: int, shape: Sequence[int], dtype: torch.dtype, generator: torch.Generator
) -> Tensor:
    """Draw samples of noise, [n, *shape].

    Images of noise have an upright grain, so that a method can see that an image was rotated, and
    nothing else.
    """
    noise = torch.randn(n, *shape, generator=generator)
    if len(shape) == 3:
        grain = min(NOISE_GRAIN, shape[1])
        noise = F.avg_pool2d(noise, (grain, 1), 1, (grain // 2, 0))
        noise = noise[:, :, : shape[1]] * math.sqrt(NOISE_GRAIN)
    if dtype == torch.uint8:
        return (128 + 60 * noise).clamp(0, 255).to(torch.uint8)
    return noise.to(dtype)


def make_noise_dataset(
    shape: Sequence[int],
    dtype: torch.dtype,
    seed: int = 0,
    *,
    classes: int = NOISE_CLASSES,
    images: int = NOISE_IMAGES,
) -> ClassDataset:
    """Make a data set of noise, with ``images`` samples for each class that do not depend on it."""
    generator = torch.Generator().manual_seed(seed)
    noise = draw_noise(classes * images, shape, dtype, generator)
    names = [f"noise {i}" for i in range(classes)]
    return ClassDataset(noise, [images] * classes, names, name="noise", split="all")
