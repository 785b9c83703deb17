"""Training of a table row or figure panel, unless its model exists already."""

from __future__ import annotations

from pathlib import Path

from lgmnet.errors import require_extra
from lgmnet.experiments.tables import Entry
from lgmnet.methods import METHODS
from lgmnet.methods.base import Method
from lgmnet.model.model import load_model
from lgmnet.training.state import TrainingCost, read_training_cost


def train_entry(entry: Entry, models: Path) -> tuple[Method, TrainingCost]:
    """Return the trained method of an entry and the cost of its training.

    A finished model is loaded; an unfinished training continues.

    Args:
        entry: Entry to train.
        models: Folder of the trained models.

    Raises:
        ConfigError: if the entry's folder holds a model of another run.
        UserError: if the packages for training are not installed.
    """
    method = METHODS[entry.run.method](entry.run.config)
    if not entry.is_trainable:
        return method.eval(), TrainingCost(step=0, images=0, seconds=0.0)
    with require_extra("train", "training runs"):
        from lgmnet.training.launch import launch, open_training_sources
        from lgmnet.training.trainer import STATE_FILE

    folder, run = models / entry.folder, (entry.weights or entry).run
    state = folder / STATE_FILE
    is_started = state.is_file()
    if not is_started or read_training_cost(state, run).step < run.train.steps:
        launch(run, *open_training_sources(run), folder, resume=is_started)
    method.load_state_dict(load_model(folder).method.state_dict())
    return method.eval(), read_training_cost(state)
