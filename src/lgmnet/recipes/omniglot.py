"""LGM-Net on Omniglot: ours, and the paper's configuration."""

from __future__ import annotations

import dataclasses

from lgmnet.data.augment import Jitter
from lgmnet.methods.lgm_net import LGMNetConfig
from lgmnet.training.config import Run, TrainConfig


def omniglot() -> Run:
    """Ours: learned temperature, normalised TargetNet, jittered drawings, 40-way tasks."""
    return Run(
        recipe="omniglot",
        method="lgm-net",
        config=LGMNetConfig(),
        data="omniglot",
        split="vinyals/train",
        val_split="vinyals/val",
        train=TrainConfig(
            steps=18_000, tasks=2, way=40, jitter=Jitter(thicken=0.25), val_every=1500
        ),
    )


def omniglot_refined() -> Run:
    """A second course for what `omniglot` gave (``--from``): mirrored characters, bolder jitter."""
    run = omniglot()
    return dataclasses.replace(
        run,
        recipe="omniglot-refined",
        split="vinyals/train-mirrored",
        train=dataclasses.replace(
            run.train,
            steps=10_000,
            learning_rate=6e-4,
            val_every=2000,
            jitter=Jitter(degrees=15.0, scale=0.15, shear=0.15, warp=0.025, thicken=0.25),
        ),
    )


def omniglot_lake() -> Run:
    """Ours, trained on whole alphabets: for scores on alphabets never seen."""
    run = omniglot()
    return dataclasses.replace(
        run,
        recipe="omniglot-lake",
        split="lake/train",
        val_split="lake/val",
        train=dataclasses.replace(run.train, steps=8_000, val_every=1000),
    )


def omniglot_lake_refined() -> Run:
    """A short second course for what `omniglot_lake` gave (``--from``)."""
    run = omniglot_refined()
    return dataclasses.replace(
        run,
        recipe="omniglot-lake-refined",
        split="lake/train-mirrored",
        val_split="lake/val",
        train=dataclasses.replace(run.train, steps=2_500, val_every=1250),
    )


def omniglot_paper() -> Run:
    """The paper's configuration at the reference code's sizes: no temperature, plain TargetNet.

    5-way tasks with one query a class (the reference code: one a task), 32 a step; the cosine
    stands in for its x0.9 every 1,500 steps.
    """
    return Run(
        recipe="omniglot-paper",
        method="lgm-net",
        config=LGMNetConfig(
            embedding_widths=(64, 64, 64, 64),
            embedding_pooled=(True, True, True, False),
            encoder_pooled=(True, True),
            context=32,
            target_widths=(64, 64),
            target_norm=False,
            temperature=None,
        ),
        data="omniglot",
        split="vinyals/train",
        val_split="vinyals/val",
        train=TrainConfig(steps=120_000, tasks=32, way=5, shot=1, query=1, jitter=None, val_way=5),
    )
