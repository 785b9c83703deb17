"""Train the planned runs on the images of a pack, within their shares of the time."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import time
import traceback
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import torch
from images import read_dataset
from lightning_fabric import Fabric
from runs import count_weights, plan_trainings
from weights import split_file

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.datasets.omniglot import view_characters
from lgmnet.experiments.results import describe_machine
from lgmnet.model.model import load_model, save_model
from lgmnet.training.config import Run
from lgmnet.training.launch import choose_precision
from lgmnet.training.state import read_training_cost
from lgmnet.training.trainer import STATE_FILE, fit

MAX_TRIAL_STEPS = 20
"""Most steps of each of the two trials that measure the time of a step; the first one warms up."""
SAFETY = 0.9
"""Part of the time that the steps are planned to fill; loading and saving take some, too."""


class Budget:
    """Time of all parts together.

    Args:
        started: When it began, by `time.monotonic`.
        total: All seconds.
        shares: Share of each part that is run, in their order.
    """

    def __init__(self, started: float, total: float, shares: dict[str, float]) -> None:
        self.started, self.total, self.shares = started, total, shares

    def seconds(self, part: str, left_in_part: int = 1) -> float:
        """Return the seconds for the next run of a part: what is left is shared out again.

        Args:
            part: The part.
            left_in_part: Number of its runs that are not finished.
        """
        names = list(self.shares)
        shares = [self.shares[name] for name in names[names.index(part) :]]
        left = max(0.0, self.started + self.total - time.monotonic())
        return left * shares[0] / sum(shares) / left_in_part


def run_trainings(
    parts: Collection[str],
    pack: Path,
    out: Path,
    accelerator: str,
    scale: float,
    budget: Budget,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Train the runs of some parts; yield the name and the description of each.

    One that fails has its reason under ``failure``, as has any that would start from it.
    """
    trainings = [training for training in plan_trainings(scale) if training.part in parts]
    if accelerator == "cuda":
        torch.backends.cudnn.benchmark = True
    sources: dict[str, ClassDataset] = {}
    failed: set[str] = set()
    with tempfile.TemporaryDirectory() as folder:
        for number, training in enumerate(trainings):
            run = training.run
            if run.data not in sources:
                sources[run.data] = open_source(pack, run)
            if training.start:
                run = dataclasses.replace(run, start=str(Path(folder) / training.start))
            n_left = sum(other.part == training.part for other in trainings[number:])
            seconds = budget.seconds(training.part, n_left)
            place = Path(folder) / training.name
            result: dict[str, Any] = {"start": training.start}
            try:
                if training.start in failed:
                    raise RuntimeError(f"'{training.start}' failed")
                result |= train(run, sources[run.data], place, accelerator, seconds)
                keep_weights(place, out / "models" / training.name)
            except Exception as error:  # The other runs count all the same.
                traceback.print_exc()
                failed.add(training.name)
                result["failure"] = f"{type(error).__name__}: {error}"
            yield training.name, result


def open_source(pack: Path, run: Run) -> ClassDataset:
    """Open the training images of a run."""
    source = read_dataset(pack / f"{run.data}.npz")
    if run.data != "omniglot":
        return source
    names = [name.rpartition("@")[0] for name in source.class_names]
    return view_characters(source.images, names, run.split)


def train(
    run: Run, source: ClassDataset, place: Path, accelerator: str, seconds: float
) -> dict[str, Any]:
    """Train one run for as many of its steps as fit into its time, and describe it."""
    started = time.monotonic()
    step_seconds = measure_step(run, source, place.with_name("trial"), accelerator)
    left = SAFETY * seconds - (time.monotonic() - started)
    planned = run.train.steps
    steps = min(planned, max(2, int(left / step_seconds)))
    run = fit_run(run.for_steps(steps), source, place, accelerator)
    cost = read_training_cost(place / STATE_FILE)
    return {
        "machine": describe_machine(),
        "recipe": run.recipe,
        "method": run.method,
        "weights": count_weights(run),
        "planned_steps": planned,
        "steps": cost.step,
        "images": cost.images,
        "training_seconds": cost.seconds,
        "data": source.name,
        "split": source.split,
        "split_hash": source.split_hash,
        "seed": run.train.seed,
    }


def measure_step(run: Run, source: ClassDataset, place: Path, accelerator: str) -> float:
    """Measure the seconds of one step by two short trials, the first of which warms up."""
    steps = max(2, min(MAX_TRIAL_STEPS, run.train.steps // 20))
    for _ in range(2):
        shutil.rmtree(place, ignore_errors=True)
        fit_run(run.for_steps(steps), source, place, accelerator)
    seconds = read_training_cost(place / STATE_FILE).seconds
    shutil.rmtree(place)
    return seconds / steps


def fit_run(run: Run, source: ClassDataset, place: Path, accelerator: str) -> Run:
    """Train a run into a folder, and return it as it was trained."""
    train = dataclasses.replace(run.train, save_every=run.train.steps)
    run = dataclasses.replace(run, train=train)
    precision = choose_precision(accelerator)
    fabric = Fabric(accelerator=accelerator, devices=1, precision=precision)
    fit(fabric, run, source, None, place)
    return run


def keep_weights(place: Path, kept: Path) -> None:
    """Save the model of a run in 16 bits, and split it into parts that may travel."""
    model = dataclasses.replace(load_model(place), half_precision=True, name=kept.name)
    kept.parent.mkdir(parents=True, exist_ok=True)
    save_model(model, kept)
    (place / STATE_FILE).unlink()  # Hundreds of megabytes that nobody needs any more.
    for file in list(kept.iterdir()):
        split_file(file)
