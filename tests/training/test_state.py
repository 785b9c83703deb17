"""Training states: the cost of a run, and files that are damaged, malformed or of another run."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from lgmnet.errors import ConfigError, FileFormatError, UserError
from lgmnet.methods import LGMNet
from lgmnet.tensor_file import read_tensors, write_tensors
from lgmnet.training.config import Run, TrainConfig
from lgmnet.training.state import (
    KIND,
    VERSION,
    TrainingCost,
    TrainState,
    load_state,
    read_training_cost,
    save_state,
)
from tests.support.configs import TINY

RUN = Run("tiny", "lgm-net", TINY, "strokes", "train", None, TrainConfig())


def make_state(seed: int = 0) -> TrainState:
    """Make a state whose optimizer has taken a step."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        method = LGMNet(TINY)
    optimizer = torch.optim.AdamW(method.parameters())
    for weight in method.parameters():
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    generator = torch.Generator().manual_seed(seed)
    return TrainState(method, optimizer, generator, 12, images=288, seconds=1.5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "training.safetensors"
    state = make_state()
    save_state(file, state, state.generator.get_state()[None], RUN)
    return file


def load(path: Path, state: TrainState) -> None:
    load_state(path, state, RUN, rank=0, processes=1)


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_each_process_gets_back_its_own_generator(tmp_path, rank):
    file = tmp_path / "training.safetensors"
    generators = [torch.Generator().manual_seed(seed) for seed in (5, 6, 7)]
    save_state(file, make_state(), torch.stack([g.get_state() for g in generators]), RUN)
    state = make_state(1)
    load_state(file, state, RUN, rank=rank, processes=3)
    assert torch.equal(state.generator.get_state(), generators[rank].get_state())


def test_the_cost_and_the_state_are_read_back(path):
    assert read_training_cost(path, RUN) == TrainingCost(12, 288, 1.5)
    assert read_training_cost(path) == TrainingCost(12, 288, 1.5)
    expected, state = make_state(), make_state(seed=1)
    state.step = 0
    load(path, state)
    assert (state.step, state.images, state.seconds) == (12, 288, 1.5)
    for name, tensor in expected.method.state_dict().items():
        assert torch.equal(state.method.state_dict()[name], tensor)
    assert torch.equal(state.generator.get_state(), expected.generator.get_state())
    slots, expected_slots = (s.optimizer.state_dict()["state"] for s in (state, expected))
    assert slots.keys() == expected_slots.keys()
    assert all(
        torch.equal(slots[i][slot], tensor)
        for i, named in expected_slots.items()
        for slot, tensor in named.items()
    )


def test_a_flipped_bit_hides_cost_and_state(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    for read in (read_training_cost, lambda file: load(file, make_state())):
        with pytest.raises(FileFormatError, match="its checksum does not match"):
            read(path)


def test_the_checksum_cannot_be_stripped(path):
    tensors, metadata = read_tensors(path, KIND, VERSION)
    safetensors.torch.save_file(tensors, path, metadata | {"step": "99"})
    for read in (read_training_cost, lambda file: load(file, make_state())):
        with pytest.raises(FileFormatError, match="its checksum does not match"):
            read(path)


def test_a_state_of_another_run_is_refused(path):
    other = dataclasses.replace(RUN, split="val")
    for read in (
        lambda: read_training_cost(path, other),
        lambda: load_state(path, make_state(), other, rank=0, processes=1),
    ):
        with pytest.raises(ConfigError, match="split: train -> val"):
            read()


def test_a_state_of_another_number_of_processes_is_refused(path):
    with pytest.raises(ConfigError, match="a run with 1 processes, not 2"):
        load_state(path, make_state(), RUN, rank=1, processes=2)


def test_a_state_is_not_written_over_a_file_of_another_kind(path):
    path.write_bytes(b"mine")
    state = make_state()
    with pytest.raises(UserError, match="exists and is no file of the format lgmnet-training-stat"):
        save_state(path, state, state.generator.get_state()[None], RUN)
    assert path.read_bytes() == b"mine"


Change = Callable[[dict[str, Tensor], dict[str, str]], Any]
BAD_COUNTERS: dict[str, Change] = {
    "negative step": lambda t, m: m.update(step="-1"),
    "fractional step": lambda t, m: m.update(step="1.5"),
    "step is no number": lambda t, m: m.update(step="many"),
    "step of 5,000 digits": lambda t, m: m.update(step="9" * 5000),
    "no step": lambda t, m: m.pop("step"),
    "negative images": lambda t, m: m.update(images="-3"),
    "no images": lambda t, m: m.pop("images"),
    "negative seconds": lambda t, m: m.update(seconds="-0.5"),
    "infinite seconds": lambda t, m: m.update(seconds="inf"),
    "seconds are no number": lambda t, m: m.update(seconds="nan"),
    "best accuracy is no number": lambda t, m: m.update(best_accuracy="nan"),
    "no best accuracy": lambda t, m: m.pop("best_accuracy"),
    "no run": lambda t, m: m.pop("run"),
    "run is no JSON": lambda t, m: m.update(run="{"),
    "run is no object": lambda t, m: m.update(run="[1]"),
    "run is deep": lambda t, m: m.update(run="[" * 10**5),
}
FIRST = "optimizer.0.exp_avg"
BAD_TENSORS: dict[str, Change] = {
    "no generators": lambda t, m: t.pop("generators"),
    "scalar generators": lambda t, m: t.update(generators=torch.tensor(1, dtype=torch.uint8)),
    "flat generators": lambda t, m: t.update(generators=torch.zeros(1, dtype=torch.uint8)),
    "short generators": lambda t, m: t.update(generators=torch.zeros(1, 8, dtype=torch.uint8)),
    "float generators": lambda t, m: t.update(generators=t["generators"].float()),
    "empty generators": lambda t, m: t.update(generators=t["generators"][:, :0]),
    "nonsense generators": lambda t, m: t.update(generators=255 - t["generators"]),
    "unknown tensor": lambda t, m: t.update(other=torch.zeros(1)),
    "unknown part": lambda t, m: t.update({"head.0.exp_avg": torch.zeros(1)}),
    "no model": lambda t, m: [t.pop(name) for name in [*t] if name.startswith("model.")],
    "unknown weight": lambda t, m: t.update({"model.other": torch.zeros(1)}),
    "weight of another shape": lambda t, m: t.update({weight(t): torch.zeros(7)}),
    "weight of another type": lambda t, m: t.update({weight(t): t[weight(t)].double()}),
    "optimizer without an index": lambda t, m: t.update({"optimizer.exp_avg": torch.zeros(1)}),
    "index is no number": lambda t, m: t.update({"optimizer.x.exp_avg": torch.zeros(1)}),
    "index too large": lambda t, m: t.update(
        {f"optimizer.999.{slot}": torch.zeros(()) for slot in ("step", "exp_avg", "exp_avg_sq")}
    ),
    "unknown slot": lambda t, m: t.update({"optimizer.0.other": torch.zeros(1)}),
    "missing slot": lambda t, m: t.pop(FIRST),
    "slot of another shape": lambda t, m: t.update({FIRST: torch.zeros(7)}),
    "several steps": lambda t, m: t.update({"optimizer.0.step": torch.zeros(2)}),
}


def weight(tensors: dict[str, Tensor]) -> str:
    return next(name for name in tensors if name.startswith("model.") and tensors[name].ndim > 1)


def change(path: Path, make_change: Change) -> None:
    """Change tensors and metadata of a state, with a checksum that matches."""
    tensors, metadata = read_tensors(path, KIND, VERSION)
    make_change(tensors, metadata)
    write_tensors(path, tensors, KIND, VERSION, metadata)


@pytest.mark.parametrize("make_change", BAD_COUNTERS.values(), ids=BAD_COUNTERS)
def test_malformed_counters_are_refused(make_change, path):
    change(path, make_change)
    for read in (read_training_cost, lambda file: load(file, make_state())):
        with pytest.raises(FileFormatError, match="is not a training state of this run") as caught:
            read(path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("make_change", BAD_TENSORS.values(), ids=BAD_TENSORS)
def test_malformed_tensors_are_refused_and_change_nothing(make_change, path):
    change(path, make_change)
    state, fresh = make_state(seed=1), make_state(seed=1)
    with pytest.raises(FileFormatError, match="is not a training state of this run") as caught:
        load(path, state)
    assert str(path) in str(caught.value)
    assert torch.equal(state.generator.get_state(), fresh.generator.get_state())
    for name, tensor in fresh.method.state_dict().items():
        assert torch.equal(state.method.state_dict()[name], tensor)


def test_json_of_the_run_may_be_laid_out_otherwise(path):
    """Values are compared, and not the text."""
    change(path, lambda t, m: m.update(run=json.dumps(json.loads(m["run"]), indent=1)))
    assert read_training_cost(path, RUN).step == 12
