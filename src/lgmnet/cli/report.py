"""Command ``lgmnet report``."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from lgmnet.cli.changes import find_changes, format_changes
from lgmnet.cli.classifiers import load_original_model, report_unreadable, report_unused
from lgmnet.cli.console import CommandResult, command, print_notice
from lgmnet.cli.options import ClassifierPath, Force, ImagesDir, OriginalModel
from lgmnet.errors import DataError, UserError

if TYPE_CHECKING:
    from PIL.Image import Image

    from lgmnet.classifier.classifier import FittedClassifier
    from lgmnet.classifier.report import Prediction, Report

THUMBNAIL_SIDE = 192
MAX_CONFUSION_CLASSES = 20
"""Largest number of classes whose confusion matrix fits a terminal."""


@command("Use", example="[bold]lgmnet report symbols.safetensors test -o report.html[/]")
def report(
    file: ClassifierPath,
    folder: ImagesDir,
    page: Annotated[
        Path | None, typer.Option("--out", "-o", help="HTML page with pictures to write.")
    ] = None,
    model: OriginalModel = None,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Another classifier: list what it answers otherwise, and who is right.",
        ),
    ] = None,
    force: Force = False,
) -> CommandResult:
    """Test a classifier on labelled images: accuracy, confusions, possibly mislabelled images.

    If the model that forged the classifier is available, the support images are checked as well:
    every image is classified by a classifier made without it. With --against, a second classifier
    answers the same images.
    """
    from lgmnet.classifier.classifier import FittedClassifier
    from lgmnet.classifier.report import check_page_destination, report_on, write_page
    from lgmnet.data.images.folder import scan_class_folder

    if page is not None:
        check_page_destination(page, overwrite=force)
    fitted = FittedClassifier.load(file)
    try:
        fitted.support.require_samples()
        original_model = load_original_model(fitted, model)
    except UserError as error:
        if model is not None and fitted.support.has_samples:
            raise
        original_model = None
        print_notice(f"The support images are not checked: {error}")
    class_folder = scan_class_folder(folder, min_classes=1)
    unknown = [name for name in class_folder.files if name not in fitted.classes]
    if unknown:
        raise DataError(
            f"'{folder}' has folders that are no classes of this classifier: {', '.join(unknown)}. "
            f"Its classes: {', '.join(fitted.classes)}."
        )
    unused = report_unused(class_folder)
    images = class_folder.read(fitted.inputs.shape)
    labels = [images.classes[label] for label in images.labels]
    probabilities = fitted.predict_proba(images.images)
    result = report_on(fitted, probabilities, labels, images.sources, original_model)
    unreadable = report_unreadable(images.problems)
    text = format_report(result)
    data = {"classifier": str(file), **result.as_json(), "unreadable": unreadable}
    data["unused"] = unused
    if against is not None:
        changes = find_changes(fitted, FittedClassifier.load(against), probabilities, images)
        data["changes"] = {"against": str(against), **changes.as_json()}
        text += format_changes(changes, against)
    if page is not None:
        pictures = (partial(open_thumbnail, folder), partial(support_picture, fitted))
        write_page(result, page, file.name, *pictures, overwrite=force)
        text.append(f"page: {escape(str(page))}")
    return CommandResult(data, text, exit_code=2 if unreadable else 0)


def format_report(result: Report) -> list[RenderableType]:
    """Format a report as lines of rich markup and a table."""
    low, high = result.interval
    text: list[RenderableType] = [
        f"[bold]{result.accuracy:.1f} %[/] of {result.n_images:,} images are classified correctly "
        f"(95 % interval {low:.1f} to {high:.1f} %)"
    ]
    if len(result.classes) <= MAX_CONFUSION_CLASSES:
        text.append(confusion_table(result))
    if pairs := result.confused[:5]:
        listed = ", ".join(f"{escape(a)} as {escape(b)} ({count})" for a, b, count in pairs)
        text.append(f"most confused: {listed}")
    if result.suspects:
        text.append("possibly mislabelled support images:")
        text += [
            f"  {escape(suspect.source)}: looks like {escape(suspect.predicted)} "
            f"({100 * suspect.probability:.0f} %)"
            for suspect in result.suspects[:10]
        ]
    return text


def confusion_table(result: Report) -> Table:
    """Return the confusion matrix as a table, with the accuracy of each class."""
    numbers = [str(i) for i in range(1, len(result.classes) + 1)]
    table = Table("", "class \\ predicted", *numbers, "correct", box=None)
    for index, (name, row) in enumerate(zip(result.classes, result.confusion, strict=True)):
        cells = [str(count) if count else "·" for count in row]
        cells[index] = f"[bold]{cells[index]}[/]"
        correct = f"{100 * row[index] / sum(row):.1f} %" if sum(row) else ""
        table.add_row(numbers[index], escape(name), *cells, correct)
    return table


def open_thumbnail(folder: Path, answer: Prediction) -> Image:
    """Open a thumbnail of a test image."""
    from lgmnet.data.images.read import decode_image

    image = decode_image(folder / answer.source, THUMBNAIL_SIDE)
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    return image.convert("RGB")


def support_picture(fitted: FittedClassifier, answer: Prediction) -> Image | None:
    """Return a support image, or the thumbnail of a photo; None if the classifier has neither."""
    from PIL import Image

    from lgmnet.classifier.thumbnails import find_thumbnail

    if answer.source not in fitted.support.sources:
        return None
    place = fitted.support.sources.index(answer.source)
    pixels = fitted.support.samples[place]
    if pixels.ndim != 3:
        data = find_thumbnail(fitted, place)
        return None if data is None else Image.open(io.BytesIO(data), formats=["WEBP"])
    return Image.fromarray((255 - pixels[0] if len(pixels) == 1 else pixels.movedim(0, 2)).numpy())
