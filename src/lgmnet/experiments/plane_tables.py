"""Definition of the table of tasks in the plane, a part for each family of tasks."""

import dataclasses
from typing import Any

from lgmnet.config import with_settings
from lgmnet.data.synthetic.plane import PLANES
from lgmnet.experiments.recipes.cifar import GENERATE_NOTHING
from lgmnet.experiments.recipes.rivals import rival
from lgmnet.experiments.recipes.vectors import plane
from lgmnet.experiments.table_rows import (
    COSINE,
    LGM_NET,
    LGM_NET_PAPER_CONTEXT,
    NOTHING_GENERATED,
    SEE_LABELS,
    SEEDS,
    SEES_LABELS,
)
from lgmnet.experiments.tables import Entry, Table, make_columns

NAME = "table-plane"
EPISODES = 1000
MAML_TASKS = ("tasks=32", "way=3", "shot=5", "query=10", "validation.way=3")
"""MAML's tasks, which are those of the others here."""


def table_plane() -> tuple[Table, ...]:
    """Define the table of tasks in the plane: each family is trained and scored by itself."""
    return tuple(table_family(family) for family in PLANES)


def table_family(family: str) -> Table:
    """Define the part of one family."""
    ours = plane(family)

    def change(name: str, *settings: str) -> Entry:
        return Entry(name, with_settings(ours, settings), seeds=SEEDS)

    def compare(name: str, method: str, **fields: Any) -> Entry:
        return Entry(name, rival(ours, method, deeper=True, **fields), seeds=SEEDS)

    maml = compare("MAML", "maml")
    return Table(
        name=f"{NAME}-{family}",
        command=NAME,
        title=f"Tasks in the plane: {family}",
        about="Points of the plane, in classes that a few random numbers divide anew for each task "
        "([figure 3](figures.md)). All rows have four layers of 64 units and are trained from "
        f"scratch on the same 3-way 5-shot tasks, {ours.train.steps:,} steps. LGM-Net has the "
        "paper's configuration, with contexts drawn at random in training; with nothing generated, "
        "the weights of its last two layers are learned and equal for all tasks. LGM-Net that sees "
        "labels is that network, and a gain for each unit of the embedding is generated from what "
        "varies between and within the classes. Direct training (200 steps of Adam per task; fewer "
        "tasks than in [figure 4](figure4.md)) and random weights use nothing but the support set.",
        entries=(
            change(LGM_NET_PAPER_CONTEXT),
            change(LGM_NET, "conditioning.detectors=4", "conditioning.dropout=0.3"),
            change(SEES_LABELS, *SEE_LABELS),
            change(NOTHING_GENERATED, *GENERATE_NOTHING),
            compare("ProtoNet, cosine", "proto-net", head=COSINE),
            compare("Matching Networks", "matching-net"),
            compare("R2D2", "ridge-regression"),
            dataclasses.replace(maml, run=with_settings(maml.run, MAML_TASKS)),
            Entry("Direct training", rival(ours, "from-scratch"), episodes=100),  # Slow to score.
            Entry("Random weights", rival(ours, "random-weights")),
        ),
        data=family,
        split="test",
        columns=make_columns(family, "test", (3, 5)),
        episodes=EPISODES,
        references=(NOTHING_GENERATED,),
    )
