"""Photos: LGM-Net on the features of a frozen backbone."""

from __future__ import annotations

from lgmnet.methods.lgm_net_features import LGMNetFeaturesConfig
from lgmnet.training.config import Run, TrainConfig


def photos() -> Run:
    """The shipped model `photos`: Caltech-101's training classes and those of CIFAR-FS.

    A task's classes are of one quarter of one of the two, and what is known of features beforehand
    is of all classes but that quarter.
    """
    return Run(
        recipe="photos",
        method="lgm-net-features",
        config=LGMNetFeaturesConfig(),
        data="photos",
        split="train",
        val_split="val",
        backbone="efficientnet-lite0",
        train=TrainConfig(
            steps=800,
            tasks=8,
            way=8,
            shot=1,
            most_shot=5,
            query=5,
            same_group_fraction=1.0,
            learning_rate=2e-3,
            jitter=None,
            precision="32-true",
            val_way=5,
            val_shot=1,
            val_episodes=1000,
            val_every=400,
        ),
    )
