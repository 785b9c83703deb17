"""Command ``lgmnet models``."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.table import Table

from lgmnet.cli.console import CommandResult, command

if TYPE_CHECKING:
    from lgmnet.model.model import Model


@command("Measure", example="[bold]lgmnet models --json[/]")
def models() -> CommandResult:
    """List the models that ship with the package, with their scores."""
    from lgmnet.model.model import load_model
    from lgmnet.model.registry import shipped_models

    shipped = [load_model(name) for name in shipped_models()]
    text: list[RenderableType] = []
    for model in shipped:
        shape = " x ".join(map(str, model.method.inputs.shape))
        training = model.training
        text.append(
            f"[bold]{model.name}[/]: {model.method_name}, images {shape}, trained on "
            f"{training.data} ({training.split})"
        )
        text.append(score_table(model))
    return CommandResult({"models": [model_as_json(model) for model in shipped]}, text)


def model_as_json(model: Model) -> dict[str, Any]:
    """Return a model's method, training and scores as a JSON object."""
    scores = [dataclasses.asdict(score) for score in model.scores]
    return {
        "name": model.name,
        "method": model.method_name,
        "feature_shape": model.method.inputs.shape,
        "training": dataclasses.asdict(model.training),
        "scores": [{k: v for k, v in score.items() if k != "scores"} for score in scores],
    }


def score_table(model: Model) -> Table:
    """Return the scores in a model's card as a table."""
    table = Table("task", "accuracy, %", "data", "split", "protocol", "episodes", box=None)
    for s in model.scores:
        accuracy, split = f"{s.accuracy:.2f} ± {s.ci95:.2f}", f"{s.split} ({s.split_hash})"
        table.add_row(s.task, accuracy, s.data, split, s.protocol, str(s.episodes))
    return table
