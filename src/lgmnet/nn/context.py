"""The task context: a Gaussian that summarizes the support set."""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from lgmnet.config import require
from lgmnet.nn.norms import NormKind, build_norm


@dataclass(frozen=True)
class ContextConfig:
    """Task context encoder.

    Raises:
        ConfigError: if a field has a value that is not allowed.
    """

    length: int = 32
    """Length of the context."""
    widths: tuple[int, ...] = (64, 64)
    """Channels (or units) of the encoder's hidden layers."""
    pooled: tuple[bool, ...] = (True, False)
    """For each hidden layer of images, True if a 2x2 max-pool follows; empty for vectors."""
    sampled: bool = True
    """Ablation: if False, the context is its mean in training too, never drawn."""

    def __post_init__(self) -> None:
        require(self, "length", self.length > 0, "positive")
        require(self, "widths", min(self.widths, default=1) > 0, "positive numbers")
        n = len(self.widths)
        require(self, "pooled", len(self.pooled) in (0, n), f"{n} values, or empty for vectors")


@dataclass(frozen=True)
class Context:
    """Gaussian N(mean, diag(exp(log_variance))) over the context of each task."""

    mean: Float[Tensor, "tasks context"]
    log_variance: Float[Tensor, "tasks context"] | None
    """None where the context is a point."""

    def draw(self, generator: torch.Generator | None) -> Float[Tensor, "tasks context"]:
        """Draw by reparameterization (eq. 2 of LGM-Net); without generator, the mean."""
        if generator is None or self.log_variance is None:
            return self.mean
        noise = torch.randn(
            self.mean.shape, generator=generator, device=generator.device, dtype=torch.float32
        ).to(self.mean)
        return self.mean + torch.exp(0.5 * self.log_variance) * noise


class ContextEncoder(nn.Module):
    """Task context encoder after the Neural Statistician (Edwards and Storkey, ICLR 2017).

    Each support sample gives a mean and a log-variance; both are averaged over the support, so
    neither the order nor the number of the samples matters.

    Args:
        n_in: Channels (or features) of the shared embedding.
        config: Length of the context and hidden layers. Without ``pooled``, embeddings are vectors.
        is_image: True if embeddings are feature maps, False if they are vectors.
        norm: Normalization after each hidden layer.
    """

    def __init__(
        self, n_in: int, config: ContextConfig, *, is_image: bool, norm: NormKind = "intertask"
    ) -> None:
        super().__init__()

        def build_layer(channels_in: int, channels_out: int) -> nn.Module:
            if is_image:
                return nn.Conv2d(channels_in, channels_out, 3, padding=1)
            return nn.Linear(channels_in, channels_out)

        pooled = config.pooled or (False,) * len(config.widths)
        layers: list[nn.Module] = []
        for width, pool in zip(config.widths, pooled, strict=True):
            layers += [build_layer(n_in, width), nn.ReLU(inplace=True), build_norm(width, norm)]
            if pool:
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
            n_in = width
        self.layers = nn.Sequential(*layers, build_layer(n_in, 2 * config.length))

    def forward(self, support: Float[Tensor, "tasks support *embedding"]) -> Context:
        """Compute the context of each task from the embeddings of its support samples."""
        tasks = support.shape[0]
        per_sample = self.layers(rearrange(support, "tasks support ... -> (tasks support) ..."))
        if per_sample.ndim == 4:
            per_sample = per_sample.mean((2, 3))
        per_task = rearrange(per_sample, "(tasks support) c -> tasks support c", tasks=tasks)
        mean, log_variance = per_task.mean(1).chunk(2, dim=-1)
        return Context(mean, log_variance)


class MeanContext(nn.Module):
    """Ablation of the encoder: the mean embedding of the support, a point."""

    def forward(self, support: Float[Tensor, "tasks support *embedding"]) -> Context:
        """Compute the mean embedding of each task's support samples."""
        features = support.mean((3, 4)) if support.ndim == 5 else support
        return Context(features.mean(1), None)
