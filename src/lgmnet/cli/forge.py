"""Command ``lgmnet forge``."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from lgmnet import __version__
from lgmnet.cli.classifiers import format_classes, read_images, report_unreadable, shots_by_class
from lgmnet.cli.console import CommandResult, command, print_notice
from lgmnet.cli.options import ImagesDir

if TYPE_CHECKING:
    from lgmnet.classifier.classifier import FittedClassifier
    from lgmnet.model.model import Model


@command(
    "Make",
    example="[bold]lgmnet forge my_symbols -o symbols.safetensors[/], "
    "where my_symbols/star/1.png, my_symbols/moon/a.jpg, ...",
)
def forge(
    folder: ImagesDir,
    output: Annotated[Path, typer.Option("--out", "-o", help="Classifier file to write.")],
    model: Annotated[
        str | None,
        typer.Option(
            help="Model that makes the classifier. Default: the shipped one that suits the images."
        ),
    ] = None,
) -> CommandResult:
    """Make a classifier from a folder of images in one forward pass.

    Classes may have different numbers of images. The default model depends on whether the images
    are photos or ink on paper; the command prints its choice.

    If a class has two images or more, the command also estimates the accuracy by leave-one-out:
    every image is classified by a classifier made without it. A file that cannot be read is named
    and left out; the exit code is then 2, and the classifier is made from all other files.
    """
    from lgmnet.classifier.classifier import fit_classifier
    from lgmnet.io import check_writable
    from lgmnet.model.model import load_model

    check_writable(output)
    loaded = load_model(model or choose_model(folder))
    images = read_images(folder, loaded)
    started = time.perf_counter()
    fitted = fit_classifier(
        loaded, images.images, images.labels, images.classes, sources=images.sources
    )
    milliseconds = 1000 * (time.perf_counter() - started)
    fitted = dataclasses.replace(fitted, notes={"made": f"lgmnet {__version__}, lgmnet forge"})
    fitted.save(output)
    estimate = leave_one_out_counts(loaded, fitted)
    unreadable = report_unreadable(images.problems)
    size = " x ".join(map(str, fitted.inputs.shape[1:]))
    return CommandResult(
        {
            "classifier": str(output),
            "model": fitted.model,
            "classes": shots_by_class(fitted),
            "milliseconds": round(milliseconds, 3),
            "unreadable": unreadable,
            "leave_one_out": estimate,
        },
        [
            f"{escape(str(output))}: {len(fitted.classes)} classes, {sum(fitted.shots)} images "
            f"(read at {size}), forged by {escape(fitted.model)} in {milliseconds:.0f} ms",
            format_classes(fitted),
            format_estimate(estimate),
        ],
        exit_code=2 if unreadable else 0,
    )


def choose_model(folder: Path) -> str:
    """Choose the shipped model that suits the images of a folder, and print why on stderr.

    Raises:
        DataError: if the folder is not a folder of images.
    """
    from lgmnet.data.images.kind import detect_drawings
    from lgmnet.data.images.read import list_class_images

    files = [path for paths in list_class_images(folder).values() for path in paths]
    if not files:
        return "omniglot"  # Any model will do: reading the folder then reports what is missing.
    is_drawn, reason = detect_drawings(files)
    name = "omniglot" if is_drawn else "photos"
    print_notice(f"{reason}. The model is therefore '{name}'; --model overrides it.")
    return name


def leave_one_out_counts(model: Model, fitted: FittedClassifier) -> dict[str, int] | None:
    """Count how many support images are classified correctly by classifiers made without them.

    Returns:
        The number of classified images ("asked") and of correct answers ("right"); None if no class
        has two images.
    """
    from lgmnet.classifier.classifier import leave_one_out

    indices, probabilities = leave_one_out(model, fitted.support, len(fitted.classes))
    if not len(indices):
        return None
    n_correct = int((probabilities.argmax(1) == fitted.support.labels[indices]).sum())
    return {"asked": len(indices), "right": n_correct}


def format_estimate(counts: dict[str, int] | None) -> str:
    """Format the leave-one-out estimate as one line."""
    if counts is None:
        return "No estimate of the accuracy: it needs a class with two images or more."
    percent = 100 * counts["right"] / counts["asked"]
    return (
        f"Leave-one-out estimate: {counts['right']} of {counts['asked']} images are classified "
        f"correctly ({percent:.0f} %)."
    )
