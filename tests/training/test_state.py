"""Training states: the cost of a run is read without its tensors."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from lgmnet.errors import ConfigError, FileFormatError
from lgmnet.methods import LGMNet
from lgmnet.training.config import Run, TrainConfig
from lgmnet.training.state import (
    TrainingCost,
    TrainState,
    load_state,
    read_training_cost,
    save_state,
)
from tests.support.configs import TINY

RUN = Run("tiny", "lgm-net", TINY, "strokes", "train", None, TrainConfig())


def test_the_cost_is_read_without_the_tensors(tmp_path):
    """A damaged tensor does not hide the cost, but it does prevent the run from continuing."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        method = LGMNet(TINY)
    optimizer = torch.optim.Adam(method.parameters())
    state = TrainState(method, optimizer, torch.Generator(), 12, images=288, seconds=1.5)
    path = tmp_path / "state.safetensors"
    save_state(path, state, torch.zeros(1, 8, dtype=torch.uint8), RUN)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert read_training_cost(path, RUN) == TrainingCost(12, 288, 1.5)
    with pytest.raises(FileFormatError, match="its checksum does not match"):
        load_state(path, state, RUN, rank=0, processes=1)
    other = dataclasses.replace(RUN, split="val")
    with pytest.raises(ConfigError, match="split: train -> val"):
        read_training_cost(path, other)
