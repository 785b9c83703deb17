"""Shared embeddings: one network through which every support and query sample goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lgmnet.nn.intertask_norm import normalisation

LEAK = 0.1
"""Slope of the leaky ReLU below zero."""

PIXELS_AT_ONCE = {"cpu": 1 << 15}
"""What goes through convolutions at once where nothing is learned: so little on a CPU that its maps
stay in the cache, which takes two thirds of the time."""
MOST_PIXELS_AT_ONCE = 1 << 21
"""The same on other devices: thousands of images must not need gigabytes."""


class ConvEmbedding(nn.Sequential):
    """3x3 convolutions with normalisation and ReLU, pooled where asked: Conv-4 and its kin.

    The pooling stands before the normalisation, so that three quarters of the activations need not
    be normalised; where a channel's scale is positive the maximum commutes with what follows.

    Args:
        channels_in: Channels of the images.
        widths: Channels after each convolution.
        pooled: For each convolution, whether a 2x2 max-pool follows.
        intertask: Whether normalisation is over all tasks (`IntertaskNorm`).
    """

    def __init__(
        self,
        channels_in: int,
        widths: Sequence[int],
        pooled: Sequence[bool],
        intertask: bool = True,
    ) -> None:
        layers: list[nn.Module] = []
        for width, pool in zip(widths, pooled, strict=True):
            layers += self.block(channels_in, width, pool, intertask)
            channels_in = width
        super().__init__(*layers)

    def forward(
        self, images: Float[Tensor, "samples channels height width"]
    ) -> Float[Tensor, "samples embedding height_out width_out"]:
        """Feature maps of a batch of images."""
        pixels = PIXELS_AT_ONCE.get(images.device.type, MOST_PIXELS_AT_ONCE)
        part = max(1, pixels // images[0, 0].numel())
        if self.training or torch.is_grad_enabled() or len(images) <= part:
            return self.layers(images)
        return torch.cat([self.layers(some) for some in images.split(part)])

    def layers(self, images: Tensor) -> Tensor:
        """All images through all layers."""
        return cast(Tensor, super().forward(images))  # type: ignore[no-untyped-call]

    @staticmethod
    def block(channels_in: int, width: int, pool: bool, intertask: bool) -> list[nn.Module]:
        """The layers from one width to the next."""
        return [
            nn.Conv2d(channels_in, width, 3, padding=1, bias=False),
            *([nn.MaxPool2d(2)] if pool else []),
            normalisation(width, intertask),
            nn.ReLU(inplace=True),
        ]


class ResidualEmbedding(ConvEmbedding):
    """Blocks of three 3x3 convolutions with a shortcut, pooled where asked: ResNet-12 and its kin.

    As few-shot learning has it since Mishra et al. (SNAIL, 2018) and Oreshkin et al. (TADAM, 2018):
    64, 160, 320 and 640 channels, all four blocks pooled. Arguments are those of `ConvEmbedding`, a
    block standing for each convolution.
    """

    @staticmethod
    def block(channels_in: int, width: int, pool: bool, intertask: bool) -> list[nn.Module]:
        """The layers from one width to the next."""
        return [
            ResidualBlock(channels_in, width, intertask),
            *([nn.MaxPool2d(2)] if pool else []),
        ]


class ResidualBlock(nn.Module):
    """Three 3x3 convolutions with normalisation, beside them a 1x1 one; leaky ReLU.

    Args:
        channels_in: Channels before the block.
        width: Channels after it.
        intertask: Whether normalisation is over all tasks.
    """

    def __init__(self, channels_in: int, width: int, intertask: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, wide_in in enumerate((channels_in, width, width)):
            if i > 0:
                layers.append(nn.LeakyReLU(LEAK, inplace=True))
            layers += [
                nn.Conv2d(wide_in, width, 3, padding=1, bias=False),
                normalisation(width, intertask),
            ]
        self.layers = nn.Sequential(*layers)
        self.shortcut = nn.Sequential(
            nn.Conv2d(channels_in, width, 1, bias=False), normalisation(width, intertask)
        )

    def forward(
        self, maps: Float[Tensor, "samples channels height width"]
    ) -> Float[Tensor, "samples channels_out height width"]:
        """Maps of the same height and width."""
        return F.leaky_relu(self.layers(maps) + self.shortcut(maps), LEAK)


class VectorEmbedding(nn.Sequential):
    """Linear layers with normalisation and ReLU, for vectors and 2-D points.

    Args:
        features_in: Length of the vectors.
        widths: Units of each layer.
        intertask: Whether normalisation is over all tasks (`IntertaskNorm`).
    """

    def __init__(self, features_in: int, widths: Sequence[int], intertask: bool = True) -> None:
        layers: list[nn.Module] = []
        for width in widths:
            layers += [
                nn.Linear(features_in, width, bias=False),
                normalisation(width, intertask),
                nn.ReLU(inplace=True),
            ]
            features_in = width
        super().__init__(*layers)

    def forward(
        self, vectors: Float[Tensor, "samples features"]
    ) -> Float[Tensor, "samples embedding"]:
        """Features of a batch of vectors."""
        return cast(Tensor, super().forward(vectors))  # type: ignore[no-untyped-call]
