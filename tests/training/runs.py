"""Small training runs: in this process, interrupted, and as commands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch
from lightning_fabric import Fabric
from safetensors import safe_open
from torch import Tensor

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.sampler import Sampler
from lgmnet.data.synthetic.characters import SyntheticCharacters
from lgmnet.data.task_source import TaskSource
from lgmnet.episode import EpisodeShape
from lgmnet.model.model import Model
from lgmnet.tensor_file import CHECKSUM
from lgmnet.training.config import OptimizerConfig, Run, TrainConfig, ValidationConfig
from lgmnet.training.trainer import STATE_FILE, fit
from tests.support.configs import TINY, TINY_SETTINGS
from tests.support.random import seeded

RUN = Run(
    recipe="tiny",
    method="lgm-net",
    config=TINY,
    data="strokes",
    split="train",
    val_split="val",
    train=TrainConfig(
        steps=12,
        tasks=2,
        way=4,
        query=2,
        optimizer=OptimizerConfig(warmup=2),
        validation=ValidationConfig(way=4, query=2, episodes=8, every=6),
        save_every=5,
        log_every=3,
        precision="32-true",
    ),
)
"""Run of about a second."""

COMMAND_SETTINGS = (
    *TINY_SETTINGS,
    "tasks=2",
    "way=4",
    "query=2",
    "warmup=2",
    "validation.way=4",
    "validation.query=2",
    "validation.episodes=8",
    "validation.every=40",
    "save_every=10",
)
MODEL_FILES = ("model.safetensors", STATE_FILE)
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}
"""Environment of commands: tests run side by side."""


class InterruptedCharacters(SyntheticCharacters):
    """Source that ends the run at a batch, as a kill would.

    Args:
        batches: Number of batches before that.
    """

    def __init__(self, batches: int) -> None:
        super().__init__("train")
        self.batches_left = batches

    def draw(self, shape: EpisodeShape, generator: torch.Generator, out: Tensor) -> None:
        if self.batches_left == 0:
            raise ConnectionAbortedError
        self.batches_left -= 1
        super().draw(shape, generator, out)


class InterruptedClasses(ClassDataset):
    """Finite set of classes that ends the run after ``batches_left`` batches."""

    batches_left: int

    def draw(self, shape: EpisodeShape, generator: torch.Generator, out: Tensor) -> Tensor:
        if self.batches_left == 0:
            raise ConnectionAbortedError
        self.batches_left -= 1
        return super().draw(shape, generator, out)


def draw_classes(dataset_type: type[ClassDataset] = ClassDataset) -> ClassDataset:
    """Draw a finite set of eight characters with ten drawings each."""
    way = 8
    episode = Sampler(SyntheticCharacters("train"), seeded()).sample(EpisodeShape(way, 1, 9))
    support, query = (x[0].unflatten(0, (way, -1)) for x in (episode.support_x, episode.query_x))
    pixels = (255 * torch.cat([support, query], 1).flatten(0, 1)).byte()
    return dataset_type(pixels, [10] * way, list("abcdefgh"), name="few", split="train")


def train(
    out: Path, run: Run = RUN, source: TaskSource | None = None, *, resume: bool = False
) -> Model:
    """Train in this process, with validation on synthetic characters if the run has any."""
    model = fit(
        Fabric(accelerator="cpu", devices=1, precision="32-true"),
        run,
        source or SyntheticCharacters("train"),
        None if run.val_split is None else SyntheticCharacters("val"),
        out,
        resume=resume,
    )
    assert model is not None
    return model


def build_command(out: Path, *options: str) -> list[str]:
    """Build the command line of a small run on synthetic characters."""
    settings = [word for setting in COMMAND_SETTINGS for word in ("--set", setting)]
    line = ["train", "omniglot", "--data", "strokes", "--out", str(out), "--accelerator", "cpu"]
    return [sys.executable, "-m", "lgmnet", *line, *settings, *options]


def run_command(out: Path, *options: str) -> str:
    """Train by the command line and return its standard output."""
    done = subprocess.run(
        build_command(out, *options), check=True, env=ONE_THREAD, capture_output=True, text=True
    )
    return done.stdout


def assert_same_run(a: Path, b: Path) -> None:
    """Check that weights, optimizer, generators and records are the same to the bit.

    Only the measured seconds may differ, and the checksum, which depends on them.
    """
    for name in MODEL_FILES:
        with safe_open(a / name, "pt") as first, safe_open(b / name, "pt") as second:
            about = [
                {k: v for k, v in file.metadata().items() if k not in ("seconds", CHECKSUM)}
                for file in (first, second)
            ]
            assert about[0] == about[1]
            assert set(first.keys()) == set(second.keys())
            assert len(list(first.keys())) > 0
            for key in first.keys():  # noqa: SIM118
                assert torch.equal(first.get_tensor(key), second.get_tensor(key)), (name, key)
    assert (a / "config.json").read_text() == (b / "config.json").read_text()
