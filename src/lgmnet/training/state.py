"""Training state: everything a run needs to continue, in one file without pickle."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lgmnet.errors import ConfigError, FileFormatError
from lgmnet.io import read_metadata, read_tensors, write_tensors
from lgmnet.methods.base import Method
from lgmnet.training.config import Run

KIND, VERSION = "lgmnet-training-state", 2
COUNTERS = ("step", "best_accuracy", "images", "seconds")


@dataclass
class TrainState:
    """Run in progress."""

    method: Method
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    """Source of this process's tasks, augmentation and context draws."""
    step: int = 0
    best_accuracy: float = -1.0
    """Best accuracy on validation classes so far, in percent."""
    images: int = 0
    """Images trained on so far, over all processes, counted each time they are drawn."""
    seconds: float = 0.0
    """Wall time so far, including validation."""


def save_state(path: Path, state: TrainState, generators: Tensor, run: Run) -> None:
    """Write the state of a run, completely or not at all; only the same run may continue.

    ``generators`` are the generator states of all processes, [processes, bytes].
    """
    tensors = {f"model.{name}": t for name, t in state.method.state_dict().items()}
    for index, slots in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{slot}": value for slot, value in slots.items()}
    tensors["generators"] = generators
    about = {name: str(getattr(state, name)) for name in COUNTERS}
    write_tensors(path, tensors, KIND, VERSION, about | {"run": _run_as_json(run)})


def load_state(path: Path, state: TrainState, run: Run, rank: int, processes: int) -> None:
    """Fill ``state`` from a file that `save_state` wrote, with the generator of process ``rank``.

    Raises:
        FileFormatError: if the file is absent or damaged.
        ConfigError: if it belongs to another run, or to another number of processes.
    """
    tensors, about = read_state(path, run)
    generators = tensors.pop("generators")
    if len(generators) != processes:
        raise ConfigError(
            f"'{path}' belongs to a run with {len(generators)} processes, not {processes}; "
            "continue with the same number of --devices."
        )
    model: dict[str, Tensor] = {}
    slots: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        part, rest = name.split(".", 1)
        if part == "model":
            model[rest] = tensor
        else:
            index, slot = rest.split(".")
            slots.setdefault(int(index), {})[slot] = tensor
    weights = [w for group in state.optimizer.param_groups for w in group["params"]]
    for i, weight in enumerate(weights):
        # Laid out like their weight: a fused optimizer reads both in the order of their memory.
        for slot, tensor in slots.get(i, {}).items():
            if tensor.shape == weight.shape:
                slots[i][slot] = torch.empty_like(weight).copy_(tensor)
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
    """Cost of a run so far."""

    step: int
    images: int
    seconds: float


def read_training_cost(path: Path, run: Run | None = None) -> TrainingCost:
    """Read the cost of a run from its training state, without reading the tensors.

    Raises:
        FileFormatError: if the file is absent, or no training state.
        ConfigError: if it belongs to another run.
    """
    about = read_metadata(path, KIND, VERSION)
    if run is not None:
        check_same_run(path, about["run"], run)
    return TrainingCost(int(about["step"]), int(about["images"]), float(about["seconds"]))


def read_state(path: Path, run: Run) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors and counters of a state, and check that it belongs to this run."""
    tensors, about = read_tensors(path, KIND, VERSION)
    check_same_run(path, about["run"], run)
    return tensors, about


def check_same_run(path: Path, stored: str, run: Run) -> None:
    """Check that the run that is stored in a state, as JSON, is this run."""
    expected = _run_as_json(run)
    if stored != expected:
        changed = _differences(json.loads(stored), json.loads(expected))
        raise ConfigError(
            f"'{path}' belongs to a run with other settings ({', '.join(changed)}); "
            "continue with the same, or train into another folder."
        )


def _run_as_json(run: Run) -> str:
    return json.dumps(dataclasses.asdict(run), sort_keys=True)


def _differences(old: dict[str, Any], new: dict[str, Any], path: str = "") -> list[str]:
    """List the settings in which two runs differ, as ``name: old -> new``."""
    differences: list[str] = []
    for name in old.keys() | new.keys():
        a, b = old.get(name), new.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            differences += _differences(a, b, f"{path}{name}.")
        elif a != b:
            differences.append(f"{path}{name}: {a} -> {b}")
    return sorted(differences)
