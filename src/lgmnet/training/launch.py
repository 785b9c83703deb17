"""From a run to running processes: data, device, precision, processes and loggers."""

from pathlib import Path
from typing import Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers.csv_logs import CSVLogger
from lightning_fabric.loggers.tensorboard import TensorBoardLogger
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.utilities.exceptions import MisconfigurationException

from lgmnet.data.task_source import TaskSource
from lgmnet.devices import supports_bf16
from lgmnet.errors import ConfigError, check_utf8
from lgmnet.model.folder import check_model_files, check_model_folder
from lgmnet.model.model import Model
from lgmnet.model.sources import open_model_source
from lgmnet.training.config import Run
from lgmnet.training.peers import EXCHANGE_TIMEOUT, run_with_peers
from lgmnet.training.state import read_training_cost
from lgmnet.training.trainer import STATE_FILE, fit, run_exists_error

LOGS_FOLDER = "logs"


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
    overwrite: bool = False,
) -> Model | None:
    """Train on one or several devices; under torchrun on several machines.

    Logs go to ``out`` too. ``nodes`` is the number of machines, on each of which torchrun starts
    ``devices`` processes. ``accelerator`` is ``cpu``, ``cuda``, ``mps`` or ``auto``. If
    ``overwrite``, ``out`` may hold files that lgmnet did not write. The other arguments are those
    of `fit`.

    Raises:
        ConfigError: if this machine has no such device, or as `check_run_folder` does.
        UserError: if another process ends or no longer answers, or as `check_run_folder` does.
    """
    check_run_folder(out, resume=resume, overwrite=overwrite)
    first_step = read_training_cost(out / STATE_FILE).step if resume else 0
    # A folder for each start, so that resuming does not overwrite earlier rows.
    version = f"csv-from-step-{first_step}"
    loggers = [
        TensorBoardLogger(out, name=LOGS_FOLDER, version="tensorboard"),
        CSVLogger(out, name=LOGS_FOLDER, version=version, flush_logs_every_n_steps=1),
    ]
    precision = run.train.precision
    is_alone = devices * nodes == 1
    try:
        fabric = Fabric(
            accelerator=accelerator,
            devices=devices,
            num_nodes=nodes,
            strategy="auto" if is_alone else DDPStrategy(timeout=EXCHANGE_TIMEOUT),
            precision=choose_precision(accelerator) if precision == "auto" else precision,
            loggers=loggers,
        )
    except (ValueError, RuntimeError, MisconfigurationException) as error:
        raise ConfigError(
            f"Cannot train with --accelerator {accelerator} --devices {devices}: {error}"
        ) from error
    with run_with_peers(devices, nodes):
        fabric.launch()
        return fit(fabric, run, train_source, val_source, out, resume=resume)


def check_run_folder(out: Path, *, resume: bool, overwrite: bool = False) -> None:
    """Check that a run can be written to a folder, before its data is read.

    Raises:
        ConfigError: if there is no run to resume, or a run already that is not to be resumed.
        UserError: if the folder holds files that lgmnet did not write, unless ``overwrite``, or if
            its name is not UTF-8.
    """
    check_utf8("folder of the run", str(out))  # The logs' writers take no other names.
    has_run = (out / STATE_FILE).is_file()
    if resume and not has_run:
        raise ConfigError(f"'{out}' holds no run to resume; start one without --resume.")
    if has_run and not resume:
        raise run_exists_error(out)
    if resume:
        check_model_files(out, overwrite=overwrite)
    else:  # A run that was ended before its first save has left its logs only.
        check_model_folder(out, ignored=[LOGS_FOLDER], overwrite=overwrite)


def open_training_sources(run: Run) -> tuple[TaskSource, TaskSource | None]:
    """Open the training classes of a run, and its validation classes or None.

    Raises:
        ConfigError: if there is no such data or split.
        DataError: if its files cannot be found or read.
    """
    shape = run.feature_shape
    train = open_model_source(run.data, run.split, shape, run.backbone)
    if run.val_split is None:
        return train, None
    return train, open_model_source(run.data, run.val_split, shape, run.backbone)


def choose_precision(accelerator: str) -> Literal["bf16-mixed", "32-true"]:
    """Choose bf16 where the device computes in it; emulated, it is slower than 32 bits."""
    cuda = accelerator in ("auto", "cuda", "gpu") and torch.cuda.is_available()
    return "bf16-mixed" if supports_bf16("cuda" if cuda else "cpu") else "32-true"
