"""``figure``: the paper's figures, drawn anew."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from lgmnet import __version__
from lgmnet.cli.console import JsonOption, app, print_json, print_text, stdout
from lgmnet.errors import ConfigError, unknown_name
from lgmnet.progress import track_progress
from lgmnet.versioning import git_commit

FIGURES = ("boundaries",)


@app.command(
    rich_help_panel="Measure",
    epilog="Example: [bold]lgmnet figure boundaries --out boundaries.png[/]",
)
def figure(
    name: Annotated[str, typer.Argument(metavar="NAME", help="boundaries.")],
    output: Annotated[Path | None, typer.Option("--out", "-o", help="The PNG to write.")] = None,
    models: Annotated[
        Path, typer.Option(help="Folder with a trained model for each family.")
    ] = Path("outputs"),
    shot: Annotated[int, typer.Option(min=1, help="Support points of a class.")] = 5,
    episodes: Annotated[int, typer.Option(min=2, help="Unseen tasks to score.")] = 500,
    seed: Annotated[int, typer.Option(min=0, help="Of the tasks.")] = 0,
    save: Annotated[Path | None, typer.Option(help="Write the scores as JSON.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Draw what random weights, direct training and LGM-Net make of tasks in the plane.

    LGM-Net must have been trained on each family: lgmnet train blobs, lines, spirals and circles.
    """
    from lgmnet.data.synthetic.plane import PLANES
    from lgmnet.episode import EpisodeShape
    from lgmnet.experiments.figures.boundaries import draw_figure, look_at
    from lgmnet.io import check_writable, write_text
    from lgmnet.model.model import load_model

    if name not in FIGURES:
        raise unknown_name("figure", name, FIGURES)
    path = output or Path(f"{name}.png")
    for written in (path, *([save] if save else [])):
        check_writable(written)
    missing = [family for family in PLANES if not (models / family).is_dir()]
    if missing:
        raise ConfigError(
            f"'{models}' has no model of {', '.join(missing)}; train one with "
            f"'lgmnet train {missing[0]} --out {models / missing[0]}'."
        )
    families = []
    trained = {family: load_model(models / family).method for family in PLANES}
    with track_progress("episodes", episodes * 3 * len(PLANES)) as progress:
        shape = EpisodeShape(3, shot, 15)
        for family, method in trained.items():
            families.append(
                look_at(
                    family, method, shape, episodes=episodes, seed=seed, progress=progress.advance
                )
            )
    draw_figure(families, path)
    lines = [
        {
            "family": found.name,
            "way": found.way,
            "shot": found.shot,
            **dataclasses.asdict(line),
        }
        for found in families
        for line in found.lines
    ]
    about = {"figure": name, "episodes": episodes, "seed": seed, "rows": lines}
    if save is not None:
        kept = {**about, "lgmnet": __version__, "commit": git_commit()}
        write_text(save, json.dumps(kept, indent=1) + "\n")
    if as_json:
        print_json({**about, "picture": str(path)})
        return
    table = Table(
        "family", "method", *(Column(c, justify="right") for c in ("accuracy, %", "to LGM-Net"))
    )
    for found in families:
        for line in found.lines:
            table.add_row(
                found.name,
                line.method,
                f"{line.accuracy:.1f} ± {line.ci95:.1f}",
                ""
                if line is found.lines[0]
                else f"{line.difference:+.1f} ± {line.difference_ci95:.1f}",
            )
    stdout.print(table)
    print_text(f"{escape(str(path))}: 3-way {shot}-shot, the same {episodes} unseen tasks for all")
