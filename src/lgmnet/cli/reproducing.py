"""``reproduce``: the paper's tables and figures, run anew or drawn anew from results."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from lgmnet import __version__
from lgmnet.cli.console import JsonOption, app, print_json, print_text, stderr
from lgmnet.errors import ConfigError, extra, unknown_name
from lgmnet.progress import track_progress
from lgmnet.versioning import git_commit

if TYPE_CHECKING:
    from lgmnet.experiments.tables import Entry, Table
    from lgmnet.training.config import Run


@app.command(
    rich_help_panel="Measure", epilog="Example: [bold]lgmnet reproduce table2 --from-results[/]"
)
def reproduce(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="table1 to table3, figure3 to figure5; table2-miniimagenet where you have the "
            "data, table2-resnet12 where you have a GPU.",
        ),
    ],
    from_results: Annotated[
        bool, typer.Option("--from-results", help="Only draw, from the results in their folder.")
    ] = False,
    results: Annotated[Path, typer.Option(help="Folder of the result files.")] = Path("results"),
    output: Annotated[Path, typer.Option("--out", help="Folder of the pages and pictures.")] = Path(
        "docs"
    ),
    models: Annotated[
        Path, typer.Option(help="Folder of trained models; what is missing is trained into it.")
    ] = Path("outputs"),
    episodes: Annotated[int, typer.Option(min=2, help="Tasks of each score.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Of the tasks.")] = 0,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Train for so many steps only, to try it out.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Run this row alone, and keep the others' results; repeatable."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a table or figure of the paper, or draw it anew from its results.

    Trained models are kept; a run that was stopped goes on where it was. All rows of a table are
    scored on the same tasks, also when they are run one by one.
    """
    from lgmnet.experiments.table_definitions import TABLES

    about = Asked(results, output, models, from_results, episodes, seed, steps, tuple(only or ()))
    if name in FIGURES:
        if only:
            raise ConfigError(f"{name} has no rows; leave --only away.")
        written = FIGURES[name](about)
    elif name in TABLES:
        if only and from_results:
            raise ConfigError("--from-results draws all rows that there are; leave --only away.")
        written = reproduce_table(name, about)
    else:
        raise unknown_name("table or figure", name, [*TABLES, *FIGURES])
    if as_json:
        print_json({"reproduced": name, "written": [str(path) for path in written]})
    else:
        print_text("\n".join(escape(str(path)) for path in written))


@dataclass(frozen=True)
class Asked:
    """What a person asked for."""

    results: Path
    output: Path
    models: Path
    from_results: bool
    episodes: int
    seed: int
    steps: int | None
    only: tuple[str, ...]


def reproduce_table(name: str, asked: Asked) -> list[Path]:
    """Train, score and draw a table, which may have a part for each data."""
    from lgmnet.experiments.results import read_result
    from lgmnet.experiments.table_definitions import TABLES
    from lgmnet.experiments.tables import page
    from lgmnet.io import check_writable, write_text

    tables = [shortened(table, asked.steps) for table in TABLES[name]()]
    known = list(dict.fromkeys(entry.name for table in tables for entry in table.entries))
    for row in asked.only:
        if row not in known:
            raise unknown_name(f"row of {name}", row, known)
    written = [asked.output / f"{table.name}.md" for table in tables]
    for table, drawn in zip(tables, written, strict=True):
        file = asked.results / f"{table.name}.json"
        check_writable(drawn)
        if not asked.from_results:
            check_writable(file)
            run_table(table, file, asked)
        write_text(drawn, page(read_result(file, table.name, "rows"), table))
    return written


def run_table(table: Table, file: Path, asked: Asked) -> None:
    """Train and score the rows of a table; each is written when it is done.

    Rows may be run by several processes at once; each adds its own to what is there by then.
    """
    from filelock import FileLock

    from lgmnet.experiments.tables import empty_result, measured, tasks_of, trained, with_row
    from lgmnet.io import write_text
    from lgmnet.model.sources import open_model_source

    empty = empty_result(table, episodes=asked.episodes, seed=asked.seed)
    if asked.only:
        rows_kept(file, empty)  # Refused now, not after hours of training.
    names = [entry.name for entry in table.entries]
    chosen = [entry for entry in table.entries if not asked.only or entry.name in asked.only]
    for number, entry in enumerate(chosen, 1):
        stderr.print(f"{table.name}, {number} of {len(chosen)}: {escape(entry.name)}")
        # By data, so that tables share what they have in common.
        method, cost = trained(entry, asked.models / "tables" / entry.run.data, train)
        through = partial(open_model_source, backbone=entry.run.backbone)
        with track_progress("episodes", tasks_of(table, entry, asked.episodes)) as progress:
            row = measured(
                table,
                entry,
                method,
                through,
                episodes=asked.episodes,
                seed=asked.seed,
                progress=progress.advance,
            )
        with FileLock(file.with_name(f".{file.name}.lock")):
            anew = number == 1 and not asked.only
            kept = empty if anew else rows_kept(file, empty)
            result = with_row(kept, row | {"training": cost} | origin(), names)
            write_text(file, json.dumps(result) + "\n")


def rows_kept(file: Path, empty: dict[str, Any]) -> dict[str, Any]:
    """The result with the rows that its file has by now, if they are of the same tasks.

    Raises:
        ConfigError: if they are of others.
    """
    from lgmnet.experiments.results import read_result

    if not file.is_file():
        return empty
    kept = read_result(file, empty["results"], "rows")
    same_tasks(kept, empty, file)
    return empty | {"rows": kept["rows"]}


def figure3(asked: Asked) -> list[Path]:
    """Tasks in the plane; they follow from the seed, so there are no results to keep."""
    from lgmnet.experiments.figures.plane_tasks import draw_tasks

    picture = asked.output / "figure3.png"
    draw_tasks(picture, asked.seed)
    return [picture]


def figure4(asked: Asked) -> list[Path]:
    """Decision boundaries of LGM-Net, direct training and random weights, and their scores."""
    from lgmnet.config import from_json
    from lgmnet.data.synthetic.plane import PLANES
    from lgmnet.episode import EpisodeShape
    from lgmnet.experiments.figures.boundaries import Family, draw_figure, look_at, page
    from lgmnet.experiments.recipes.plane import plane
    from lgmnet.experiments.tables import Entry, trained
    from lgmnet.io import check_writable, write_text

    def measured() -> dict[str, Any]:
        families, minutes = [], {}
        for family in PLANES:
            stderr.print(f"figure4: {family}")
            run = plane(family).for_steps(asked.steps)
            method, cost = trained(Entry(family, run), asked.models / "tables", train)
            with track_progress("episodes", 3 * asked.episodes) as progress:
                found = look_at(
                    family,
                    method,
                    EpisodeShape(3, 5, 15),
                    episodes=asked.episodes,
                    seed=asked.seed,
                    progress=progress.advance,
                )
            families.append(dataclasses.asdict(found))
            minutes[family] = cost["seconds"] / 60
        return {"families": families, "minutes": minutes}

    about = asked.output / "figure4.md"
    check_writable(about)
    picture, result = figure_result("figure4", asked, "families", measured)
    families = [from_json(Family, family) for family in result["families"]]
    draw_figure(families, picture)
    write_text(about, page(families, result["minutes"]))
    return [picture, about]


def figure5(asked: Asked) -> list[Path]:
    """Generated weights of several tasks."""
    from lgmnet.config import from_json
    from lgmnet.data.registry import open_source
    from lgmnet.episode import EpisodeShape
    from lgmnet.experiments.figures.generated_weights import Clouds, draw_clouds, look_at_weights
    from lgmnet.model.model import load_model

    def measured() -> dict[str, Any]:
        model = load_model("omniglot")
        source = open_source("omniglot", "vinyals/test")
        shape = EpisodeShape(5, 5, 1, TASKS_OF_FIGURE_5)
        clouds = look_at_weights(model.method, source, shape, seed=asked.seed)
        about = {"model": model.name, "data": source.name, "split": source.split}
        return about | {"clouds": dataclasses.asdict(clouds)}

    picture, result = figure_result("figure5", asked, "clouds", measured)
    draw_clouds(from_json(Clouds, result["clouds"]), picture)
    return [picture]


def figure_result(
    name: str, asked: Asked, part: str, measured: Callable[[], dict[str, Any]]
) -> tuple[Path, dict[str, Any]]:
    """Where to draw a figure, and what: measured and kept, or only read.

    Args:
        name: Of the figure.
        asked: Where from and where to.
        part: What of the result is drawn.
        measured: Gives the result.
    """
    from lgmnet.experiments.results import VERSION, read_result
    from lgmnet.io import check_writable, write_text

    picture, file = asked.output / f"{name}.png", asked.results / f"{name}.json"
    check_writable(picture)
    if not asked.from_results:
        check_writable(file)
        kept = {"results": name, "version": VERSION, **origin(), **measured()}
        write_text(file, json.dumps(kept) + "\n")
    return picture, read_result(file, name, part)


TASKS_OF_FIGURE_5 = 8
FIGURES: dict[str, Callable[[Asked], list[Path]]] = {
    "figure3": figure3,
    "figure4": figure4,
    "figure5": figure5,
}


def same_tasks(kept: dict[str, Any], result: dict[str, Any], file: Path) -> None:
    """Check that kept rows were scored on the tasks that further ones will be scored on.

    Raises:
        ConfigError: saying in what they differ.
    """
    for part in ("data", "split", "query", "episodes", "seed"):
        if kept[part] != result[part]:
            raise ConfigError(
                f"The rows in '{file}' were scored with {part} {kept[part]}, not {result[part]}; "
                "they cannot stand in one table. Ask for the same, or run all rows."
            )


def shortened(table: Table, steps: int | None) -> Table:
    """The table with runs of so many steps, if that is asked for."""

    def short(entry: Entry) -> Entry:
        weights = entry.weights and short(entry.weights)
        return dataclasses.replace(entry, run=entry.run.for_steps(steps), weights=weights)

    return dataclasses.replace(table, entries=tuple(map(short, table.entries)))


def train(run: Run, folder: Path, resume: bool) -> None:
    """Train a run into a folder."""
    with extra("train", "training runs"):
        from lgmnet.training.launch import launch, open_training_sources

    launch(run, *open_training_sources(run), folder, resume=resume)


def origin() -> dict[str, Any]:
    """What a result was made by and on."""
    return {"machine": machine(), "lgmnet": __version__, "commit": git_commit()}


def machine() -> str:
    """What measured: the processor and how many threads of it."""
    import torch

    model = platform.processor() or platform.machine()
    cpus = Path("/proc/cpuinfo")
    if cpus.is_file():
        names = [line for line in cpus.read_text().splitlines() if line.startswith("model name")]
        model = names[0].split(":", 1)[1].strip() if names else model
    device: Any = torch.cuda.get_device_name() if torch.cuda.is_available() else model
    return f"{device}, {torch.get_num_threads()} threads of {os.cpu_count()}"
