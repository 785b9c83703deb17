"""The shared embedding that nearly every method starts with: its config, its making, its use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from lgmnet.errors import ConfigError
from lgmnet.nn.alignment import VIEWS, DrawingEmbedding
from lgmnet.nn.layers import ConvEmbedding, ResidualEmbedding, VectorEmbedding


@dataclass(frozen=True)
class EmbeddingConfig:
    """The shared embedding; what the configs of all methods that have one begin with.

    Raises:
        ConfigError: naming the field that cannot be.
    """

    feature_shape: tuple[int, ...] = (1, 28, 28)
    """Shape of one sample: [channels, height, width] of an image, or [features] of a vector."""
    embedding_widths: tuple[int, ...] = (32, 64, 64, 64)
    """Channels (or units) of each layer of the shared embedding; for vectors there may be none."""
    embedding_pooled: tuple[bool, ...] = (True, True, False, False)
    """For each convolution of the shared embedding, whether it is pooled; not read for vectors."""
    embedding_layers: Literal["plain", "residual"] = "plain"
    """For images: ``plain``, each width is one convolution (Conv-4); ``residual``, a block of three
    with a shortcut (ResNet-12)."""
    align: float | None = None
    """For drawings: each is put in the middle and its size evened out to this power, 0 to 1."""
    canvas: int | None = None
    """For aligned drawings: side in pixels to which they are drawn anew; None keeps theirs."""
    views: int = 1
    """For drawings: in evaluation each is embedded so many times, turned and stretched a little,
    and a query is like a support sample if it is so in all views."""
    intertask_norm: bool = True
    """Ablation: off, each sample is normalised by itself and tasks never meet."""
    may_be_bare: ClassVar[bool] = True
    """Whether vectors may be taken as they are, with no layer of an embedding."""

    def __post_init__(self) -> None:
        need(
            self,
            "feature_shape",
            len(self.feature_shape) in (1, 3) and min(self.feature_shape) > 0,
            "1 or 3 positive numbers, of a vector or of an image",
        )
        widths = self.embedding_widths
        need(
            self,
            "embedding_widths",
            min(widths) > 0 if widths else self.may_be_bare and not self.of_images,
            "positive numbers, at least one" + ("" if self.of_images else " where it is needed"),
        )
        layers = ("plain", "residual") if self.of_images else ("plain",)
        need(self, "embedding_layers", self.embedding_layers in layers, " or ".join(layers))
        need(self, "align", self.align is None or 0 <= self.align <= 1, "0 to 1, or None")
        need(
            self,
            "canvas",
            self.canvas is None or (self.align is not None and self.canvas > 0),
            "None, or positive where 'align' is set",
        )
        need(self, "views", 1 <= self.views <= len(VIEWS), f"1 to {len(VIEWS)}")
        if self.of_images:
            need(
                self,
                "embedding_pooled",
                len(self.embedding_pooled) == len(widths),
                f"{len(widths)} values, one for each of 'embedding_widths'",
            )
            need_size(self)
        else:
            need(self, "align", self.align is None, "None where samples are vectors")
            need(self, "views", self.views == 1, "1 where samples are vectors")

    @property
    def channels_out(self) -> int:
        """Channels (or units) of the shared embedding."""
        return self.embedding_widths[-1] if self.embedding_widths else self.feature_shape[0]

    @property
    def of_images(self) -> bool:
        """Whether samples are images; else they are vectors."""
        return len(self.feature_shape) == 3


def need(config: Any, field: str, holds: bool, expected: str) -> None:
    """Check a field of a config.

    Raises:
        ConfigError: if it does not hold, naming field, what was expected and what came.
    """
    if not holds:
        raise ConfigError(f"'{field}' must be {expected}, but is {getattr(config, field)!r}.")


def need_size(config: EmbeddingConfig, further: int = 0) -> None:
    """Check that images survive the poolings of the embedding, and so many further ones."""
    halvings = sum(config.embedding_pooled) + further
    need(
        config,
        "feature_shape",
        min(config.feature_shape[1:]) >= 2**halvings,
        f"at least {2**halvings} pixels high and wide for {halvings} poolings",
    )


def build_embedding(config: EmbeddingConfig) -> nn.Module:
    """The shared embedding that a config asks for."""
    channels, widths = config.feature_shape[0], config.embedding_widths
    if not config.of_images:
        return VectorEmbedding(channels, widths, config.intertask_norm)
    kind = ConvEmbedding if config.embedding_layers == "plain" else ResidualEmbedding
    layers = kind(channels, widths, config.embedding_pooled, config.intertask_norm)
    layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if config.align is None and config.views == 1:
        return layers
    return DrawingEmbedding(layers, config.align, config.views, config.canvas)


def embed(
    embedding: nn.Module, x: Float[Tensor, "tasks samples *feature"], views: int = 1
) -> Float[Tensor, "tasks samples views *embedding"]:
    """Every sample of every task through the one shared embedding, which gives so many views."""
    embedded: Tensor = embedding(rearrange(x, "tasks samples ... -> (tasks samples) ..."))
    if views == 1:
        embedded = embedded[:, None]
    return rearrange(embedded, "(tasks samples) ... -> tasks samples ...", tasks=x.shape[0])


def features_of(config: EmbeddingConfig, embedding: nn.Module) -> int:
    """How many features an embedding gives of one view of one sample."""
    was = embedding.training
    with torch.no_grad():
        shown: Tensor = embedding.eval()(torch.zeros(1, *config.feature_shape))
    embedding.train(was)
    return shown.numel() // config.views
