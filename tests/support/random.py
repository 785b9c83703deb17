"""Seeded randomness."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def seeded(seed: int = 0) -> torch.Generator:
    """Make a generator with this seed."""
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Draw standard normal numbers in 64 bits."""
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def randomize(module: nn.Module, seed: int = 0) -> nn.Module:
    """Convert a module to 64 bits and fill its weights and running statistics with random numbers.

    No weight keeps a special value such as 0 or 1, so that a test notices a weight that is ignored.
    """
    generator = seeded(seed)
    with torch.no_grad():
        for name, tensor in module.double().state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2, generator=generator)
            else:
                tensor.normal_(std=0.5, generator=generator)
    return module
