"""Generation that sees the classes: each class adds detectors of its own to the weights."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from lgmnet.config import require
from lgmnet.nn.matching import class_means

TOKEN_LENGTH, N_HEADS = 128, 4
INITIAL_SIZE = 0.3
"""Initial size of the changes, relative to an ordinary kernel."""


@dataclass(frozen=True)
class ClassConditioningConfig:
    """Class detectors; not in the paper, where generation sees the support set only as a whole.

    Raises:
        ConfigError: if a field has a value that is not allowed.
    """

    detectors: int = 4
    """Detectors that each class adds to every generated layer."""
    dropout: float = 0.0
    """Part of the class tokens that is left out at random in training, so that detectors do not
    only fit the training classes."""

    def __post_init__(self) -> None:
        require(self, "detectors", self.detectors > 0, "positive")
        require(self, "dropout", 0 <= self.dropout < 1, "0 or more and below 1")


class ClassTokens(nn.Module):
    """Token of each class of a task, computed together with the task's other classes.

    The mean of each class's embeddings, pooled over space, goes through one layer of self-attention
    (Vaswani et al., 2017) over the classes. Neither the order of the classes nor that of the
    samples matters.

    Args:
        n_in: Channels (or features) of the shared embedding.
        is_image: True if embeddings are feature maps, False if they are vectors.
        dropout: Part of the attention and of the tokens that is left out at random in training.
    """

    def __init__(self, n_in: int, *, is_image: bool, dropout: float = 0.0) -> None:
        super().__init__()
        self.enter = nn.Linear(2 * n_in if is_image else n_in, TOKEN_LENGTH)
        sizes = TOKEN_LENGTH, N_HEADS, 2 * TOKEN_LENGTH
        self.attention = nn.TransformerEncoderLayer(
            *sizes, dropout=dropout, batch_first=True, norm_first=True
        )
        self.norm = nn.LayerNorm(TOKEN_LENGTH)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        support: Float[Tensor, "tasks support views *embedding"],
        support_y: Int[Tensor, "tasks support"],
        way: int,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "tasks way token"]:
        """Compute a token for each class of each task; the generator drives dropout in training."""
        features = support
        if support.ndim == 6:
            features = torch.cat([support.mean((4, 5)), support.amax((4, 5))], -1)
        means = class_means(features.mean(2), support_y, way)
        tokens: Tensor = self.enter(F.layer_norm(means, means.shape[-1:]))
        with seed_torch(generator if self.training and self.dropout.p else None, tokens.device):
            tokens = self.dropout(self.norm(self.attention(tokens)))
        return tokens


@contextmanager
def seed_torch(generator: torch.Generator | None, device: torch.device) -> Iterator[None]:
    """Let PyTorch's global randomness, the only one that dropout uses, follow a generator."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices, enabled=generator is not None):
        if generator is not None:
            seed = torch.randint(2**62, (), generator=generator, device=generator.device)
            torch.manual_seed(int(seed))
        yield


class ClassWriter(nn.Module):
    """Change that all classes of a task make to the weight and the bias of one layer.

    A class with token t adds ``rank`` detectors: what resembles the kernel v_r(t) goes to the
    channels u_r(t). With K classes::

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
        self.channels = nn.Linear(TOKEN_LENGTH, rank * self.n_out)
        self.kernels = nn.Linear(TOKEN_LENGTH, rank * self.fan_in)
        self.bias = nn.Linear(TOKEN_LENGTH, self.n_out)
        nn.init.normal_(self.channels.weight, std=INITIAL_SIZE / math.sqrt(TOKEN_LENGTH))
        nn.init.normal_(self.kernels.weight, std=math.sqrt(2.0 / self.fan_in / TOKEN_LENGTH))
        nn.init.zeros_(self.bias.weight)
        for layer in (self.channels, self.kernels, self.bias):
            nn.init.zeros_(layer.bias)

    def forward(self, tokens: Float[Tensor, "tasks way token"]) -> Float[Tensor, "tasks numbers"]:
        """Compute the change of the kernels and, after them, of the biases."""
        tasks, way, _ = tokens.shape
        channels = self.channels(tokens).view(tasks, way * self.rank, self.n_out)
        kernels = self.kernels(tokens).view(tasks, way * self.rank, self.fan_in)
        change = (channels.mT @ kernels) / way**0.5
        return torch.cat([change.flatten(1), self.bias(tokens).mean(1)], 1)
