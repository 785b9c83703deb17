"""Normalization over all tasks of a batch, over one task, or of each sample by itself."""

from typing import Any, Literal

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

NormKind = Literal["intertask", "task", "sample"]
"""``intertask``: `IntertaskNorm`; ``task``: `TaskNorm`; ``sample``: each sample by itself."""

EPS = 1e-5
MOMENTUM = 0.1
"""Weight of the newest batch in the running statistics."""


def build_norm(channels: int, kind: NormKind) -> nn.Module:
    """Build a normalization layer for maps or vectors."""
    if kind == "sample":
        return nn.GroupNorm(1, channels, EPS)
    return IntertaskNorm(channels) if kind == "intertask" else TaskNorm(channels)


class IntertaskNorm(nn.Module):
    """Batch normalization over the samples of **all tasks** of a training batch.

    In training, the statistics are those of all tasks. With several processes they are those of all
    processes: a differentiable all-reduce sums them, on CPU as well as on GPU. In evaluation, the
    running statistics are used, so one task's answers never depend on another task.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(
        self, x: Float[Tensor, "samples channels *space"]
    ) -> Float[Tensor, "samples channels *space"]:
        """Normalize each channel over all samples and all positions in space."""
        has_group = dist.is_available() and dist.is_initialized()
        if self.training and has_group and dist.get_world_size() > 1:
            return self._normalize_over_processes(x)
        running, affine = (self.running_mean, self.running_var), (self.weight, self.bias)
        return F.batch_norm(x, *running, *affine, self.training, MOMENTUM, EPS)

    def _normalize_over_processes(self, x: Tensor) -> Tensor:
        axes = [0, *range(2, x.ndim)]
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        count = wide.new_tensor([wide.numel() / wide.shape[1]])
        total: Tensor = sum_over_processes(torch.cat([wide.sum(axes), count]))
        mean = total[:-1] / total[-1]
        shape = [1, -1] + [1] * (x.ndim - 2)
        centred = wide - mean.view(shape)
        squares: Tensor = sum_over_processes(centred.square().sum(axes))
        variance = squares / total[-1]
        with torch.no_grad():
            unbiased = variance * total[-1] / (total[-1] - 1)
            self.running_mean.lerp_(mean, MOMENTUM)
            self.running_var.lerp_(unbiased, MOMENTUM)
        scale = self.weight * torch.rsqrt(variance + EPS)
        return (centred * scale.view(shape) + self.bias.view(shape)).to(x.dtype)


class TaskNorm(nn.Module):
    """Batch normalization over the samples of one task, or by statistics that are handed in.

    For networks that are called as functions of their weights (`lgmnet.nn.stateless`): the
    caller may substitute the buffers ``mean`` and ``variance``, such as those of a support set.
    """

    mean: Tensor | None
    variance: Tensor | None

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", None)
        self.register_buffer("variance", None)

    def forward(
        self, x: Float[Tensor, "samples channels *space"]
    ) -> Float[Tensor, "samples channels *space"]:
        """Normalize each channel by the statistics handed in, or by those of these samples."""
        mean, variance = self.mean, self.variance
        if mean is None or variance is None:
            if x.ndim == 4 and x.device.type == "cpu":
                # The fastest on a CPU, where tasks come one after the other. Not under `vmap`:
                # there, second-order gradients are wrong in the third digit. And not
                # `F.batch_norm`, which refuses a single value, whose variance is 0.
                args = (x, self.weight, self.bias, None, None, True, 0.0, EPS, False)
                return torch.batch_norm(*args)
            mean, variance = compute_moments(x)
        scale = self.weight * torch.rsqrt(variance + EPS)
        shift = self.bias - mean * scale
        shape = [-1] + [1] * (x.ndim - 2)
        return torch.addcmul(shift.to(x.dtype).view(shape), x, scale.to(x.dtype).view(shape))


def compute_moments(
    x: Float[Tensor, "samples channels *space"],
) -> tuple[Float[Tensor, " channels"], Float[Tensor, " channels"]]:
    """Compute mean and variance of each channel over all samples and positions in space."""
    variance, mean = torch.var_mean(x, [0, *range(2, x.ndim)], correction=0)
    return mean, variance


class SumOverProcesses(torch.autograd.Function):
    """All-reduce that gradients flow through: every process's loss reaches every process's samples.

    PyTorch's SyncBatchNorm does the same, but on GPUs only.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Sum over processes."""
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """Sum the gradients of all processes."""
        return SumOverProcesses.forward(ctx, grad)


def sum_over_processes(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Sum over all processes, differentiable on CPU and GPU."""
    total: Tensor = SumOverProcesses.apply(x)  # type: ignore[no-untyped-call]
    return total
