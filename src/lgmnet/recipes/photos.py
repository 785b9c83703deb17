"""Photos: LGM-Net with the fully connected TargetNet on the features of a frozen backbone."""

from __future__ import annotations

from lgmnet.methods.lgm_net import LGMNetConfig
from lgmnet.training.config import Run, TrainConfig


def photos() -> Run:
    """The shipped model `photos`: Caltech-101's training classes and those of CIFAR-FS."""
    return Run(
        recipe="photos",
        method="lgm-net",
        config=LGMNetConfig(
            feature_shape=(1280,),
            target="linear",
            embedding_widths=(256,),
            encoder_width=128,
            target_widths=(256,),
            target_skip=True,
            class_detectors=8,
            class_dropout=0.3,
            random_context=False,
            head="means",
        ),
        data="photos",
        split="train",
        val_split="val",
        backbone="efficientnet-lite0",
        train=TrainConfig(
            steps=6_000,
            tasks=8,
            way=20,
            shot=1,
            most_shot=5,
            query=5,
            jitter=None,
            precision="32-true",
            val_way=20,
            val_shot=1,
            val_episodes=500,
        ),
    )
