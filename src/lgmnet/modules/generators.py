"""Conditional weight generators: from a task's context to the weights of one TargetNet layer."""

from __future__ import annotations

import math

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
        nn.init.normal_(self.dense.bias, std=math.sqrt(2.0 / fan_in))
        nn.init.zeros_(self.dense.bias[-self.n_out :])

    def forward(
        self, context: Float[Tensor, "tasks context"]
    ) -> tuple[Float[Tensor, "tasks out *kernel"], Float[Tensor, "tasks out"]]:
        """The weight and the bias of this layer for each task."""
        flat = self.dense(context)
        kernels, bias = flat[:, : -self.n_out], flat[:, -self.n_out :]
        kernels = rearrange(kernels, "tasks (out fan_in) -> tasks out fan_in", out=self.n_out)
        if self.normalise:
            kernels = F.normalize(kernels, dim=-1)
        return kernels.unflatten(-1, self.weight_shape[1:]), bias
