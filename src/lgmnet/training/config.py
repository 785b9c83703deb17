"""Settings of meta-training, and a whole run as one value."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from lgmnet.config import require
from lgmnet.data.augment import Jitter
from lgmnet.episode import EpisodeShape
from lgmnet.errors import ConfigError, unknown_name_error
from lgmnet.methods import METHODS


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with a warm-up and a cosine schedule.

    Raises:
        ConfigError: if a field has a value that is not allowed.
    """

    learning_rate: float = 1e-3
    """Peak learning rate; a cosine leads it to zero at the last step."""
    warmup: int = 100
    """Steps over which the learning rate rises from zero."""
    weight_decay: float = 0.0
    """AdamW's weight decay."""
    clip: float = 10.0
    """Maximum norm of the gradient; longer gradients are shortened to it."""

    def __post_init__(self) -> None:
        for name in ("learning_rate", "clip"):
            require(self, name, getattr(self, name) > 0, "positive")
        for name in ("warmup", "weight_decay"):
            require(self, name, getattr(self, name) >= 0, "0 or more")


@dataclass(frozen=True)
class ValidationConfig:
    """Validation tasks.

    Raises:
        ConfigError: if a field has a value that is not allowed.
        EpisodeError: if the tasks are impossible.
    """

    way: int = 20
    """Classes of a task."""
    shot: int = 1
    """Support samples of a class."""
    query: int = 15
    """Query samples of a class."""
    episodes: int = 200
    """Number of tasks."""
    every: int = 1000
    """Steps between validations."""

    def __post_init__(self) -> None:
        require(self, "episodes", self.episodes >= 2, "at least 2")
        require(self, "every", self.every > 0, "positive")
        _ = self.shape

    @property
    def shape(self) -> EpisodeShape:
        """Shape of one task."""
        return EpisodeShape(self.way, self.shot, self.query)


@dataclass(frozen=True)
class TrainConfig:
    """Length of meta-training, and its tasks.

    Raises:
        ConfigError: if a field has a value that is not allowed.
        EpisodeError: if the tasks are impossible.
    """

    steps: int = 10_000
    """Optimizer steps."""
    tasks: int = 4
    """Tasks of a step, for each process."""
    way: int = 20
    """Classes of a task."""
    min_way: int | None = None
    """If set, each step draws its way from this to ``way``, all equally likely."""
    shot: int = 1
    """Support samples of a class."""
    max_shot: int | None = None
    """If set, each step draws its shot from ``shot`` to this, all equally likely."""
    query: int = 4
    """Query samples of a class."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """Optimizer and its schedule."""
    jitter: Jitter | None = field(default_factory=Jitter)
    """Augmentation of every training image, or None."""
    task_jitter: Jitter | None = None
    """Additional change of all images of a task alike, which turns them into new classes."""
    same_group_fraction: float = 0.0
    """Part of the tasks whose classes come from as few groups (such as alphabets) as possible; data
    without groups counts as one group."""
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    """``auto``: bf16 where the device computes in it, else 32 bits."""
    validation: ValidationConfig = ValidationConfig()
    """Validation tasks."""
    save_every: int = 250
    """Steps between checkpoints: the work that a killed run can lose."""
    log_every: int = 25
    """Steps between lines of the logs."""
    seed: int = 0
    """Seed of the weights, the tasks, the augmentation and the context draws."""

    def __post_init__(self) -> None:
        for name in ("steps", "save_every", "log_every"):
            require(self, name, getattr(self, name) > 0, "positive")
        require(self, "same_group_fraction", 0 <= self.same_group_fraction <= 1, "0 to 1")
        require(self, "seed", self.seed >= 0, "0 or more")
        has_jitter = self.jitter is not None or self.task_jitter is None
        require(self, "task_jitter", has_jitter, "None where 'jitter' is None")
        max_shot = self.max_shot
        valid = max_shot is None or max_shot >= self.shot
        require(self, "max_shot", valid, f"at least 'shot', {self.shot}")
        valid = self.min_way is None or 2 <= self.min_way <= self.way
        require(self, "min_way", valid, f"2 to 'way', {self.way}")
        _ = self.shape

    @property
    def shape(self) -> EpisodeShape:
        """Shape of the largest training batch of one process."""
        return EpisodeShape(self.way, self.max_shot or self.shot, self.query, self.tasks)

    def draw_shape(self, generator: torch.Generator) -> EpisodeShape:
        """Draw the shape of the next training batch of one process."""
        shape = self.shape
        for name, low, high in (
            ("shot", self.shot, self.max_shot),
            ("way", self.min_way, self.way),
        ):
            if low is not None and high is not None:
                drawn = torch.randint(low, high + 1, (), generator=generator)
                shape = dataclasses.replace(shape, **{name: int(drawn)})
        return shape


@dataclass(frozen=True)
class Run:
    """Whole training run; recipes return one.

    Raises:
        ConfigError: if there is no such method, or the config belongs to another.
    """

    recipe: str
    """Name of the recipe."""
    method: str
    """Name of the method, a key of `lgmnet.methods.METHODS`."""
    config: Any
    """Config of the method."""
    data: str
    """Name of the data."""
    split: str
    """Split of the training classes."""
    val_split: str | None
    """Split whose classes choose the best checkpoint; None keeps the last one."""
    train: TrainConfig
    start: str | None = None
    """Model, by name or folder, whose weights to start from; None for fresh ones."""
    backbone: str = ""
    """Frozen network that photos pass before the method, or empty."""

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise unknown_name_error("method", self.method, METHODS)
        config_type = METHODS[self.method].config_type
        if not isinstance(self.config, config_type):
            raise ConfigError(f"'config' must be a {config_type.__name__}, but is {self.config!r}.")

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """Shape of one sample that the method takes."""
        return METHODS[self.method].input_spec(self.config).shape

    def for_steps(self, steps: int | None) -> Run:
        """Copy the run with another number of steps; None leaves it as it is."""
        if steps is None:
            return self
        return dataclasses.replace(self, train=dataclasses.replace(self.train, steps=steps))
