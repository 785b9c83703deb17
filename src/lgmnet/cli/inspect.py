"""Command ``lgmnet inspect``."""

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
    classes = shots_by_class(fitted)
    table = Table("class", "shots", box=None)
    for name, shot in classes.items():
        table.add_row(escape(name), str(shot))
    content = (
        f"{len(fitted.classes)} classes, {sum(fitted.shots)} samples of shape {shape}, "
        f"{size / 1e6:.2f} MB"
    )
    origin = (
        f"forged by {fitted.model} (weights {fitted.fingerprint}), "
        f"{fitted.method}; made by {fitted.notes.get('made', 'in Python')}"
    )
    data = {"classifier": str(file), "bytes": size, "classes": classes, "samples": shape}
    data |= {name: getattr(fitted, name) for name in ("model", "fingerprint", "method", "notes")}
    return CommandResult(data, [table, escape(content), escape(origin)])
