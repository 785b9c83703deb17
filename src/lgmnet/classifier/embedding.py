"""Embeddings of drawings on an engine, before the part of a classifier that differs by task."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lgmnet.engines.engine import Engine, load_engine
from lgmnet.engines.names import AUTO, TORCH
from lgmnet.engines.runtimes import check_engine
from lgmnet.methods.base import Classifier


def load_embedding(embedding: nn.Module, shape: Sequence[int], engine: str) -> Engine | None:
    """Load an embedding of drawings on an engine.

    ``auto`` leaves drawings to PyTorch, which is as fast as the other engines on such small
    networks, and three times as fast on processors with bf16; nothing is converted then.

    Args:
        embedding: Frozen embedding, from drawings [drawings, *shape] in 0 to 1.
        shape: Shape of one sample.
        engine: Engine (see `load_engine`).

    Returns:
        The engine; None if PyTorch runs the embedding, or samples are vectors or not embedded.

    Raises:
        ConfigError: if there is no such engine.
        UserError: as `load_engine` does.
    """
    name = check_engine(engine)
    if name in (AUTO, TORCH) or len(shape) != 3 or next(embedding.parameters(), None) is None:
        return None
    return load_engine(embedding, partial(draw_test_drawings, tuple(shape)), name)


def without_embedding(classifier: Classifier) -> Classifier:
    """Copy a classifier for samples that are embedded already; all tensors are shared."""
    copied = copy.copy(classifier)
    copied._modules = {**classifier._modules, "embedding": nn.Identity()}
    return copied


def draw_test_drawings(shape: Sequence[int]) -> Float[Tensor, "drawings channels height width"]:
    """Draw the drawings on which engines are compared: smooth strokes of ink on blank paper."""
    channels, height, width = shape
    small = torch.rand(16, channels, 7, 7, generator=torch.Generator().manual_seed(0))
    smooth = nn.functional.interpolate(small, (height, width), mode="bicubic")
    return (1.2 - 10 * (smooth - 0.5).abs()).clamp(0, 1)
