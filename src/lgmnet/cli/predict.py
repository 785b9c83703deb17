"""Command ``lgmnet predict``."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lgmnet.cli.console import command, print_json, print_notice, stdout
from lgmnet.cli.image_paths import find_images
from lgmnet.cli.options import ClassifierPath
from lgmnet.cli.prediction_rows import NONE_LABEL, RowFormat, write_rows
from lgmnet.errors import DataError, ImageError
from lgmnet.progress import track_progress

if TYPE_CHECKING:
    from torch import Tensor

    from lgmnet.classifier.classifier import FittedClassifier
    from lgmnet.data.images.files import ImageFiles


@command(
    "Use",
    example="[bold]lgmnet predict symbols.safetensors new/*.png[/], or a folder: "
    "[bold]lgmnet predict symbols.safetensors scans --format csv > answers.csv[/]",
)
def predict(
    file: ClassifierPath,
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH",
            help="Image files, folders with all their subfolders, patterns such as 'new/*.png', or "
            "- for file names on stdin.",
        ),
    ],
    row_format: Annotated[
        RowFormat, typer.Option("--format", help="Format of the output, one row per image.")
    ] = "table",
    allow_none: Annotated[
        bool,
        typer.Option("--none", help=f"Give the label '{NONE_LABEL}' to images that fit no class."),
    ] = False,
    as_json: bool = False,
) -> None:
    """Classify images: the label, and the probability of every class.

    Rows are written while the images are read, so their number is not limited by memory. An image
    that cannot be read gets a row with the reason; the exit code is then 2, and all other images
    are classified. Photos that are given to a classifier of drawings cause one warning.
    """
    from lgmnet.classifier.classifier import FittedClassifier

    fitted = FittedClassifier.load(file)
    images, n_images = find_images(paths)
    if allow_none:
        _ = fitted.threshold  # Raises now and not after the first rows if there is no threshold.
    predictions = predict_files(fitted, images, allow_none=allow_none)
    if as_json or not stdout.is_terminal:  # Rows on a terminal show the progress themselves.
        predictions = with_progress(predictions, n_images)
    with closing(predictions):
        if as_json:
            rows = list(predictions)
            has_errors = any("error" in row for row in rows)
            print_json({"classifier": str(file), "classes": fitted.classes, "predictions": rows})
        else:
            has_errors = write_rows(predictions, fitted.classes, row_format, allow_none=allow_none)
    if has_errors:
        raise typer.Exit(2)


def predict_files(
    fitted: FittedClassifier, paths: Iterable[Path], *, allow_none: bool = False
) -> Generator[dict[str, Any], None, None]:
    """Yield a prediction or an error for every file, in order.

    One batch of images is in memory at a time. Photos for a classifier of drawings give one warning
    on stderr. If ``allow_none``, images that fit no class get the
    label `NONE_LABEL`.
    """
    import torch

    from lgmnet.classifier.classifier import BATCH_SIZE
    from lgmnet.classifier.image_kind import is_for_drawings
    from lgmnet.data.images.files import ImageFiles

    remaining = iter(paths)
    checks_kind = is_for_drawings(fitted)
    while batch := list(itertools.islice(remaining, BATCH_SIZE)):
        files = ImageFiles(batch)
        if checks_kind and (mismatch := find_mismatch(fitted, files)) is not None:
            print_notice(f"warning: {mismatch}")
            checks_kind = False  # Once is enough.
        results = list(files.read(fitted.inputs.shape))
        images = [image for image in results if not isinstance(image, ImageError)]
        predictions = iter(
            predict_batch(fitted, torch.stack(images), allow_none=allow_none) if images else ()
        )
        for path, result in zip(batch, results, strict=True):
            if isinstance(result, ImageError):
                yield {"image": str(path), "error": str(result)}
            else:
                label, probabilities = next(predictions)
                yield {"image": str(path), "label": label, "probabilities": probabilities}


def find_mismatch(fitted: FittedClassifier, files: ImageFiles) -> str | None:
    """Describe why images are of another kind than a classifier was made from; None if not."""
    from lgmnet.classifier.image_kind import MAX_CHECKED_IMAGES, describe_mismatch

    try:
        return describe_mismatch(fitted, *files.detect_drawings(MAX_CHECKED_IMAGES))
    except DataError:  # None of them can be read, which their rows will say.
        return None


def predict_batch(
    fitted: FittedClassifier, images: Tensor, *, allow_none: bool
) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield the label of each image and the probability of every class."""
    analysis = fitted.analyze(images)
    is_rejected = fitted.rejected(analysis).tolist() if allow_none else [False] * len(images)
    for row, rejected in zip(analysis.log_p.exp().tolist(), is_rejected, strict=True):
        probabilities = dict(zip(fitted.classes, row, strict=True))
        best = max(probabilities, key=lambda name: probabilities[name])
        yield NONE_LABEL if rejected else best, probabilities


def with_progress(
    predictions: Iterable[dict[str, Any]], total: int | None
) -> Generator[dict[str, Any], None, None]:
    """Yield predictions and report the progress."""
    with track_progress("images", total) as progress:
        for prediction in predictions:
            yield prediction
            progress.advance()
