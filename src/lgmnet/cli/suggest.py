"""Command ``lgmnet suggest``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from lgmnet.cli.classifiers import report_unreadable
from lgmnet.cli.console import CommandResult, command, print_notice
from lgmnet.cli.image_paths import find_images
from lgmnet.cli.options import ClassifierPath, Engine
from lgmnet.errors import DataError, ImageError
from lgmnet.progress import track_progress

if TYPE_CHECKING:
    from torch import Tensor

    from lgmnet.classifier.classifier import FittedClassifier


@command("Make", example="[bold]lgmnet suggest symbols.safetensors unlabelled --number 5[/]")
def suggest(
    file: ClassifierPath,
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="FOLDER",
            help="Folder of unlabelled images, with all its subfolders; also image files, patterns "
            "such as 'new/*.png', or - for file names on stdin.",
        ),
    ],
    number: Annotated[int, typer.Option(min=1, help="Largest number of images to suggest.")] = 10,
    engine: Engine = "auto",
) -> CommandResult:
    """Suggest which unlabelled images to label next, the most valuable first.

    Each image stands for many that are unlike those labelled so far, so no two of the list are
    nearly the same, and copies of labelled images are left out. The worth of an image is the part
    of the distances of all images to their nearest labelled one that vanishes when it is labelled
    after those above it. Add the images with 'lgmnet edit --add', where each is in a folder with
    the name of its class. A file that cannot be read is named and left out; the exit code is then
    2.
    """
    from lgmnet.classifier.classifier import FittedClassifier
    from lgmnet.classifier.suggestions import suggest as suggest_samples

    fitted = FittedClassifier.load(file, engine=engine)
    fitted.support.require_samples()  # Raises before any image is read.
    images = list(find_images(paths)[0])
    samples, readable, problems = read_samples(fitted, images)
    unreadable = report_unreadable(problems)
    if not readable:
        raise DataError("None of the images could be read, so none can be suggested.")
    suggestions = suggest_samples(fitted, samples, number)
    table = Table("worth", "probability", "label?", "image", box=None)
    for s in suggestions:
        shares = (f"{100 * share:.1f} %" for share in (s.worth, s.probability))
        table.add_row(*shares, escape(s.label), escape(str(readable[s.index])))
    text = [table] if suggestions else ["All images are copies of labelled ones."]
    rows = [{**vars(s), "image": str(readable[s.index])} for s in suggestions]
    for row in rows:
        del row["index"]
    data = {"classifier": str(file), "suggestions": rows, "unreadable": unreadable}
    return CommandResult(data, [*text], exit_code=2 if unreadable else 0)


def read_samples(
    fitted: FittedClassifier, paths: list[Path]
) -> tuple[Tensor, list[Path], list[ImageError]]:
    """Read images as samples of a classifier's support, a batch at a time.

    Images of another kind than the classifier's own give a warning on stderr.

    Returns:
        The samples, their files, and the errors of the files that cannot be read.
    """
    import torch

    from lgmnet.classifier.classifier import BATCH_SIZE
    from lgmnet.classifier.image_kind import find_mismatch
    from lgmnet.classifier.support import to_support_samples
    from lgmnet.data.images.files import ImageFiles

    stored, readable, problems = [fitted.support.samples[:0]], [], []
    shape = tuple(fitted.support.samples.shape[1:])
    with track_progress("images", len(paths)) as progress:
        for start in range(0, len(paths), BATCH_SIZE):
            batch = paths[start : start + BATCH_SIZE]
            files = ImageFiles(batch)
            if not start and (mismatch := find_mismatch(fitted, files)) is not None:
                print_notice(f"warning: {mismatch}")
            images = []
            for path, image in zip(batch, files.read(fitted.inputs.shape), strict=True):
                if isinstance(image, ImageError):
                    problems.append(image)
                else:
                    images.append(image)
                    readable.append(path)
                progress.advance()
            if images:  # Features of photos take less memory than their pixels.
                pixels = torch.stack(images)
                stored.append(to_support_samples(pixels, shape, fitted.backbone, fitted.engine))
    return torch.cat(stored), readable, problems
