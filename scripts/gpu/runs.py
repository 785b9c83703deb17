"""Training runs for a GPU: ResNet-12 on CIFAR-FS, metric heads behind it, and Omniglot's recipe."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from lgmnet.config import with_settings
from lgmnet.experiments.recipes import RECIPES
from lgmnet.experiments.recipes.rivals import rival
from lgmnet.methods import METHODS
from lgmnet.nn.matching import HeadConfig
from lgmnet.training.config import Run

Part = Literal["embedding", "heads", "omniglot"]
OMNIGLOT_FACTOR = 10
"""Steps of Omniglot's run, as a multiple of those of its recipe."""
EMBEDDING_SETTINGS = ("train.steps=12000", "weight_decay=0.05")
HEAD_SETTINGS = ("train.steps=2000", "learning_rate=2e-4", "weight_decay=0.05")
LAST_WEIGHTS = ("val_split=none",)
"""No validation classes travel, so the last weights are kept."""


@dataclass(frozen=True)
class Training:
    """One training run."""

    name: str
    """Name of its model."""
    part: Part
    """Part of all runs that it belongs to."""
    run: Run
    start: str = ""
    """Name of the training whose model it starts from; empty for none."""


def plan_trainings(scale: float = 1.0) -> list[Training]:
    """Plan all training runs, in the order in which one starts from another.

    Args:
        scale: Fraction of the full size: of the steps, and of the cost of the networks.
    """
    ours = RECIPES["cifar-fs-resnet12"]()
    rfs = with_settings(rival(ours, "rfs"), EMBEDDING_SETTINGS)
    cosine = HeadConfig("means")
    heads = {
        "proto-net": rival(ours, "proto-net", head=cosine),
        "feat": rival(ours, "feat", head=cosine),
        "lgm-net": ours,
    }
    omniglot = RECIPES["omniglot"]()
    omniglot = omniglot.for_steps(OMNIGLOT_FACTOR * omniglot.train.steps)
    first, distilled = "resnet12-rfs", "resnet12-rfs-distilled"
    trainings = [
        Training(first, "embedding", rfs),
        Training(distilled, "embedding", rfs, first),
        *(
            Training(f"resnet12-{name}", "heads", with_settings(run, HEAD_SETTINGS), distilled)
            for name, run in heads.items()
        ),
        Training("omniglot-10x", "omniglot", omniglot),
    ]
    return [
        dataclasses.replace(training, run=scale_run(training.run, scale)) for training in trainings
    ]


def scale_run(run: Run, scale: float) -> Run:
    """Scale the steps and the networks of a run."""
    steps = max(2, round(run.train.steps * scale))
    run = with_settings(run, [*LAST_WEIGHTS, f"train.steps={steps}"])
    if scale == 1:
        return run
    embedding = run.config.embedding
    widths = [max(4, round(width * scale**0.5)) for width in embedding.widths]
    settings = [f"embedding.widths={widths}", "warmup=1"]
    if getattr(run.config, "target", None) is not None:
        settings.append(f"target.widths={[widths[0], widths[-1]]}")
    return with_settings(run, settings)


def count_weights(run: Run) -> int:
    """Count the weights of the method of a run."""
    return sum(p.numel() for p in METHODS[run.method](run.config).parameters())
