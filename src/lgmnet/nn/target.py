"""TargetNet: a small network whose weights are generated for each task."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lgmnet.config import require
from lgmnet.devices import without_autocast
from lgmnet.nn.embedding import EmbeddingConfig
from lgmnet.nn.norms import NormKind, build_norm

Skip = Literal["none", "beside", "added"]
TargetWeights = Mapping[str, Tensor]
"""Generated weights by name: ``weight_0`` [tasks, out, *kernel], ``bias_0`` [tasks, out], ..., and
``gains`` [tasks, in] where channels (or features) are multiplied by gains before the layers, and
``natural`` [tasks, in] where they also stand beside, in their natural scale."""
MAX_MAPS = 768
"""Samples that pass TargetNet at a time where no gradients are needed; more leave the cache."""


@dataclass(frozen=True)
class TargetConfig:
    """TargetNet: generated 3x3 convolutions for images, generated linear layers for vectors.

    Raises:
        ConfigError: if a field has a value that is not allowed.
    """

    widths: tuple[int, ...] = (64, 64)
    """Channels (or units) of each generated layer; empty for generated gains alone (see
    `lgmnet.nn.label_context`)."""
    pooled: bool = True
    """True if a 2x2 max-pool stands between convolutions; False for vectors."""
    norm: bool = True
    """True if each generated layer is followed by normalization."""
    skip: Skip = "none"
    """Use of the shared embedding behind TargetNet: ``beside``: concatenated with TargetNet's
    output, each of unit length; ``added`` to it; ``none``."""
    gains: bool = False
    """If True, every channel (or feature) of the embedding is multiplied by a learned gain before
    the layers, the same for all tasks."""
    natural: bool = False
    """If True, the embedding in its natural scale stands beside, each half of unit length, and the
    ridge head mixes both (see `lgmnet.nn.ridge.mix_ridge_regressions`). In training there is only
    the first half, so that the gains learn to do without the other."""
    weights: Literal["generated", "learned"] = "generated"
    """Ablation: ``learned`` weights are the same for all tasks."""
    weight_norm: bool = True
    """Ablation: if False, kernels are not divided by their L2 norm."""

    def __post_init__(self) -> None:
        require(self, "widths", min(self.widths, default=1) > 0, "positive numbers")
        skips = ("none", "beside", "added")
        require(self, "skip", self.skip in skips, "'none', 'beside' or 'added'")
        kinds = ("generated", "learned")
        require(self, "weights", self.weights in kinds, "'generated' or 'learned'")

    @property
    def n_poolings(self) -> int:
        """Number of max-pools."""
        return max(0, len(self.widths) - 1) if self.pooled else 0


class TargetNet(nn.Module):
    """Generated layers with ReLU between them; all tasks go through at once.

    A convolution with a kernel of its own for each task is one convolution with ``tasks`` groups.

    Args:
        n_in: Channels (or features) of the shared embedding.
        config: Layers.
        is_image: True if embeddings are feature maps, False if they are vectors.
        norm: Normalization after each layer.
        has_gains: True if every channel (or feature) is multiplied by a gain first.
    """

    weight_shapes: tuple[tuple[int, ...], ...]
    """Weight shape of every layer, output axis first."""

    def __init__(
        self,
        n_in: int,
        config: TargetConfig,
        *,
        is_image: bool,
        norm: NormKind = "intertask",
        has_gains: bool = False,
    ) -> None:
        super().__init__()
        layers = zip([n_in, *config.widths], config.widths, strict=False)
        kernel = (3, 3) if is_image else ()
        self.config = config
        names = ["gains"] * has_gains + ["natural"] * config.natural
        self.gain_shapes = dict.fromkeys(names, (n_in,))
        self.weight_shapes = tuple((width, channels, *kernel) for channels, width in layers)
        self.norms = nn.ModuleList(
            build_norm(width, norm) if config.norm else nn.Identity() for width in config.widths
        )

    @property
    def weight_names(self) -> list[str]:
        """Names of the gains, and of the weights and biases of all layers."""
        layers = range(len(self.weight_shapes))
        return [*self.gain_shapes, *(f"{part}_{i}" for i in layers for part in ("weight", "bias"))]

    def count_features(self, embedding: EmbeddingConfig) -> int:
        """Count the values that come out of one view of one sample, behind this embedding."""
        positions = embedding.n_features // embedding.n_out
        channels = self.config.widths[-1] if self.config.widths else embedding.n_out
        n_features = channels * (positions >> 2 * self.config.n_poolings)
        return n_features + (embedding.n_features if self.config.skip == "beside" else 0)

    def check(self, weights: TargetWeights, tasks: int) -> None:
        """Check generated weights by name and shape; a bias of shape (1,) would be broadcast."""
        of_layers = [part for shape in self.weight_shapes for part in (shape, shape[:1])]
        shapes = [*self.gain_shapes.values(), *of_layers]
        names = zip(self.weight_names, shapes, strict=True)
        expected = {name: (tasks, *shape) for name, shape in names}
        came = {name: tuple(tensor.shape) for name, tensor in weights.items()}
        assert came == expected, f"generated weights are {came}, expected {expected}"

    def forward(
        self, weights: TargetWeights, embedded: Float[Tensor, "tasks samples channels *space"]
    ) -> Float[Tensor, "tasks samples features"]:
        """Compute the target embedding of every sample under its own task's weights."""
        tasks = embedded.shape[0]
        self.check(weights, tasks)
        plain = embedded
        if "gains" in self.gain_shapes:
            gains = weights["gains"][:, None].to(embedded)
            embedded = embedded * gains.view(*gains.shape, *[1] * (embedded.ndim - 3))
        x, last = embedded, len(self.norms) - 1
        for i, norm in enumerate(self.norms):
            weight, bias = weights[f"weight_{i}"], weights[f"bias_{i}"]
            if weight.ndim == 3:
                x = x @ weight.transpose(1, 2) + bias[:, None]
            else:
                x = convolve_tasks(x, weight, bias)
            x = rearrange(x, "tasks samples ... -> (tasks samples) ...")
            if i < last and self.config.pooled:
                x = F.max_pool2d(x, 2)
            x = norm(x)
            if i < last:
                x = F.relu(x)
            x = rearrange(x, "(tasks samples) ... -> tasks samples ...", tasks=tasks)
        features = apply_skip(self.config.skip, embedded.flatten(2), x.flatten(2))
        if not self.config.natural or self.training:
            return features
        halves = features, plain * weights["natural"][:, None].to(plain)
        return torch.cat([F.normalize(half, dim=-1) for half in halves], -1)


def convolve_tasks(
    x: Float[Tensor, "tasks samples channels height width"],
    weight: Float[Tensor, "tasks out channels 3 3"],
    bias: Float[Tensor, "tasks out"],
) -> Float[Tensor, "tasks samples out height width"]:
    """Convolve the samples of each task with the task's own kernels."""
    tasks = len(x)
    maps = rearrange(x, "tasks samples c h w -> samples (tasks c) h w")
    kernels = rearrange(weight, "tasks out ... -> (tasks out) ...")
    if tasks == 1:  # An ordinary convolution, which is half as fast in any other layout.
        maps = maps.contiguous(memory_format=torch.channels_last)
        kernels = kernels.contiguous(memory_format=torch.channels_last)
    biases = rearrange(bias, "tasks out -> (tasks out)")
    maps = F.conv2d(maps, kernels, biases, padding=1, groups=tasks)
    return rearrange(maps, "samples (tasks c) h w -> tasks samples c h w", tasks=tasks)


def apply_skip(
    skip: Skip,
    embedded: Float[Tensor, "tasks samples features"],
    target: Float[Tensor, "tasks samples more"],
) -> Float[Tensor, "tasks samples target_features"]:
    """Combine TargetNet's output with the shared embedding.

    Side by side, both have unit length, so that their cosines count alike; in 32 bits or more.
    """
    if skip == "none":
        return target
    if skip == "added":
        return embedded + target
    wide = torch.promote_types(target.dtype, torch.float32)
    with without_autocast(target.device):
        return torch.cat([F.normalize(x.to(wide), dim=-1) for x in (embedded, target)], -1)


def embed_for_task(
    target: TargetNet | None,
    weights: TargetWeights,
    embedded: Float[Tensor, "tasks samples views *embedding"],
) -> Float[Tensor, "tasks samples views_and_features"]:
    """Pass every view of every sample through its own task's layers; concatenate the views."""
    tasks, samples, views = embedded.shape[:3]
    if target is None:
        return embedded.flatten(2)
    if torch.is_grad_enabled() or tasks * samples * views <= MAX_MAPS:
        features: Tensor = target(weights, embedded.flatten(1, 2))
    else:  # In parts so small that they stay in the processor's cache.
        part = max(1, MAX_MAPS // (tasks * views))
        parts = [target(weights, some.flatten(1, 2)) for some in embedded.split(part, 1)]
        features = torch.cat(parts, 1)
    return rearrange(features, "tasks (samples views) f -> tasks samples (views f)", views=views)
