"""LGM-Net on tasks by criterion: what decides is known from the labels alone."""

import dataclasses

from lgmnet.config import with_settings
from lgmnet.methods import ProtoNetConfig, RidgeRegressionConfig
from lgmnet.methods.lgm_net import LGMNetConfig
from lgmnet.nn.context import ContextConfig
from lgmnet.nn.embedding import EmbeddingConfig
from lgmnet.nn.label_context import LabelContextConfig
from lgmnet.nn.layer_axes import AxesConfig
from lgmnet.nn.layer_statistics import N_LAYER_STATISTICS
from lgmnet.nn.matching import HeadConfig
from lgmnet.nn.target import TargetConfig
from lgmnet.training.config import OptimizerConfig, Run, TrainConfig, ValidationConfig


def criteria_drawings() -> Run:
    """Describe LGM-Net on drawings of 28x28 pixels that are labelled by one of many factors.

    What is generated is a gain for each statistic of all layers, from two shots on: at one shot,
    gains from the labels were worse than none. The embedding learns without them, so that it is as
    good as with nothing generated. Tasks of 2 or 3 classes, because many factors have few values,
    and of 1 to 6 shots. Each step trains the gains on as many tasks again whose labels follow from
    a random feature, so that gains are found for other criteria too. The drawings are not
    augmented: what would be changed may be the criterion. The alphabets of validation are new.
    """
    return Run(
        recipe="criteria-drawings",
        method="lgm-net",
        config=LGMNetConfig(
            embedding=EmbeddingConfig(
                widths=(32, 64, 64, 64), pooled=(True, True, True, False), readout="layers"
            ),
            target=TargetConfig(widths=(), pooled=False),
            context=None,
            labels=LabelContextConfig(one_shot=False),
            head=HeadConfig("ridge"),
            gains_train_embedding=False,
            feature_tasks=0.25,
        ),
        data="criteria-drawings",
        split="lake/train",
        val_split="lake/val",
        train=TrainConfig(
            steps=2_000,
            tasks=6,
            way=3,
            min_way=2,
            max_shot=6,
            query=6,
            optimizer=OptimizerConfig(learning_rate=2e-3),
            jitter=None,
            validation=ValidationConfig(way=3, shot=5, episodes=300, every=1_000),
        ),
    )


def criteria_drawings_constant() -> Run:
    """Describe the same with nothing generated: the same statistics, head and training.

    The gains are those of the normalization and of the groups in the embedding, which are learned
    and the same for all tasks. Tasks by features are left out: they train generated gains alone.
    """
    run = criteria_drawings()
    config = RidgeRegressionConfig(embedding=run.config.embedding, head=run.config.head)
    recipe = f"{run.recipe}-constant"
    return dataclasses.replace(run, recipe=recipe, method="ridge-regression", config=config)


def criteria_drawings_proto_net() -> Run:
    """Describe ProtoNet with cosines on the last layer of the same embedding."""
    run = criteria_drawings()
    embedding = dataclasses.replace(run.config.embedding, readout="last")
    config = ProtoNetConfig(embedding=embedding, head=HeadConfig("means"))
    recipe = f"{run.recipe}-proto-net"
    return dataclasses.replace(run, recipe=recipe, method="proto-net", config=config)


def photos_by_criterion() -> Run:
    """Describe LGM-Net on photos that are labelled by what they show, or by how they look.

    Features are the statistics of the layers of a frozen backbone, compressed to axes. Generated is
    a gain for each axis. Tasks of 2 to 7 classes and 1 to 8 shots, from photos of Caltech-101 and
    CIFAR-FS as they are and changed, groceries and clothing.
    """
    return Run(
        recipe="photos-by-criterion",
        method="lgm-net",
        config=LGMNetConfig(
            embedding=EmbeddingConfig(
                (N_LAYER_STATISTICS,), "linear", widths=(), pooled=(), axes=AxesConfig(dropout=0.3)
            ),
            target=TargetConfig(widths=(), pooled=False, gains=True, natural=True),
            context=None,
            labels=LabelContextConfig(width=96, hidden=64, leave_one_out=False, head=True),
            head=HeadConfig("ridge"),
        ),
        data="photos-by-criterion",
        split="train",
        val_split="val",
        backbone="efficientnet-lite0-layers",
        train=TrainConfig(
            steps=3_000,
            tasks=6,
            way=7,
            min_way=2,
            max_shot=8,
            query=4,
            optimizer=OptimizerConfig(learning_rate=2e-3, weight_decay=1e-4, clip=1.0),
            jitter=None,
            precision="32-true",
            validation=ValidationConfig(way=5, shot=5, query=8, episodes=500, every=1_000),
        ),
    )


def photos_by_criterion_constant() -> Run:
    """Describe the same with nothing generated: gains are learned, the same for all tasks.

    Recognised changes are never left out: on validation, that is better for it (docs/dev/log.md).
    """
    run = photos_by_criterion()
    recipe = f"{run.recipe}-constant"
    return with_settings(
        dataclasses.replace(run, recipe=recipe), ("labels=none", "embedding.axes.dropout=0")
    )


def photos_by_criterion_paper() -> Run:
    """Describe LGM-Net with the paper's context on the same features: it never reads a label.

    Generated is a linear layer, beside the axes with their learned gains.
    """
    constant = photos_by_criterion_constant()
    config = dataclasses.replace(
        constant.config,
        target=TargetConfig(widths=(64,), pooled=False, gains=True, natural=True, skip="beside"),
        context=ContextConfig(length=16, widths=(64,), pooled=()),
    )
    return dataclasses.replace(constant, recipe="photos-by-criterion-paper", config=config)
