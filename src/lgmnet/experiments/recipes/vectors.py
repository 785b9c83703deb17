"""Vectors of any length: LGM-Net with generated linear layers, trained on synthetic vectors."""

from __future__ import annotations

from lgmnet.methods.lgm_net_vectors import LGMNetVectorsConfig
from lgmnet.nn.class_conditioning import ClassConditioningConfig
from lgmnet.nn.context import ContextConfig
from lgmnet.nn.target import TargetConfig
from lgmnet.training.config import Run, TrainConfig, ValidationConfig


def vectors() -> Run:
    """Describe the shipped model `vectors`."""
    return Run(
        recipe="vectors",
        method="lgm-net-vectors",
        config=LGMNetVectorsConfig(
            context=ContextConfig(widths=(128, 128), pooled=(), sampled=False),
            target=TargetConfig(widths=(128, 128), pooled=False, skip="beside"),
            conditioning=ClassConditioningConfig(detectors=8),
        ),
        data="clouds",
        split="train",
        val_split="val",
        train=TrainConfig(
            steps=16_000,
            tasks=16,
            way=6,
            shot=1,
            max_shot=10,
            query=10,
            jitter=None,
            precision="32-true",
            validation=ValidationConfig(way=5, shot=5, episodes=500, every=2_000),
        ),
    )
