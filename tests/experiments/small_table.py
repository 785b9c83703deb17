"""A small table whose rows train in a second."""

from __future__ import annotations

import dataclasses

from lgmnet.experiments.recipes.rivals import rival
from lgmnet.experiments.recipes.vectors import plane
from lgmnet.experiments.tables import Entry, Table, make_columns
from lgmnet.methods import TrainFromScratchConfig
from lgmnet.nn.embedding import vector_embedding
from lgmnet.nn.matching import HeadConfig


def define_small_table() -> tuple[Table]:
    ours = plane("circles")
    validation = dataclasses.replace(ours.train.validation, episodes=4)
    train = dataclasses.replace(ours.train, tasks=2, validation=validation)
    ours = dataclasses.replace(ours, train=train)
    direct = TrainFromScratchConfig(vector_embedding(2, 4), steps=2)
    untrained = dataclasses.replace(ours, method="from-scratch", config=direct)
    means = Entry("means | deeper", rival(ours, "proto-net", deeper=True))
    cosine = rival(ours, "proto-net", deeper=True, head=HeadConfig("means", None))
    return (
        Table(
            name="small",
            title="A small table",
            about="Introduction.",
            entries=(
                Entry("ours", ours, seeds=(0, 1)),
                means,
                Entry("cosine means", cosine, means),
                Entry("direct", untrained, episodes=30),
            ),
            data="circles",
            split="test",
            columns=make_columns("circles", "test", (3, 5), (2, 1)),
        ),
    )


def small_entry(name: str) -> Entry:
    """Row of the small table, with the steps and the seed of its small run."""
    (table,) = define_small_table()
    (entry,) = (entry for entry in table.with_steps(3).entries if entry.name == name)
    return entry.with_seed(0)
