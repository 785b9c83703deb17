"""Command ``lgmnet edit``."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from lgmnet.cli.classifiers import (
    format_classes,
    load_original_model,
    read_images,
    shots_by_class,
)
from lgmnet.cli.console import CommandResult, command
from lgmnet.cli.options import ClassifierPath, Force, OriginalModel
from lgmnet.errors import ConfigError, DataError


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
    force: Force = False,
) -> CommandResult:
    """Add, remove and rename classes of a classifier, in this order, without training.

    Every option may be given several times. If any of the changes fails, or an image cannot be
    read, no file is written.
    """
    from lgmnet.classifier.classifier import FittedClassifier
    from lgmnet.classifier.edit import add_samples, remove_class, rename_class
    from lgmnet.classifier.file import CLASSIFIER_KIND
    from lgmnet.data.images.folder import scan_class_folder
    from lgmnet.tensor_file import check_tensor_destination

    if not (add or remove or rename):
        raise ConfigError("Nothing to do: give --add DIR, --remove CLASS or --rename OLD=NEW.")
    target = output or file
    fitted = FittedClassifier.load(file)
    check_tensor_destination(target, CLASSIFIER_KIND, overwrite=force)
    problems: list[str] = []
    started = time.perf_counter()
    if add or remove:
        original_model = load_original_model(fitted, model)
        for folder in add or ():
            images = read_images(scan_class_folder(folder, min_classes=1), original_model)
            problems += map(str, images.problems)
            labels = [images.classes[label] for label in images.labels]
            fitted = add_samples(fitted, original_model, images.images, labels, images.sources)
        for name in remove or ():
            fitted = remove_class(fitted, original_model, name)
    for names in rename or ():
        old, equals, new = names.partition("=")
        if not (old and equals and new):
            raise ConfigError(
                f"'--rename {names}' must be OLD=NEW, such as --rename moon=crescent."
            )
        fitted = rename_class(fitted, old, new)
    milliseconds = 1000 * (time.perf_counter() - started)
    if problems:
        raise DataError(
            f"Nothing was written, because {len(problems)} of the images to add cannot be read. "
            f"Remove or replace them: {' '.join(problems)}"
        )
    fitted.save(target, overwrite=force)
    data: dict[str, Any] = {"classifier": str(target), "classes": shots_by_class(fitted)}
    data |= {"milliseconds": round(milliseconds, 3)}
    text = (
        f"{escape(str(target))}: {len(fitted.classes)} classes, {sum(fitted.shots)} images, "
        f"edited in {milliseconds:.0f} ms"
    )
    return CommandResult(data, [text, format_classes(fitted)])
