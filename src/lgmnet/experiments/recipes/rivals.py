"""Rivals: other methods with the embedding, data and training of LGM-Net."""

import dataclasses
from typing import Any

from lgmnet.config import with_settings
from lgmnet.methods import METHODS
from lgmnet.nn.embedding import EmbeddingConfig
from lgmnet.nn.target import TargetConfig
from lgmnet.training.config import Run

PRETRAINED = ("fine-tune", "logistic-regression", "rfs")
"""Methods whose embedding is pretrained by classification."""
UNTRAINED = ("from-scratch", "random-weights")
"""Methods that learn nothing from one task for another."""
MAML_TASKS = ("tasks=4", "way=5", "shot=1", "max_shot=none", "query=5", "validation.way=5")
"""Tasks of MAML's training: its head would have to learn all classes of a larger task at once."""
METRIC = ("proto-net", "matching-net", "ridge-regression", "feat")
"""Methods that compare queries with their support, as LGM-Net does."""
RIVALS = (*METRIC, "maml", *PRETRAINED, *UNTRAINED)


def rival(run: Run, method: str, *, deeper: bool = False, **fields: Any) -> Run:
    """Describe the run of another method with the embedding, data and steps of LGM-Net's.

    Args:
        run: Run of LGM-Net.
        method: Key of `lgmnet.methods.METHODS`.
        deeper: If True, the embedding goes on with plain layers where LGM-Net has generated ones.
        fields: Further fields of the method's config.
    """
    embedding, train, split = run.config.embedding, run.train, run.split
    if deeper or method in UNTRAINED:
        embedding = deepen(embedding, run.config.target)
    if method == "maml":
        # In 32 bits: bf16 has too few digits for differences of differences. Each network sees one
        # view of an image.
        fields = {"inner_rate": 0.1, "inner_steps": 3} | fields
        if embedding.alignment:
            embedding = with_settings(embedding, ["alignment.views=1"])
        train = with_settings(train, [*MAML_TASKS, "precision=32-true"])
    if method in UNTRAINED:
        embedding = dataclasses.replace(embedding, alignment=None)
    if method in PRETRAINED:
        # Pretrained by classification: no class may occur twice, as mirror images do.
        split = split.removesuffix("-mirrored")
    return dataclasses.replace(
        run,
        recipe=f"{run.recipe}-{method}",
        method=method,
        config=METHODS[method].config_type(embedding=embedding, **fields),
        split=split,
        train=train,
    )


def deepen(embedding: EmbeddingConfig, target: TargetConfig) -> EmbeddingConfig:
    """Add plain layers like the generated ones of TargetNet."""
    added = [target.pooled] * (len(target.widths) - 1) + [False] if embedding.is_image else []
    widths, pooled = (*embedding.widths, *target.widths), (*embedding.pooled, *added)
    return dataclasses.replace(embedding, widths=widths, pooled=pooled)
