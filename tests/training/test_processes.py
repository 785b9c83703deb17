"""Two gloo processes on the CPU compute what one process computes with twice the tasks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lgmnet.errors import UserError
from lgmnet.model.model import load_model
from lgmnet.training.peers import LOST_PEER, name_lost_peer
from lgmnet.training.state import read_training_cost
from lgmnet.training.trainer import STATE_FILE
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


def find_peer(process: subprocess.Popen[str]) -> int:
    """Return the process id of the second process of a run of two."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    (peer,) = map(int, children.read_text().split())
    return peer


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("is_first", [True, False], ids=["first", "second"])
def test_a_process_whose_peer_was_killed_ends_with_a_sentence_and_the_run_can_go_on(
    is_first, tmp_path
):
    out = tmp_path / "out"
    line = build_command(out, "--steps", "100000", "--devices", "2")
    process = subprocess.Popen(line, env=ONE_THREAD, stderr=subprocess.PIPE, text=True)
    while not (out / STATE_FILE).is_file():
        assert process.poll() is None
        time.sleep(0.1)
    peer = find_peer(process)
    os.kill(process.pid if is_first else peer, signal.SIGKILL)
    # The pipe is closed only when both processes have ended.
    _, messages = process.communicate()
    assert process.returncode == (-signal.SIGKILL if is_first else 2)
    assert messages.count(f"error: {LOST_PEER}") == 1, messages
    assert "Traceback" not in messages
    assert read_training_cost(out / STATE_FILE).step >= 10


WITHOUT_PEER = """
import os, sys, time
from lgmnet.training import peers
peers.GRACE_SECONDS = peers.WATCH_SECONDS = 0.1
if os.environ.get("LOCAL_RANK") == "1":
    sys.exit(3)
with peers.run_with_peers(2):
    os.read(int(sys.argv[1]), 1)  # As a process that waits for one that never connects.
"""


def test_a_process_that_waits_for_a_dead_one_is_ended(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(WITHOUT_PEER)
    reader, writer = os.pipe()
    ran = subprocess.run(
        [sys.executable, program, str(reader)],
        env=ONE_THREAD,
        pass_fds=[reader],
        capture_output=True,
        text=True,
        check=False,
    )
    os.close(reader)
    os.close(writer)
    assert (ran.returncode, ran.stderr) == (2, f"error: {LOST_PEER}\n")


@pytest.mark.parametrize(
    "message", ["[gloo/transport/tcp/pair.cc:5] Connection closed by peer", "something else"]
)
def test_only_errors_of_the_connection_become_the_sentence(message):
    is_lost = "gloo" in message
    with (
        pytest.raises(
            UserError if is_lost else RuntimeError, match=LOST_PEER if is_lost else message
        ),
        name_lost_peer(),
    ):
        raise RuntimeError(message)
