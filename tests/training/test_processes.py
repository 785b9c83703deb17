"""Two gloo processes on the CPU compute what one process computes with twice the tasks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lgmnet.model.model import load_model
from tests.training import half_of_the_tasks
from tests.training.runs import ONE_THREAD, build_command, run_command

pytestmark = pytest.mark.slow


def test_gradients_and_statistics_equal_those_of_one_process_with_all_tasks(tmp_path):
    root = Path(__file__).parents[2]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run(
        [*torchrun, "-m", half_of_the_tasks.__name__, str(tmp_path)],
        check=True,
        cwd=root,
        env=ONE_THREAD,
        capture_output=True,
    )
    expected = half_of_the_tasks.take_step(half_of_the_tasks.build_episode())
    for rank in (0, 1):
        tensors = load_file(tmp_path / f"{rank}.safetensors")
        assert tensors.keys() == expected.keys()
        for name, tensor in expected.items():
            torch.testing.assert_close(tensors[name], tensor, rtol=1e-10, atol=1e-13, msg=name)
    nonzero = [n for n in expected if n.startswith("grad.") and expected[n].abs().max() > 1e-6]
    assert len(nonzero) > 10, "gradients of zero would prove nothing"


def test_the_command_trains_with_two_processes_and_resumes_only_with_two(tmp_path):
    out = tmp_path / "out"
    printed = run_command(out, "--steps", "12", "--devices", "2", "--json")
    assert json.loads(printed)["step"] == 12, "only the first process prints"
    assert load_model(out).training.step > 0
    again = subprocess.run(
        build_command(out, "--steps", "12", "--resume"),
        check=False,
        env=ONE_THREAD,
        capture_output=True,
        text=True,
    )
    assert again.returncode == 2
    assert "2 processes" in again.stderr
