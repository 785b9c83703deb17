"""Intertask normalisation: batch normalisation over the samples of all tasks of a batch."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class IntertaskNorm(nn.Module):
    """Batch normalisation over the samples of **all tasks** of a training batch.

    In training, tasks meet in the statistics; over several processes, they meet across all of them
    (the statistics go through a differentiable all-reduce, on CPU as well as on GPU). In
    evaluation, the running statistics are used, so one task's answers never depend on another's.

    Args:
        channels: Size of axis 1 of the input.
        momentum: Weight of the newest batch in the running statistics.
        eps: Added to the variance.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum = momentum
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(
        self, x: Float[Tensor, "samples channels *space"]
    ) -> Float[Tensor, "samples channels *space"]:
        """Normalise each channel of ``x`` over all samples (and all positions in space)."""
        if (
            self.training
            and dist.is_available()
            and dist.is_initialized()
            and dist.get_world_size() > 1
        ):
            return self._over_all_processes(x)
        return F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training,
            self.momentum,
            self.eps,
        )

    def _over_all_processes(self, x: Tensor) -> Tensor:
        axes = [0, *range(2, x.ndim)]
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        count = wide.new_tensor([wide.numel() / wide.shape[1]])
        total: Tensor = sum_over_processes(torch.cat([wide.sum(axes), count]))
        mean = total[:-1] / total[-1]
        shaped = [1, -1] + [1] * (x.ndim - 2)
        centred = wide - mean.view(shaped)
        squares: Tensor = sum_over_processes(centred.square().sum(axes))
        variance = squares / total[-1]
        with torch.no_grad():
            unbiased = variance * total[-1] / (total[-1] - 1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(unbiased, self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale.view(shaped) + self.bias.view(shaped)).to(x.dtype)


class SumOverProcesses(torch.autograd.Function):
    """All-reduce that gradients flow through: every process's loss reaches every process's samples.

    (torch's SyncBatchNorm is for GPUs only.)
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """The sum over processes."""
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """The sum of what every process's loss wants of the sum."""
        return SumOverProcesses.forward(ctx, grad)


def sum_over_processes(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The sum of ``x`` over all processes, differentiable on CPU and GPU."""
    total: Tensor = SumOverProcesses.apply(x)  # type: ignore[no-untyped-call]
    return total


def normalisation(channels: int, intertask: bool) -> nn.Module:
    """Intertask normalisation or, as its ablation, each sample normalised by itself."""
    return IntertaskNorm(channels) if intertask else nn.GroupNorm(1, channels)
