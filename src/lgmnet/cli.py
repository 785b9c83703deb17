"""The command line. Results go to stdout, everything else to stderr; bad input ends with code 2."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from lgmnet import __version__
from lgmnet.errors import DataError, ImageError, UserError, extra, unknown_name

if TYPE_CHECKING:
    from lgmnet.forge import ForgedClassifier

app = typer.Typer(
    help="A handful of labelled images in, a working classifier out, in one forward pass.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
out = Console(emoji=False)
err = Console(stderr=True, emoji=False)

ModelName = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="A shipped model's name, or a folder that train wrote."),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else.")
]


def show_version(asked: bool) -> bool:
    """Print the version and end, if asked to."""
    if asked:
        out.print(f"lgmnet {__version__}", highlight=False)
        raise typer.Exit
    return asked


@app.callback()
def common(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=show_version, help="Print the version."),
    ] = False,
) -> None:
    """What stands before every command."""


def main() -> None:
    """Run the command line."""
    if isinstance(sys.stdout, TextIOWrapper):  # A name that it cannot spell must not end a command.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app()
    except UserError as error:
        complain(str(error))
        sys.exit(2)
    except SystemExit as end:
        if end.code == 130:  # So Typer ends after Ctrl-C.
            err.print("Stopped.")
        raise


def complain(sentence: str) -> None:
    """Print an error as a sentence."""
    err.print(f"[bold red]error:[/] {escape(sentence)}", highlight=False, soft_wrap=True)


def say(words: str) -> None:
    """Print lines on stdout, unbroken however narrow the terminal."""
    out.print(words, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print one JSON object on stdout."""
    sys.stdout.write(json.dumps(value) + "\n")


@contextmanager
def progress_bar(words: str, total: int) -> Iterator[Any]:
    """A bar on stderr; yields a function that is told how much was just done."""
    columns = (TextColumn(words), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("", total=total)
        yield lambda done: bar.advance(task, done)


@app.command(epilog="Example: [bold]lgmnet train omniglot --out runs/mine --set steps=2000[/]")
def train(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE", help="A published run, such as omniglot; a wrong name lists all."
        ),
    ],
    data: Annotated[str | None, typer.Option(help="Train on other data than the recipe's.")] = None,
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Folder of the model. Default: outputs/RECIPE.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps, as --set steps=N.")] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="Start from the weights of this model.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in the folder.")
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="A field of the recipe, field=value; repeatable."),
    ] = None,
    devices: Annotated[int, typer.Option(min=1, help="Processes on this machine.")] = 1,
    nodes: Annotated[
        int,
        typer.Option(min=1, help="Machines, when torchrun starts this on each of them."),
    ] = 1,
    accelerator: Annotated[str, typer.Option(help="cpu, cuda, mps, or auto.")] = "auto",
    as_json: Json = False,
) -> None:
    """Meta-train a method by a recipe; writes a model folder that every other command takes."""
    from lgmnet.configs import with_settings
    from lgmnet.recipes import RECIPES
    from lgmnet.recipes.sources import open_source, splits_for

    if recipe not in RECIPES:
        raise unknown_name("recipe", recipe, RECIPES)
    run = RECIPES[recipe]()
    if data is not None and data != run.data:
        train_split, val_split = splits_for(data)
        run = dataclasses.replace(run, data=data, split=train_split, val_split=val_split)
    if start is not None:
        run = dataclasses.replace(run, start=start)
    run = with_settings(
        run, [*(settings or []), *([f"steps={steps}"] if steps is not None else [])]
    )
    folder = out_dir or Path("outputs") / recipe
    sources = open_source(run.data, run.split), open_source(run.data, run.val_split)

    with extra("train", "training runs"):
        from lgmnet.training.launch import launch

    model = launch(
        run,
        *sources,
        folder,
        resume=resume,
        devices=devices,
        nodes=nodes,
        accelerator=accelerator,
    )
    if model is None:  # The first process speaks for all.
        return
    story = model.training
    if as_json:
        print_json(
            {
                "model": str(folder),
                "recipe": recipe,
                "data": story.data,
                "split": story.split,
                "split_hash": story.split_hash,
                "step": story.step,
                "val_task": story.val_task,
                "val_accuracy": story.val_accuracy,
                "val_ci95": story.val_ci95,
            }
        )
    else:
        say(
            f"{escape(str(folder))}: {story.val_accuracy:.2f} ± {story.val_ci95:.2f} % "
            f"on validation classes ({story.val_task}), weights of step {story.step:,}."
        )


@app.command(epilog="Example: [bold]lgmnet evaluate omniglot --way 20 --shot 1 --episodes 1000[/]")
def evaluate(
    model: ModelName,
    data: Annotated[str, typer.Option(help="omniglot, strokes or digits.")] = "omniglot",
    split: Annotated[
        str, typer.Option(help="train, val or test; of Omniglot also vinyals/test, lake/test, ...")
    ] = "test",
    way: Annotated[int, typer.Option(help="Classes of a task.")] = 5,
    shot: Annotated[int, typer.Option(help="Support images of a class.")] = 1,
    query: Annotated[int, typer.Option(help="Query images of a class.")] = 15,
    episodes: Annotated[int, typer.Option(help="Tasks to score.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the tasks.")] = 0,
    draws: Annotated[
        int, typer.Option(min=0, help="Average over this many random contexts; 0: their mean.")
    ] = 0,
    save: Annotated[
        Path | None, typer.Option(help="Write the result, every episode's score in it, as JSON.")
    ] = None,
    record: Annotated[
        bool, typer.Option("--record", help="Write the score into the model's card.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Score a model on fresh tasks: mean, 95 % interval, and the protocol beside them."""
    from lgmnet.data.source import check_features, share_classes
    from lgmnet.episode import EpisodeShape
    from lgmnet.evaluation import evaluate as score_on
    from lgmnet.files import check_writable, write_text
    from lgmnet.hub import load_model, model_folder, save_model
    from lgmnet.recipes.sources import full_split, open_source

    if save is not None:
        check_writable(save)
    trained = load_model(model)
    story = trained.training
    trained_on = story.split if story.data == data else None
    source = open_source(data, full_split(data, split, trained_on))
    for seen in story.splits_of(data):
        if share_classes(source, open_source(data, seen)):
            raise DataError(
                f"'{model}' was trained on the split '{seen}', which shares classes with "
                f"'{source.split}'; a score on classes seen in training says nothing."
            )
    check_features(source, trained.method.config.feature_shape)
    shape = EpisodeShape(way, shot, query)
    with progress_bar("episodes", episodes) as progress:
        score = score_on(
            trained.method,
            source,
            shape,
            episodes=episodes,
            seed=seed,
            draws=draws,
            progress=progress,
        )
    about = {"method": trained.method_name, "model": trained.name} | dataclasses.asdict(score)
    episode_scores = about.pop("scores")
    if save is not None:
        written = {**about, "lgmnet": __version__, "commit": commit(), "scores": episode_scores}
        write_text(save, json.dumps(written) + "\n")
    if record:
        save_model(trained.with_score(score), model_folder(model))
    if as_json:
        print_json(about)
    else:
        say(
            f"[bold]{score.accuracy:.2f} ± {score.ci95:.2f} %[/]  {score.task}, "
            f"{escape(trained.name)} "
            f"({trained.method_name})\n{score.protocol}; {score.data}, split {score.split} "
            f"(classes {score.split_hash}); {episodes} episodes of {query} queries a class, "
            f"seed {seed}; {score.seconds:.0f} s"
        )


def commit() -> str | None:
    """The commit of this code, with ``+`` where files differ from it; None outside git."""
    here = Path(__file__).parent
    git = ["git", "-C", str(here), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


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


@app.command(epilog="Example: [bold]lgmnet models --json[/]")
def models(as_json: Json = False) -> None:
    """List the models that ship with the package, with their scores."""
    from lgmnet.hub import load_model, shipped_models

    shipped = [load_model(name) for name in shipped_models()]
    if as_json:
        print_json(
            {
                "models": [
                    {
                        "name": model.name,
                        "method": model.method_name,
                        "feature_shape": model.method.config.feature_shape,
                        "training": dataclasses.asdict(model.training),
                        "scores": [
                            {k: v for k, v in dataclasses.asdict(score).items() if k != "scores"}
                            for score in model.scores
                        ],
                    }
                    for model in shipped
                ]
            }
        )
        return
    for model in shipped:
        shape = " x ".join(map(str, model.method.config.feature_shape))
        say(
            f"[bold]{model.name}[/]: {model.method_name}, images {shape}, trained on "
            f"{model.training.data} ({model.training.split})"
        )
        table = Table("task", "accuracy, %", "data", "split", "protocol", "episodes", box=None)
        for score in model.scores:
            table.add_row(
                score.task,
                f"{score.accuracy:.2f} ± {score.ci95:.2f}",
                score.data,
                f"{score.split} ({score.split_hash})",
                score.protocol,
                str(score.episodes),
            )
        out.print(table)


@app.command(
    epilog="Example: [bold]lgmnet publish outputs/omniglot -o src/lgmnet/models/omniglot[/]"
)
def publish(
    model: ModelName,
    output: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")],
    as_json: Json = False,
) -> None:
    """Copy a model with its weights in 16 bits, as the package ships it."""
    from lgmnet.hub import load_model, save_model

    save_model(dataclasses.replace(load_model(model), half=True), output)
    size = sum(path.stat().st_size for path in output.iterdir())
    if as_json:
        print_json({"model": str(output), "bytes": size})
    else:
        say(f"{escape(str(output))}: {size / 1e6:.1f} MB")


@app.command(epilog="Example: [bold]lgmnet download omniglot[/]")
def download(
    data: Annotated[str, typer.Argument(help="omniglot")],
    folder: Annotated[
        Path | None, typer.Option("--to", help="Data folder. Default: LGMNET_DATA or shared/data.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Fetch a data set over the network, once; no other command ever does."""
    from lgmnet.data import omniglot

    if data != "omniglot":
        raise unknown_name("data to download", data, ["omniglot"])
    with progress_bar("characters", omniglot.CLASSES) as progress:
        pack = omniglot.download(folder or omniglot.data_folders()[0], progress)
    if as_json:
        print_json({"data": data, "file": str(pack)})
    else:
        say(escape(str(pack)))


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
    from lgmnet.quickstart import LEARNERS, SHOTS
    from lgmnet.quickstart import quickstart as run_quickstart

    loaded = load_model(model)
    if not as_json:
        err.print(
            "10 classes of scikit-learn's digits, never seen in training; "
            f"{draws} draws for each number of shots.",
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


if __name__ == "__main__":
    main()
