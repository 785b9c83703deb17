"""LGM-Net on Omniglot: our configuration and the paper's."""

from lgmnet.config import with_settings
from lgmnet.data.augment import Jitter
from lgmnet.methods.lgm_net import LGMNetConfig
from lgmnet.nn.alignment import AlignmentConfig
from lgmnet.nn.context import ContextConfig
from lgmnet.nn.embedding import EmbeddingConfig
from lgmnet.nn.matching import HeadConfig
from lgmnet.nn.target import TargetConfig
from lgmnet.training.config import Run, TrainConfig, ValidationConfig


def omniglot() -> Run:
    """Describe our run: drawings aligned and seen in three views, learned temperature.

    40-way tasks, half of them with characters of as few alphabets as possible, mirrored characters
    included. Each task is deformed as a whole, which makes new characters, and each image a little
    more by itself.
    """
    jitter = Jitter(degrees=12.0, scale=0.12, shift=0.04, shear=0.12, warp=0.02, thicken=0.25)
    return Run(
        recipe="omniglot",
        method="lgm-net",
        config=LGMNetConfig(
            embedding=EmbeddingConfig(
                widths=(32, 64, 96, 96, 64),
                pooled=(True, True, False, False, False),
                alignment=AlignmentConfig(power=0.5, views=3),
            )
        ),
        data="omniglot",
        split="vinyals/train-mirrored",
        val_split="vinyals/val",
        train=TrainConfig(
            steps=18_000,
            tasks=2,
            way=40,
            jitter=jitter,
            task_jitter=Jitter(degrees=10.0, scale=0.2, shift=0.0, shear=0.2, warp=0.03),
            same_group_fraction=0.5,
            validation=ValidationConfig(episodes=300, every=1500),
        ),
    )


def omniglot_refined() -> Run:
    """Describe a last stage (``--from`` a model of `omniglot`): larger canvas, 1200 characters.

    Everything has been chosen on validation classes by then; this stage trains on them too (see
    `lgmnet.data.datasets.omniglot`).
    """
    settings = (
        "recipe=omniglot-refined",
        "alignment.canvas=36",
        "split=vinyals/trainval-mirrored",
        "val_split=none",
        "train.steps=8000",
        "optimizer.learning_rate=5e-4",
    )
    return with_settings(omniglot(), settings)


def omniglot_lake() -> Run:
    """Describe our run on whole alphabets, for scores on alphabets never seen."""
    settings = (
        "recipe=omniglot-lake",
        "split=lake/train-mirrored",
        "val_split=lake/val",
        "train.steps=8000",
        "validation.every=1000",
    )
    return with_settings(omniglot(), settings)


def omniglot_paper() -> Run:
    """Describe the paper's configuration at the reference code's sizes.

    No temperature, no normalization in TargetNet. 5-way tasks with one query a class (the reference
    code: one a task), 32 a step. The cosine schedule stands for the paper's x0.9 every 1,500 steps.
    """
    return Run(
        recipe="omniglot-paper",
        method="lgm-net",
        config=LGMNetConfig(
            embedding=EmbeddingConfig(widths=(64, 64, 64, 64), pooled=(True, True, True, False)),
            context=ContextConfig(pooled=(True, True)),
            target=TargetConfig(norm=False),
            head=HeadConfig(temperature=None),
        ),
        data="omniglot",
        split="vinyals/train",
        val_split="vinyals/val",
        train=TrainConfig(
            steps=120_000, tasks=32, way=5, query=1, jitter=None, validation=ValidationConfig(way=5)
        ),
    )
