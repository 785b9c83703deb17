"""Photos: LGM-Net on the features of a frozen backbone."""

from __future__ import annotations

from lgmnet.methods.lgm_net_features import LGMNetFeaturesConfig
from lgmnet.training.config import OptimizerConfig, Run, TrainConfig, ValidationConfig


def photos() -> Run:
    """Describe the shipped model `photos`: training classes of Caltech-101 and of CIFAR-FS.

    The classes of a task belong to one quarter of one of the two data sets, and the features are
    whitened with the statistics of all classes but that quarter.
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
            max_shot=5,
            query=5,
            optimizer=OptimizerConfig(learning_rate=2e-3),
            same_group_fraction=1.0,
            jitter=None,
            precision="32-true",
            validation=ValidationConfig(way=5, episodes=1000, every=400),
        ),
    )
