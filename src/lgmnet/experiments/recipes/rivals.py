"""The rivals: what LGM-Net trains on and with, by other methods."""

from __future__ import annotations

import dataclasses
from typing import Any

from lgmnet.methods import METHODS
from lgmnet.nn.embedding import EmbeddingConfig
from lgmnet.training.config import Run

PRETRAINED = ("fine-tune", "logistic-regression")
"""Methods whose embedding is pretrained by classification."""
UNTRAINED = ("direct", "random-weights")
"""Methods that learn nothing from one task for another."""
RIVALS = ("proto-net", "matching-net", "maml", *PRETRAINED, *UNTRAINED)
CLASSES = {"omniglot": 4112, "cifar-fs": 64, "miniimagenet": 64}
"""Classes of the training splits, for what is pretrained by classification."""


def rival(run: Run, method: str, *, deeper: bool = False, **config: Any) -> Run:
    """The run of another method, with the embedding, the data and the steps of LGM-Net's.

    Args:
        run: LGM-Net's.
        method: A key of `lgmnet.methods.METHODS`.
        deeper: Whether the embedding goes on with plain layers where LGM-Net has generated ones.
        config: Further fields of the method's config.
    """
    fields = embedding_of(run.config) | config
    train, split = run.train, run.split
    if deeper or method in UNTRAINED:
        further = run.config.target_widths
        pooled = [run.config.target_pooled] * (len(further) - 1) + [False]
        fields["embedding_widths"] = (*run.config.embedding_widths, *further)
        fields["embedding_pooled"] = (*run.config.embedding_pooled, *pooled)
    if method == "maml":
        # Its head would have to learn all classes of a larger task at once; 32 bits, as bf16 has
        # too few digits for differences of differences. Each network sees one view of an image.
        fields = {"inner_rate": 0.1, "inner_steps": 3} | fields | {"views": 1}
        train = dataclasses.replace(
            train, tasks=4, way=5, shot=1, most_shot=None, query=5, val_way=5, precision="32-true"
        )
    if method in UNTRAINED:
        fields |= {"align": None, "canvas": None, "views": 1}
    if method in PRETRAINED:
        # Pretrained by classification: no class may be there twice, as its mirror image is.
        split = split.removesuffix("-mirrored")
        fields["classes"] = CLASSES.get(run.data, run.train.way)
    return dataclasses.replace(
        run,
        recipe=f"{run.recipe}-{method}",
        method=method,
        config=METHODS[method].config_type(**fields),
        split=split,
        train=train,
    )


def embedding_of(config: EmbeddingConfig) -> dict[str, Any]:
    """The fields of the shared embedding, for the config of another method."""
    return {
        field.name: getattr(config, field.name) for field in dataclasses.fields(EmbeddingConfig)
    }
