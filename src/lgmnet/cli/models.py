"""Command ``lgmnet models``."""

import dataclasses
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from lgmnet.cli.console import CommandResult, command


@command("Measure", example="[bold]lgmnet models --json[/]")
def models() -> CommandResult:
    """List the models that ship with the package, with their scores."""
    from lgmnet.model.model import load_model
    from lgmnet.model.registry import shipped_models

    data: list[dict[str, Any]] = []
    text: list[RenderableType] = []
    for model in map(load_model, shipped_models()):
        training, inputs = model.training, model.method.inputs
        samples, shape = "images" if inputs.is_image else "vectors", inputs.shape
        text.append(
            f"[bold]{model.name}[/]: {model.method_name}, {samples} {' x '.join(map(str, shape))}, "
            f"trained on {training.data} ({training.split})"
        )
        table = Table("task", "accuracy, %", "data", "split", "protocol", "episodes", box=None)
        for s in model.scores:
            accuracy, split = f"{s.accuracy:.2f} ± {s.ci95:.2f}", f"{s.split} ({s.split_hash})"
            table.add_row(s.task, accuracy, s.data, split, s.protocol, str(s.episodes))
        text.append(table)
        scores = [dataclasses.asdict(score) for score in model.scores]
        data.append(
            {
                "name": model.name,
                "method": model.method_name,
                "feature_shape": shape,
                "training": dataclasses.asdict(training),
                "scores": [{k: v for k, v in row.items() if k != "scores"} for row in scores],
            }
        )
    return CommandResult({"models": data}, text)
