"""The tables of results: which methods, trained how, scored on what."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from lgmnet.analysis.tables import Entry, Table
from lgmnet.recipes import cifar, omniglot
from lgmnet.recipes.rivals import rival
from lgmnet.training.config import Run

OURS = "LGM-Net (ours)"
MORE = "two plain convolutions more"
SAME = (
    "All on the same shared embedding, the same training tasks and the same number of steps; the "
    "rows with two plain convolutions more have as many layers as LGM-Net with its generated ones. "
    "What is pretrained by classification sees the same images; MAML has tasks of its own kind{}. "
    "Direct training and random weights learn from the support set alone, with as many layers. "
    "What each has cost stands below."
)


def table1() -> Table:
    """Omniglot, 5- and 20-way, 1- and 5-shot, all methods."""
    ours = omniglot.omniglot()
    ours = dataclasses.replace(
        ours,
        config=dataclasses.replace(
            ours.config,
            views=1,
            embedding_widths=(64, 64, 64, 64),
            embedding_pooled=(True, True, False, False),
            target_pooled=False,
            target_skip=True,
            random_context=False,
            class_detectors=4,
        ),
        train=dataclasses.replace(ours.train, steps=4_000, val_every=2000),
    )
    return Table(
        name="table1",
        title="Omniglot: all methods on the same tasks",
        about="Drawings are aligned first; the split is that of Vinyals et al. " + SAME.format(""),
        entries=all_methods(ours),
        data="omniglot",
        split="vinyals/test",
        tasks=((5, 1), (5, 5), (20, 1), (20, 5)),
    )


def table2() -> Table:
    """CIFAR-FS, 5-way, 1- and 5-shot, all methods."""
    ours = cifar.cifar_fs()
    return Table(
        name="table2",
        title="CIFAR-FS: all methods on the same tasks",
        about="Conv-4, pooled three times, 64 channels. "
        + SAME.format(", and half as many steps, as its steps take more than twice as long"),
        entries=all_methods(ours, maml_steps=ours.train.steps // 2),
        data="cifar-fs",
        split="test",
        tasks=((5, 1), (5, 5)),
    )


def all_methods(ours: Run, maml_steps: int | None = None) -> tuple[Entry, ...]:
    """LGM-Net and its rivals, with what it is trained with.

    Args:
        ours: LGM-Net's run.
        maml_steps: Steps that MAML is trained for; None for as many as the others.
    """

    def entry(name: str, method: str, weights: Entry | None = None, **config: Any) -> Entry:
        return Entry(name, rival(ours, method, **config), weights)

    def maml(name: str, episodes: int | None = None, **config: Any) -> Entry:
        run = rival(ours, "maml", **config)
        steps = maml_steps or run.train.steps
        run = dataclasses.replace(run, train=dataclasses.replace(run.train, steps=steps))
        return Entry(name, run, episodes=episodes)

    tuned = entry("Fine-tuning, linear head", "fine-tune")
    tuned_deeper = entry(
        f"Fine-tuning, cosine head, {MORE}", "fine-tune", deeper=True, head="cosine"
    )
    return (
        Entry(OURS, ours),
        entry("ProtoNet", "proto-net"),
        entry("Matching Networks", "matching-net"),
        maml("MAML"),
        maml("MAML, statistics of the queries", query_statistics=True),
        tuned,
        entry("Fine-tuning, cosine head", "fine-tune", tuned, head="cosine"),
        entry("Logistic regression on the embedding", "logistic-regression", tuned),
        entry(f"ProtoNet, {MORE}", "proto-net", deeper=True),
        entry(f"Matching Networks, {MORE}", "matching-net", deeper=True),
        maml(f"MAML, {MORE}", episodes=500, deeper=True),
        tuned_deeper,
        entry(f"Logistic regression, {MORE}", "logistic-regression", tuned_deeper, deeper=True),
        Entry("Direct training", rival(ours, "direct", steps=50), episodes=100),
        Entry("Random weights", rival(ours, "random-weights"), episodes=500),
    )


def table3(data: str) -> Table:
    """Ablation: LGM-Net without each of its parts."""
    of_data = {"omniglot": table1, "cifar-fs": table2}[data]()
    ours = of_data.entries[0].run

    def without(**fields: Any) -> Run:
        return dataclasses.replace(ours, config=dataclasses.replace(ours.config, **fields))

    return dataclasses.replace(
        of_data,
        name=f"table3-{data}",
        title=f"Ablation on {data}",
        about="LGM-Net without each of its parts; all else is the same.",
        entries=(
            Entry(OURS, ours),
            Entry("without intertask normalisation", without(intertask_norm=False)),
            Entry("without the context encoder", without(context_encoder=False)),
            Entry("without randomness of the context", without(random_context=False))
            if ours.config.random_context
            else Entry("with randomness of the context", without(random_context=True)),
            Entry("without weight normalisation", without(weight_norm=False)),
            *(
                [Entry("without class detectors", without(class_detectors=0))]
                if ours.config.class_detectors
                else []
            ),
            *(
                [Entry("without classification beside", without(classification=0.0))]
                if ours.config.classification
                else []
            ),
            Entry("without generation", without(generated=False, class_detectors=0)),
        ),
        tasks=((20, 1),) if data == "omniglot" else of_data.tasks,
    )


TABLES: dict[str, Callable[[], tuple[Table, ...]]] = {
    "table1": lambda: (table1(),),
    "table2": lambda: (table2(),),
    "table3": lambda: (table3("omniglot"), table3("cifar-fs")),
}
"""The tables by name; one may have a part for each data."""
