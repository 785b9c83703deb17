"""The rivals on Omniglot: what `omniglot` trains on and with, by other methods."""

from __future__ import annotations

import dataclasses
from typing import Any

from lgmnet.methods.maml import MAMLConfig
from lgmnet.methods.matching_net import MatchingNetConfig
from lgmnet.methods.proto_net import ProtoNetConfig
from lgmnet.modules.embedding import EmbeddingConfig
from lgmnet.recipes.omniglot import omniglot
from lgmnet.training.config import Run


def omniglot_proto_net() -> Run:
    """Prototypical Networks with our embedding, tasks and budget; squared Euclidean distance."""
    run = omniglot()
    config = ProtoNetConfig(**embedding_of(run.config))
    return dataclasses.replace(run, recipe="omniglot-proto-net", method="proto-net", config=config)


def omniglot_matching_net() -> Run:
    """Matching Networks with our embedding, tasks and budget; learned temperature."""
    run = omniglot()
    config = MatchingNetConfig(**embedding_of(run.config))
    return dataclasses.replace(
        run, recipe="omniglot-matching-net", method="matching-net", config=config
    )


def omniglot_maml() -> Run:
    """MAML with our embedding: 5-way tasks, as its head would have to learn 40 at once."""
    run = omniglot()
    config = MAMLConfig(**{**embedding_of(run.config), "views": 1}, inner_rate=0.1)
    train = dataclasses.replace(
        run.train, tasks=4, way=5, shot=1, query=5, val_way=5, precision="32-true"
    )
    return dataclasses.replace(
        run, recipe="omniglot-maml", method="maml", config=config, train=train
    )


def embedding_of(config: EmbeddingConfig) -> dict[str, Any]:
    """The fields of the shared embedding, for the config of another method."""
    return {
        field.name: getattr(config, field.name) for field in dataclasses.fields(EmbeddingConfig)
    }
