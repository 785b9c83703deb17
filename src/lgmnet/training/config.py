"""How a method is trained: every number of a run, and the run itself as one value."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from lgmnet.data.augment import Jitter
from lgmnet.episode import EpisodeShape
from lgmnet.errors import ConfigError, unknown_name
from lgmnet.methods import METHODS


@dataclass(frozen=True)
class TrainConfig:
    """How long and on what tasks to train.

    Raises:
        ConfigError: naming the field that cannot be.
    """

    steps: int = 10_000
    """Optimiser steps."""
    tasks: int = 4
    """Tasks of a step, for each process."""
    way: int = 20
    """Classes of a training task."""
    shot: int = 1
    """Support samples of a class in training."""
    most_shot: int | None = None
    """Where set, each step draws its shot anew, from ``shot`` to this, all equally likely."""
    query: int = 4
    """Query samples of a class in training."""
    learning_rate: float = 1e-3
    """Peak learning rate of AdamW; a cosine leads it to zero at the last step."""
    warmup: int = 100
    """Steps over which the learning rate rises from zero."""
    weight_decay: float = 0.0
    """AdamW's weight decay."""
    clip: float = 10.0
    """Largest norm of the gradient; longer ones are shortened to it."""
    jitter: Jitter | None = field(default_factory=Jitter)
    """Augmentation of every training image, or None."""
    task_jitter: Jitter | None = None
    """A further change for all images of a task alike, which makes other characters of them; not
    read without ``jitter``."""
    same_group_fraction: float = 0.0
    """Part of the tasks whose classes come from as few groups (alphabets) as hold them; not read
    where the data knows no groups."""
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    """auto: bf16 where the device computes in it, else 32 bits."""
    val_way: int = 20
    """Classes of a validation task."""
    val_shot: int = 1
    """Support samples of a class in validation."""
    val_query: int = 15
    """Query samples of a class in validation."""
    val_episodes: int = 200
    """Validation tasks."""
    val_every: int = 1000
    """Steps between validations."""
    save_every: int = 250
    """Steps between checkpoints: what a kill can cost."""
    log_every: int = 25
    """Steps between lines of the logs."""
    seed: int = 0
    """Of the weights, the tasks, the augmentation and the context draws."""

    def __post_init__(self) -> None:
        for name in ("steps", "val_every", "save_every", "log_every", "learning_rate", "clip"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"'{name}' must be positive, but is {getattr(self, name)}.")
        if not 0 <= self.same_group_fraction <= 1:
            raise ConfigError(
                f"'same_group_fraction' must be a part, 0 to 1, but is {self.same_group_fraction}."
            )
        for name in ("warmup", "weight_decay", "seed"):
            if getattr(self, name) < 0:
                raise ConfigError(f"'{name}' must not be negative, but is {getattr(self, name)}.")
        if self.val_episodes < 2:
            raise ConfigError(f"'val_episodes' must be at least 2, but is {self.val_episodes}.")
        if self.most_shot is not None and self.most_shot < self.shot:
            raise ConfigError(
                f"'most_shot' must be at least 'shot', {self.shot}, but is {self.most_shot}."
            )
        _ = self.shape, self.val_shape

    @property
    def shape(self) -> EpisodeShape:
        """Shape of the largest training batch of one process."""
        return EpisodeShape(self.way, self.most_shot or self.shot, self.query, self.tasks)

    def draw_shape(self, generator: torch.Generator) -> EpisodeShape:
        """Shape of the next training batch of one process."""
        if self.most_shot is None:
            return self.shape
        shot = torch.randint(self.shot, self.most_shot + 1, (), generator=generator)
        return dataclasses.replace(self.shape, shot=int(shot))

    @property
    def val_shape(self) -> EpisodeShape:
        """Shape of one validation task."""
        return EpisodeShape(self.val_way, self.val_shot, self.val_query)


@dataclass(frozen=True)
class Run:
    """A whole training run; what a recipe returns.

    Raises:
        ConfigError: if there is no such method, or the config is of another.
    """

    recipe: str
    """Name of the recipe."""
    method: str
    """Name of the method, a key of `lgmnet.methods.METHODS`."""
    config: Any
    """The method's config."""
    data: str
    """Name of the data."""
    split: str
    """Split whose classes are trained on."""
    val_split: str | None
    """Split whose classes choose the best checkpoint; None keeps the last one."""
    train: TrainConfig
    start: str | None = None
    """A model, by name or folder, whose weights to start from; None for fresh ones."""
    backbone: str = ""
    """The frozen network that photos pass before the method, or empty."""

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise unknown_name("method", self.method, METHODS)
        kind = METHODS[self.method].config_type
        if not isinstance(self.config, kind):
            raise ConfigError(f"'config' must be a {kind.__name__}, but is {self.config!r}.")

    def for_steps(self, steps: int | None) -> Run:
        """The same run for so many steps; None leaves it as it is."""
        if steps is None:
            return self
        return dataclasses.replace(self, train=dataclasses.replace(self.train, steps=steps))
