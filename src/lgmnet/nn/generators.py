"""Weight generators: from a task's context to the weights of one layer of TargetNet."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lgmnet.devices import without_autocast


class WeightGenerator(nn.Module):
    """Dense layer from the context to one layer's kernels and biases (eq. 3 of LGM-Net).

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
        self.weight_shape, self.weight_norm = weight_shape, weight_norm
        self.dense = nn.Linear(context, math.prod(weight_shape) + weight_shape[0])
        nn.init.xavier_normal_(self.dense.weight)
        init_kernels(self.dense.bias, weight_shape)

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
        with without_autocast(context.device):
            flat = self.dense(context.to(self.dense.weight.dtype))
        flat = flat if change is None else flat + change
        return split_weights(flat, self.weight_shape, weight_norm=self.weight_norm)


class SharedWeights(nn.Module):
    """Ablation of the generators: learned weights that are the same for all tasks.

    Args:
        weight_shape: Shape of the weight, output axis first.
        weight_norm: If True, each kernel is divided by its L2 norm.
    """

    def __init__(self, weight_shape: tuple[int, ...], *, weight_norm: bool = True) -> None:
        super().__init__()
        self.weight_shape, self.weight_norm = weight_shape, weight_norm
        self.flat = nn.Parameter(torch.empty(math.prod(weight_shape) + weight_shape[0]))
        init_kernels(self.flat, weight_shape)

    def forward(
        self,
        context: Float[Tensor, "tasks context"],
        change: Float[Tensor, "tasks numbers"] | None = None,
    ) -> tuple[Float[Tensor, "tasks out *kernel"], Float[Tensor, "tasks out"]]:
        """Repeat the weight and the bias for each task; the context's values are ignored."""
        flat = self.flat.expand(len(context), -1)
        return split_weights(flat, self.weight_shape, weight_norm=self.weight_norm)


def init_kernels(flat: Float[Tensor, " numbers"], weight_shape: tuple[int, ...]) -> None:
    """Initialize kernels, and the biases after them, as He et al. (2015) do."""
    nn.init.normal_(flat, std=math.sqrt(2.0 / math.prod(weight_shape[1:])))
    nn.init.zeros_(flat[-weight_shape[0] :])


def split_weights(
    flat: Float[Tensor, "tasks numbers"], weight_shape: tuple[int, ...], *, weight_norm: bool
) -> tuple[Float[Tensor, "tasks out *kernel"], Float[Tensor, "tasks out"]]:
    """Split numbers into the weight and the bias of a layer."""
    kernels, bias = flat.split([math.prod(weight_shape), weight_shape[0]], 1)
    kernels = kernels.unflatten(1, (weight_shape[0], -1))
    if weight_norm:
        kernels = F.normalize(kernels, dim=-1)
    return kernels.unflatten(-1, weight_shape[1:]), bias
