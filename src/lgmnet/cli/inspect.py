"""Command ``lgmnet inspect``."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from lgmnet.cli.classifiers import shots_by_class
from lgmnet.cli.console import CommandResult, command
from lgmnet.cli.options import ClassifierPath


@command("Make", example="[bold]lgmnet inspect symbols.safetensors[/]")
def inspect(file: ClassifierPath) -> CommandResult:
    """Show the content of a classifier file: classes, shots, model, origin and size."""
    from lgmnet.classifier.classifier import FittedClassifier

    fitted = FittedClassifier.load(file)
    size = file.stat().st_size
    shape = list(fitted.inputs.shape)
    table = Table("class", "shots", box=None)
    for name, shot in shots_by_class(fitted).items():
        table.add_row(escape(name), str(shot))
    origin = fitted.notes.get("made", "in Python")
    return CommandResult(
        {
            "classifier": str(file),
            "bytes": size,
            "classes": shots_by_class(fitted),
            "samples": shape,
            "model": fitted.model,
            "fingerprint": fitted.fingerprint,
            "method": fitted.method,
            "notes": fitted.notes,
        },
        [
            table,
            escape(
                f"{len(fitted.classes)} classes, {sum(fitted.shots)} samples of shape {shape}, "
                f"{size / 1e6:.2f} MB\n"
                f"forged by {fitted.model} (weights {fitted.fingerprint}), "
                f"{fitted.method}; made by {origin}"
            ),
        ],
    )
