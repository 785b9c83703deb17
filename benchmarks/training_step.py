"""lgmnet's training step as its trainer takes it, shared by several benchmarks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from workload import LR, make_task

from lgmnet import Method
from lgmnet.devices import keep_freed_memory

Batch = tuple[Tensor, Tensor, Tensor, Tensor]
"""support_x, support_y, query_x and query_y, each with a leading tasks axis."""


def make_batch(tasks: int) -> Batch:
    """Create random tasks of Omniglot's shape."""
    support_x, support_y, query_x, query_y = zip(*(make_task() for _ in range(tasks)), strict=True)
    return (
        torch.stack(support_x),
        torch.stack(support_y),
        torch.stack(query_x),
        torch.stack(query_y),
    )


def make_training_step(method: Method, *, bf16: bool) -> Callable[[Batch, int], None]:
    """Return the training step of a method, which takes a batch and its way.

    Args:
        method: Method to train.
        bf16: If True, compute in bf16 by autocast, else in float32.
    """
    keep_freed_memory()
    method.train()
    method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    weights = [p for p in method.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=LR, weight_decay=0.0, fused=True)
    generator = torch.Generator().manual_seed(0)

    def step(batch: Batch, way: int) -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss, _ = method.learn(*batch, way, generator)
        loss.backward()
        optimizer.step()

    return step
