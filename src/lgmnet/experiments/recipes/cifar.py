"""LGM-Net on CIFAR-FS and miniImageNet, on the embedding that all rivals share."""

import dataclasses

from lgmnet.config import with_settings
from lgmnet.data.augment import Jitter
from lgmnet.methods.lgm_net import LGMNetConfig
from lgmnet.nn.class_conditioning import ClassConditioningConfig
from lgmnet.nn.classification import AuxiliaryConfig
from lgmnet.nn.context import ContextConfig
from lgmnet.nn.embedding import EmbeddingConfig
from lgmnet.nn.matching import HeadConfig
from lgmnet.nn.target import TargetConfig
from lgmnet.training.config import Run, TrainConfig, ValidationConfig

GENERATE_NOTHING = ("target.weights=learned", "context=none", "conditioning=none")
"""Settings that switch generation off: TargetNet's weights are learned, the same for all tasks."""


def cifar_fs() -> Run:
    """Describe LGM-Net on Conv-4 with class detectors and the shared embedding beside TargetNet.

    20-way tasks of 1 to 5 shots, so that one model serves both columns of the table.
    """
    return Run(
        recipe="cifar-fs",
        method="lgm-net",
        config=LGMNetConfig(
            embedding=EmbeddingConfig(
                feature_shape=(3, 32, 32), widths=(64, 64, 64, 64), pooled=(True, True, True, False)
            ),
            context=ContextConfig(sampled=False),
            target=TargetConfig(pooled=False, skip="beside"),
            conditioning=ClassConditioningConfig(detectors=4, dropout=0.3),
            head=HeadConfig("means"),
            auxiliary=AuxiliaryConfig(),
        ),
        data="cifar-fs",
        split="train",
        val_split="val",
        train=TrainConfig(
            steps=6_000,
            tasks=2,
            max_shot=5,
            jitter=Jitter(degrees=0.0, scale=0.0, shift=0.125, shear=0.0, flip=0.5),
            validation=ValidationConfig(way=5, episodes=600, every=2000),
        ),
    )


def with_paper_config(run: Run) -> Run:
    """Describe a run of the paper's configuration on the data and for the steps of another run.

    No temperature, no normalization in TargetNet, contexts drawn at random, no class detectors, no
    skip and no auxiliary loss, on the embedding of the other run. 5-way tasks with one query a
    class, 16 a step; half as many as the paper's, because they have up to 5 shots here.
    """
    config = LGMNetConfig(
        embedding=run.config.embedding,
        context=ContextConfig(pooled=(True, True)),
        target=TargetConfig(norm=False),
        head=HeadConfig(temperature=None),
    )
    train = with_settings(run.train, ["tasks=16", "way=5", "query=1", "validation.way=5"])
    return dataclasses.replace(run, recipe=f"{run.recipe}-paper", config=config, train=train)


def cifar_fs_constant() -> Run:
    """Describe the same network with nothing generated, trained five times as long.

    Two of them, trained with different seeds, make the most accurate Conv-4 for CIFAR-FS
    (`scripts/best_cifar_fs.sh`).
    """
    settings = (
        "recipe=cifar-fs-constant",
        *GENERATE_NOTHING,
        "steps=32000",
        "validation.every=4000",
    )
    return with_settings(cifar_fs(), settings)


def cifar_fs_resnet12() -> Run:
    """Describe the same with ResNet-12, for a GPU: TargetNet narrows its 640 channels to 64."""
    settings = (
        "recipe=cifar-fs-resnet12",
        "embedding.layers=residual",
        "embedding.widths=[64, 160, 320, 640]",
        "embedding.pooled=[true, true, true, true]",
        "target.widths=[64, 640]",
    )
    return with_settings(cifar_fs(), settings)


def miniimagenet() -> Run:
    """Describe the same on miniImageNet, whose images are larger: Conv-4 pooled four times."""
    settings = (
        "recipe=miniimagenet",
        "data=miniimagenet",
        "embedding.feature_shape=[3, 84, 84]",
        "embedding.pooled=[true, true, true, true]",
    )
    return with_settings(cifar_fs(), settings)
