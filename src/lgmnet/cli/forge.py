"""Command ``lgmnet forge``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from lgmnet import __version__
from lgmnet.cli.classifiers import (
    check_classifier_name,
    choose_model,
    format_classes,
    format_judged_by,
    judged_by_hint,
    read_images,
    report_unreadable,
    report_unused,
    shots_by_class,
)
from lgmnet.cli.console import CommandResult, command, print_notice
from lgmnet.cli.estimates import estimate_accuracy
from lgmnet.cli.options import Engine, Force
from lgmnet.criterion import Criterion
from lgmnet.errors import ConfigError


@command(
    "Make",
    example="[bold]lgmnet forge my_symbols -o symbols.safetensors[/], "
    "where my_symbols/star/1.png, my_symbols/moon/a.jpg, ...; or "
    "[bold]lgmnet forge --labels labels.csv -o symbols.safetensors[/]",
)
def forge(
    output: Annotated[Path, typer.Option("--out", "-o", help="Classifier file to write.")],
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="IMAGES_DIR",
            help="Folder of labelled images, as IMAGES_DIR/<class>/<image>; with --labels, the "
            "folder that the table's files are relative to. Default then: that of the table.",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            metavar="CSV",
            help="Table with the columns file and label, in place of class folders.",
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            help="Model that makes the classifier; auto stands for the shipped one that suits the "
            "images."
        ),
    ] = "auto",
    by: Annotated[
        Criterion,
        typer.Option(
            help="What tells the classes apart, which one image of each cannot show: things, looks "
            "(colour, texture, place, ...), or auto for whatever the images show."
        ),
    ] = "auto",
    no_support: Annotated[
        bool,
        typer.Option(
            "--no-support",
            help="Leave the images and their names out of the file. It predicts the same, but "
            "cannot be edited, nor its answers explained.",
        ),
    ] = False,
    engine: Engine = "auto",
    force: Force = False,
) -> CommandResult:
    """Make a classifier from a folder or a table of images in one forward pass.

    Classes may have different numbers of images. The default model depends on whether the images
    are photos or ink on paper; the command prints its choice. The classifier keeps their kind, so
    that later commands can warn of images of another kind.

    If a class has two images or more, the command also estimates the accuracy by leave-one-out,
    with a 95 % interval: every image is classified by a classifier made without it and its copies.
    The same image in two classes is named. From classifiers made of parts of the images it also
    estimates the accuracy with twice as many. A file that cannot be read is named and left out; the
    exit code is then 2, and the classifier is made from all other files.
    """
    from lgmnet.classifier.file import CLASSIFIER_KIND
    from lgmnet.classifier.fit import embed_support, fit_support
    from lgmnet.classifier.support import make_support
    from lgmnet.classifier.thumbnails import add_thumbnails
    from lgmnet.data.images.folder import scan_class_folder
    from lgmnet.data.images.label_table import read_label_table
    from lgmnet.engines.runtimes import check_engine
    from lgmnet.model.model import load_model
    from lgmnet.tensor_file import check_tensor_destination

    check_tensor_destination(output, CLASSIFIER_KIND, overwrite=force)
    check_classifier_name(output, force=force)
    check_engine(engine)  # Before any image is read.
    if labels is not None:
        class_folder = read_label_table(labels, folder)
    elif folder is not None:
        class_folder = scan_class_folder(folder)
    else:
        raise ConfigError("Nothing to do: give IMAGES_DIR, or a table with --labels CSV.")
    unused = report_unused(class_folder)
    chosen, notes = choose_model(class_folder, model)
    loaded = load_model(chosen, engine=engine)
    loaded.inference_method_by(by)  # Raises before any image is read.
    images = read_images(class_folder, loaded)
    started = time.perf_counter()
    support = make_support(loaded, images.images, images.labels, images.sources)
    notes |= {"made": f"lgmnet {__version__}, lgmnet forge"}
    embedded = embed_support(loaded, support)
    fitted = fit_support(loaded, support, images.classes, notes, by=by, embedded=embedded)
    milliseconds = 1000 * (time.perf_counter() - started)
    if fitted.backbone and not no_support:
        fitted = add_thumbnails(fitted, images.sources, images.images)
    fitted.save(output, overwrite=force, support=not no_support)
    estimates, lines = estimate_accuracy(fitted, loaded, embedded)
    unreadable = report_unreadable(images.problems)
    if hint := judged_by_hint(fitted):
        print_notice(hint)
    size = " x ".join(map(str, fitted.inputs.shape[1:]))
    classes = shots_by_class(fitted)
    data: dict[str, Any] = {"classifier": str(output), "model": fitted.model, "classes": classes}
    data |= {"milliseconds": round(milliseconds, 3), "unreadable": unreadable, "unused": unused}
    data |= {"judged_by": fitted.judged_by()}
    text = (
        f"{escape(str(output))}: {len(fitted.classes)} classes, {sum(fitted.shots)} images "
        f"(read at {size}), forged by {escape(fitted.model)} in {milliseconds:.0f} ms"
    )
    return CommandResult(
        data | estimates,
        [text, format_classes(fitted), *format_judged_by(fitted), *lines],
        exit_code=2 if unreadable else 0,
    )
