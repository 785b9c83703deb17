"""From a run to running processes: device, precision, processes and loggers."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers.csv_logs import CSVLogger
from lightning_fabric.loggers.tensorboard import TensorBoardLogger
from lightning_fabric.utilities.exceptions import MisconfigurationException

from lgmnet.data.source import TaskSource
from lgmnet.devices import computes_in_bf16
from lgmnet.errors import ConfigError
from lgmnet.hub import Model
from lgmnet.training.config import Run
from lgmnet.training.state import spent
from lgmnet.training.trainer import STATE, fit


def launch(
    run: Run,
    train_source: TaskSource,
    val_source: TaskSource | None,
    out: Path,
    *,
    resume: bool = False,
    devices: int = 1,
    nodes: int = 1,
    accelerator: str = "auto",
) -> Model | None:
    """Train on one or several devices (see `fit`); under torchrun, on all machines it spans.

    Args:
        run: What to train and how.
        train_source: Training classes.
        val_source: Validation classes, or None.
        out: Folder of the model, its logs and its state.
        resume: Continue the run in ``out``.
        devices: Processes on this machine.
        nodes: Machines, each with as many processes, when started by torchrun on each of them.
        accelerator: ``cpu``, ``cuda``, ``mps`` or ``auto``.

    Raises:
        ConfigError: if this machine has no such device, or there is no run to resume.
    """
    if resume and not (out / STATE).is_file():
        raise ConfigError(f"'{out}' holds no run to resume; start one without --resume.")
    loggers = [
        TensorBoardLogger(out, name="logs", version="tensorboard"),
        # A folder for each start, so that resuming leaves the earlier rows alone.
        CSVLogger(
            out,
            name="logs",
            version=f"csv-from-step-{spent(out / STATE).step if resume else 0}",
            flush_logs_every_n_steps=1,
        ),
    ]
    try:
        fabric = Fabric(
            accelerator=accelerator,
            devices=devices,
            num_nodes=nodes,
            strategy="ddp" if devices * nodes > 1 else "auto",
            precision=precision(accelerator)
            if run.train.precision == "auto"
            else run.train.precision,
            loggers=loggers,
        )
    except (ValueError, RuntimeError, MisconfigurationException) as error:
        raise ConfigError(
            f"Cannot train with --accelerator {accelerator} --devices {devices}: {error}"
        ) from error
    fabric.launch()
    return fit(fabric, run, train_source, val_source, out, resume=resume)


def precision(accelerator: str) -> Literal["bf16-mixed", "32-true"]:
    """bf16 where the device computes in it; where it only emulates it, 32 bits are faster."""
    cuda = accelerator in ("auto", "cuda", "gpu") and torch.cuda.is_available()
    native = computes_in_bf16("cuda" if cuda else "cpu")
    return "bf16-mixed" if native else "32-true"
