"""LGM-Net on CIFAR-FS and MiniImageNet: ours, on the embedding that all rivals share."""

from __future__ import annotations

import dataclasses

from lgmnet.data.augment import Jitter
from lgmnet.methods.lgm_net import LGMNetConfig
from lgmnet.training.config import Run, TrainConfig


def cifar_fs() -> Run:
    """Ours: Conv-4 pooled three times, and a TargetNet that adds to it, into which classes write.

    20-way tasks of 1 to 5 shots, so that one model serves both columns of the table.
    """
    return Run(
        recipe="cifar-fs",
        method="lgm-net",
        config=LGMNetConfig(
            feature_shape=(3, 32, 32),
            embedding_widths=(64, 64, 64, 64),
            embedding_pooled=(True, True, True, False),
            target_pooled=False,
            target_skip=True,
            random_context=False,
            class_detectors=4,
            class_dropout=0.3,
            head="means",
            classification=1.0,
            classes=64,
        ),
        data="cifar-fs",
        split="train",
        val_split="val",
        train=TrainConfig(
            steps=6_000,
            tasks=2,
            way=20,
            shot=1,
            most_shot=5,
            query=4,
            jitter=Jitter(degrees=0.0, scale=0.0, shift=0.125, shear=0.0, flip=0.5),
            val_way=5,
            val_episodes=600,
            val_every=2000,
        ),
    )


def cifar_fs_resnet12() -> Run:
    """The same with ResNet-12, for a GPU: 640 channels, which TargetNet narrows to 64 between."""
    run = cifar_fs()
    config = dataclasses.replace(
        run.config,
        embedding_layers="residual",
        embedding_widths=(64, 160, 320, 640),
        embedding_pooled=(True, True, True, True),
        target_widths=(64, 640),
    )
    return dataclasses.replace(run, recipe="cifar-fs-resnet12", config=config)


def miniimagenet() -> Run:
    """The same on MiniImageNet, whose images are larger: Conv-4 pooled four times."""
    run = cifar_fs()
    config = dataclasses.replace(
        run.config, feature_shape=(3, 84, 84), embedding_pooled=(True, True, True, True)
    )
    return dataclasses.replace(run, recipe="miniimagenet", config=config, data="miniimagenet")
