"""Command ``lgmnet demo``."""

import dataclasses
from typing import Annotated

import typer
from rich.table import Column, Table

from lgmnet import __version__
from lgmnet.cli.console import CommandResult, command
from lgmnet.errors import unknown_name_error
from lgmnet.versioning import git_commit


@command("Measure", example="[bold]lgmnet demo leak[/]")
def demo(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the demonstration: leak.")],
    steps: Annotated[int, typer.Option(min=1, help="Number of training steps per protocol.")] = 300,
    episodes: Annotated[int, typer.Option(min=2, help="Number of tasks per score.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random draws.")] = 0,
) -> CommandResult:
    """Show the leak in the reference code's test protocol: noise scores far above chance."""
    from lgmnet.experiments.leak import LEAK_WAY, demonstrate_leak, perfect_angle_detector

    if name != "leak":
        raise unknown_name_error("demo", name, ["leak"])
    leaks = demonstrate_leak(steps=steps, episodes=episodes, seed=seed)
    chance, detector_accuracy = 100 / LEAK_WAY, perfect_angle_detector()
    table = Table("test images", Column("accuracy on pure noise, %", justify="right"))
    for leak in leaks:
        table.add_row(leak.protocol, f"{leak.accuracy:.1f} ± {leak.ci95:.1f}")
    footer = [
        f"{LEAK_WAY}-way 1-shot, {episodes} episodes, seed {seed}. No image here has a class: "
        f"guessing gives {chance:.0f} %.",
        f"A model that sees only the angle drawn for the class of "
        f"a query scores 1 - (4/5)^5 = {detector_accuracy:.1f} %.",
    ]
    settings = {"way": LEAK_WAY, "shot": 1, "steps": steps, "episodes": episodes, "seed": seed}
    expected = {"chance": chance, "perfect_angle_detector": detector_accuracy}
    version = {"lgmnet": __version__, "commit": git_commit()}
    rows = [dataclasses.asdict(leak) for leak in leaks]
    return CommandResult({**settings, **expected, **version, "rows": rows}, [table, *footer])
