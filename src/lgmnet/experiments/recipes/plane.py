"""The paper's 2-D experiments: LGM-Net with generated linear layers on tasks in the plane."""

from __future__ import annotations

from lgmnet.methods.lgm_net import LGMNetConfig
from lgmnet.nn.context import ContextConfig
from lgmnet.nn.embedding import vector_embedding
from lgmnet.nn.target import TargetConfig
from lgmnet.training.config import Run, TrainConfig, ValidationConfig


def plane(family: str) -> Run:
    """Describe LGM-Net on 3-way 5-shot tasks of a family of `lgmnet.data.synthetic.plane`."""
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
        train=TrainConfig(
            steps=4_000,
            tasks=32,
            way=3,
            shot=5,
            query=10,
            jitter=None,
            precision="32-true",
            validation=ValidationConfig(way=3, shot=5, episodes=500),
        ),
    )
