"""Command ``lgmnet reproduce``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from lgmnet.cli.console import CommandResult, command
from lgmnet.cli.options import Force


@command("Measure", example="[bold]lgmnet reproduce table2 --from-results[/]")
def reproduce(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="table1 to table3, table-plane, table-photos, table-criteria, table-domains, "
            "figure3 to figure5, figure-criteria, or figure-generation. table2-miniimagenet needs "
            "its data; table2-resnet12 needs a GPU.",
        ),
    ],
    from_results: Annotated[
        bool, typer.Option("--from-results", help="Only draw, from the stored results.")
    ] = False,
    results: Annotated[Path, typer.Option(help="Folder of the result files.")] = Path("results"),
    pages: Annotated[Path, typer.Option("--out", help="Folder of the pages and pictures.")] = Path(
        "docs/results"
    ),
    models: Annotated[
        Path, typer.Option(help="Folder of trained models; missing ones are trained into it.")
    ] = Path("outputs"),
    episodes: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Number of tasks per score, usually 2000; 1000 for table-plane, 500 for "
            "table-criteria and table-domains.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the tasks.")] = 0,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Number of training steps, for a quick trial.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Run only this row, and keep the results of the others; repeatable."),
    ] = None,
    train_seed: Annotated[
        list[int] | None,
        typer.Option(min=0, help="Run rows of tables with this training seed only; repeatable."),
    ] = None,
    model: Annotated[
        str, typer.Option(help="Model of figure-criteria: name or folder; 'photos' if left out.")
    ] = "",
    force: Force = False,
) -> CommandResult:
    """Run a table or figure of the papers, or draw it again from its stored results.

    Trained models are kept, and an interrupted run continues. Rows of a table that are finished are
    not run again; remove their file from the folder of results to do so. All rows of a table are
    scored on the same tasks. Several processes can work on one table at the same time.
    """
    from lgmnet.experiments.reproduce import reproduce as reproduce_by_name
    from lgmnet.experiments.results import RunOptions

    options = RunOptions(
        results=results,
        pages=pages,
        models=models,
        from_results=from_results,
        episodes=episodes,
        seed=seed,
        steps=steps,
        rows=tuple(only or ()),
        train_seeds=tuple(train_seed or ()),
        model=model,
        overwrite=force,
    )
    written = reproduce_by_name(name, options)
    paths = [str(path) for path in written]
    return CommandResult({"reproduced": name, "written": paths}, [escape(path) for path in paths])
