"""``forge``, ``edit``, ``inspect`` and ``quickstart``: making classifiers, and changing them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from lgmnet import __version__
from lgmnet.cli.console import (
    Json,
    app,
    complain,
    err,
    out,
    print_json,
    progress_bar,
    say,
)
from lgmnet.errors import ConfigError, ImageError, UserError

if TYPE_CHECKING:
    from lgmnet.classifier.classifier import FittedClassifier
    from lgmnet.data.images.read import LabelledImages
    from lgmnet.model.model import Model

ClassifierPath = Annotated[Path, typer.Argument(metavar="FILE", help="A file that forge wrote.")]
ImagesDir = Annotated[
    Path, typer.Argument(metavar="IMAGES_DIR", help="IMAGES_DIR/<class>/<image>.")
]
ForgerName = Annotated[
    str | None, typer.Option(help="The model that forged it, where that is not shipped.")
]


@app.command(
    epilog="Example: [bold]lgmnet forge my_symbols -o symbols.safetensors[/], "
    "where my_symbols/star/1.png, my_symbols/moon/a.jpg, ..."
)
def forge(
    folder: ImagesDir,
    output: Annotated[Path, typer.Option("--out", "-o", help="The classifier file to write.")],
    model: Annotated[
        str | None,
        typer.Option(help="The model that forges. Default: the shipped one that suits the images."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a classifier from a folder of images, in one forward pass; uneven shots are fine.

    Whether they are photos or ink on paper is seen by looking at them, and said.

    Where a class has two images or more, each is also asked of a classifier that has not seen it:
    an estimate of how good the classifier is. A file that cannot be read is named and left out; the
    exit code is then 2, and the classifier is made of all the others.
    """
    from lgmnet.classifier.classifier import fit_classifier
    from lgmnet.io import check_writable
    from lgmnet.model.model import load_model

    check_writable(output)
    loaded = load_model(model or model_for(folder))
    found = read_images(folder, loaded)
    started = time.perf_counter()
    fitted = fit_classifier(
        loaded, found.images, found.labels, found.classes, sources=found.sources
    )
    milliseconds = 1000 * (time.perf_counter() - started)
    fitted = dataclasses.replace(fitted, notes={"made": f"lgmnet {__version__}, lgmnet forge"})
    fitted.save(output)
    estimate = estimated(loaded, fitted)
    unreadable = report_unreadable(found.problems)
    if as_json:
        print_json(
            {
                "classifier": str(output),
                "model": fitted.model,
                "classes": shots_by_class(fitted),
                "milliseconds": round(milliseconds, 3),
                "unreadable": unreadable,
                "leave_one_out": estimate,
            }
        )
    else:
        size = " x ".join(map(str, fitted.inputs.shape[1:]))
        say(
            f"{escape(str(output))}: {len(fitted.classes)} classes, {sum(fitted.shots)} images "
            f"(read at {size}), forged by {escape(fitted.model)} in {milliseconds:.0f} ms\n"
            f"{class_list(fitted)}\n{in_words(estimate)}"
        )
    if unreadable:
        raise typer.Exit(2)


@app.command(
    epilog="Example: [bold]lgmnet edit symbols.safetensors --add more_symbols "
    "--rename moon=crescent[/]"
)
def edit(
    file: ClassifierPath,
    add: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Add DIR/<class>/<image>, of classes known or new."),
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option(metavar="CLASS", help="Forget a class and its images.")
    ] = None,
    rename: Annotated[
        list[str] | None, typer.Option(metavar="OLD=NEW", help="Give a class another name.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write here, and leave FILE as it is.")
    ] = None,
    model: ForgerName = None,
    as_json: Json = False,
) -> None:
    """Add, remove and rename classes of a classifier, in one forward pass; in this order.

    Every option may be given several times. Nothing is written if anything is wrong.
    """
    from lgmnet.classifier.classifier import FittedClassifier
    from lgmnet.classifier.edit import add_samples, remove_class, rename_class
    from lgmnet.io import check_writable

    if not (add or remove or rename):
        raise ConfigError("Nothing to do: give --add DIR, --remove CLASS or --rename OLD=NEW.")
    written = output or file
    fitted = FittedClassifier.load(file)
    check_writable(written)
    problems = []
    started = time.perf_counter()
    if add or remove:
        inference_method = load_fitting_model(fitted, model)
        for folder in add or ():
            found = read_images(folder, inference_method, least=1)
            problems += found.problems
            labels = [found.classes[label] for label in found.labels]
            fitted = add_samples(fitted, inference_method, found.images, labels, found.sources)
        for name in remove or ():
            fitted = remove_class(fitted, inference_method, name)
    for words in rename or ():
        old, equals, new = words.partition("=")
        if not (old and equals and new):
            raise ConfigError(
                f"'--rename {words}' must be OLD=NEW, such as --rename moon=crescent."
            )
        fitted = rename_class(fitted, old, new)
    milliseconds = 1000 * (time.perf_counter() - started)
    fitted.save(written)
    unreadable = report_unreadable(problems)
    if as_json:
        print_json(
            {
                "classifier": str(written),
                "classes": shots_by_class(fitted),
                "milliseconds": round(milliseconds, 3),
                "unreadable": unreadable,
            }
        )
    else:
        say(
            f"{escape(str(written))}: {len(fitted.classes)} classes, {sum(fitted.shots)} images, "
            f"edited in {milliseconds:.0f} ms\n{class_list(fitted)}"
        )
    if unreadable:
        raise typer.Exit(2)


@app.command(epilog="Example: [bold]lgmnet inspect symbols.safetensors[/]")
def inspect(file: ClassifierPath, as_json: Json = False) -> None:
    """Say what a classifier file holds: classes, shots, model, how it was made, size."""
    from lgmnet.classifier.classifier import FittedClassifier

    fitted = FittedClassifier.load(file)
    size = file.stat().st_size
    about = {
        "classifier": str(file),
        "bytes": size,
        "classes": shots_by_class(fitted),
        "samples": list(fitted.inputs.shape),
        "model": fitted.model,
        "fingerprint": fitted.fingerprint,
        "method": fitted.method,
        "notes": fitted.notes,
    }
    if as_json:
        print_json(about)
        return
    table = Table("class", "shots", box=None)
    for name, shot in shots_by_class(fitted).items():
        table.add_row(escape(name), str(shot))
    out.print(table)
    made = fitted.notes.get("made", "in Python")
    say(
        f"{len(fitted.classes)} classes, {sum(fitted.shots)} samples of shape "
        f"{list(fitted.inputs.shape)}, {size / 1e6:.2f} MB\n"
        f"forged by {escape(fitted.model)} (weights {fitted.fingerprint}), {fitted.method}; "
        f"made by {escape(made)}"
    )


def model_for(folder: Path) -> str:
    """The shipped model that suits the images of a folder; which and why is said on stderr.

    Raises:
        DataError: if the folder cannot serve.
    """
    from lgmnet.data.images.kind import detect_drawings
    from lgmnet.data.images.read import list_class_images

    files = [path for of_class in list_class_images(folder).values() for path in of_class]
    if not files:
        return "omniglot"  # Reading them will name what is missing.
    drawn, why = detect_drawings(files)
    name = "omniglot" if drawn else "photos"
    words = f"{why}. So the model is '{name}'; --model overrides."
    err.print(escape(words), highlight=False, soft_wrap=True)
    return name


def read_images(folder: Path, model: Model, least: int = 2) -> LabelledImages:
    """The images of a folder as a model knows them, with progress.

    Raises:
        ConfigError: if the model takes vectors.
        DataError: if the folder cannot serve.
    """
    from lgmnet.data.images.read import list_class_images, read_folder

    shape = model.inputs.shape
    if len(shape) != 3:
        raise ConfigError(f"'{model.name}' takes vectors, not images.")
    files = sum(map(len, list_class_images(folder, least).values()))
    with progress_bar("images", files) as progress:
        return read_folder(folder, shape, least=least, progress=progress)


def load_fitting_model(fitted: FittedClassifier, model: str | None) -> Model:
    """The model that forged a classifier, by the name given or by its own.

    Raises:
        ConfigError: if it is not found, or is another.
    """
    from lgmnet.model.model import load_model

    try:
        found = load_model(model or fitted.model)
    except UserError as error:
        hint = "" if model else " Give the folder of the model that forged it with --model."
        raise ConfigError(f"{error}{hint}") from error
    fitted.check_model(found)
    return found


def class_list(fitted: FittedClassifier) -> str:
    """The classes of a classifier with their shots, as a line."""
    return ", ".join(f"{escape(name)} ({shot})" for name, shot in shots_by_class(fitted).items())


def shots_by_class(fitted: FittedClassifier) -> dict[str, int]:
    """How many samples each class was shown with."""
    return dict(zip(fitted.classes, fitted.shots, strict=True))


def report_unreadable(problems: Iterable[ImageError]) -> list[str]:
    """Files that could not be read, each named on stderr; whoever has any ends with code 2."""
    sentences = [str(problem) for problem in problems]
    for sentence in sentences:
        complain(f"left out: {sentence}")
    return sentences


def estimated(model: Model, fitted: FittedClassifier) -> dict[str, Any] | None:
    """How many images are answered rightly by classifiers that have not seen them, if any can."""
    from lgmnet.classifier.cross_validation import leave_one_out

    result = leave_one_out(model, fitted.support, len(fitted.classes))
    return None if result is None else {"asked": result.n_samples, "right": result.n_correct}


def in_words(estimate: dict[str, Any] | None) -> str:
    """An estimate as a line."""
    if estimate is None:
        return "No estimate of its accuracy: that takes a class with two images or more."
    part = 100 * estimate["right"] / estimate["asked"]
    return (
        f"Left out one at a time, {estimate['right']} of {estimate['asked']} images are answered "
        f"rightly ({part:.0f} %)."
    )


@app.command(epilog="Example: [bold]lgmnet quickstart --out outputs/quickstart[/]")
def quickstart(
    folder: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the picture and the classifier.")
    ] = Path("outputs/quickstart"),
    draws: Annotated[int, typer.Option(min=2, help="Random choices of support drawings.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Of the choices.")] = 0,
    model: Annotated[str, typer.Option(help="The model that forges.")] = "omniglot",
    as_json: Json = False,
) -> None:
    """Forge classifiers of digits from 1 and 5 drawings each, and see how good they are."""
    from lgmnet.experiments.quickstart import ASKED, LEARNERS, SHOTS
    from lgmnet.experiments.quickstart import quickstart as run_quickstart
    from lgmnet.model.model import load_model

    loaded = load_model(model)
    if not as_json:
        err.print(
            "10 classes of scikit-learn's digits, never seen in training; "
            f"{draws} draws for each number of shots, {ASKED} of the others asked in each.",
            highlight=False,
        )
    with progress_bar("draws", len(SHOTS) * draws) as progress:
        outcome = run_quickstart(loaded, folder, draws=draws, seed=seed, progress=progress)
    if as_json:
        print_json(
            {
                "rows": [dataclasses.asdict(row) for row in outcome.rows],
                "forging_ms": outcome.forging_ms,
                "picture": str(outcome.picture),
                "classifier": str(outcome.classifier),
            }
        )
        return
    table = Table(
        "10-way, accuracy in % (95 % interval)", *(f"{shot}-shot" for shot in SHOTS), box=None
    )
    for learner in LEARNERS:
        cells = [f"{r.accuracy:.1f} ± {r.ci95:.1f}" for r in outcome.rows if r.learner == learner]
        table.add_row(learner, *cells)
    times = [f"{outcome.forging_ms[shot]:.1f} ms" for shot in SHOTS]
    table.add_row("forging took (median)", *times)
    out.print(table)
    classifier = escape(str(outcome.classifier))
    say(
        f"picture: {escape(str(outcome.picture))}\nclassifier: {classifier}  "
        f"(try: lgmnet predict {classifier} IMAGE...)"
    )
