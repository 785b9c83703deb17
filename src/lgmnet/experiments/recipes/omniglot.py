"""LGM-Net on Omniglot: ours, and the paper's configuration."""

from __future__ import annotations

import dataclasses

from lgmnet.data.augment import Jitter
from lgmnet.methods.lgm_net import LGMNetConfig
from lgmnet.training.config import Run, TrainConfig


def omniglot() -> Run:
    """Ours: aligned drawings seen in three views, learned temperature, normalised TargetNet.

    40-way tasks, half of them of kindred characters, from mirrored characters too; each task is
    bent as a whole, which makes new characters, and each image a little more by itself.
    """
    return Run(
        recipe="omniglot",
        method="lgm-net",
        config=LGMNetConfig(
            align=0.5,
            views=3,
            embedding_widths=(32, 64, 96, 96, 64),
            embedding_pooled=(True, True, False, False, False),
        ),
        data="omniglot",
        split="vinyals/train-mirrored",
        val_split="vinyals/val",
        train=TrainConfig(
            steps=18_000,
            tasks=2,
            way=40,
            jitter=Jitter(
                degrees=12.0, scale=0.12, shift=0.04, shear=0.12, warp=0.02, thicken=0.25
            ),
            task_jitter=Jitter(degrees=10.0, scale=0.2, shift=0.0, shear=0.2, warp=0.03),
            same_group_fraction=0.5,
            val_every=1500,
            val_episodes=300,
        ),
    )


def omniglot_refined() -> Run:
    """A last course for what `omniglot` gave (``--from``): on a larger canvas, all 1200 characters.

    Everything is chosen on validation classes by then; they are trained on too (see `omniglot`).
    """
    run = omniglot()
    return dataclasses.replace(
        run,
        recipe="omniglot-refined",
        config=dataclasses.replace(run.config, canvas=36),
        split="vinyals/trainval-mirrored",
        val_split=None,
        train=dataclasses.replace(run.train, steps=8_000, learning_rate=5e-4),
    )


def omniglot_lake() -> Run:
    """Ours, trained on whole alphabets: for scores on alphabets never seen."""
    run = omniglot()
    return dataclasses.replace(
        run,
        recipe="omniglot-lake",
        split="lake/train-mirrored",
        val_split="lake/val",
        train=dataclasses.replace(run.train, steps=8_000, val_every=1000),
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
