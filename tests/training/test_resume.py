"""Runs that are interrupted and continue."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

from lgmnet.config import with_settings
from lgmnet.errors import ConfigError
from lgmnet.methods import FineTuneConfig
from lgmnet.training.trainer import STATE_FILE
from tests.training.runs import (
    ONE_THREAD,
    RUN,
    InterruptedCharacters,
    InterruptedClasses,
    assert_same_run,
    build_command,
    draw_classes,
    run_command,
    train,
)

STEPS = ("--steps", "60")
"""So many that a signal arrives in the middle of the run."""


@pytest.mark.parametrize("batches", [5, 8, 11])
@pytest.mark.parametrize("settings", [[], ["detectors=2", "conditioning.dropout=0.5"]])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path, batches, settings):
    run = with_settings(RUN, settings)
    train(tmp_path / "whole", run)
    torch.rand(1)  # Random draws of the rest of the program play no part in a run.
    with pytest.raises(ConnectionAbortedError):
        train(tmp_path / "broken", run, InterruptedCharacters(batches))
    train(tmp_path / "broken", run, resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "broken")


def test_a_resumed_run_continues_its_head_of_training_classes(tmp_path):
    """The head is built from the classes, so a new one has to be replaced by the saved one."""
    config = FineTuneConfig(RUN.config.embedding, steps=5)
    run = dataclasses.replace(RUN, method="fine-tune", config=config)
    train(tmp_path / "whole", run, draw_classes())
    source = draw_classes(InterruptedClasses)
    assert isinstance(source, InterruptedClasses)
    source.batches_left = 8
    with pytest.raises(ConnectionAbortedError):
        train(tmp_path / "broken", run, source)
    train(tmp_path / "broken", run, draw_classes(), resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "broken")


def test_a_kill_costs_only_the_steps_since_the_last_checkpoint(tmp_path):
    with pytest.raises(ConnectionAbortedError):
        train(tmp_path, source=InterruptedCharacters(9))
    source = InterruptedCharacters(7)  # The checkpoint is of step 5, and 12 - 5 = 7.
    train(tmp_path, source=source, resume=True)
    assert source.batches_left == 0


def test_a_run_in_the_folder_is_not_overwritten(tmp_path):
    train(tmp_path)
    before = (tmp_path / STATE_FILE).read_bytes()
    with pytest.raises(ConfigError, match="--resume"):
        train(tmp_path)
    assert (tmp_path / STATE_FILE).read_bytes() == before


def test_only_the_same_run_can_be_resumed(tmp_path):
    train(tmp_path)
    other = with_settings(RUN, ["learning_rate=0.5", "context.length=8"])
    message = r"config\.context\.length: 4 -> 8, train\.optimizer\.learning_rate: 0\.001 -> 0\.5"
    with pytest.raises(ConfigError, match=message):
        train(tmp_path, other, resume=True)


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run by the command line that nothing interrupted."""
    folder = tmp_path_factory.mktemp("run") / "whole"
    run_command(folder, *STEPS)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_run_continues_after_a_signal(tmp_path, whole_run, signal_number):
    folder = tmp_path / "broken"
    process = subprocess.Popen(
        build_command(folder, *STEPS), env=ONE_THREAD, stderr=subprocess.PIPE
    )
    while not (folder / STATE_FILE).exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.send_signal(signal_number)
    _, output = process.communicate()
    if signal_number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130
        assert b"--resume" in output
    run_command(folder, *STEPS, "--resume")
    assert_same_run(whole_run, folder)
