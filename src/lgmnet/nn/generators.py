"""Conditional weight generators: from a task's context to the weights of one TargetNet layer."""

from __future__ import annotations

import math

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class WeightGenerator(nn.Module):
    """One dense layer from the context to one layer's kernel and bias (docs/method.md, eq. 3).

    The dense layer's own bias starts as an ordinary He-initialised kernel, so that TargetNet starts
    as an ordinary network that each context then bends.

    Args:
        context: Length of the context.
        weight_shape: Shape of the generated weight, output axis first.
        normalise: Whether each kernel (each hyperplane of a linear layer) is divided by its L2
            norm; biases never are.
    """

    def __init__(
        self, context: int, weight_shape: tuple[int, ...], *, normalise: bool = True
    ) -> None:
        super().__init__()
        self.weight_shape = weight_shape
        self.normalise = normalise
        self.n_out = weight_shape[0]
        fan_in = math.prod(weight_shape[1:])
        self.dense = nn.Linear(context, self.n_out * fan_in + self.n_out)
        nn.init.xavier_normal_(self.dense.weight)
        start_ordinary(self.dense.bias, self.n_out, fan_in)

    def forward(
        self,
        context: Float[Tensor, "tasks context"],
        change: Float[Tensor, "tasks numbers"] | None = None,
    ) -> tuple[Float[Tensor, "tasks out *kernel"], Float[Tensor, "tasks out"]]:
        """The weight and the bias of this layer for each task.

        Args:
            context: Of each task.
            change: To be added to kernels and biases before normalisation; None for nothing.
        """
        # In its own precision: the layer is read once for all tasks, and to turn it into bf16 first
        # takes longer than the whole of adapting otherwise does.
        with torch.autocast(context.device.type, enabled=False):
            flat = self.dense(context.to(self.dense.weight.dtype))
        return self.shaped(flat if change is None else flat + change)

    def shaped(
        self, flat: Float[Tensor, "tasks numbers"]
    ) -> tuple[Float[Tensor, "tasks out *kernel"], Float[Tensor, "tasks out"]]:
        """Generated numbers as the weight and the bias of the layer."""
        kernels, bias = flat[:, : -self.n_out], flat[:, -self.n_out :]
        kernels = rearrange(kernels, "tasks (out fan_in) -> tasks out fan_in", out=self.n_out)
        if self.normalise:
            kernels = F.normalize(kernels, dim=-1)
        return kernels.unflatten(-1, self.weight_shape[1:]), bias


class SharedWeights(WeightGenerator):
    """The generators' ablation: one weight and one bias for all tasks, learned, not generated.

    Args:
        weight_shape: Shape of the weight, output axis first.
        normalise: Whether each kernel is divided by its L2 norm.
    """

    def __init__(self, weight_shape: tuple[int, ...], *, normalise: bool = True) -> None:
        nn.Module.__init__(self)
        self.weight_shape = weight_shape
        self.normalise = normalise
        self.n_out = weight_shape[0]
        fan_in = math.prod(weight_shape[1:])
        self.flat = nn.Parameter(torch.empty(self.n_out * fan_in + self.n_out))
        start_ordinary(self.flat, self.n_out, fan_in)

    def forward(
        self,
        context: Float[Tensor, "tasks context"],
        change: Float[Tensor, "tasks numbers"] | None = None,
    ) -> tuple[Float[Tensor, "tasks out *kernel"], Float[Tensor, "tasks out"]]:
        """The same weight and bias for each task; nothing else is looked at."""
        return self.shaped(self.flat.expand(len(context), -1))


def start_ordinary(flat: Float[Tensor, " numbers"], n_out: int, fan_in: int) -> None:
    """Fill kernels, and biases after them, as He et al. (2015) start an ordinary layer."""
    nn.init.normal_(flat, std=math.sqrt(2.0 / fan_in))
    nn.init.zeros_(flat[-n_out:])
