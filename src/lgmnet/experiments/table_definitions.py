"""Definitions of the tables of results: methods, training and scoring tasks."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from lgmnet.config import with_settings
from lgmnet.experiments.recipes import LGM_NET_RECIPES, cifar, omniglot, vectors
from lgmnet.experiments.recipes.rivals import PRETRAINED, UNTRAINED, rival
from lgmnet.experiments.tables import Entry, Table
from lgmnet.methods import METHODS
from lgmnet.methods.lgm_net import LGMNetConfig
from lgmnet.nn.alignment import AlignmentConfig
from lgmnet.nn.class_conditioning import ClassConditioningConfig
from lgmnet.nn.context import ContextConfig
from lgmnet.nn.embedding import EmbeddingConfig, vector_embedding
from lgmnet.nn.matching import HeadConfig
from lgmnet.nn.target import TargetConfig
from lgmnet.training.config import Run

EXTRA_LAYERS = "two extra convolutions"
"""Suffix of the rows whose embedding is as deep as LGM-Net with its generated layers."""
DATA_TITLES = {
    "caltech101": "Caltech-101",
    "omniglot": "Omniglot",
    "cifar-fs": "CIFAR-FS",
    "miniimagenet": "MiniImageNet",
}


def describe_all_methods(
    *, lgm_net: str = "", pretrained: str = "", maml: str = "", unaligned: str = ""
) -> str:
    """Describe the rows of `define_all_methods`, with additions for single methods."""
    return (
        "All methods use the same shared embedding, the same training tasks and the same number of "
        f"steps. The rows with {EXTRA_LAYERS} have as many layers as LGM-Net with its generated "
        f"ones. {lgm_net}Methods that are pretrained by classification see the same images"
        f"{pretrained}. MAML is trained on 5-way 1-shot tasks, four per step{maml}, and is scored "
        "on the other tasks too. Direct training (50 steps of Adam per task) and random weights "
        f"use nothing but the support set, with the same number of layers as LGM-Net{unaligned}. "
        "Accuracies over fewer tasks are marked. The training times are for one thread, while "
        "another run used the same machine."
    )


def table1() -> Table:
    """Define table 1: all methods on Omniglot, 5- and 20-way, 1- and 5-shot."""
    ours = with_settings(omniglot.omniglot(), ["train.steps=4000", "validation.every=2000"])
    config = LGMNetConfig(
        embedding=EmbeddingConfig(widths=(64, 64, 64, 64), alignment=AlignmentConfig(power=0.5)),
        context=ContextConfig(sampled=False),
        target=TargetConfig(pooled=False, skip="added"),
        conditioning=ClassConditioningConfig(detectors=4, dropout=0.3),
    )
    ours = dataclasses.replace(ours, config=config)
    # MAML takes two thirds of a second for a 20-way 5-shot task.
    episodes = {"maml": (2000, 500, 500, 250)}
    episodes |= dict.fromkeys(PRETRAINED, (2000, 2000, 500, 500))
    return Table(
        name="table1",
        title="Omniglot: all methods on the same tasks",
        about="Drawings are aligned first. The split is that of Vinyals et al. (2016). "
        + describe_all_methods(
            pretrained=", except mirrored characters", unaligned=" but without alignment"
        ),
        entries=define_all_methods(ours, episodes=episodes),
        data="omniglot",
        split="vinyals/test",
        tasks=((5, 1), (5, 5), (20, 1), (20, 5)),
    )


def table2(data: str) -> Table:
    """Define table 2: all methods on CIFAR-FS or MiniImageNet, 5-way, 1- and 5-shot."""
    ours = LGM_NET_RECIPES[data]()
    return Table(
        name="table2" if data == "cifar-fs" else f"table2-{data}",
        title=f"{DATA_TITLES[data]}: all methods on the same tasks",
        about=f"Conv-4 with {sum(ours.config.embedding.pooled)} poolings and 64 channels. "
        + describe_all_methods(
            lgm_net="LGM-Net also has an auxiliary loss (the classification of all training "
            "classes), a skip and a head of class means; the other methods do not, so differences "
            "to them do not show what generated weights give. ",
            maml=", for half as many steps because each one takes more than twice as long",
        ),
        entries=define_all_methods(ours, maml_steps=ours.train.steps // 2),
        data=data,
        split="test",
        tasks=((5, 1), (5, 5)),
    )


def table2_resnet12() -> Table:
    """Define table 2 with ResNet-12, for a GPU: the methods that can use it as embedding."""
    entries = [
        entry
        for entry in define_all_methods(cifar.cifar_fs_resnet12())
        if entry.run.method not in ("maml", *UNTRAINED) and EXTRA_LAYERS not in entry.name
    ]
    return dataclasses.replace(
        table2("cifar-fs"),
        name="table2-resnet12",
        title="CIFAR-FS with ResNet-12: all methods on the same tasks",
        about="ResNet-12 with 64-160-320-640 channels. All methods use the same shared embedding, "
        "the same training tasks and the same number of steps. LGM-Net has an auxiliary loss, the "
        "classification of all training classes.",
        entries=tuple(entries),
    )


def define_all_methods(
    ours: Run,
    maml_steps: int | None = None,
    episodes: Mapping[str, tuple[int, ...]] | None = None,
) -> tuple[Entry, ...]:
    """Define the rows of LGM-Net and its rivals, all trained on the same tasks.

    Args:
        ours: Run of LGM-Net.
        maml_steps: Number of training steps of MAML; None for as many as the others.
        episodes: Number of scoring tasks per column, for methods that are slow to score.
    """
    limits: dict[str, int | tuple[int, ...]] = {"from-scratch": 100, "random-weights": 500}
    limits |= episodes or {}

    def entry(name: str, method: str, weights: Entry | None = None, **config: Any) -> Entry:
        run = rival(ours, method, **config).for_steps(maml_steps if method == "maml" else None)
        return Entry(name, run, weights, limits.get(method))

    tuned = entry("Fine-tuning, linear head", "fine-tune")
    cosine_head: dict[str, Any] = {"method": "fine-tune", "cosine_scale": 10.0}
    deeper = partial(entry, deeper=True)
    tuned_deeper = deeper(f"Fine-tuning, linear head, {EXTRA_LAYERS}", "fine-tune")
    return (
        Entry("LGM-Net (ours)", ours),
        entry("ProtoNet", "proto-net"),
        entry("ProtoNet, cosine", "proto-net", head=HeadConfig("means")),
        entry("Matching Networks", "matching-net"),
        entry("MAML", "maml"),
        entry("MAML, transductive normalisation", "maml", query_statistics=True),
        tuned,
        entry("Fine-tuning, cosine head", weights=tuned, **cosine_head),
        entry("Logistic regression on the embedding", "logistic-regression", tuned),
        deeper(f"ProtoNet, {EXTRA_LAYERS}", "proto-net"),
        deeper(f"Matching Networks, {EXTRA_LAYERS}", "matching-net"),
        deeper(f"MAML, {EXTRA_LAYERS}", "maml"),
        tuned_deeper,
        deeper(f"Fine-tuning, cosine head, {EXTRA_LAYERS}", weights=tuned_deeper, **cosine_head),
        deeper(f"Logistic regression, {EXTRA_LAYERS}", "logistic-regression", tuned_deeper),
        entry("Direct training", "from-scratch", steps=50),
        entry("Random weights", "random-weights"),
    )


def table3(data: str) -> Table:
    """Define table 3, the ablation: LGM-Net without each of its parts, at half the steps."""
    base = table1() if data == "omniglot" else table2(data)
    full_run = base.entries[0].run
    ours = full_run.for_steps(full_run.train.steps // 2)
    variants: dict[str, list[str]] = {
        "LGM-Net (ours), half the steps": [],
        "without intertask normalisation": ["embedding.norm=sample"],
        "without the context encoder": ["context=none"],
        "with random context": ["context.sampled=true"],
        "without weight normalisation": ["target.weight_norm=false"],
        "without class detectors": ["conditioning=none"],
        "without class dropout": ["conditioning.dropout=0"],
        "without weight generation": ["weights=learned", "context=none", "conditioning=none"],
    }
    if ours.config.auxiliary:
        variants["without auxiliary classification"] = ["auxiliary=none"]
    entries = [Entry(name, with_settings(ours, settings)) for name, settings in variants.items()]
    return dataclasses.replace(
        base,
        name=f"table3-{data}",
        command="table3",
        title=f"Ablation on {DATA_TITLES[data]}",
        about="Each row leaves out or changes one part of LGM-Net. All rows are trained for half "
        "the steps of the other tables; nothing else differs. Unlike the paper's, our LGM-Net does "
        "not draw its context at random; one row does.",
        entries=tuple(entries),
        tasks=((20, 1),) if data == "omniglot" else base.tasks,
    )


def table_photos(data: str) -> Table:
    """Define the table of photos: LGM-Net and simple methods on features of a frozen backbone."""
    ours = vectors.photos()
    without_generation = with_settings(ours, ["config.generator=none"])

    def baseline(name: str, method: str, **config: Any) -> Entry:
        features = vector_embedding(*ours.config.feature_shape)
        method_config = METHODS[method].config_type(embedding=features, **config)
        return Entry(name, dataclasses.replace(ours, method=method, config=method_config))

    return Table(
        name=f"table-photos-{data}",
        command="table-photos",
        title=f"{DATA_TITLES[data]} photos, on features of {ours.backbone}",
        about="All methods use the same features of a frozen network. It was trained on ImageNet, "
        "which has many similar classes. LGM-Net was trained on features of the training classes "
        "of Caltech-101 and CIFAR-FS; the other methods learn from the support set alone.",
        entries=(
            Entry("LGM-Net (photos)", ours),
            Entry("LGM-Net (photos), without weight generation", without_generation),
            baseline("Cosine prototypes", "proto-net", head=HeadConfig("means", None)),
            baseline("Logistic regression", "logistic-regression", normalize=False),
            baseline(
                "Logistic regression, unit-length features", "logistic-regression", strength=10.0
            ),
        ),
        data=data,
        split="test",
        tasks=((5, 1), (5, 5), (20, 1), (20, 5)),
    )


TABLES: dict[str, Callable[[], tuple[Table, ...]]] = {
    "table1": lambda: (table1(),),
    "table2": lambda: (table2("cifar-fs"),),
    "table2-miniimagenet": lambda: (table2("miniimagenet"),),
    "table2-resnet12": lambda: (table2_resnet12(),),
    "table-photos": lambda: (table_photos("caltech101"), table_photos("cifar-fs")),
    "table3": lambda: (table3("omniglot"), table3("cifar-fs")),
}
"""Tables by name; a table may have one part per data set."""
