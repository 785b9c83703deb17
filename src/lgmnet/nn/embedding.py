"""The shared embedding that nearly every method starts with: its config, its layers, its use."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from lgmnet.config import require
from lgmnet.nn.alignment import AlignedEmbedding, AlignmentConfig
from lgmnet.nn.layer_axes import AxesConfig, LayerAxes
from lgmnet.nn.layers import ConvEmbedding, LayerKind, build_layers
from lgmnet.nn.map_statistics import StatisticsEmbedding, count_statistics


@dataclass(frozen=True)
class EmbeddingConfig:
    """Shared embedding of all samples.

    Raises:
        ConfigError: if a field has a value that is not allowed.
    """

    feature_shape: tuple[int, ...] = (1, 28, 28)
    """Shape of one sample: [channels, height, width] of an image or [features] of a vector."""
    layers: LayerKind = "conv"
    """For images ``conv`` (Conv-4) or ``residual`` (ResNet-12); for vectors ``linear``."""
    widths: tuple[int, ...] = (32, 64, 64, 64)
    """Channels (or units) of each layer; vectors may do without any layer."""
    pooled: tuple[bool, ...] = (True, True, False, False)
    """For each layer of images, True if a 2x2 max-pool follows; empty for vectors."""
    norm: Literal["intertask", "sample"] = "intertask"
    """Normalization of all layers of the method: over all tasks of a batch, or (ablation) of each
    sample by itself, so that tasks never meet."""
    alignment: AlignmentConfig | None = None
    """For drawings: how they are aligned before the first layer."""
    readout: Literal["last", "layers"] = "last"
    """Output: ``last``: that of the last layer; ``layers``: for images, a vector of statistics of
    the maps of all layers (`lgmnet.nn.map_statistics`)."""
    axes: AxesConfig | None = None
    """For vectors without layers: how features are compressed; fitted once, then frozen."""

    def __post_init__(self) -> None:
        shape, widths = self.feature_shape, self.widths
        has_shape = len(shape) in (1, 3) and min(shape) > 0
        expected = "1 or 3 positive numbers, of a vector or of an image"
        require(self, "feature_shape", has_shape, expected)
        kinds = ("conv", "residual") if self.is_image else ("linear",)
        require(self, "layers", self.layers in kinds, " or ".join(map(repr, kinds)))
        has_layers = len(widths) > 0 or not self.is_image
        require(self, "widths", has_layers, "positive numbers, at least one for images")
        require(self, "widths", min(widths, default=1) > 0, "positive numbers")
        n_pooled = len(widths) if self.is_image else 0
        expected = f"{n_pooled} values, one for each of 'widths'" if n_pooled else "empty"
        require(self, "pooled", len(self.pooled) == n_pooled, expected)
        require(self, "norm", self.norm in ("intertask", "sample"), "'intertask' or 'sample'")
        aligned = self.alignment is not None
        require(self, "alignment", self.is_image or not aligned, "None where samples are vectors")
        readouts = ("last", "layers") if self.is_image else ("last",)
        require(self, "readout", self.readout in readouts, " or ".join(map(repr, readouts)))
        if self.axes is not None:
            is_bare = not self.is_image and not widths
            require(self, "axes", is_bare, "None unless samples are vectors without layers")
            fits = all(group.stop <= shape[0] for group in self.axes.groups)
            require(self.axes, "groups", fits, f"within the {shape[0]} features")
        if self.is_image:
            require_size(self)

    @property
    def is_image(self) -> bool:
        """True if samples are images, False if they are vectors."""
        return len(self.feature_shape) == 3

    @property
    def gives_maps(self) -> bool:
        """True if the embedding of a sample is a feature map, False if it is a vector."""
        return self.is_image and self.readout == "last"

    @property
    def map_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """Channels, height and width of an image before the first layer and after each."""
        canvas = self.alignment and self.alignment.canvas
        channels, height, width = self.feature_shape
        height, width = (canvas, canvas) if canvas else (height, width)
        shapes = [(channels, height, width)]
        for n, is_pooled in zip(self.widths, self.pooled, strict=True):
            height, width = height >> is_pooled, width >> is_pooled
            shapes.append((n, height, width))
        return tuple(shapes)

    @property
    def groups(self) -> tuple[int, ...]:
        """Number of channels (or values) of each group that belongs together, in their order."""
        if self.axes is not None:
            return self.axes.group_sizes
        return count_statistics(self.map_shapes) if self.readout == "layers" else (self.n_out,)

    @property
    def n_out(self) -> int:
        """Channels (or units) of the embedding."""
        if self.readout == "layers" or self.axes is not None:
            return sum(self.groups)
        return self.widths[-1] if self.widths else self.feature_shape[0]

    @property
    def n_features(self) -> int:
        """Number of values that the embedding gives of one view of one sample."""
        return math.prod(self.map_shapes[-1]) if self.gives_maps else self.n_out

    @property
    def views(self) -> int:
        """Views of each sample in evaluation."""
        return self.alignment.views if self.alignment else 1


def vector_embedding(features: int, *widths: int) -> EmbeddingConfig:
    """Describe an embedding of vectors with linear layers."""
    return EmbeddingConfig((features,), "linear", widths, ())


def require_size(config: EmbeddingConfig, n_more: int = 0) -> None:
    """Check that images survive the poolings of the embedding and ``n_more`` after it.

    Raises:
        ConfigError: if they are too small.
    """
    halvings = sum(config.pooled) + n_more
    is_large = min(config.feature_shape[1:]) >= 2**halvings
    expected = f"at least {2**halvings} pixels high and wide for {halvings} poolings"
    require(config, "feature_shape", is_large, expected)


def build_embedding(config: EmbeddingConfig) -> nn.Module:
    """Build the shared embedding."""
    if config.axes is not None:
        return LayerAxes(config.axes)
    n_in = config.feature_shape[0]
    layers = build_layers(config.layers, n_in, config.widths, config.pooled, config.norm)
    if not config.is_image:
        return nn.Sequential(*layers)
    maps = ConvEmbedding(*layers)
    is_last = config.readout == "last"
    embedding = maps if is_last else StatisticsEmbedding(maps, config.map_shapes, config.norm)
    embedding.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return AlignedEmbedding(embedding, config.alignment) if config.alignment else embedding


def embed(
    embedding: nn.Module, x: Float[Tensor, "tasks samples *feature"], views: int = 1
) -> Float[Tensor, "tasks samples views *embedding"]:
    """Embed every sample of every task; ``views`` is that of the embedding's config."""
    embedded: Tensor = embedding(rearrange(x, "tasks samples ... -> (tasks samples) ..."))
    if views == 1:
        embedded = embedded[:, None]
    return rearrange(embedded, "(tasks samples) ... -> tasks samples ...", tasks=x.shape[0])
