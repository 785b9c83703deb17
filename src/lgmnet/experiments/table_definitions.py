"""Definitions of the tables of results: methods, training and scoring tasks."""

import dataclasses
from collections.abc import Callable
from typing import Any

from lgmnet.config import with_settings
from lgmnet.experiments.criteria_tables import table_criteria, table_domains
from lgmnet.experiments.plane_tables import NAME as TABLE_PLANE
from lgmnet.experiments.plane_tables import table_plane
from lgmnet.experiments.recipes import LGM_NET_RECIPES, cifar, omniglot, vectors
from lgmnet.experiments.recipes.rivals import PRETRAINED, UNTRAINED
from lgmnet.experiments.table_rows import (
    EXTRA_LAYERS,
    LGM_NET,
    NOTHING_GENERATED,
    define_ablation_rows,
    define_distant_rows,
    define_metric_rows,
    define_pretrained_rows,
    with_auxiliary,
)
from lgmnet.experiments.tables import Entry, Table, make_columns
from lgmnet.methods import METHODS
from lgmnet.methods.lgm_net import LGMNetConfig
from lgmnet.nn.alignment import AlignmentConfig
from lgmnet.nn.class_conditioning import ClassConditioningConfig
from lgmnet.nn.classification import AuxiliaryConfig
from lgmnet.nn.context import ContextConfig
from lgmnet.nn.embedding import EmbeddingConfig, vector_embedding
from lgmnet.nn.matching import HeadConfig
from lgmnet.nn.target import TargetConfig

DATA_TITLES = {
    "caltech101": "Caltech-101",
    "omniglot": "Omniglot",
    "cifar-fs": "CIFAR-FS",
    "miniimagenet": "MiniImageNet",
}
ALL_TASKS = ((5, 1), (5, 5), (20, 1), (20, 5))
"""Way and shot of the columns of a table with four."""
ABOUT_METRIC_ROWS = (
    "LGM-Net, ProtoNet, Matching Networks, R2D2, FEAT and RFS have the same shared embedding, the "
    "same training tasks and {steps} training steps, with three seeds each (the column says how "
    "many are run). All but RFS are given with and without the auxiliary loss, the classification "
    "of all training classes ({auxiliary}). LGM-Net with nothing generated is the same network, "
    "but the weights of TargetNet are learned and equal for all tasks. LGM-Net that sees labels is "
    "that network, and a gain for each channel of the embedding is generated from what varies "
    "between and within the classes. The rows with "
    f"{EXTRA_LAYERS} are as deep as LGM-Net with its generated layers; the one with a skip has it "
    "around these two. The paper's configuration has its own training tasks, the same number of "
    "steps, no temperature, and contexts drawn at random. RFS is pretrained by classification "
    "alone; self-distilled, it is trained a second time with the first model as its teacher. FEAT "
    "with a pretrained embedding starts from RFS's, so it has twice the steps of the others; its "
    "cost is that of the second half. "
)
ABOUT_DISTANT_ROWS = (
    "MAML, fine-tuning, logistic regression, direct training and random weights have one seed; "
    "what of them is trained was trained for {steps} steps. Methods that are "
    "pretrained by classification see the same images{pretrained}. MAML is trained on 5-way 1-shot "
    "tasks, four per step{maml}, and is scored on the other tasks too. Direct training (50 steps "
    "of Adam per task) and random weights use nothing but the support set, with the same number of "
    "layers as LGM-Net{unaligned}. Accuracies over fewer tasks are marked."
)


def table1() -> Table:
    """Define table 1: all methods on Omniglot, 5- and 20-way, 1- and 5-shot."""
    distant = with_settings(omniglot.omniglot(), ["train.steps=4000", "validation.every=2000"])
    config = LGMNetConfig(
        embedding=EmbeddingConfig(widths=(64, 64, 64, 64), alignment=AlignmentConfig(power=0.5)),
        context=ContextConfig(sampled=False),
        target=TargetConfig(pooled=False, skip="added"),
        conditioning=ClassConditioningConfig(detectors=4, dropout=0.3),
    )
    distant = dataclasses.replace(distant, config=config)
    ours = distant.for_steps(2000)
    # MAML takes two thirds of a second for a 20-way 5-shot task.
    episodes = {"maml": (2000, 500, 500, 250)}
    episodes |= dict.fromkeys(PRETRAINED, (2000, 2000, 500, 500))
    paper = omniglot.omniglot_paper().for_steps(2000)
    auxiliary = AuxiliaryConfig(weight=0.5, pooled=True)
    metric = ABOUT_METRIC_ROWS.format(
        steps="2,000", auxiliary="from the mean over its map, weight 0.5"
    )
    return Table(
        name="table1",
        title="Omniglot: all methods on the same tasks",
        about="Drawings are aligned first. The split is that of Vinyals et al. (2016). "
        + metric
        + ABOUT_DISTANT_ROWS.format(
            steps="4,000",
            pretrained=", except mirrored characters",
            maml="",
            unaligned=" but without alignment",
        ),
        entries=define_metric_rows(ours, auxiliary, paper)
        + define_pretrained_rows(ours, episodes["rfs"])
        + define_distant_rows(distant, episodes=episodes),
        data="omniglot",
        split="vinyals/test",
        columns=make_columns("omniglot", "vinyals/test", *ALL_TASKS),
        references=(LGM_NET, NOTHING_GENERATED),
    )


def table2(data: str) -> Table:
    """Define table 2: all methods on CIFAR-FS or MiniImageNet, 5-way, 1- and 5-shot."""
    distant = LGM_NET_RECIPES[data]()
    ours = distant.for_steps(distant.train.steps // 2)
    auxiliary = ours.config.auxiliary
    paper = cifar.with_paper_config(ours)
    metric = ABOUT_METRIC_ROWS.format(
        steps=f"{ours.train.steps:,}", auxiliary=f"from its whole map, weight {auxiliary.weight:g}"
    )
    return Table(
        name="table2" if data == "cifar-fs" else f"table2-{data}",
        title=f"{DATA_TITLES[data]}: all methods on the same tasks",
        about=f"Conv-4 with {sum(ours.config.embedding.pooled)} poolings and 64 channels. "
        + metric
        + ABOUT_DISTANT_ROWS.format(
            steps=f"{distant.train.steps:,}",
            pretrained="",
            maml=", for half as many steps because each one takes more than twice as long",
            unaligned="",
        ),
        entries=define_metric_rows(ours, auxiliary, paper)
        + define_pretrained_rows(ours)
        + define_distant_rows(distant, maml_steps=ours.train.steps),
        data=data,
        split="test",
        columns=make_columns(data, "test", (5, 1), (5, 5)),
        references=(with_auxiliary(LGM_NET), with_auxiliary(NOTHING_GENERATED)),
    )


def table2_resnet12() -> Table:
    """Define table 2 with ResNet-12, for a GPU: the methods that can use it as embedding."""
    distant = cifar.cifar_fs_resnet12()
    ours = distant.for_steps(distant.train.steps // 2)
    base = table2("cifar-fs")
    rows = define_metric_rows(ours, ours.config.auxiliary, cifar.with_paper_config(ours))
    entries = [
        entry
        for entry in rows + define_pretrained_rows(ours) + define_distant_rows(distant)
        if entry.run.method not in ("maml", *UNTRAINED) and EXTRA_LAYERS not in entry.name
    ]
    return dataclasses.replace(
        base,
        name="table2-resnet12",
        title="CIFAR-FS with ResNet-12: all methods on the same tasks",
        about=base.about.replace(
            "Conv-4 with 3 poolings and 64 channels", "ResNet-12 with 64-160-320-640 channels"
        ),
        entries=tuple(entries),
    )


def table3(base: Table) -> Table:
    """Define table 3, the ablation: LGM-Net without each of its parts, trained as in ``base``."""
    return dataclasses.replace(
        base,
        name=f"table3-{base.data}",
        command="table3",
        results=base.name,
        title=f"Ablation on {DATA_TITLES[base.data]}",
        about="Each row leaves out or changes one part of LGM-Net; nothing else differs. All rows "
        f"are trained for as many steps as LGM-Net in {base.name}. Unlike the "
        "paper's, our LGM-Net does not draw its context at random; one row does.",
        entries=define_ablation_rows(base.entries, base.references[0]),
        columns=base.columns[2:3] if base.data == "omniglot" else base.columns,
        references=base.references[:1],
    )


def table_photos(data: str) -> Table:
    """Define the table of photos: LGM-Net and simple methods on features of a frozen backbone."""
    ours = vectors.photos_classes()
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
            Entry("LGM-Net (photos)", ours, title="LGM-Net (photos-classes)"),
            Entry(
                "LGM-Net (photos), without weight generation",
                without_generation,
                title="LGM-Net (photos-classes), without weight generation",
            ),
            baseline("Cosine prototypes", "proto-net", head=HeadConfig("means", None)),
            baseline("Logistic regression", "logistic-regression", normalize=False),
            baseline(
                "Logistic regression, unit-length features", "logistic-regression", strength=10.0
            ),
        ),
        data=data,
        split="test",
        columns=make_columns(data, "test", *ALL_TASKS),
    )


TABLES: dict[str, Callable[[], tuple[Table, ...]]] = {
    "table1": lambda: (table1(),),
    "table2": lambda: (table2("cifar-fs"),),
    "table2-miniimagenet": lambda: (table2("miniimagenet"),),
    "table2-resnet12": lambda: (table2_resnet12(),),
    "table-photos": lambda: (table_photos("caltech101"), table_photos("cifar-fs")),
    "table3": lambda: (table3(table1()), table3(table2("cifar-fs"))),
    "table-criteria": table_criteria,
    "table-domains": table_domains,
    TABLE_PLANE: table_plane,
}
"""Tables by name; a table may have one part per data set."""
