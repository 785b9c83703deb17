"""``evaluate``, ``compare``, ``audit``, ``demo`` and ``models``: what a model is worth."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Column, Table

from lgmnet import __version__
from lgmnet.cli.console import (
    Json,
    ModelName,
    app,
    out,
    print_json,
    progress_bar,
    say,
)
from lgmnet.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    pass

Data = Annotated[
    str,
    typer.Option(help="omniglot, cifar-fs, fc100, miniimagenet, strokes, digits, or a folder."),
]
Split = Annotated[
    str, typer.Option(help="train, val or test; of Omniglot also vinyals/test, lake/test, ...")
]
Way = Annotated[int, typer.Option(help="Classes of a task.")]
Shot = Annotated[int, typer.Option(help="Support images of a class.")]
Query = Annotated[int, typer.Option(help="Query images of a class.")]


@app.command(epilog="Example: [bold]lgmnet evaluate omniglot --way 20 --shot 1 --episodes 1000[/]")
def evaluate(
    model: ModelName,
    data: Data = "omniglot",
    split: Split = "test",
    way: Way = 5,
    shot: Shot = 1,
    query: Query = 15,
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
    from lgmnet.episode import EpisodeShape
    from lgmnet.evaluation import evaluate as score_on
    from lgmnet.io import check_writable, write_text
    from lgmnet.model.model import load_model, save_model
    from lgmnet.model.registry import model_folder
    from lgmnet.model.sources import open_unseen_source

    if save is not None:
        check_writable(save)
    trained = load_model(model)
    source = open_unseen_source([(model, trained)], data, split)
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
            f"seed {seed}; {score.seconds:.0f} s\n"
            f"probabilities are off by {score.calibration_error:.1f} points on average "
            "(expected calibration error)"
        )


@app.command(
    epilog="Example: [bold]lgmnet calibrate outputs/mine --on strokes:val --data omniglot[/]"
)
def calibrate(
    model: ModelName,
    on: Annotated[
        str,
        typer.Option(
            metavar="DATA:SPLIT", help="Choose thresholds on these classes, never trained on."
        ),
    ],
    data: Data = "omniglot",
    split: Split = "test",
    way: Way = 5,
    shots: Annotated[list[int] | None, typer.Option("--shot", help="Repeatable.")] = None,
    query: Query = 15,
    episodes: Annotated[int, typer.Option(min=2, help="Tasks of each shot.")] = 500,
    seed: Annotated[int, typer.Option(min=0, help="Of the tasks.")] = 0,
    as_json: Json = False,
) -> None:
    """Choose when an image is of none of the classes, and write that into the model and its card.

    The threshold errs equally often either way on the classes of --on; how often it errs is then
    measured on those of --data. Default: at 1 and 5 shots.
    """
    from lgmnet.episode import EpisodeShape
    from lgmnet.evaluation.rejection import calibrate_rejection
    from lgmnet.model.model import load_model, save_model
    from lgmnet.model.registry import model_folder
    from lgmnet.model.sources import open_unseen_source

    trained = load_model(model)
    chosen_data, colon, chosen_split = on.partition(":")
    if not (colon and chosen_data and chosen_split):
        raise ConfigError(f"'--on {on}' must be DATA:SPLIT, such as strokes:val.")
    named = [(model, trained)]
    chosen_on = open_unseen_source(named, chosen_data, chosen_split)
    measured_on = open_unseen_source(named, data, split)
    found = []
    shots = shots or [1, 5]
    with progress_bar("episodes", 2 * episodes * len(shots)) as progress:
        for shot in shots:
            one = calibrate_rejection(
                trained.method,
                chosen_on,
                measured_on,
                EpisodeShape(way, shot, query),
                episodes=episodes,
                seed=seed,
                progress=progress,
            )
            trained = trained.with_rejection(one)
            found.append(one)
    save_model(trained, model_folder(model))
    if as_json:
        print_json({"model": trained.name, "rejections": [dataclasses.asdict(r) for r in found]})
    for r in [] if as_json else found:
        say(
            f"{r.way}-way {r.shot}-shot: threshold {r.threshold:.3f}, chosen on {r.chosen_on}; on "
            f"{r.measured_on}, {r.false_accept:.1f} % of what is of no class is taken for one, and "
            f"{r.false_reject:.1f} % of what is of a class is rejected"
        )


@app.command(epilog="Example: [bold]lgmnet compare omniglot outputs/proto --way 20 --shot 1[/]")
def compare(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL MODEL...", help="Shipped models' names, or folders that train wrote."
        ),
    ],
    data: Data = "omniglot",
    split: Split = "test",
    way: Way = 5,
    shot: Shot = 1,
    query: Query = 15,
    episodes: Annotated[int, typer.Option(help="Tasks to score.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the tasks.")] = 0,
    save: Annotated[
        Path | None, typer.Option(help="Write the rows, every episode's score in them, as JSON.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Score models on the very same tasks, each with its paired difference to the first."""
    from lgmnet.episode import EpisodeShape
    from lgmnet.evaluation.compare import compare as compare_on
    from lgmnet.io import check_writable, write_text
    from lgmnet.model.model import load_model
    from lgmnet.model.sources import open_unseen_source

    if len(models) < 2 or len(set(models)) < len(models):
        raise ConfigError(
            f"compare needs at least two different models, but came: {', '.join(models)}."
        )
    if save is not None:
        check_writable(save)
    trained = {name: load_model(name) for name in models}
    source = open_unseen_source(list(trained.items()), data, split)
    with progress_bar("episodes", episodes * len(models)) as progress:
        rows = compare_on(
            {name: model.method for name, model in trained.items()},
            source,
            EpisodeShape(way, shot, query),
            episodes=episodes,
            seed=seed,
            progress=lambda name, done: progress(done, escape(name)),
        )
    first = rows[0].score
    about = {
        "data": first.data,
        "split": first.split,
        "split_hash": first.split_hash,
        "way": way,
        "shot": shot,
        "query": query,
        "episodes": episodes,
        "seed": seed,
    }
    lines: list[dict[str, Any]] = [
        {
            "model": row.name,
            "method": trained[row.name].method_name,
            "protocol": row.score.protocol,
            "accuracy": row.score.accuracy,
            "ci95": row.score.ci95,
            "difference": row.difference,
            "difference_ci95": row.difference_ci95,
            "adapt_ms": row.adapt_ms,
            "query_ms": row.query_ms,
            "parameters": row.parameters,
        }
        for row in rows
    ]
    if save is not None:
        scored = [
            {**line, "scores": row.score.scores} for line, row in zip(lines, rows, strict=True)
        ]
        kept = {**about, "lgmnet": __version__, "commit": commit(), "rows": scored}
        write_text(save, json.dumps(kept) + "\n")
    if as_json:
        print_json({**about, "rows": lines})
        return
    table = Table(
        "model",
        "method",
        *(
            Column(words, justify="right")
            for words in ("accuracy, %", "to the first", "adapt, ms", "query, ms", "parameters")
        ),
        "protocol",
    )
    for row in rows:
        table.add_row(
            escape(row.name),
            trained[row.name].method_name,
            f"{row.score.accuracy:.2f} ± {row.score.ci95:.2f}",
            "" if row is rows[0] else f"{row.difference:+.2f} ± {row.difference_ci95:.2f}",
            f"{row.adapt_ms:.1f}",
            f"{row.query_ms:.1f}",
            f"{row.parameters:,}",
            row.score.protocol,
        )
    out.print(table)
    say(
        f"{first.task}, {first.data}, split {first.split} (classes {first.split_hash}); the same "
        f"{episodes} episodes of {query} queries a class for all, seed {seed}"
    )


@app.command(epilog="Example: [bold]lgmnet audit omniglot --data omniglot[/]")
def audit(
    model: ModelName,
    data: Data = "omniglot",
    split: Split = "test",
    way: Way = 5,
    shot: Shot = 1,
    query: Query = 5,
    episodes: Annotated[
        int, typer.Option(min=16, help="Tasks of each check that measures an accuracy.")
    ] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Of the tasks and the noise.")] = 0,
    as_json: Json = False,
) -> None:
    """Try to catch a score that cannot be trusted; ends with code 1 if something is found."""
    from lgmnet.episode import EpisodeShape
    from lgmnet.evaluation.audit import audit as audit_on
    from lgmnet.model.model import load_model
    from lgmnet.model.sources import open_training_splits, open_unseen_source

    trained = load_model(model)
    source = open_unseen_source([(model, trained)], data, split, may_overlap=True)
    with progress_bar("checks", 6) as progress:
        found = audit_on(
            trained.method,
            source,
            trained_on=open_training_splits(
                trained.training.training_splits, data, source.feature_shape, trained.backbone
            ),
            shape=EpisodeShape(way, shot, query),
            episodes=episodes,
            seed=seed,
            progress=lambda name: progress(1, name),
        )
    if as_json:
        print_json(
            {
                "model": trained.name,
                "data": source.name,
                "split": source.split,
                "split_hash": source.split_hash,
                "passed": found.passed,
                "checks": [dataclasses.asdict(check) for check in found.checks],
            }
        )
    else:
        for check in found.checks:
            mark = "[green]passed[/]" if check.passed else "[bold red]failed[/]"
            say(f"{mark}  [bold]{check.name}[/]: {escape(check.reason)}")
        failed = sum(not check.passed for check in found.checks)
        verdict = f"{failed} of {len(found.checks)} checks failed." if failed else "nothing found."
        say(
            f"{escape(trained.name)} on {source.name}, split {source.split} "
            f"(classes {source.split_hash}): {verdict}"
        )
    if not found.passed:
        raise typer.Exit(1)


@app.command(epilog="Example: [bold]lgmnet demo leak[/]")
def demo(
    name: Annotated[str, typer.Argument(metavar="NAME", help="leak.")],
    steps: Annotated[int, typer.Option(min=1, help="Training steps for each protocol.")] = 300,
    episodes: Annotated[int, typer.Option(min=2, help="Tasks for each score.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of everything.")] = 0,
    as_json: Json = False,
) -> None:
    """Show the leak in the reference code's test protocol: pure noise, scored far above chance."""
    from lgmnet.experiments.leak import PROTOCOLS, WAY, demonstrate, perfect_angle_detector

    if name != "leak":
        raise unknown_name("demo", name, ["leak"])
    with progress_bar("training steps", steps * len(PROTOCOLS)) as progress:
        leaks = demonstrate(steps=steps, episodes=episodes, seed=seed, progress=progress)
    chance, angles = 100 / WAY, perfect_angle_detector()
    if as_json:
        print_json(
            {
                "way": WAY,
                "shot": 1,
                "steps": steps,
                "episodes": episodes,
                "seed": seed,
                "chance": chance,
                "perfect_angle_detector": angles,
                "lgmnet": __version__,
                "commit": commit(),
                "rows": [dataclasses.asdict(leak) for leak in leaks],
            }
        )
        return
    table = Table("test images", Column("accuracy on pure noise, %", justify="right"))
    for leak in leaks:
        table.add_row(leak.protocol, f"{leak.accuracy:.1f} ± {leak.ci95:.1f}")
    out.print(table)
    say(
        f"{WAY}-way 1-shot, {episodes} episodes, seed {seed}. No image here has a class: guessing "
        f"gives {chance:.0f} %.\nWho sees nothing but the angle drawn for a query's class scores "
        f"1 - (4/5)^5 = {angles:.1f} %."
    )


def commit() -> str | None:
    """The commit of this code, with ``+`` where files differ from it; None outside git."""
    here = Path(__file__).parent
    git = ["git", "-C", str(here), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


@app.command(epilog="Example: [bold]lgmnet models --json[/]")
def models(as_json: Json = False) -> None:
    """List the models that ship with the package, with their scores."""
    from lgmnet.model.model import load_model
    from lgmnet.model.registry import shipped_models

    shipped = [load_model(name) for name in shipped_models()]
    if as_json:
        print_json(
            {
                "models": [
                    {
                        "name": model.name,
                        "method": model.method_name,
                        "feature_shape": model.method.inputs.shape,
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
        shape = " x ".join(map(str, model.method.inputs.shape))
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
