"""Options of ``lgmnet predict`` for very many images."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

import typer

from lgmnet.errors import ConfigError

PART_SIZE = 1000
PANEL = "Very many images"

ScoresOut = Annotated[
    str | None,
    typer.Option(
        "--out",
        metavar="FOLDER",
        help="Write the scores to this folder of Parquet files, local or such as "
        "s3://bucket/scores, and not to stdout. PATH may then be an address such as "
        "'s3://bucket/photos/**', and FILE an exported classifier. The same command goes on where "
        "it was stopped.",
        rich_help_panel=PANEL,
    ),
]
EngineCluster = Annotated[
    Literal["ray"] | None,
    typer.Option(help="With --out: score on a cluster.", rich_help_panel=PANEL),
]
ClusterAddress = Annotated[
    str | None,
    typer.Option(
        help="Address of the cluster; auto is the one that runs on this machine. Default: start "
        "Ray on this machine alone.",
        rich_help_panel=PANEL,
    ),
]
Shard = Annotated[
    str | None,
    typer.Option(
        metavar="I/N",
        help="With --out: score the I-th of N shares of the parts, from 0/N to (N-1)/N, as one "
        "of N jobs of a scheduler such as Slurm.",
        rich_help_panel=PANEL,
    ),
]
PartSize = Annotated[
    int,
    typer.Option(
        min=1, help="With --out: number of images in each Parquet file.", rich_help_panel=PANEL
    ),
]


def check_scoring_options(
    out: str | None, cluster: str | None, address: str | None, shard: str | None, part_size: int
) -> None:
    """Check that options for very many images are given with those that they need.

    Raises:
        ConfigError: naming the options.
    """
    needing = {
        "--engine-cluster": cluster is not None,
        "--address": address is not None,
        "--shard": shard is not None,
        "--part-size": part_size != PART_SIZE,
    }
    if out is None and any(needing.values()):
        option = next(name for name, is_given in needing.items() if is_given)
        raise ConfigError(f"{option} needs a folder for the scores; give --out FOLDER as well.")
    if address is not None and cluster is None:
        raise ConfigError("--address is that of a cluster; give --engine-cluster ray as well.")
    if cluster is not None and shard is not None:
        raise ConfigError("A cluster deals out the parts by itself; leave --shard out.")


def refuse_with_out(options: Mapping[str, bool]) -> None:
    """Refuse the options for rows on stdout.

    Args:
        options: For each option, True if it is given.

    Raises:
        ConfigError: naming those that are given.
    """
    if given := [name for name, is_given in options.items() if is_given]:
        raise ConfigError(
            f"--out writes the probabilities of all classes; leave {' and '.join(given)} out."
        )


def parse_shard(text: str | None) -> tuple[int, int]:
    """Parse the value of ``--shard``; the only one of one share if there is none.

    >>> parse_shard("2/8")
    (2, 8)

    Raises:
        ConfigError: if it is no share.
    """
    if text is None:
        return 0, 1
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not int(match[1]) < int(match[2]):
        raise ConfigError(
            f"'--shard {text}' must be I/N with I from 0 to N - 1, such as 0/8, 1/8 and so on to "
            "7/8 for eight jobs."
        )
    return int(match[1]), int(match[2])
