"""Weight generators: from a task's context to the weights of one layer of TargetNet."""

from __future__ import annotations

import math

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class WeightGenerator(nn.Module):
    """Dense layer from the context to one layer's kernels and biases (docs/method.md, eq. 3).

    The bias of the dense layer starts as ordinary He-initialized kernels, so that TargetNet starts
    as an ordinary network, which each context then changes.

    Args:
        context: Length of the context.
        weight_shape: Shape of the generated weight, output axis first.
        weight_norm: If True, each kernel (each hyperplane of a linear layer) is divided by its L2
            norm; biases never are.
    """

    def __init__(
        self, context: int, weight_shape: tuple[int, ...], *, weight_norm: bool = True
    ) -> None:
        super().__init__()
        self.weight_shape = weight_shape
        self.weight_norm = weight_norm
        self.n_out = weight_shape[0]
        fan_in = math.prod(weight_shape[1:])
        self.dense = nn.Linear(context, self.n_out * fan_in + self.n_out)
        nn.init.xavier_normal_(self.dense.weight)
        init_kernels(self.dense.bias, self.n_out, fan_in)

    def forward(
        self,
        context: Float[Tensor, "tasks context"],
        change: Float[Tensor, "tasks numbers"] | None = None,
    ) -> tuple[Float[Tensor, "tasks out *kernel"], Float[Tensor, "tasks out"]]:
        """Generate the weight and the bias of this layer for each task.

        Args:
            context: Context of each task.
            change: Values added to kernels and biases before normalization; None for none.
        """
        # In the precision of its weights: they are read once for all tasks, and converting them to
        # bf16 first takes longer than all the rest of adapting.
        with torch.autocast(context.device.type, enabled=False):
            flat = self.dense(context.to(self.dense.weight.dtype))
        return self.split(flat if change is None else flat + change)

    def split(
        self, flat: Float[Tensor, "tasks numbers"]
    ) -> tuple[Float[Tensor, "tasks out *kernel"], Float[Tensor, "tasks out"]]:
        """Split generated numbers into the weight and the bias of the layer."""
        kernels, bias = flat[:, : -self.n_out], flat[:, -self.n_out :]
        kernels = rearrange(kernels, "tasks (out fan_in) -> tasks out fan_in", out=self.n_out)
        if self.weight_norm:
            kernels = F.normalize(kernels, dim=-1)
        return kernels.unflatten(-1, self.weight_shape[1:]), bias


class SharedWeights(WeightGenerator):
    """Ablation of the generators: learned weights that are the same for all tasks.

    Args:
        weight_shape: Shape of the weight, output axis first.
        weight_norm: If True, each kernel is divided by its L2 norm.
    """

    def __init__(self, weight_shape: tuple[int, ...], *, weight_norm: bool = True) -> None:
        nn.Module.__init__(self)
        self.weight_shape = weight_shape
        self.weight_norm = weight_norm
        self.n_out = weight_shape[0]
        fan_in = math.prod(weight_shape[1:])
        self.flat = nn.Parameter(torch.empty(self.n_out * fan_in + self.n_out))
        init_kernels(self.flat, self.n_out, fan_in)

    def forward(
        self,
        context: Float[Tensor, "tasks context"],
        change: Float[Tensor, "tasks numbers"] | None = None,
    ) -> tuple[Float[Tensor, "tasks out *kernel"], Float[Tensor, "tasks out"]]:
        """Repeat the weight and the bias for each task; the context's values are ignored."""
        return self.split(self.flat.expand(len(context), -1))


def init_kernels(flat: Float[Tensor, " numbers"], n_out: int, fan_in: int) -> None:
    """Initialize kernels, and the biases after them, as He et al. (2015) do."""
    nn.init.normal_(flat, std=math.sqrt(2.0 / fan_in))
    nn.init.zeros_(flat[-n_out:])
