"""Generation that sees class structure: each class writes detectors of its own into the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from lgmnet.nn.matching import class_means

TOKEN, HEADS = 128, 4
START = 0.3
"""Size that the changes start with, as a part of an ordinary kernel's."""


class ClassTokens(nn.Module):
    """What each class of a task looks like, in the light of the task's other classes.

    The mean of each class's embeddings, pooled over space, goes through one layer of self-attention
    (Vaswani et al., 2017) over the classes; neither their order nor the samples' matters.

    Args:
        channels: Channels (or features) of the shared embedding.
        convolutional: Whether embeddings are feature maps (else vectors).
        dropout: Part of the attention and of the tokens that is left out at random in training.
    """

    def __init__(self, channels: int, *, convolutional: bool, dropout: float = 0.0) -> None:
        super().__init__()
        self.enter = nn.Linear(2 * channels if convolutional else channels, TOKEN)
        self.attention = nn.TransformerEncoderLayer(
            TOKEN, HEADS, 2 * TOKEN, dropout=dropout, batch_first=True, norm_first=True
        )
        self.norm = nn.LayerNorm(TOKEN)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        support: Float[Tensor, "tasks support views *embedding"],
        support_y: Int[Tensor, "tasks support"],
        way: int,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "tasks way token"]:
        """A token for each class of each task; the generator says what is left out in training."""
        features = support
        if support.ndim == 6:
            features = torch.cat([support.mean((4, 5)), support.amax((4, 5))], -1)
        means = class_means(features.mean(2), support_y, way)
        tokens: Tensor = self.enter(F.layer_norm(means, means.shape[-1:]))
        with seeded_by(generator if self.training and self.dropout.p else None, tokens.device):
            tokens = self.dropout(self.norm(self.attention(tokens)))
        return tokens


@contextmanager
def seeded_by(generator: torch.Generator | None, device: torch.device) -> Iterator[None]:
    """PyTorch's own randomness, which dropout knows no other than, made to follow a generator."""
    if generator is None:
        yield
        return
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


class ClassWriter(nn.Module):
    """What all classes of a task together add to the weight and the bias of one layer.

    A class with token t adds ``rank`` detectors: whatever resembles the kernel v_r(t) is sent to
    the channels u_r(t). With K classes::

        W <- W + 1 / sqrt(K) * sum over classes k and r of u_r(t_k) v_r(t_k)^T
        b <- b + mean over classes k of b(t_k)

    Args:
        weight_shape: Shape of the layer's weight, output axis first.
        rank: Detectors that each class adds.
    """

    def __init__(self, weight_shape: tuple[int, ...], rank: int) -> None:
        super().__init__()
        self.n_out, self.fan_in = weight_shape[0], math.prod(weight_shape[1:])
        self.rank = rank
        self.channels = nn.Linear(TOKEN, rank * self.n_out)
        self.kernels = nn.Linear(TOKEN, rank * self.fan_in)
        self.bias = nn.Linear(TOKEN, self.n_out)
        nn.init.normal_(self.channels.weight, std=START / math.sqrt(TOKEN))
        nn.init.normal_(self.kernels.weight, std=math.sqrt(2.0 / self.fan_in / TOKEN))
        nn.init.zeros_(self.bias.weight)
        for layer in (self.channels, self.kernels, self.bias):
            nn.init.zeros_(layer.bias)

    def forward(self, tokens: Float[Tensor, "tasks way token"]) -> Float[Tensor, "tasks numbers"]:
        """The change of the kernels and, after them, of the biases."""
        tasks, way, _ = tokens.shape
        channels = self.channels(tokens).view(tasks, way * self.rank, self.n_out)
        kernels = self.kernels(tokens).view(tasks, way * self.rank, self.fan_in)
        written = (channels.mT @ kernels) / way**0.5
        return torch.cat([written.flatten(1), self.bias(tokens).mean(1)], 1)
