"""The paper's 2-D experiments: LGM-Net with the fully connected TargetNet on each family."""

from __future__ import annotations

from lgmnet.methods.lgm_net import LGMNetConfig
from lgmnet.training.config import Run, TrainConfig


def plane(family: str) -> Run:
    """LGM-Net on 3-way 5-shot tasks of one family of `lgmnet.data.synthetic.plane`."""
    return Run(
        recipe=family,
        method="lgm-net",
        config=LGMNetConfig(
            feature_shape=(2,),
            target="linear",
            embedding_widths=(64, 64),
            encoder_width=128,
            target_widths=(64, 64),
        ),
        data=family,
        split="train",
        val_split="val",
        train=TrainConfig(
            steps=4_000,
            tasks=32,
            way=3,
            shot=5,
            query=10,
            jitter=None,
            precision="32-true",
            val_way=3,
            val_shot=5,
            val_episodes=500,
        ),
    )
