"""Two gloo processes on the CPU do what one does with twice the tasks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lgmnet.model.model import load_model
from tests.training import one_of_two
from tests.training.test_trainer import command

pytestmark = pytest.mark.slow


def test_gradients_and_statistics_equal_one_process_with_twice_the_tasks(tmp_path):
    root = Path(__file__).parents[2]
    spawn = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run(
        [*spawn, "-m", one_of_two.__name__, str(tmp_path)],
        check=True,
        cwd=root,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
    )
    expected = one_of_two.gradients_and_statistics(one_of_two.whole_episode())
    for rank in (0, 1):
        came = load_file(tmp_path / f"{rank}.safetensors")
        assert came.keys() == expected.keys()
        for name, tensor in expected.items():
            # Fabric hands log-probabilities on in 32 bits, so the loss's own 1/n is rounded.
            torch.testing.assert_close(came[name], tensor, rtol=1e-7, atol=1e-12, msg=name)
    moving = [n for n in expected if n.startswith("grad.") and expected[n].abs().max() > 1e-6]
    assert len(moving) > 10, "the comparison must be of gradients that are not all zero"


def test_the_command_trains_on_two_processes_and_resumes(tmp_path):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    line = command(tmp_path / "out", "--devices", "2", "--steps", "12")
    came = subprocess.run(
        [*line, "--json"], check=True, env=environment, capture_output=True, text=True
    )
    assert json.loads(came.stdout)["step"] == 12, "one process speaks for all"
    assert load_model(tmp_path / "out").training.step > 0
    again = subprocess.run(
        [*line[:-4], "--steps", "12", "--resume"],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert again.returncode == 2
    assert "2 processes" in again.stderr
