"""Rows of the tables of all methods: each method with what the others have."""

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any

from lgmnet.config import with_settings
from lgmnet.experiments.recipes.cifar import GENERATE_NOTHING
from lgmnet.experiments.recipes.rivals import rival
from lgmnet.experiments.tables import Entry
from lgmnet.nn.classification import AuxiliaryConfig
from lgmnet.nn.matching import HeadConfig
from lgmnet.training.config import Run

SEEDS = (0, 1, 2)
"""Seeds of the training of every row that may be near another one."""
EXTRA_LAYERS = "two extra convolutions"
"""Suffix of the rows whose embedding is as deep as LGM-Net with its generated layers."""
AUXILIARY = "auxiliary loss"
"""Suffix of the rows with that loss."""
LGM_NET = "LGM-Net, class detectors"
LGM_NET_PAPER_CONTEXT = "LGM-Net, the paper's context"
SEES_LABELS = "LGM-Net, sees labels"
NOTHING_GENERATED = "LGM-Net, nothing generated"
SEE_LABELS = (*GENERATE_NOTHING, "labels={}")
"""Settings with which a gain for each channel is generated, from the labels, and nothing else."""
COSINE = HeadConfig("means")


def with_auxiliary(name: str) -> str:
    """Name the row that has the auxiliary loss in addition."""
    return f"{name}, {AUXILIARY}"


def define_metric_rows(ours: Run, auxiliary: AuxiliaryConfig, paper: Run) -> tuple[Entry, ...]:
    """Define the rows that compare queries with the support, three seeds each.

    Args:
        ours: Run of LGM-Net with class detectors.
        auxiliary: Auxiliary loss of the rows that have it; the others have none.
        paper: Run of the paper's own configuration.
    """
    learned = dataclasses.replace(ours.config.target, weights="learned")

    def change(name: str, *settings: str) -> tuple[Entry, Entry]:
        run = with_settings(ours, settings)
        plain, helped = (
            dataclasses.replace(run, config=dataclasses.replace(run.config, auxiliary=loss))
            for loss in (None, auxiliary)
        )
        return Entry(with_auxiliary(name), helped, seeds=SEEDS), Entry(name, plain, seeds=SEEDS)

    def compare(name: str, method: str, **parts: Any) -> tuple[Entry, Entry]:
        name = f"{name}, {EXTRA_LAYERS}" if "deeper" in parts else name
        make = partial(rival, ours, method, **parts)
        helped = Entry(with_auxiliary(name), make(auxiliary=auxiliary), seeds=SEEDS)
        return helped, Entry(name, make(), seeds=SEEDS)

    skip, _ = compare(f"Matching Networks, {EXTRA_LAYERS}, skip", "matching-net", target=learned)
    return (
        *change(LGM_NET),
        *change(LGM_NET_PAPER_CONTEXT, "conditioning=none"),
        *change(SEES_LABELS, *SEE_LABELS),
        *change(NOTHING_GENERATED, *GENERATE_NOTHING),
        *compare("ProtoNet", "proto-net"),
        *compare("ProtoNet, cosine", "proto-net", head=COSINE),
        *compare("Matching Networks", "matching-net"),
        *compare("R2D2", "ridge-regression"),
        *compare("FEAT", "feat", head=COSINE),
        *compare("ProtoNet", "proto-net", deeper=True),
        *compare("ProtoNet, cosine", "proto-net", head=COSINE, deeper=True),
        *compare("Matching Networks", "matching-net", deeper=True),
        skip,
        Entry("LGM-Net, the paper's configuration", paper, seeds=SEEDS),
    )


def define_pretrained_rows(ours: Run, episodes: tuple[int, ...] | None = None) -> tuple[Entry, ...]:
    """Define the rows on an embedding that is pretrained by classification, three seeds each.

    Args:
        ours: Run of LGM-Net, whose embedding, tasks and steps they get.
        episodes: Number of scoring tasks per column, for logistic regressions.
    """
    first = Entry("RFS", rival(ours, "rfs"), episodes=episodes, seeds=SEEDS)
    distilled = dataclasses.replace(first, name="RFS, self-distilled", start=first)
    feat = rival(ours, "feat", head=COSINE)
    return first, distilled, Entry("FEAT, pretrained embedding", feat, start=first, seeds=SEEDS)


def define_distant_rows(
    ours: Run,
    maml_steps: int | None = None,
    episodes: Mapping[str, tuple[int, ...]] | None = None,
) -> tuple[Entry, ...]:
    """Define the rows that adapt by training, or learn nothing before the task, one seed each.

    Args:
        ours: Run of LGM-Net, whose embedding, tasks and steps they get.
        maml_steps: Number of training steps of MAML; None for as many as the others.
        episodes: Number of scoring tasks per column, for methods that are slow to score.
    """
    limits: dict[str, int | tuple[int, ...]] = {"from-scratch": 100, "random-weights": 500}
    limits |= episodes or {}

    def entry(name: str, method: str, weights: Entry | None = None, **config: Any) -> Entry:
        run = rival(ours, method, **config).for_steps(maml_steps if method == "maml" else None)
        return Entry(name, run, weights, episodes=limits.get(method))

    tuned = entry("Fine-tuning, linear head", "fine-tune")
    cosine_head: dict[str, Any] = {"method": "fine-tune", "cosine_scale": 10.0}
    deeper = partial(entry, deeper=True)
    tuned_deeper = deeper(f"Fine-tuning, linear head, {EXTRA_LAYERS}", "fine-tune")
    return (
        entry("MAML", "maml"),
        entry("MAML, transductive normalisation", "maml", query_statistics=True),
        tuned,
        entry("Fine-tuning, cosine head", weights=tuned, **cosine_head),
        entry("Logistic regression on the embedding", "logistic-regression", tuned),
        deeper(f"MAML, {EXTRA_LAYERS}", "maml"),
        tuned_deeper,
        deeper(f"Fine-tuning, cosine head, {EXTRA_LAYERS}", weights=tuned_deeper, **cosine_head),
        deeper(f"Logistic regression, {EXTRA_LAYERS}", "logistic-regression", tuned_deeper),
        entry("Direct training", "from-scratch", steps=50),
        entry("Random weights", "random-weights"),
    )


def define_ablation_rows(rows: tuple[Entry, ...], ours: str) -> tuple[Entry, ...]:
    """Define LGM-Net without each of its parts.

    Args:
        rows: Rows of the table of all methods; those that leave out a part are taken from it.
        ours: Name of LGM-Net's row there.
    """
    by_name = {entry.name: entry for entry in rows}
    first = by_name[ours]
    has_auxiliary = first.run.config.auxiliary is not None

    def take(title: str, name: str) -> Entry:
        name = with_auxiliary(name) if has_auxiliary else name
        return dataclasses.replace(by_name[name], title=title)

    def change(name: str, *settings: str) -> Entry:
        return dataclasses.replace(first, name=name, run=with_settings(first.run, settings))

    other_loss = LGM_NET if has_auxiliary else with_auxiliary(LGM_NET)
    loss_title = f"{'without' if has_auxiliary else 'with'} auxiliary classification"
    return (
        dataclasses.replace(first, title="LGM-Net (ours)"),
        change("without intertask normalisation", "embedding.norm=sample"),
        change("without the context encoder", "context=none"),
        change("with random context", "context.sampled=true"),
        change("without weight normalisation", "target.weight_norm=false"),
        take("without class detectors", LGM_NET_PAPER_CONTEXT),
        change("without class dropout", "conditioning.dropout=0"),
        take("with gains generated from the labels instead", SEES_LABELS),
        take("without weight generation", NOTHING_GENERATED),
        dataclasses.replace(by_name[other_loss], title=loss_title),
    )
