"""Vectors of any length: LGM-Net with the fully connected TargetNet, trained on invented clouds."""

from __future__ import annotations

from lgmnet.methods.lgm_net_vectors import LGMNetVectorsConfig
from lgmnet.training.config import Run, TrainConfig


def vectors() -> Run:
    """The shipped model `vectors`."""
    return Run(
        recipe="vectors",
        method="lgm-net-vectors",
        config=LGMNetVectorsConfig(
            encoder_width=128,
            target_widths=(128, 128),
            target_skip=True,
            class_detectors=8,
            random_context=False,
        ),
        data="clouds",
        split="train",
        val_split="val",
        train=TrainConfig(
            steps=16_000,
            tasks=16,
            way=6,
            shot=1,
            most_shot=10,
            query=10,
            jitter=None,
            precision="32-true",
            val_way=5,
            val_shot=5,
            val_episodes=500,
            val_every=2_000,
        ),
    )
