"""LGM-Net on tasks by criterion: what decides is known from the labels alone."""

from lgmnet.methods.lgm_net import LGMNetConfig
from lgmnet.nn.context import ContextConfig
from lgmnet.nn.embedding import EmbeddingConfig
from lgmnet.nn.matching import HeadConfig
from lgmnet.nn.target import TargetConfig
from lgmnet.training.config import Run, TrainConfig, ValidationConfig


def criteria_drawings() -> Run:
    """Describe LGM-Net on drawings of 28x28 pixels that are labelled by one of many factors.

    Tasks of 2 or 3 classes, because many factors have few values, and of 1 to 6 shots. The drawings
    are not augmented: what would be changed may be the criterion. The alphabets of validation are
    new.
    """
    return Run(
        recipe="criteria-drawings",
        method="lgm-net",
        config=LGMNetConfig(
            embedding=EmbeddingConfig(widths=(64, 64, 64, 64), pooled=(True, True, True, False)),
            context=ContextConfig(sampled=False),
            target=TargetConfig(pooled=False, skip="beside"),
            head=HeadConfig("means"),
        ),
        data="criteria-drawings",
        split="lake/train",
        val_split="lake/val",
        train=TrainConfig(
            steps=2_500,
            tasks=6,
            way=3,
            min_way=2,
            max_shot=6,
            query=10,
            jitter=None,
            validation=ValidationConfig(way=3, shot=5, episodes=600, every=500),
        ),
    )
