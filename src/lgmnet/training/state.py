"""All that a run needs to go on as if it had never stopped: one file, no pickle."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lgmnet.errors import ConfigError, FileFormatError
from lgmnet.io import read_tensors, write_tensors
from lgmnet.methods.base import Method
from lgmnet.training.config import Run

KIND, VERSION = "lgmnet-training-state", 2
COUNTED = ("step", "best_accuracy", "images", "seconds")


@dataclass
class TrainState:
    """A run in progress."""

    method: Method
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    """Source of this process's tasks, augmentation and context draws."""
    step: int = 0
    best_accuracy: float = -1.0
    """In percent, on validation classes."""
    images: int = 0
    """Images trained on so far, over all processes, each as often as it was drawn."""
    seconds: float = 0.0
    """Wall time so far, validation and all."""


def save_state(path: Path, state: TrainState, generators: Tensor, run: Run) -> None:
    """Write a run in progress, whole or not at all.

    Args:
        path: The file.
        state: What to write.
        generators: Generator states of all processes, [processes, bytes].
        run: What the run is; only the same run may continue.
    """
    tensors = {f"model.{name}": t for name, t in state.method.state_dict().items()}
    for index, slots in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{slot}": value for slot, value in slots.items()}
    tensors["generators"] = generators
    about = {name: str(getattr(state, name)) for name in COUNTED}
    write_tensors(path, tensors, KIND, VERSION, about | {"run": _spelled(run)})


def load_state(path: Path, state: TrainState, run: Run, rank: int, processes: int) -> None:
    """Fill ``state`` with what `save_state` wrote.

    Raises:
        FileFormatError: if the file is absent or damaged.
        ConfigError: if it is of another run, or of another number of processes.
    """
    tensors, about = read_tensors(path, KIND, VERSION)
    check_same(path, about["run"], run)
    generators = tensors.pop("generators")
    if len(generators) != processes:
        raise ConfigError(
            f"'{path}' is of a run with {len(generators)} processes, not {processes}; "
            "continue with the same number of --devices."
        )
    model: dict[str, Tensor] = {}
    slots: dict[int, dict[str, Tensor]] = {}
    weights = [w for group in state.optimizer.param_groups for w in group["params"]]
    for name, tensor in tensors.items():
        part, rest = name.split(".", 1)
        if part == "model":
            model[rest] = tensor
        else:
            index, slot = rest.split(".")
            slots.setdefault(int(index), {})[slot] = tensor
    for place, weight in enumerate(weights):
        # Laid out like their weight: a fused optimiser goes through both as they lie in memory.
        for slot, tensor in slots.get(place, {}).items():
            if tensor.shape == weight.shape:
                slots[place][slot] = torch.empty_like(weight).copy_(tensor)
    try:
        state.method.load_state_dict(model)
    except RuntimeError as error:
        raise FileFormatError(f"'{path}' does not fit its run: {error}") from error
    groups = state.optimizer.state_dict()["param_groups"]
    state.optimizer.load_state_dict({"state": slots, "param_groups": groups})
    state.generator.set_state(generators[rank])
    state.step = int(about["step"])
    state.best_accuracy = float(about["best_accuracy"])
    state.images, state.seconds = int(about["images"]), float(about["seconds"])


@dataclass(frozen=True)
class TrainingCost:
    """What a run has cost so far."""

    step: int
    images: int
    seconds: float


def read_training_cost(path: Path, run: Run | None = None) -> TrainingCost:
    """What the run had cost when the state in a file was written.

    Args:
        path: The file.
        run: What it must be the state of; None for any.

    Raises:
        FileFormatError: if the file is absent or damaged.
        ConfigError: if it is of another run.
    """
    _, about = read_tensors(path, KIND, VERSION)
    if run is not None:
        check_same(path, about["run"], run)
    return TrainingCost(int(about["step"]), int(about["images"]), float(about["seconds"]))


def check_same(path: Path, spelled: str, run: Run) -> None:
    """Check that a state is of this run.

    Raises:
        ConfigError: naming the settings that differ.
    """
    if spelled != _spelled(run):
        changed = _changed(json.loads(spelled), json.loads(_spelled(run)))
        raise ConfigError(
            f"'{path}' is of a run with other settings ({', '.join(changed)}); "
            "continue with the same, or train into another folder."
        )


def _spelled(run: Run) -> str:
    return json.dumps(dataclasses.asdict(run), sort_keys=True)


def _changed(old: dict[str, Any], new: dict[str, Any], path: str = "") -> list[str]:
    """The settings in which two runs differ, as ``name: old -> new``."""
    found: list[str] = []
    for name in old.keys() | new.keys():
        a, b = old.get(name), new.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            found += _changed(a, b, f"{path}{name}.")
        elif a != b:
            found.append(f"{path}{name}: {a} -> {b}")
    return sorted(found)
