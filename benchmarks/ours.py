"""What several benchmarks do with lgmnet: its step of training, as the trainer takes it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from work import RATE, task

from lgmnet import Method
from lgmnet.devices import keep_freed_memory


def batch(tasks: int) -> tuple[Tensor, ...]:
    """Tasks of Omniglot's shape: support, its labels, queries, theirs."""
    return tuple(torch.stack(parts) for parts in zip(*(task() for _ in range(tasks)), strict=True))


def trainer(method: Method, *, bf16: bool) -> Callable[[tuple[Tensor, ...], int], None]:
    """A step of training on a batch of tasks of so many classes."""
    keep_freed_memory()
    method.train()
    method.to(memory_format=torch.channels_last)
    weights = [p for p in method.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=RATE, weight_decay=0.0, fused=True)
    generator = torch.Generator().manual_seed(0)

    def step(tasks: tuple[Tensor, ...], way: int) -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss, _ = method.learn(*tasks, way, generator)
        loss.backward()
        optimizer.step()

    return step
