"""Command ``lgmnet predict``."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from lgmnet.cli.console import CommandResult, command, print_json, stdout
from lgmnet.cli.image_paths import find_images
from lgmnet.cli.options import DEFAULT_VALUE, Engine, refuse_model
from lgmnet.cli.prediction_rows import NONE_LABEL, RowFormat, keep_top, write_rows
from lgmnet.cli.predictions import predict_files, with_progress
from lgmnet.cli.scoring import score_to_folder
from lgmnet.cli.scoring_options import (
    PART_SIZE,
    ClusterAddress,
    EngineCluster,
    PartSize,
    ScoresOut,
    Shard,
    check_scoring_options,
    refuse_with_out,
)
from lgmnet.cli.sorting import (
    check_reserved_labels,
    check_sort_folder,
    mark_uncertain,
    sort_images,
    with_summary,
)
from lgmnet.errors import ConfigError
from lgmnet.io import read_file


@command(
    "Use",
    example="[bold]lgmnet predict symbols.safetensors new/*.png[/], or a folder: "
    "[bold]lgmnet predict symbols.safetensors scans --format csv > answers.csv[/]",
)
def predict(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Classifier file written by 'lgmnet forge', or by 'lgmnet export', which starts "
            "faster because it needs no PyTorch.",
            callback=refuse_model,
        ),
    ],
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH",
            help="Image files, folders with all their subfolders, patterns such as 'new/*.png', or "
            "- for file names on stdin.",
        ),
    ],
    row_format: Annotated[
        RowFormat, typer.Option("--format", help="Format of the output, one row per image.")
    ] = "table",
    none: Annotated[
        str | None,
        typer.Option(
            metavar="[RATE]",
            help=f"Give the label '{NONE_LABEL}' to images that fit no class, with the probability "
            "of that. RATE is the share of images of the classes that may be rejected by mistake, "
            "such as 0.05. Default: as many as images of no class are accepted.",
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(min=1, help="Show only the most probable classes, this many of them."),
    ] = None,
    min_probability: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Give the label 'uncertain' if no class is as probable as this."
        ),
    ] = 0.0,
    sort_into: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Copy each image to DIR/<label>/; DIR is new or empty."),
    ] = None,
    link: Annotated[
        bool, typer.Option("--link", help="With --sort-into: make links in place of copies.")
    ] = False,
    engine: Engine = "auto",
    out: ScoresOut = None,
    engine_cluster: EngineCluster = None,
    address: ClusterAddress = None,
    shard: Shard = None,
    part_size: PartSize = PART_SIZE,
    as_json: bool = False,
) -> CommandResult | None:
    """Classify images: the label, and the probability of every class.

    Rows are written while the images are read, so their number is not limited by memory. An image
    that cannot be read gets a row with the reason; the exit code is then 2, and all other images
    are classified. A last line on stderr counts the labels. Photos that are given to a classifier
    of drawings cause one warning, and so do drawings that are given to one of photos.

    With --out, rows go to a folder of Parquet files, for millions of images and many machines.
    """
    check_scoring_options(out, engine_cluster, address, shard, part_size)
    if as_json and row_format != "table":
        raise ConfigError(f"--json prints one JSON object; leave --format {row_format} out.")
    rate = False if none is None else parse_rate(none)
    if out is not None:
        others = {"--format": row_format != "table", "--top": top is not None, "--link": link}
        others |= {"--sort-into": sort_into is not None, "--min-probability": min_probability > 0}
        refuse_with_out(others)
        return score_to_folder(
            file,
            paths,
            out,
            engine=engine,
            none=rate,
            cluster=engine_cluster,
            address=address,
            shard=shard,
            part_size=part_size,
        )
    from lgmnet.scoring.loaded import load_content

    loaded = load_content(read_file(file), str(file), engine, rate)
    check_reserved_labels(
        loaded.classes, allow_none=none is not None, min_probability=min_probability
    )
    images, n_images = find_images(paths)
    if sort_into is not None:
        check_sort_folder(sort_into, loaded.classes)
    elif link:
        raise ConfigError("--link says how --sort-into sorts; give --sort-into DIR as well.")
    predictions = mark_uncertain(predict_files(loaded, images), min_probability)
    if top is not None:
        top = min(top, len(loaded.classes))
        predictions = keep_top(predictions, top)
    if sort_into is not None:
        predictions = sort_images(predictions, sort_into, link=link)
    if not as_json and (row_format == "table" or sort_into is not None):
        predictions = with_summary(predictions)
    if as_json or not stdout.is_terminal:  # Rows on a terminal show the progress themselves.
        predictions = with_progress(predictions, n_images)
    with closing(predictions):
        if as_json:
            rows = list(predictions)
            has_errors = any("error" in row for row in rows)
            print_json({"classifier": str(file), "classes": loaded.classes, "predictions": rows})
        else:
            has_errors = write_rows(
                predictions, loaded.classes, row_format, allow_none=none is not None, top=top
            )
    if has_errors:
        raise typer.Exit(2)
    return None


def parse_rate(text: str) -> float | bool:
    """Parse the value of ``--none``; True for its default.

    Raises:
        ConfigError: if it is no number.
    """
    if text == DEFAULT_VALUE:
        return True
    try:
        return float(text)
    except ValueError as error:
        raise ConfigError(
            f"'--none {text}' must be a rate such as 0.05, or stand alone."
        ) from error
