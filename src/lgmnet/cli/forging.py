"""``forge``, ``predict`` and ``quickstart``: a model at work."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Column, Table

from lgmnet.cli.terminal import (
    Json,
    app,
    complain,
    err,
    out,
    print_json,
    progress_bar,
    say,
)
from lgmnet.errors import ImageError

if TYPE_CHECKING:
    from lgmnet.forge import ForgedClassifier


@app.command(
    epilog="Example: [bold]lgmnet forge my_symbols -o symbols.safetensors[/], "
    "where my_symbols/star/1.png, my_symbols/moon/a.jpg, ..."
)
def forge(
    folder: Annotated[
        Path, typer.Argument(metavar="IMAGES_DIR", help="IMAGES_DIR/<class>/<image>.")
    ],
    output: Annotated[Path, typer.Option("--out", "-o", help="The classifier file to write.")],
    model: Annotated[str, typer.Option(help="The model that forges.")] = "omniglot",
    as_json: Json = False,
) -> None:
    """Make a classifier from a folder of images, in one forward pass; uneven shots are fine.

    A file that cannot be read is named and left out; the exit code is then 2, and the classifier is
    made of all the others.
    """
    from lgmnet.data.images import read_folder
    from lgmnet.files import check_writable
    from lgmnet.forge import forge as forge_from
    from lgmnet.hub import load_model

    check_writable(output)
    loaded = load_model(model)
    found = read_folder(folder, side=loaded.method.config.feature_shape[-1])
    started = time.perf_counter()
    forged = forge_from(loaded, found.images, found.labels, found.classes)
    milliseconds = 1000 * (time.perf_counter() - started)
    forged.save(output)
    for problem in found.problems:
        complain(f"left out: {problem}")
    if as_json:
        print_json(
            {
                "classifier": str(output),
                "model": forged.model,
                "classes": dict(zip(forged.classes, forged.shots, strict=True)),
                "milliseconds": round(milliseconds, 3),
                "left_out": [str(problem) for problem in found.problems],
            }
        )
    else:
        shots = ", ".join(
            f"{escape(name)} ({shot})"
            for name, shot in zip(forged.classes, forged.shots, strict=True)
        )
        say(
            f"{escape(str(output))}: {len(forged.classes)} classes, {sum(forged.shots)} images, "
            f"forged by {escape(forged.model)} in {milliseconds:.0f} ms\n{shots}"
        )
    if found.problems:
        raise typer.Exit(2)


@app.command(epilog="Example: [bold]lgmnet predict symbols.safetensors new/*.png --json[/]")
def predict(
    classifier: Annotated[Path, typer.Argument(help="A file that forge wrote.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files.")],
    as_json: Json = False,
) -> None:
    """Answer images with a forged classifier: label, and the probability of every class.

    An image that cannot be read gets a row that says why; the exit code is then 2, and all others
    are answered.
    """
    from lgmnet.forge import ForgedClassifier

    forged = ForgedClassifier.load(classifier)
    columns = (Column(name, overflow="fold") for name in ("image", "label", "probability"))
    table = Table(*columns, box=None)
    answers: list[dict[str, Any]] = []
    with progress_bar("images", len(images)) as progress:
        for answer in answer_files(forged, images):
            answers.append(answer)
            progress(1)
    if as_json:
        print_json(
            {"classifier": str(classifier), "classes": forged.classes, "predictions": answers}
        )
    else:
        for answer in answers:
            if "error" in answer:
                table.add_row(escape(answer["image"]), "", f"[red]{escape(answer['error'])}[/]")
            else:
                best = sorted(answer["probabilities"].items(), key=lambda item: -item[1])[:5]
                words = "  ".join(f"{escape(name)} {100 * p:.1f} %" for name, p in best)
                table.add_row(escape(answer["image"]), f"[bold]{escape(answer['label'])}[/]", words)
        out.print(table)
    if any("error" in answer for answer in answers):
        raise typer.Exit(2)


def answer_files(forged: ForgedClassifier, paths: list[Path]) -> Iterator[dict[str, Any]]:
    """An answer or an error for every file, in order, some hundred files in memory at a time."""
    import torch

    from lgmnet.data.images import read_drawing
    from lgmnet.forge import IMAGES_A_BATCH

    for start in range(0, len(paths), IMAGES_A_BATCH):
        some = paths[start : start + IMAGES_A_BATCH]
        read: list[Any] = []
        for path in some:
            try:
                read.append(read_drawing(path, forged.image_shape[-1]))
            except ImageError as problem:
                read.append(problem)
        good = [image for image in read if not isinstance(image, ImageError)]
        rows = iter(forged.predict_proba(torch.stack(good)).tolist() if good else [])
        for path, image in zip(some, read, strict=True):
            if isinstance(image, ImageError):
                yield {"image": str(path), "error": str(image)}
            else:
                probabilities = dict(zip(forged.classes, next(rows), strict=True))
                label = max(probabilities, key=lambda name: probabilities[name])
                yield {"image": str(path), "label": label, "probabilities": probabilities}


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
    from lgmnet.hub import load_model
    from lgmnet.quickstart import ASKED, LEARNERS, SHOTS
    from lgmnet.quickstart import quickstart as run_quickstart

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
