"""lgmnet's training step as its trainer takes it, and the configs that several benchmarks share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from workload import LR, WAY, make_task

from lgmnet.config import with_settings
from lgmnet.devices import keep_freed_memory
from lgmnet.episode import Episode
from lgmnet.methods import LGMNetConfig, Method

SEE_LABELS = ("target.weights=learned", "context=none", "labels={}")
"""Settings of LGM-Net that sees labels, as in the tables of results."""


def see_labels(config: LGMNetConfig) -> LGMNetConfig:
    """Describe LGM-Net that sees labels on the same embedding."""
    return with_settings(config, SEE_LABELS)


def make_batch(tasks: int) -> Episode:
    """Create random tasks of Omniglot's shape."""
    parts = zip(*(make_task() for _ in range(tasks)), strict=True)
    support_x, support_y, query_x, query_y = map(torch.stack, parts)
    return Episode(support_x, support_y, query_x, query_y, WAY)


def make_training_step(method: Method, *, bf16: bool) -> Callable[[Episode], None]:
    """Return the training step of a method, which takes a batch of tasks.

    Args:
        method: Method to train.
        bf16: If True, compute in bf16 by autocast, else in float32.
    """
    keep_freed_memory()
    method.train()
    method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    weights = [p for p in method.parameters() if p.requires_grad]
    device = weights[0].device.type
    optimizer = torch.optim.AdamW(weights, lr=LR, weight_decay=0.0, fused=True)
    generator = torch.Generator().manual_seed(0)

    def step(batch: Episode) -> None:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            loss, _ = method.learn(batch, generator)
        loss.backward()
        optimizer.step()

    return step
