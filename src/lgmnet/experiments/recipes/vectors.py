"""LGM-Net with generated linear layers: points of the plane, vectors of any length, photos."""

import dataclasses

from lgmnet.methods.lgm_net import LGMNetConfig
from lgmnet.methods.lgm_net_features import LGMNetFeaturesConfig
from lgmnet.methods.lgm_net_vectors import LGMNetVectorsConfig
from lgmnet.nn.class_conditioning import ClassConditioningConfig
from lgmnet.nn.context import ContextConfig
from lgmnet.nn.embedding import vector_embedding
from lgmnet.nn.target import TargetConfig
from lgmnet.training.config import OptimizerConfig, Run, TrainConfig, ValidationConfig

VECTOR_TRAINING = TrainConfig(jitter=None, precision="32-true")


def plane(family: str) -> Run:
    """Describe the paper's 2-D experiments: 3-way 5-shot tasks of `lgmnet.data.synthetic.plane`."""
    validation = ValidationConfig(way=3, shot=5, episodes=500)
    return Run(
        recipe=family,
        method="lgm-net",
        config=LGMNetConfig(
            embedding=vector_embedding(2, 64, 64),
            context=ContextConfig(widths=(128, 128), pooled=()),
            target=TargetConfig(pooled=False),
        ),
        data=family,
        split="train",
        val_split="val",
        train=dataclasses.replace(
            VECTOR_TRAINING, steps=4_000, tasks=32, way=3, shot=5, query=10, validation=validation
        ),
    )


def vectors() -> Run:
    """Describe the shipped model `vectors`, trained on synthetic vectors."""
    validation = ValidationConfig(way=5, shot=5, episodes=500, every=2_000)
    train = dataclasses.replace(
        VECTOR_TRAINING, steps=16_000, tasks=16, way=6, max_shot=10, query=10, validation=validation
    )
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
        train=train,
    )


def photos_classes() -> Run:
    """Describe the shipped model `photos-classes`: training classes of Caltech-101 and of CIFAR-FS.

    The classes of a task belong to one quarter of one of the two data sets, and the features are
    whitened with the statistics of all classes but that quarter.
    """
    return Run(
        recipe="photos-classes",
        method="lgm-net-features",
        config=LGMNetFeaturesConfig(),
        data="photos",
        split="train",
        val_split="val",
        backbone="efficientnet-lite0",
        train=dataclasses.replace(
            VECTOR_TRAINING,
            steps=800,
            tasks=8,
            way=8,
            max_shot=5,
            query=5,
            optimizer=OptimizerConfig(learning_rate=2e-3),
            same_group_fraction=1.0,
            validation=ValidationConfig(way=5, episodes=1000, every=400),
        ),
    )
