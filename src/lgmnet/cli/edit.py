"""Command ``lgmnet edit``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from lgmnet.cli.classifiers import (
    check_classifier_name,
    format_classes,
    format_judged_by,
    load_original_model,
    read_images,
    report_unused,
    shots_by_class,
)
from lgmnet.cli.console import CommandResult, command, print_notice
from lgmnet.cli.estimates import estimate_accuracy
from lgmnet.cli.options import ClassifierPath, OriginalModel
from lgmnet.errors import ConfigError, DataError

if TYPE_CHECKING:
    from lgmnet.classifier.classifier import FittedClassifier
    from lgmnet.data.images.folder import ClassFolder


@command(
    "Make",
    example="[bold]lgmnet edit symbols.safetensors --add more_symbols --rename moon=crescent[/]",
)
def edit(
    file: ClassifierPath,
    add: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR", help="Images to add, as DIR/<class>/<image>, to old or new classes."
        ),
    ] = None,
    remove: Annotated[
        list[str] | None,
        typer.Option(metavar="CLASS", help="Class to remove together with its images."),
    ] = None,
    rename: Annotated[
        list[str] | None, typer.Option(metavar="OLD=NEW", help="Class to rename, and its new name.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="File to write the result to. Default: FILE itself."),
    ] = None,
    model: OriginalModel = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Replace a file that lgmnet did not write, and add photos even to a classifier of "
            "drawings, or drawings to one of photos.",
        ),
    ] = False,
) -> CommandResult:
    """Add, remove and rename classes of a classifier, in this order, without training.

    Every option may be given several times. If any of the changes fails, or an image cannot be
    read, no file is written. If images were added or removed, the accuracy is estimated as by
    'lgmnet forge'.
    """
    from lgmnet.classifier.classifier import FittedClassifier
    from lgmnet.classifier.edit import add_samples, remove_class, rename_class
    from lgmnet.classifier.file import CLASSIFIER_KIND
    from lgmnet.classifier.thumbnails import add_thumbnails
    from lgmnet.data.images.folder import scan_class_folder
    from lgmnet.tensor_file import check_tensor_destination

    if not (add or remove or rename):
        raise ConfigError("Nothing to do: give --add DIR, --remove CLASS or --rename OLD=NEW.")
    target = output or file
    fitted = FittedClassifier.load(file)
    check_tensor_destination(target, CLASSIFIER_KIND, overwrite=force)
    if output is not None:
        check_classifier_name(output, force=force)
    problems: list[str] = []
    mismatches: list[str] = []
    unused: list[str] = []
    started = time.perf_counter()
    if add or remove:
        fitted.support.require_samples()  # Raises before any image is read.
        original_model = load_original_model(fitted, model)
        for folder in add or ():
            class_folder = scan_class_folder(folder, min_classes=1)
            unused += report_unused(class_folder)
            mismatches += check_kind(fitted, class_folder, force=force)
            images = read_images(class_folder, original_model)
            problems += map(str, images.problems)
            labels = [images.classes[label] for label in images.labels]
            fitted = add_samples(fitted, original_model, images.images, labels, images.sources)
            fitted = add_thumbnails(fitted, images.sources, images.images)
        for name in remove or ():
            fitted = remove_class(fitted, original_model, name)
    for names in rename or ():
        fitted = rename_class(fitted, *split_renaming(names, fitted.classes))
    milliseconds = 1000 * (time.perf_counter() - started)
    if problems:
        raise DataError(
            f"Nothing was written, because {len(problems)} of the images to add cannot be read. "
            f"Remove or replace them: {' '.join(problems)}"
        )
    estimates: dict[str, Any] = {}
    lines: list[str] = []
    if add or remove:
        estimates, lines = estimate_accuracy(fitted, original_model)
    for mismatch in mismatches[:1]:
        print_notice(f"warning: {mismatch}")
    fitted.save(target, overwrite=force)
    data: dict[str, Any] = {"classifier": str(target), "classes": shots_by_class(fitted)}
    data |= {"milliseconds": round(milliseconds, 3), "judged_by": fitted.judged_by()}
    text = (
        f"{escape(str(target))}: {len(fitted.classes)} classes, {sum(fitted.shots)} images, "
        f"edited in {milliseconds:.0f} ms"
    )
    data |= {"unused": unused, **estimates}
    return CommandResult(data, [text, format_classes(fitted), *format_judged_by(fitted), *lines])


def split_renaming(text: str, classes: Sequence[str]) -> tuple[str, str]:
    """Split the value of ``--rename`` at the first ``=`` that stands behind the name of a class.

    Names may hold ``=`` themselves. Spaces around the new name are left out, and around the old one
    unless the class has them.

    Raises:
        ConfigError: if it is not of the form ``OLD=NEW``.
    """
    parts = text.split("=")
    splits = [("=".join(parts[:i]), "=".join(parts[i:]).strip()) for i in range(1, len(parts))]
    splits = [(old if old in classes else old.strip(), new) for old, new in splits]
    splits = [(old, new) for old, new in splits if old and new]
    if not splits:
        raise ConfigError(f"'--rename {text}' must be OLD=NEW, such as --rename moon=crescent.")
    return next((split for split in splits if split[0] in classes), splits[0])


def check_kind(fitted: FittedClassifier, folder: ClassFolder, *, force: bool) -> list[str]:
    """Check that images to add are of the kind that a classifier was made from.

    Returns:
        The warning if they are not, but ``force`` allows it.

    Raises:
        DataError: if they are not.
    """
    from lgmnet.classifier.image_kind import find_mismatch
    from lgmnet.data.images.kind import MAX_SAMPLED_FILES

    mismatch = find_mismatch(fitted, folder, MAX_SAMPLED_FILES)
    if mismatch is None:
        return []
    if not force:
        raise DataError(
            f"Nothing was added from '{folder.folder}'. {mismatch} Forge a new classifier from all "
            "images, or add them all the same with --force."
        )
    return [mismatch]
