"""``reproduce``: the paper's tables and figures, run anew or drawn anew from results."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from lgmnet import __version__
from lgmnet.cli.judging import commit
from lgmnet.cli.terminal import Json, app, err, print_json, progress_bar, say
from lgmnet.errors import ConfigError, extra, unknown_name

if TYPE_CHECKING:
    from lgmnet.analysis.tables import Entry, Table
    from lgmnet.training.config import Run


@app.command(epilog="Example: [bold]lgmnet reproduce table2 --from-results[/]")
def reproduce(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="table1, table2, table3; a wrong name lists all.")
    ],
    from_results: Annotated[
        bool, typer.Option("--from-results", help="Only draw, from the results in their folder.")
    ] = False,
    results: Annotated[Path, typer.Option(help="Folder of the result files.")] = Path(
        "runs/results"
    ),
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
    as_json: Json = False,
) -> None:
    """Run a table or figure of the paper, or draw it anew from its results.

    Trained models are kept; a run that was stopped goes on where it was. All rows of a table are
    scored on the same tasks, also when they are run one by one.
    """
    from lgmnet.analysis.tables import empty_result, measured, page, read_result, trained, with_row
    from lgmnet.files import check_writable, write_text
    from lgmnet.recipes.sources import open_source
    from lgmnet.recipes.tables import TABLES

    if name not in TABLES:
        raise unknown_name("table or figure", name, TABLES)
    tables = [shortened(table, steps) for table in TABLES[name]()]
    known = [entry.name for table in tables for entry in table.entries]
    for row in only or ():
        if row not in known:
            raise unknown_name(f"row of {name}", row, known)
    written: list[Path] = []
    for table in tables:
        file, drawn = results / f"{table.name}.json", output / f"{table.name}.md"
        check_writable(drawn)
        if not from_results:
            check_writable(file)
            result = empty_result(table, episodes=episodes, seed=seed)
            if only and file.is_file():
                kept = read_result(file, table.name)
                same_tasks(kept, result, file)
                result |= {"rows": kept["rows"]}
            chosen = [entry for entry in table.entries if not only or entry.name in only]
            for number, entry in enumerate(chosen, 1):
                err.print(f"{table.name}, {number} of {len(chosen)}: {escape(entry.name)}")
                # By data, so that tables share what they have in common.
                method, cost = trained(entry, models / "tables" / table.data, train)
                with progress_bar("episodes", episodes * len(table.tasks)) as progress:
                    scored = measured(
                        table,
                        entry,
                        method,
                        open_source,
                        episodes=episodes,
                        seed=seed,
                        progress=progress,
                    )
                about = {"machine": machine(), "lgmnet": __version__, "commit": commit()}
                names = [entry.name for entry in table.entries]
                result = with_row(result, scored | {"training": cost} | about, names)
                write_text(file, json.dumps(result) + "\n")
        write_text(drawn, page(read_result(file, table.name)))
        written.append(drawn)
    if as_json:
        print_json({"reproduced": name, "written": [str(path) for path in written]})
    else:
        say("\n".join(escape(str(path)) for path in written))


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
    if steps is None:
        return table

    def short(entry: Entry) -> Entry:
        train = dataclasses.replace(entry.run.train, steps=steps)
        return dataclasses.replace(
            entry,
            run=dataclasses.replace(entry.run, train=train),
            weights=entry.weights and short(entry.weights),
        )

    return dataclasses.replace(table, entries=tuple(map(short, table.entries)))


def train(run: Run, folder: Path, resume: bool) -> None:
    """Train a run into a folder."""
    from lgmnet.recipes.sources import open_source

    with extra("train", "training runs"):
        from lgmnet.training.launch import launch

    shape = run.config.feature_shape
    val = None if run.val_split is None else open_source(run.data, run.val_split, shape)
    launch(run, open_source(run.data, run.split, shape), val, folder, resume=resume)


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
