"""Kill processes that save a model at random moments, and check that every load is whole.

``python -m tests.model.kill_savers FOLDER KILLS LOADS``: a child process saves two models in turn
to the same folder until it is killed. After each of KILLS kills the folder must hold one of the
two, weights, config and record. Then LOADS loads are made beside a child that goes on saving. The
children are forked, so that none of them has to import anything.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from lgmnet.errors import FileFormatError
from lgmnet.model.model import Model, load_model, save_model
from tests.support.models import tiny_model

MODELS = tuple(tiny_model(seed=seed, step=seed + 2, val_accuracy=50.0 + seed) for seed in (0, 1))


def save_forever(folder: Path, pipe: int) -> None:
    """Save the models in turn without end, and write a byte to the pipe for each."""
    while True:
        for model in MODELS:
            save_model(model, folder)
            os.write(pipe, b".")


@contextmanager
def saving_child(folder: Path, n_saves: int) -> Iterator[None]:
    """Run a child process that saves without end, from its given save on; kill it at the end."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read_end)
        save_forever(folder, write_end)
    os.close(write_end)
    try:
        for _ in range(n_saves):
            assert os.read(read_end, 1), "the process that saves ended by itself"
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(read_end)


def is_whole(loaded: Model) -> bool:
    """Return True if a model has the weights and the record of the same save."""
    return any(
        (loaded.fingerprint, loaded.training) == (model.fingerprint, model.training)
        for model in MODELS
    )


def count_torn(folder: Path, n_loads: int) -> int:
    """Count the loads that give no model, or parts of two."""
    n_torn = 0
    for _ in range(n_loads):
        try:
            n_torn += not is_whole(load_model(folder))
        except FileFormatError as error:
            print(error, file=sys.stderr)
            n_torn += 1
    return n_torn


def main() -> None:
    """Kill and load as often as the command line says, then print a summary."""
    folder, kills, loads = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    save_model(MODELS[0], folder)
    rng = random.Random(0)
    n_torn = 0
    for _ in range(kills):
        with saving_child(folder, rng.randrange(1, 4)):
            time.sleep(rng.uniform(0, 0.03))
        n_torn += count_torn(folder, 1)
    with saving_child(folder, 1):
        n_torn_beside = count_torn(folder, loads)
    print(f"{kills} killed, {n_torn} torn; {loads} loads beside a writer, {n_torn_beside} torn")


if __name__ == "__main__":
    main()
