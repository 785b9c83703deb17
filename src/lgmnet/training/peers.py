"""Processes of one run on one machine: they are started together, and none waits for a dead one.

A process that has ended is noticed in two ways. Where PyTorch sees that a connection is closed or
that an answer is overdue, the next exchange of gradients raises an error, which becomes a sentence
here. Where it would wait, as for a process that dies before it has connected, a thread looks after
the others and ends this process.
"""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from unittest import mock

import torch

from lgmnet.errors import UserError

EXCHANGE_TIMEOUT = timedelta(minutes=10)
"""Longest time that a process waits for the others."""
WATCH_SECONDS, GRACE_SECONDS = 1.0, 10.0
"""Time between two looks at the other processes, and time in which a process whose peer has ended
may notice by itself."""
RANK_VARIABLE = "LOCAL_RANK"
"""Environment variable that a process started by this module, or by torchrun, finds set."""
LOST_PEER = (
    "Another process of this run has ended or no longer answers, so the run stopped. It may have "
    "been killed for lack of memory; its own message, if any, is above. What was saved is kept: "
    "after the first checkpoint, the same command with --resume continues the run."
)


@contextmanager
def run_with_peers(devices: int, nodes: int = 1) -> Iterator[None]:
    """Start the other processes of a run, which call this function too, for the block.

    Under torchrun, and for a single process, nothing is started.

    Args:
        devices: Number of processes on this machine.
        nodes: Number of machines; for more than one, torchrun starts the processes.

    Raises:
        UserError: if another process ends, or does not answer for `EXCHANGE_TIMEOUT`.
    """
    if devices * nodes == 1:
        yield
    elif nodes > 1 or RANK_VARIABLE in os.environ:
        parent = os.getppid()
        with watch(lambda: os.getppid() != parent), name_lost_peer():
            yield
    else:
        with start_peers(devices) as peers:

            def has_lost_one() -> bool:
                return any(peer.poll() for peer in peers)

            with watch(has_lost_one), name_lost_peer():
                yield


@contextmanager
def start_peers(devices: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start this program again for every process but the first, and end them after the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "NODE_RANK": "0",
        "WORLD_SIZE": str(devices),
    }
    spec = sys.modules["__main__"].__spec__
    program = [sys.argv[0]] if spec is None else ["-m", spec.name]
    line = [sys.executable, *program, *sys.argv[1:]]
    peers = [
        subprocess.Popen(line, env=os.environ | common | {RANK_VARIABLE: str(rank)})
        for rank in range(1, devices)
    ]
    try:
        with mock.patch.dict(os.environ, common | {RANK_VARIABLE: "0"}):
            yield peers
        for peer in peers:
            with suppress(subprocess.TimeoutExpired):
                peer.wait(GRACE_SECONDS)
    finally:
        for peer in peers:
            peer.kill()  # Without effect on those that have ended.
            peer.wait()


@contextmanager
def watch(is_lost: Callable[[], bool]) -> Iterator[None]:
    """End this process if another one has ended; an exception would not end a call that waits."""
    finished = threading.Event()

    def look() -> None:
        while not finished.wait(WATCH_SECONDS):
            if is_lost():
                if not finished.wait(GRACE_SECONDS):
                    sys.stderr.write(f"error: {LOST_PEER}\n")
                    sys.stderr.flush()
                    os._exit(2)
                return

    threading.Thread(target=look, name="peers", daemon=True).start()
    try:
        yield
    finally:
        finished.set()


@contextmanager
def name_lost_peer() -> Iterator[None]:
    """Turn PyTorch's errors of a lost connection into a sentence."""
    try:
        yield
    except RuntimeError as error:
        # Gloo, which connects CPUs, has no error type of its own; its messages name its files.
        if isinstance(error, torch.distributed.DistError) or "gloo" in str(error):
            raise UserError(LOST_PEER) from error
        raise
