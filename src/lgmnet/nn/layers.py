"""Layers of the shared embeddings: Conv-4 and its kin, ResNet-12 and its kin, linear layers."""

from collections.abc import Iterator, Sequence
from typing import Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lgmnet.nn.norms import NormKind, build_norm

LayerKind = Literal["conv", "residual", "linear"]

LEAKY_SLOPE = 0.1
"""Slope of the leaky ReLU below zero."""

MAX_PIXELS = {"cpu": 1 << 15}
"""Pixels per part where no gradients are needed. On a CPU, maps of so few pixels stay in the cache,
which saves a third of the time."""
DEFAULT_MAX_PIXELS = 1 << 21
"""The same on other devices: thousands of images must not need gigabytes."""


def build_layers(
    kind: LayerKind, n_in: int, widths: Sequence[int], pooled: Sequence[bool], norm: NormKind
) -> list[nn.Module]:
    """Build the layers of an embedding.

    Max-pooling stands before the normalization, so that three quarters of the activations need not
    be normalized; where a channel's scale is positive, the maximum commutes with what follows.

    Args:
        kind: ``conv``: each width is one 3x3 convolution (Conv-4); ``residual``: each is a block
            of three with a shortcut (ResNet-12, as in SNAIL, 2018, and TADAM, 2018); ``linear``:
            each is one linear layer, for vectors.
        n_in: Channels of the images, or length of the vectors.
        widths: Channels (or units) after each layer.
        pooled: For each layer, True if a 2x2 max-pool follows; empty for ``linear``.
        norm: Normalization after each layer.
    """
    layers: list[nn.Module] = []
    for width, pool in zip(widths, pooled or [False] * len(widths), strict=True):
        pooling = [nn.MaxPool2d(2)] if pool else []
        if kind == "residual":
            layers += [ResidualBlock(n_in, width, norm), *pooling]
        elif kind == "conv":
            layers += [nn.Conv2d(n_in, width, 3, padding=1, bias=False), *pooling]
        else:
            layers.append(nn.Linear(n_in, width, bias=False))
        if kind != "residual":
            layers += [build_norm(width, norm), nn.ReLU(inplace=True)]
        n_in = width
    return layers


class ConvEmbedding(nn.Sequential):
    """Embedding of images: layers from `build_layers`."""

    def forward(
        self, images: Float[Tensor, "samples channels height width"]
    ) -> Float[Tensor, "samples embedding height_out width_out"]:
        """Compute the feature maps of a batch of images."""
        parts = [self.apply_layers(part) for part in self.split_images(images)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def split_images(self, images: Tensor) -> Sequence[Tensor]:
        """Split images into parts that stay in the cache, unless gradients are needed."""
        max_pixels = MAX_PIXELS.get(images.device.type, DEFAULT_MAX_PIXELS)
        part = max(1, max_pixels // images[0, 0].numel())
        if self.training or torch.is_grad_enabled() or len(images) <= part:
            return [images]
        return list(images.split(part))

    def apply_layers(self, images: Tensor) -> Tensor:
        """Pass all images through all layers at once."""
        return cast(Tensor, super().forward(images))  # type: ignore[no-untyped-call]

    def iterate_maps(self, images: Tensor) -> Iterator[Tensor]:
        """Yield the images, then the maps after each layer (with its pooling and activation)."""
        for i, module in enumerate(self):
            if i == 0 or isinstance(module, (nn.Conv2d, ResidualBlock)):
                yield images
            images = module(images)
        yield images


class ResidualBlock(nn.Module):
    """Three 3x3 convolutions with normalization, a 1x1 convolution as shortcut, leaky ReLU."""

    def __init__(self, n_in: int, width: int, norm: NormKind) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, channels in enumerate((n_in, width, width)):
            activation = [nn.LeakyReLU(LEAKY_SLOPE, inplace=True)] if i > 0 else []
            convolution = nn.Conv2d(channels, width, 3, padding=1, bias=False)
            layers += [*activation, convolution, build_norm(width, norm)]
        self.layers = nn.Sequential(*layers)
        shortcut = nn.Conv2d(n_in, width, 1, bias=False)
        self.shortcut = nn.Sequential(shortcut, build_norm(width, norm))

    def forward(
        self, maps: Float[Tensor, "samples channels height width"]
    ) -> Float[Tensor, "samples channels_out height width"]:
        """Compute maps of the same height and width."""
        return F.leaky_relu(self.layers(maps) + self.shortcut(maps), LEAKY_SLOPE)
