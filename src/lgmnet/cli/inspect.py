"""Command ``lgmnet inspect``."""

from contextlib import nullcontext, suppress
from typing import Any

from rich.markup import escape
from rich.table import Table

from lgmnet.cli.classifiers import format_judged_by, load_original_model, shots_by_class
from lgmnet.cli.console import CommandResult, command
from lgmnet.cli.estimates import estimate_accuracy
from lgmnet.cli.options import ClassifierPath, OriginalModel
from lgmnet.errors import UserError


@command("Make", example="[bold]lgmnet inspect symbols.safetensors[/]")
def inspect(file: ClassifierPath, model: OriginalModel = None) -> CommandResult:
    """Show the content of a classifier file: classes, shots, model, origin and size.

    If the model knows it, also what the classifier judges by. If the support images and the model
    are here, also the accuracy by leave-one-out, and what twice as many images would give.
    """
    from lgmnet.classifier.classifier import FittedClassifier

    fitted = FittedClassifier.load(file)
    estimates: dict[str, Any] = {"leave_one_out": None, "with_twice_the_images": None}
    estimate_lines: list[str] = []
    if fitted.support.has_samples:
        # The model may not be here; one that is named must be.
        with suppress(UserError) if model is None else nullcontext():
            estimates, estimate_lines = estimate_accuracy(
                fitted, load_original_model(fitted, model)
            )
    size = file.stat().st_size
    shape = list(fitted.inputs.shape)
    classes = shots_by_class(fitted)
    table = Table("class", "shots", box=None)
    for name, shot in classes.items():
        table.add_row(escape(name), str(shot))
    content = (
        f"{len(fitted.classes)} classes, {sum(fitted.shots)} samples of shape {shape}, "
        f"{size / 1e6:.2f} MB{'' if fitted.support.has_samples else ', without its support set'}"
    )
    origin = (
        f"forged by {fitted.model} (weights {fitted.fingerprint}), "
        f"{fitted.method}; made by {fitted.notes.get('made', 'in Python')}"
    )
    data = {"classifier": str(file), "bytes": size, "classes": classes, "samples": shape}
    fields = ("model", "fingerprint", "method", "notes", "by")
    data |= {name: getattr(fitted, name) for name in fields}
    data |= {"judged_by": fitted.judged_by(), "has_support": fitted.support.has_samples}
    data |= estimates
    lines = [*format_judged_by(fitted), *estimate_lines]
    return CommandResult(data, [table, escape(content), escape(origin), *lines])
