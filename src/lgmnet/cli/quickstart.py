"""Command ``lgmnet quickstart``."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from lgmnet.cli.console import CommandResult, command, print_notice
from lgmnet.cli.options import Force


@command("Make", example="[bold]lgmnet quickstart --out outputs/quickstart[/]")
def quickstart(
    folder: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the picture and the classifier.")
    ] = Path("outputs/quickstart"),
    draws: Annotated[
        int, typer.Option(min=2, help="Number of random choices of support drawings.")
    ] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random choices.")] = 0,
    model: Annotated[str, typer.Option(help="Model that makes the classifiers.")] = "omniglot",
    force: Force = False,
    as_json: bool = False,
) -> CommandResult:
    """Make classifiers of digits from 1 and 5 drawings per class, and measure their accuracy."""
    from lgmnet.experiments.quickstart import LEARNERS, N_QUERIES, SHOTS
    from lgmnet.experiments.quickstart import quickstart as run_quickstart
    from lgmnet.model.model import load_model

    loaded = load_model(model)
    if not as_json:
        print_notice(
            "10 classes of scikit-learn's digits, never used in training; "
            f"{draws} draws per number of shots, each tested on {N_QUERIES} of the other drawings."
        )
    outcome = run_quickstart(loaded, folder, draws=draws, seed=seed, overwrite=force)
    table = Table(
        "10-way, accuracy in % (95 % interval)", *(f"{shot}-shot" for shot in SHOTS), box=None
    )
    for learner in LEARNERS:
        rows = [row for row in outcome.rows if row.learner == learner]
        table.add_row(learner, *(f"{row.accuracy:.1f} ± {row.ci95:.1f}" for row in rows))
    times = [f"{outcome.fit_ms[shot]:.1f} ms" for shot in SHOTS]
    table.add_row("median time to forge", *times)
    picture, classifier = str(outcome.picture), str(outcome.classifier)
    data = {"rows": [dataclasses.asdict(row) for row in outcome.rows], "fit_ms": outcome.fit_ms}
    advice = f"(try: lgmnet predict {escape(classifier)} IMAGE...)"
    return CommandResult(
        data | {"picture": picture, "classifier": classifier},
        [table, f"picture: {escape(picture)}", f"classifier: {escape(classifier)}  {advice}"],
    )
