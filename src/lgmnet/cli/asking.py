"""``predict`` and ``report``: classifiers at work."""

from __future__ import annotations

import csv
import glob
import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.cells import cell_len
from rich.markup import escape
from rich.table import Table

from lgmnet.cli.console import Json, app, err, out, print_json, progress_bar, say
from lgmnet.cli.forging import (
    ClassifierPath,
    ForgerName,
    ImagesDir,
    load_fitting_model,
    report_unreadable,
)
from lgmnet.errors import ConfigError, DataError, ImageError, UserError

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from lgmnet.classifier.classifier import FittedClassifier
    from lgmnet.classifier.report import Prediction, Report

NONE = "none of these"
Layout = Literal["table", "jsonl", "csv"]


@app.command(
    epilog="Example: [bold]lgmnet predict symbols.safetensors new/*.png[/], or a folder: "
    "[bold]lgmnet predict symbols.safetensors scans --format csv > answers.csv[/]"
)
def predict(
    file: ClassifierPath,
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="Image files, folders of them (and all below), patterns such as 'new/*.png', or - "
            "for a list of files on stdin.",
        ),
    ],
    layout: Annotated[
        Layout, typer.Option("--format", help="How to write the answers, one a line.")
    ] = "table",
    none: Annotated[
        bool,
        typer.Option("--none", help=f"Answer '{NONE}' where an image fits no class."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Answer images with a classifier: label, and the probability of every class.

    Answers are written as they come, however many there are. An image that cannot be read gets a
    row that says why; the exit code is then 2, and all others are answered.
    """
    from lgmnet.classifier.classifier import FittedClassifier

    fitted = FittedClassifier.load(file)
    images, many = images_at(paths)
    if none:
        _ = fitted.threshold  # Refused now, if there is none.
    answers = answer_files(fitted, images, none=none)
    problems = False
    with progress_bar("images", many, quiet=out.is_terminal and not as_json) as progress:
        counted = counting(answers, progress)
        if as_json:
            found = list(counted)
            problems = any("error" in answer for answer in found)
            print_json({"classifier": str(file), "classes": fitted.classes, "predictions": found})
        else:
            problems = write_answers(counted, fitted.classes, layout, none=none)
    if problems:
        raise typer.Exit(2)


def images_at(words: Sequence[str]) -> tuple[Iterable[Path], int | None]:
    """The image files that a person means, and how many; None while that is not known.

    Raises:
        DataError: if a folder has no images, or a pattern fits nothing.
    """
    if "-" in words:
        if len(words) > 1:
            raise ConfigError("Give - alone: the files are then read from stdin, one a line.")
        return (Path(line.rstrip("\n")) for line in sys.stdin if line.strip()), None
    found: list[Path] = []
    for word in words:
        path = Path(word)
        if path.is_dir():
            below = images_below(path)
            if not below:
                raise DataError(f"There are no images in '{path}', nor below it.")
            found += below
        elif not path.exists() and glob.has_magic(word):
            fitting = sorted(map(Path, glob.glob(word, recursive=True)))
            if not fitting:
                raise DataError(f"No file fits '{word}'.")
            found += fitting
        else:
            found.append(path)
    return found, len(found)


def images_below(folder: Path) -> list[Path]:
    """All files in a folder and below that claim to be images, hidden ones passed over."""
    from lgmnet.data.images.read import list_images

    found = []
    for top, folders, _ in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += list_images(Path(top))
    return found


def answer_files(
    fitted: FittedClassifier, paths: Iterable[Path], *, none: bool = False
) -> Iterator[dict[str, Any]]:
    """An answer or an error for every file, in order, some hundred files in memory at a time.

    Args:
        fitted: The classifier.
        paths: The files.
        none: Whether what fits no class is answered so.
    """
    import torch

    from lgmnet.classifier.classifier import BATCH_SIZE
    from lgmnet.data.images.read import read_images

    waiting = iter(paths)
    while some := list(itertools.islice(waiting, BATCH_SIZE)):
        read = read_images(some, fitted.inputs.shape)
        good = [image for image in read if not isinstance(image, ImageError)]
        found = iter(label_all(fitted, torch.stack(good), none=none) if good else ())
        for path, image in zip(some, read, strict=True):
            if isinstance(image, ImageError):
                yield {"image": str(path), "error": str(image)}
            else:
                label, probabilities = next(found)
                yield {"image": str(path), "label": label, "probabilities": probabilities}


def label_all(
    fitted: FittedClassifier, images: Tensor, *, none: bool
) -> Iterator[tuple[str, dict[str, float]]]:
    """The label of each image, and the probability of every class."""
    answers = fitted.analyze(images)
    rejected = fitted.rejected(answers).tolist() if none else [False] * len(images)
    for row, foreign in zip(answers.log_p.exp().tolist(), rejected, strict=True):
        probabilities = dict(zip(fitted.classes, row, strict=True))
        best = max(probabilities, key=lambda name: probabilities[name])
        yield NONE if foreign else best, probabilities


def counting(
    answers: Iterable[dict[str, Any]], progress: Callable[[int], object]
) -> Iterator[dict[str, Any]]:
    """The answers, each reported as it passes."""
    for answer in answers:
        yield answer
        progress(1)


def write_answers(
    answers: Iterable[dict[str, Any]], classes: Sequence[str], layout: Layout, *, none: bool
) -> bool:
    """Write answers to stdout, one a line; say whether there was an error among them."""
    failed = False
    columns = csv.writer(sys.stdout, lineterminator="\n")
    width = max(map(cell_len, ("label", *([NONE] if none else []), *classes)))
    if layout == "csv":
        columns.writerow(["image", "label", "probability", "error", *classes])
    elif layout == "table":
        say(f"{padded('label', width)}  probability  image")
    for answer in answers:
        failed |= "error" in answer
        if layout == "jsonl":
            print_json(answer)
        elif layout == "csv":
            chances = answer.get("probabilities", {})
            best = max(chances.values(), default="")
            columns.writerow(
                [answer["image"], answer.get("label", ""), best, answer.get("error", "")]
                + [chances.get(name, "") for name in classes]
            )
        elif "error" in answer:
            say(f"{padded('', width)}        error  [red]{escape(answer['error'])}[/]")
        else:
            say(line_of(answer, width))
    return failed


def line_of(answer: dict[str, Any], width: int) -> str:
    """An answer as a line: label, probability, image, and what else it might be."""
    best = sorted(answer["probabilities"].items(), key=lambda item: -item[1])[:4]
    others = ", ".join(
        f"{escape(name)} {100 * p:.1f} %" for name, p in best if name != answer["label"]
    )
    label = padded(answer["label"], width)
    return (
        f"[bold]{escape(label)}[/]  {100 * best[0][1]:9.1f} %  {escape(answer['image'])}"
        f"  [dim]({others})[/]"
    )


def padded(name: str, width: int) -> str:
    """A name filled up with blanks to so many cells of a terminal."""
    return name + " " * (width - cell_len(name))


@app.command(epilog="Example: [bold]lgmnet report symbols.safetensors test -o report.html[/]")
def report(
    file: ClassifierPath,
    folder: ImagesDir,
    page: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write a page with pictures (HTML) here."),
    ] = None,
    model: ForgerName = None,
    as_json: Json = False,
) -> None:
    """Ask a classifier about labelled images: what it confuses, and what may be mislabelled.

    The images it was made from are looked through too, if the model that forged it is there: each
    is asked of a classifier that has not seen it.
    """
    from lgmnet.classifier.classifier import FittedClassifier
    from lgmnet.classifier.report import report_on
    from lgmnet.classifier.report_page import write_page
    from lgmnet.data.images.read import list_class_images, read_folder
    from lgmnet.io import check_writable

    if page is not None:
        check_writable(page)
    fitted = FittedClassifier.load(file)
    try:
        inference_method = load_fitting_model(fitted, model)
    except UserError as problem:
        if model is not None:
            raise
        inference_method = None
        err.print(f"The support is not looked through: {escape(str(problem))}", highlight=False)
    files = list_class_images(folder, least=1)
    unknown = [name for name in files if name not in fitted.classes]
    if unknown:
        raise DataError(
            f"'{folder}' has folders that are no classes of this classifier: {', '.join(unknown)}. "
            f"It knows: {', '.join(fitted.classes)}."
        )
    with progress_bar("images", sum(map(len, files.values()))) as progress:
        found = read_folder(folder, fitted.inputs.shape, least=1, progress=progress)
    labels = [found.classes[label] for label in found.labels]
    answered = fitted.predict_proba(found.images)
    result = report_on(fitted, answered, labels, found.sources, inference_method)
    unreadable = report_unreadable(found.problems)
    if page is not None:
        pictures = (partial(picture_in, folder), partial(picture_shown, fitted))
        write_page(result, page, file.name, *pictures)
    if as_json:
        print_json({"classifier": str(file), **result.as_json(), "unreadable": unreadable})
    else:
        print_report(result)
        if page is not None:
            say(f"page: {escape(str(page))}")
    if unreadable:
        raise typer.Exit(2)


def print_report(result: Report) -> None:
    """A report as tables."""
    low, high = result.interval
    say(
        f"[bold]{result.accuracy:.1f} %[/] of {result.n_images:,} images answered rightly "
        f"(95 % interval {low:.1f} to {high:.1f} %)"
    )
    columns = [str(i) for i in range(1, len(result.classes) + 1)]
    if len(columns) <= 20:
        table = Table("", "is \\ answered", *columns, "right", box=None)
        for number, (name, row) in enumerate(zip(result.classes, result.confusion, strict=True)):
            cells = [str(count) if count else "·" for count in row]
            cells[number] = f"[bold]{cells[number]}[/]"
            right = f"{100 * row[number] / sum(row):.1f} %" if sum(row) else ""
            table.add_row(columns[number], escape(name), *cells, right)
        out.print(table)
    if pairs := result.confused[:5]:
        said = ", ".join(f"{escape(a)} as {escape(b)} ({count})" for a, b, count in pairs)
        say(f"most confused: {said}")
    if result.suspects:
        say("perhaps mislabelled among the images it was made from:")
        for answer in result.suspects[:10]:
            say(
                f"  {escape(answer.source)}: looks like {escape(answer.predicted)} "
                f"({100 * answer.probability:.0f} %)"
            )


def picture_in(folder: Path, answer: Prediction) -> Image:
    """The picture of an image that was asked about."""
    from PIL import Image

    with Image.open(folder / answer.source) as image:
        image.thumbnail((192, 192))
        return image.convert("RGB")


def picture_shown(fitted: FittedClassifier, answer: Prediction) -> Image | None:
    """A support image as the classifier has it."""
    from PIL import Image

    if answer.source not in fitted.support.sources or fitted.support.samples.ndim != 4:
        return None  # Of photos the classifier has the features alone.
    pixels = fitted.support.samples[fitted.support.sources.index(answer.source)]
    return Image.fromarray((255 - pixels[0] if len(pixels) == 1 else pixels.movedim(0, 2)).numpy())
