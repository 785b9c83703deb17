"""The task context: what one support set says about its task, as a Gaussian."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from lgmnet.nn.intertask_norm import normalisation


@dataclass(frozen=True)
class Context:
    """A Gaussian over what is to be known of each task, N(mean, diag(exp(log_variance)))."""

    mean: Float[Tensor, "tasks context"]
    log_variance: Float[Tensor, "tasks context"] | None
    """None where the context is a point."""

    def draw(self, generator: torch.Generator | None) -> Float[Tensor, "tasks context"]:
        """A reparameterised draw (docs/method.md, eq. 2); without a generator, the mean."""
        if generator is None or self.log_variance is None:
            return self.mean
        noise = torch.randn(
            self.mean.shape, generator=generator, device=generator.device, dtype=torch.float32
        ).to(self.mean)
        return self.mean + torch.exp(0.5 * self.log_variance) * noise


class ContextEncoder(nn.Module):
    """Task context encoder after the Neural Statistician (Edwards and Storkey, ICLR 2017).

    Every support sample gives its own mean and log-variance; both are averaged over the support, so
    neither the order nor the number of samples matters to their shape.

    Args:
        channels: Channels (or features) of the shared embedding.
        width: Channels (or units) of the encoder's hidden layers.
        context: Length of the context.
        convolutional: Whether embeddings are feature maps (else vectors).
        pooled: For each hidden layer, whether a 2x2 max-pool follows; not read for vectors.
        intertask: Whether normalisation is over all tasks (`IntertaskNorm`).
    """

    def __init__(
        self,
        channels: int,
        width: int,
        context: int,
        *,
        convolutional: bool,
        pooled: Sequence[bool] = (True, False),
        intertask: bool = True,
    ) -> None:
        super().__init__()

        def layer(wide_in: int, wide_out: int) -> nn.Module:
            if convolutional:
                return nn.Conv2d(wide_in, wide_out, 3, padding=1)
            return nn.Linear(wide_in, wide_out)

        layers: list[nn.Module] = []
        for pool in pooled:
            layers += [
                layer(channels, width),
                nn.ReLU(inplace=True),
                normalisation(width, intertask),
            ]
            if convolutional and pool:
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
            channels = width
        self.layers = nn.Sequential(*layers, layer(channels, 2 * context))

    def forward(self, support: Float[Tensor, "tasks support *embedding"]) -> Context:
        """The context of each task from the embeddings of its support samples."""
        per_sample = self.layers(rearrange(support, "tasks support ... -> (tasks support) ..."))
        if per_sample.ndim == 4:
            per_sample = per_sample.mean((2, 3))
        tasks = support.shape[0]
        per_task = rearrange(per_sample, "(tasks support) c -> tasks support c", tasks=tasks).mean(
            1
        )
        mean, log_variance = per_task.chunk(2, dim=-1)
        return Context(mean, log_variance)


class MeanContext(nn.Module):
    """The encoder's ablation: the plain average of the support's embeddings, a point."""

    def forward(self, support: Float[Tensor, "tasks support *embedding"]) -> Context:
        """The mean embedding of each task's support samples."""
        features = support.mean((3, 4)) if support.ndim == 5 else support
        return Context(features.mean(1), None)
