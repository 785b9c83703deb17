"""TargetNet: a small network whose weights are not its own, but generated for each task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lgmnet.nn.intertask_norm import normalisation

Skip = Literal["beside", "added"] | None
TargetWeights = Mapping[str, Tensor]
"""Generated weights by name: ``weight_0`` [tasks, out, *kernel], ``bias_0`` [tasks, out], ..."""


class TargetNet(nn.Module):
    """What the two TargetNets share: the names and shapes of the weights they must be given."""

    weight_shapes: tuple[tuple[int, ...], ...]
    """The weight shape of every layer, output axis first."""

    def __init__(
        self, weight_shapes: Sequence[tuple[int, ...]], *, norm: bool, intertask: bool
    ) -> None:
        super().__init__()
        self.weight_shapes = tuple(weight_shapes)
        self.norms = nn.ModuleList(
            normalisation(shape[0], intertask) if norm else nn.Identity()
            for shape in self.weight_shapes
        )

    def check(self, weights: TargetWeights, tasks: int) -> None:
        """Check generated weights by name and shape.

        ``torch.func.functional_call`` would let a bias of shape (1,) pass in silence.

        Raises:
            AssertionError: if a name is missing or foreign, or a shape differs.
        """
        expected = {f"weight_{i}": (tasks, *shape) for i, shape in enumerate(self.weight_shapes)}
        expected |= {f"bias_{i}": (tasks, shape[0]) for i, shape in enumerate(self.weight_shapes)}
        came = {name: tuple(tensor.shape) for name, tensor in weights.items()}
        assert came == expected, f"generated weights are {came}, expected {expected}"


class ConvTarget(TargetNet):
    """Generated 3x3 convolutions, ReLU between them, flattened at the end.

    All tasks are convolved at once: a convolution with a kernel of its own for each task is one
    convolution with ``tasks`` groups.

    Args:
        channels_in: Channels of the shared embedding.
        widths: Channels after each generated convolution.
        norm: Whether each convolution is followed by normalisation.
        intertask: Whether that normalisation is over all tasks.
        pooled: Whether a 2x2 max-pool stands between convolutions.
        skip: Where the shared embedding goes: ``beside`` what comes out, each at unit length;
            ``added`` to it; None for nowhere.
    """

    def __init__(
        self,
        channels_in: int,
        widths: Sequence[int],
        *,
        norm: bool,
        intertask: bool,
        pooled: bool = True,
        skip: Skip = None,
    ) -> None:
        ins = [channels_in, *widths[:-1]]
        super().__init__(
            [(out, in_, 3, 3) for in_, out in zip(ins, widths, strict=True)],
            norm=norm,
            intertask=intertask,
        )
        self.pooled = pooled
        self.skip = skip

    def forward(
        self, weights: TargetWeights, x: Float[Tensor, "tasks samples channels height width"]
    ) -> Float[Tensor, "tasks samples features"]:
        """The target embedding of every sample, under its own task's weights."""
        tasks, embedded = x.shape[0], x
        self.check(weights, tasks)
        last = len(self.norms) - 1
        for i, norm in enumerate(self.norms):
            maps = rearrange(x, "tasks samples c h w -> samples (tasks c) h w")
            kernels = rearrange(weights[f"weight_{i}"], "tasks out ... -> (tasks out) ...")
            if tasks == 1:  # An ordinary convolution, and half as fast in any other format.
                maps = maps.contiguous(memory_format=torch.channels_last)
                kernels = kernels.contiguous(memory_format=torch.channels_last)
            biases = rearrange(weights[f"bias_{i}"], "tasks out -> (tasks out)")
            x = F.conv2d(maps, kernels, biases, padding=1, groups=tasks)
            if i < last and self.pooled:
                x = F.max_pool2d(x, 2)
            x = norm(rearrange(x, "samples (tasks c) h w -> (tasks samples) c h w", tasks=tasks))
            if i < last:
                x = F.relu(x)
            x = rearrange(x, "(tasks samples) c h w -> tasks samples c h w", tasks=tasks)
        return apply_skip(self.skip, embedded.flatten(2), x.flatten(2))


class LinearTarget(TargetNet):
    """Generated linear layers with ReLU between them, for vectors and 2-D points.

    Args:
        features_in: Length of the shared embedding.
        widths: Units of each generated layer.
        norm: Whether each layer is followed by normalisation.
        intertask: Whether that normalisation is over all tasks.
        skip: Where the shared embedding goes: ``beside`` what comes out, each at unit length;
            ``added`` to it; None for nowhere.
    """

    def __init__(
        self,
        features_in: int,
        widths: Sequence[int],
        *,
        norm: bool,
        intertask: bool,
        skip: Skip = None,
    ) -> None:
        ins = [features_in, *widths[:-1]]
        super().__init__(
            [(out, in_) for in_, out in zip(ins, widths, strict=True)],
            norm=norm,
            intertask=intertask,
        )
        self.skip = skip

    def forward(
        self, weights: TargetWeights, x: Float[Tensor, "tasks samples channels"]
    ) -> Float[Tensor, "tasks samples features"]:
        """The target embedding of every sample, under its own task's weights."""
        tasks, embedded = x.shape[0], x
        self.check(weights, tasks)
        last = len(self.norms) - 1
        for i, norm in enumerate(self.norms):
            weight, bias = weights[f"weight_{i}"], weights[f"bias_{i}"]
            x = x @ weight.transpose(1, 2) + bias[:, None]
            x = norm(rearrange(x, "tasks samples c -> (tasks samples) c"))
            x = rearrange(x, "(tasks samples) c -> tasks samples c", tasks=tasks)
            if i < last:
                x = F.relu(x)
        return apply_skip(self.skip, embedded, x)


def apply_skip(
    skip: Skip,
    embedded: Float[Tensor, "tasks samples features"],
    made: Float[Tensor, "tasks samples more"],
) -> Float[Tensor, "tasks samples target_features"]:
    """What TargetNet made of each sample, with the shared embedding where `skip` says.

    Side by side, both are at unit length, so that their cosines count alike; in 32 bits or more.
    """
    if skip is None:
        return made
    if skip == "added":
        return embedded + made
    wide = torch.promote_types(made.dtype, torch.float32)
    with torch.autocast(made.device.type, enabled=False):
        return torch.cat([F.normalize(x.to(wide), dim=-1) for x in (embedded, made)], -1)
