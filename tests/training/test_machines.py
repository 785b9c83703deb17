"""Training over two machines: torchrun on each, one process each, which meet over loopback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lgmnet.training.peers import LOST_PEER
from lgmnet.training.state import read_training_cost
from lgmnet.training.trainer import STATE_FILE
from tests.training.runs import ONE_THREAD, assert_same_run, build_command, run_command

pytestmark = [
    pytest.mark.machines,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc"),
]
STEPS = ("--steps", "60")
SECONDS_TO_END = 30
"""Time in which all machines end after one process was killed."""


class TwoMachines:
    """One run on two simulated machines, each with its own torchrun and its own process group.

    Args:
        out: Folder of the model, on a disk that both machines share.
        options: Options of ``lgmnet train``.
    """

    def __init__(self, out: Path, *options: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        _, *module = build_command(out, *options)
        self.machines = [
            subprocess.Popen(
                [
                    *(sys.executable, "-m", "torch.distributed.run", "--nnodes=2"),
                    *("--nproc-per-node=1", f"--node-rank={rank}", "--master-addr=127.0.0.1"),
                    *(f"--master-port={port}", *module),
                ],
                env=ONE_THREAD,
                stderr=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
            )
            for rank in (0, 1)
        ]

    def wait(self, timeout: float | None = None) -> list[str]:
        """Wait until all processes of both machines have ended, and return what they printed.

        Their pipe is closed only then.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        return [
            machine.communicate(timeout=deadline and deadline - time.monotonic())[1]
            for machine in self.machines
        ]

    def kill(self) -> None:
        """Kill whatever still runs."""
        for machine in self.machines:
            if machine.poll() is None:
                os.killpg(machine.pid, signal.SIGKILL)

    def find_worker(self, machine: int) -> int:
        """Return the process that trains on a machine, the child of its torchrun."""
        pid = self.machines[machine].pid
        (worker,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(worker)


def wait_for_checkpoint(run: subprocess.Popen[str], out: Path) -> None:
    """Wait until a run has written its first checkpoint."""
    while not (out / STATE_FILE).is_file():
        assert run.poll() is None
        time.sleep(0.01)


@pytest.mark.parametrize("is_whole_machine", [False, True], ids=["process", "machine"])
def test_a_killed_peer_ends_both_machines_with_a_sentence(is_whole_machine, tmp_path):
    """Either the process that trains is killed, or all processes of its machine."""
    out = tmp_path / "run"
    run = TwoMachines(out, "--steps", "100000", "--nodes", "2")
    try:
        wait_for_checkpoint(run.machines[0], out)
        worker = run.find_worker(1)
        if is_whole_machine:
            run.machines[1].kill()
        os.kill(worker, signal.SIGKILL)
        messages = run.wait(SECONDS_TO_END)
    finally:
        run.kill()
    assert f"error: {LOST_PEER}" in messages[0]
    assert all(machine.returncode for machine in run.machines)
    assert read_training_cost(out / STATE_FILE).step >= 10


def test_a_resumed_run_on_two_machines_equals_an_undisturbed_one_bit_for_bit(tmp_path):
    """It is interrupted on one machine with two processes, and goes on with one on each of two."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run_command(whole, *STEPS, "--devices", "2")
    line = build_command(broken, *STEPS, "--devices", "2")
    with subprocess.Popen(line, env=ONE_THREAD, stderr=subprocess.DEVNULL, text=True) as run:
        wait_for_checkpoint(run, broken)
        run.send_signal(signal.SIGINT)
    assert run.returncode == 130
    resumed = TwoMachines(broken, *STEPS, "--nodes", "2", "--resume")
    messages = resumed.wait()
    assert [machine.returncode for machine in resumed.machines] == [0, 0], messages
    assert_same_run(whole, broken)
