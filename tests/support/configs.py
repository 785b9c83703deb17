"""Small configs, quick to train and to adapt."""

from __future__ import annotations

from typing import Any

from lgmnet.methods import LGMNetConfig
from lgmnet.nn.context import ContextConfig
from lgmnet.nn.embedding import EmbeddingConfig
from lgmnet.nn.target import TargetConfig


def lgm_net_config(
    embedding: EmbeddingConfig,
    *,
    context: int = 4,
    encoder_width: int = 8,
    target_widths: tuple[int, ...] = (8, 8),
    **parts: Any,
) -> LGMNetConfig:
    """Build a config whose context encoder and TargetNet fit the embedding."""
    pooled = (True, False) if embedding.gives_maps else ()
    return LGMNetConfig(
        embedding=embedding,
        context=ContextConfig(context, (encoder_width,) * 2, pooled),
        target=TargetConfig(target_widths, pooled=embedding.gives_maps),
        **parts,
    )


TINY = lgm_net_config(EmbeddingConfig(widths=(8, 8), pooled=(True, True)))
"""For drawings of 28x28 pixels."""

TINY_SETTINGS = (
    "embedding.widths=[8,8]",
    "embedding.pooled=[true,true]",
    "context.length=4",
    "context.widths=[8,8]",
    "target.widths=[8,8]",
)
"""Settings that turn any recipe for drawings into `TINY`."""
