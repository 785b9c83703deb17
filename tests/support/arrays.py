"""Comparison of tensors with NumPy arrays."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn


def assert_equal(tensor: Tensor, expected: np.ndarray) -> None:
    """Check that a tensor of 64 bits equals an array, apart from rounding."""
    torch.testing.assert_close(tensor.detach(), torch.from_numpy(expected), rtol=1e-10, atol=1e-12)


def to_arrays(module: nn.Module) -> dict[str, np.ndarray]:
    """Collect the weights and statistics of a module by name."""
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


def layers_to_arrays(layers: Iterable[nn.Module]) -> list[dict[str, np.ndarray]]:
    """Collect the weights and statistics of each layer that has any."""
    return [to_arrays(layer) for layer in layers if layer.state_dict()]
