"""The tables of results: which methods, trained how, scored on what."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from lgmnet.experiments.recipes import cifar, omniglot, photos
from lgmnet.experiments.recipes.rivals import PRETRAINED, rival
from lgmnet.experiments.tables import Entry, Table
from lgmnet.methods import METHODS
from lgmnet.methods.lgm_net import LGMNetConfig
from lgmnet.nn.alignment import AlignmentConfig
from lgmnet.nn.class_conditioning import ClassConditioningConfig
from lgmnet.nn.context import ContextConfig
from lgmnet.nn.embedding import EmbeddingConfig, vector_embedding
from lgmnet.nn.target import TargetConfig
from lgmnet.training.config import Run

OURS = "LGM-Net (ours)"
MORE = "two plain convolutions more"
METRIC = ("lgm-net", "proto-net", "matching-net")
TITLES = {
    "caltech101": "Caltech-101",
    "omniglot": "Omniglot",
    "cifar-fs": "CIFAR-FS",
    "miniimagenet": "MiniImageNet",
}
SAME = (
    "All on the same shared embedding, the same training tasks and the same number of steps; the "
    "rows with two plain convolutions more have as many layers as LGM-Net with its generated ones. "
    "{ours}What is pretrained by classification sees the same images. MAML is trained on 5-way "
    "1-shot tasks, four a step{maml}, and asked the others too. Direct training (Adam, 50 steps a "
    "task) and random weights learn from the support set alone, with as many layers, on images as "
    "they are. What is scored on fewer tasks says so. What each has cost stands below; "
    "minutes are of one thread, with another run beside it."
)


def table1() -> Table:
    """Omniglot, 5- and 20-way, 1- and 5-shot, all methods."""
    ours = omniglot.omniglot()
    config = LGMNetConfig(
        embedding=EmbeddingConfig(
            widths=(64, 64, 64, 64),
            pooled=(True, True, False, False),
            alignment=AlignmentConfig(power=0.5),
        ),
        context=ContextConfig(sampled=False),
        target=TargetConfig(pooled=False, skip="added"),
        conditioning=ClassConditioningConfig(detectors=4, dropout=0.3),
    )
    validation = dataclasses.replace(ours.train.validation, every=2000)
    train = dataclasses.replace(ours.train, steps=4_000, validation=validation)
    ours = dataclasses.replace(ours, config=config, train=train)
    return Table(
        name="table1",
        title="Omniglot: all methods on the same tasks",
        about="Drawings are aligned first; the split is that of Vinyals et al. "
        + SAME.format(ours="", maml=""),
        # A task of 20 classes and 5 shots costs MAML two thirds of a second.
        entries=all_methods(
            ours,
            episodes={
                "maml": (2000, 500, 500, 250),
                "fine-tune": (2000, 2000, 500, 500),
                "logistic-regression": (2000, 2000, 500, 500),
            },
        ),
        data="omniglot",
        split="vinyals/test",
        tasks=((5, 1), (5, 5), (20, 1), (20, 5)),
    )


def table2(data: str = "cifar-fs") -> Table:
    """CIFAR-FS, or MiniImageNet where you have it: 5-way, 1- and 5-shot, all methods."""
    ours = {"cifar-fs": cifar.cifar_fs, "miniimagenet": cifar.miniimagenet}[data]()
    return Table(
        name="table2" if data == "cifar-fs" else f"table2-{data}",
        title=f"{TITLES[data]}: all methods on the same tasks",
        about=f"Conv-4, pooled {sum(ours.config.embedding.pooled)} times, 64 channels. "
        + SAME.format(
            ours="LGM-Net also learns, beside its tasks, to tell all training classes apart; table "
            "3 has it without. ",
            maml=", for half as many steps, as its steps take more than twice as long",
        ),
        entries=all_methods(ours, maml_steps=ours.train.steps // 2),
        data=data,
        split="test",
        tasks=((5, 1), (5, 5)),
    )


def table2_resnet12() -> Table:
    """CIFAR-FS with ResNet-12, for a GPU: the methods that can have it for their embedding."""
    of_conv4, ours = table2(), cifar.cifar_fs_resnet12()
    entries = [entry for entry in all_methods(ours) if entry.run.method in METRIC + PRETRAINED]
    return dataclasses.replace(
        of_conv4,
        name="table2-resnet12",
        title="CIFAR-FS with ResNet-12: all methods on the same tasks",
        about="ResNet-12 of 64-160-320-640 channels. All on the same shared embedding, the same "
        "training tasks and the same number of steps. LGM-Net also learns, beside its tasks, to "
        "tell all training classes apart.",
        entries=tuple(entry for entry in entries if MORE not in entry.name),
    )


def all_methods(
    ours: Run,
    maml_steps: int | None = None,
    episodes: Mapping[str, tuple[int, ...]] | None = None,
) -> tuple[Entry, ...]:
    """LGM-Net and its rivals, with what it is trained with.

    Args:
        ours: LGM-Net's run.
        maml_steps: Steps that MAML is trained for; None for as many as the others.
        episodes: By method, where a task is dear to it, the tasks it is scored on in each column.
    """
    fewer = episodes or {}

    def entry(name: str, method: str, weights: Entry | None = None, **config: Any) -> Entry:
        return Entry(name, rival(ours, method, **config), weights, fewer.get(method))

    def maml(name: str, **config: Any) -> Entry:
        run = rival(ours, "maml", **config).for_steps(maml_steps)
        return Entry(name, run, episodes=fewer.get("maml"))

    tuned = entry("Fine-tuning, linear head", "fine-tune")
    tuned_deeper = entry(f"Fine-tuning, linear head, {MORE}", "fine-tune", deeper=True)
    return (
        Entry(OURS, ours),
        entry("ProtoNet", "proto-net"),
        entry("ProtoNet, cosine", "proto-net", distance="cosine", temperature=10.0),
        entry("Matching Networks", "matching-net"),
        maml("MAML"),
        maml("MAML, statistics of the queries", query_statistics=True),
        tuned,
        entry("Fine-tuning, cosine head", "fine-tune", tuned, cosine_scale=10.0),
        entry("Logistic regression on the embedding", "logistic-regression", tuned),
        entry(f"ProtoNet, {MORE}", "proto-net", deeper=True),
        entry(f"Matching Networks, {MORE}", "matching-net", deeper=True),
        maml(f"MAML, {MORE}", deeper=True),
        tuned_deeper,
        entry(
            f"Fine-tuning, cosine head, {MORE}",
            "fine-tune",
            tuned_deeper,
            deeper=True,
            cosine_scale=10.0,
        ),
        entry(f"Logistic regression, {MORE}", "logistic-regression", tuned_deeper, deeper=True),
        Entry("Direct training", rival(ours, "from-scratch", steps=50), episodes=100),
        Entry("Random weights", rival(ours, "random-weights"), episodes=500),
    )


def table3(data: str) -> Table:
    """Ablation: LGM-Net without each of its parts, trained for half the steps of its table."""
    of_data = {"omniglot": table1, "cifar-fs": table2}[data]()
    whole = of_data.entries[0].run
    ours = whole.for_steps(whole.train.steps // 2)
    config = ours.config

    def but(name: str, **fields: Any) -> Entry:
        return Entry(name, dataclasses.replace(ours, config=dataclasses.replace(config, **fields)))

    without_norm = dataclasses.replace(config.embedding, norm="sample")
    sampled = dataclasses.replace(config.context, sampled=True)
    without_weight_norm = dataclasses.replace(config.target, weight_norm=False)
    without_dropout = dataclasses.replace(config.conditioning, dropout=0.0)
    learned = dataclasses.replace(config.target, weights="learned")
    entries = [
        Entry("LGM-Net (ours), half the steps", ours),
        but("without intertask normalisation", embedding=without_norm),
        but("without the context encoder", context=None),
        but("with randomness of the context", context=sampled),
        but("without weight normalisation", target=without_weight_norm),
        but("without class detectors", conditioning=None),
        but("without class dropout", conditioning=without_dropout),
        but("without generation", target=learned, context=None, conditioning=None),
    ]
    if config.auxiliary_weight:
        entries.append(but("without classification beside", auxiliary_weight=0.0))
    return dataclasses.replace(
        of_data,
        name=f"table3-{data}",
        command="table3",
        title=f"Ablation on {TITLES[data]}",
        about="LGM-Net without each of its parts, all trained for half the steps of the other "
        "tables; all else is the same. Its contexts are not drawn at random, as the paper's are, "
        "so that part has a row with it.",
        entries=tuple(entries),
        tasks=((20, 1),) if data == "omniglot" else of_data.tasks,
    )


def table_photos(data: str) -> Table:
    """Features of a frozen backbone: LGM-Net and the simple things that people do with features."""
    ours = photos.photos()

    def simple(name: str, method: str, **config: Any) -> Entry:
        bare = vector_embedding(*ours.config.feature_shape)
        run = dataclasses.replace(
            ours, method=method, config=METHODS[method].config_type(embedding=bare, **config)
        )
        return Entry(name, run)

    return Table(
        name=f"table-photos-{data}",
        command="table-photos",
        title=f"{TITLES[data]}, photos through {ours.backbone}",
        about="All on the same features of a frozen network, which was trained on ImageNet and has "
        "seen many such things. LGM-Net was trained on the features of Caltech-101's training "
        "classes and those of CIFAR-FS; the others learn from the support set alone.",
        entries=(
            Entry("LGM-Net (photos)", ours),
            Entry(
                "the same, nothing generated",
                dataclasses.replace(ours, config=dataclasses.replace(ours.config, generator=None)),
            ),
            simple("Cosine prototypes", "proto-net", distance="cosine", temperature=None),
            simple("Logistic regression", "logistic-regression", normalize=False),
            simple("Logistic regression, unit length", "logistic-regression", strength=10.0),
        ),
        data=data,
        split="test",
        tasks=((5, 1), (5, 5), (20, 1), (20, 5)),
    )


TABLES: dict[str, Callable[[], tuple[Table, ...]]] = {
    "table1": lambda: (table1(),),
    "table2": lambda: (table2(),),
    "table2-miniimagenet": lambda: (table2("miniimagenet"),),
    "table2-resnet12": lambda: (table2_resnet12(),),
    "table-photos": lambda: (table_photos("caltech101"), table_photos("cifar-fs")),
    "table3": lambda: (table3("omniglot"), table3("cifar-fs")),
}
"""The tables by name; one may have a part for each data."""
