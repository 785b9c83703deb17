"""Training state: everything a run needs to continue, in one file without pickle."""

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lgmnet.errors import ConfigError, FileFormatError
from lgmnet.methods.base import Method
from lgmnet.tensor_file import read_tensors, write_tensors
from lgmnet.training.config import Run

KIND, VERSION = "lgmnet-training-state", 2
COUNTERS = ("step", "best_accuracy", "images", "seconds")
OPTIMIZER_SLOTS = {"step", "exp_avg", "exp_avg_sq"}
"""Tensors that AdamW keeps for each weight."""


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
    """Time so far, including validation (see `TrainingCost`)."""


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

    The file is checked first: after an error ``state`` is unchanged.

    Raises:
        FileFormatError: if the file is absent, damaged or malformed.
        ConfigError: if it belongs to another run, or to another number of processes.
    """
    tensors, counters = read_state(path, run)
    generators = tensors.pop("generators", None)
    if generators is not None and generators.ndim and len(generators) != processes:
        raise ConfigError(
            f"'{path}' belongs to a run with {len(generators)} processes, not {processes}; "
            "continue with the same number of --devices."
        )
    try:
        generator = _to_generator(generators, rank)
        model, slots = _split_tensors(tensors)
        _check_same_tensors(model, state.method.state_dict())
        weights = [w for group in state.optimizer.param_groups for w in group["params"]]
        slots = {i: _lay_out_slots(i, named, weights) for i, named in slots.items()}
    except (ValueError, TypeError, RuntimeError) as error:
        raise _malformed_state(path, error) from error
    state.method.load_state_dict(model)
    groups = state.optimizer.state_dict()["param_groups"]
    state.optimizer.load_state_dict({"state": slots, "param_groups": groups})
    state.generator.set_state(generator.get_state())
    state.step, state.images = counters.step, counters.images
    state.best_accuracy, state.seconds = counters.best_accuracy, counters.seconds


def _to_generator(states: Tensor | None, rank: int) -> torch.Generator:
    """Make the generator of a process from the stored states of all, [processes, bytes]."""
    generator = torch.Generator()
    expected = generator.get_state()
    if states is None or states.ndim != 2 or states.dtype != expected.dtype:
        raise ValueError("the states of the generators are missing or of another form")
    # A copy, because set_state reads from the start of a view's storage: for any process but the
    # first it would refuse the state or crash.
    return generator.set_state(states[rank].clone())


def _split_tensors(
    tensors: Mapping[str, Tensor],
) -> tuple[dict[str, Tensor], dict[int, dict[str, Tensor]]]:
    """Split tensors into those of the model by name, and of the optimizer by weight and slot."""
    model: dict[str, Tensor] = {}
    slots: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        match name.split("."):
            case ["model", *rest]:
                model[".".join(rest)] = tensor
            case ["optimizer", index, slot] if index.isdecimal():
                slots.setdefault(int(index), {})[slot] = tensor
            case _:
                raise ValueError(f"a tensor is called '{name}'")
    return model, slots


def _check_same_tensors(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Check names, shapes and types of the model's tensors."""
    for name in tensors.keys() | expected.keys():
        here, there = tensors.get(name), expected.get(name)
        if here is None or there is None:
            raise ValueError(f"'{name}' is only in the {'run' if here is None else 'file'}")
        if (here.shape, here.dtype) != (there.shape, there.dtype):
            raise ValueError(
                f"'{name}' is {here.dtype} {list(here.shape)}, but must be {there.dtype} "
                f"{list(there.shape)}"
            )


def _lay_out_slots(
    index: int, slots: Mapping[str, Tensor], weights: list[Tensor]
) -> dict[str, Tensor]:
    """Check the optimizer's tensors for one weight, and lay them out in memory as the weight is.

    A fused optimizer reads both in the order of their memory.
    """
    if index >= len(weights) or slots.keys() != OPTIMIZER_SLOTS:
        raise ValueError(f"the optimizer has no weight {index} with the tensors {sorted(slots)}")
    weight = weights[index]
    for name, tensor in slots.items():
        if tensor.shape != (() if name == "step" else weight.shape):
            raise ValueError(f"the optimizer's '{name}' of weight {index} has another shape")
    return {
        name: tensor if name == "step" else torch.empty_like(weight).copy_(tensor)
        for name, tensor in slots.items()
    }


@dataclass(frozen=True)
class TrainingCost:
    """Cost of a run so far."""

    step: int
    images: int
    seconds: float
    """On a CPU, processor time of the first process, all its threads added: other work on the
    machine does not stretch it. On a GPU, elapsed time."""


def read_training_cost(path: Path, run: Run | None = None) -> TrainingCost:
    """Read the cost of a run from its training state.

    Raises:
        FileFormatError: if the file is absent, damaged, or no training state.
        ConfigError: if it belongs to another run.
    """
    _, counters = read_state(path, run)
    return TrainingCost(counters.step, counters.images, counters.seconds)


@dataclass(frozen=True)
class Counters:
    """Counters of a training state (see `TrainState`)."""

    step: int
    best_accuracy: float
    images: int
    seconds: float

    def __post_init__(self) -> None:
        if self.step < 0 or self.images < 0 or not self.seconds >= 0:
            raise ValueError(f"a counter is negative: {self}")
        if not (math.isfinite(self.seconds) and math.isfinite(self.best_accuracy)):
            raise ValueError(f"a counter is not finite: {self}")


def read_state(path: Path, run: Run | None) -> tuple[dict[str, Tensor], Counters]:
    """Read tensors and counters of a state; if ``run`` is not None, it must belong to this run.

    Raises:
        FileFormatError: if the file is absent, damaged or malformed.
        ConfigError: if it belongs to another run.
    """
    tensors, about = read_tensors(path, KIND, VERSION)
    try:
        counters = Counters(
            int(about["step"]),
            float(about["best_accuracy"]),
            int(about["images"]),
            float(about["seconds"]),
        )
        stored = json.loads(about["run"])
        if not isinstance(stored, dict):
            raise TypeError("its run is not a JSON object")
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise _malformed_state(path, error) from error
    if run is not None:
        check_same_run(path, stored, run)
    return tensors, counters


def check_same_run(path: Path, stored: dict[str, Any], run: Run) -> None:
    """Check that the run that is stored in a state, as a JSON object, is this run."""
    changed = _differences(stored, json.loads(_run_as_json(run)))
    if changed:
        raise ConfigError(
            f"'{path}' belongs to a run with other settings ({', '.join(changed)}); "
            "continue with the same, or train into another folder."
        )


def _malformed_state(path: Path, error: Exception) -> FileFormatError:
    return FileFormatError(
        f"'{path}' is not a training state of this run that lgmnet wrote: {error!r}. Train into "
        "another folder, or use an intact copy."
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
