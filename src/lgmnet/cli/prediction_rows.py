"""Rows of ``lgmnet predict``: a table, CSV or lines of JSON."""

import csv
import sys
from collections.abc import Generator, Iterable, Sequence
from typing import Any, Literal

from rich.cells import cell_len
from rich.markup import escape

from lgmnet.cli.console import escape_controls, print_json, print_text, stdout

NONE_LABEL = "none of these"
RowFormat = Literal["table", "jsonl", "csv"]


def write_rows(
    predictions: Iterable[dict[str, Any]],
    classes: Sequence[str],
    row_format: RowFormat,
    *,
    allow_none: bool,
    top: int | None = None,
) -> bool:
    """Write one row per prediction to stdout.

    A prediction has "image" and either "label" and "probabilities", or "error". If ``allow_none``,
    `NONE_LABEL` may be among the labels, and "none_probability" is that of it, if it is known. With
    ``top``, CSV has columns of the most probable classes in place of one for each class.

    Returns:
        True if a prediction is an error.
    """
    has_errors = False
    labels = ("label", *([NONE_LABEL] if allow_none else []), *map(escape_controls, classes))
    width = max(map(cell_len, labels))
    if row_format == "csv":
        names = [*classes, NONE_LABEL] if allow_none else list(classes)
        if top is not None:
            names = [f"{name} {i}" for i in range(1, top + 1) for name in ("class", "probability")]
        write_csv_row(["image", "label", "probability", "error", *names])
    elif row_format == "table":
        print_text(f"{pad('label', width)}  probability  image")
    for prediction in predictions:
        has_errors |= "error" in prediction
        if row_format == "jsonl":
            print_json(prediction)
        elif row_format == "csv":
            cells = csv_row(prediction, classes if top is not None else names)
            if top is not None:
                cells = cells[:4] + top_cells(prediction, top)
            write_csv_row(cells)
        else:
            print_text(table_row(prediction, width))
    return has_errors


def write_csv_row(cells: Iterable[Any]) -> None:
    """Write a row of CSV to stdout; on a terminal, without control characters."""
    texts = map(str, cells)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(map(escape_controls, texts) if stdout.is_terminal else texts)


def csv_row(prediction: dict[str, Any], classes: Sequence[str]) -> list[Any]:
    """Return the cells of a row; those that a prediction lacks are empty."""
    probabilities = all_probabilities(prediction)
    label = prediction.get("label", "")
    return [
        prediction["image"],
        label,
        probabilities.get(label, max(prediction.get("probabilities", {}).values(), default="")),
        prediction.get("error", ""),
        *(probabilities.get(name, "") for name in classes),
    ]


def keep_top(
    predictions: Iterable[dict[str, Any]], count: int
) -> Generator[dict[str, Any], None, None]:
    """Yield predictions with the probabilities of the most probable classes only, largest first."""
    for prediction in predictions:
        if "probabilities" not in prediction:
            yield prediction
            continue
        best = sorted(prediction["probabilities"].items(), key=lambda item: -item[1])[:count]
        yield prediction | {"probabilities": dict(best)}


def top_cells(prediction: dict[str, Any], count: int) -> list[Any]:
    """Return name and probability of the most probable classes; empty where there are fewer."""
    cells = [cell for item in prediction.get("probabilities", {}).items() for cell in item]
    return cells + [""] * (2 * count - len(cells))


def all_probabilities(prediction: dict[str, Any]) -> dict[str, float]:
    """Return the probability of each class, and of none of them if it is known."""
    probabilities = dict(prediction.get("probabilities", {}))
    if "none_probability" in prediction:
        probabilities[NONE_LABEL] = prediction["none_probability"]
    return probabilities


def table_row(prediction: dict[str, Any], width: int) -> str:
    """Format a row in rich markup: label, probability, image, and the next likely classes.

    ``width`` is that of the column of labels, in terminal cells.
    """
    if "error" in prediction:
        return f"{pad('', width)}        error  [red]{escape(prediction['error'])}[/]"
    label = prediction["label"]
    best = sorted(prediction["probabilities"].items(), key=lambda item: -item[1])[:4]
    others = ", ".join(f"{escape(name)} {100 * p:.1f} %" for name, p in best if name != label)
    own = all_probabilities(prediction).get(label)
    if label not in (NONE_LABEL, *prediction["probabilities"]):
        own = best[0][1]  # The label says that this is too little.
    return (
        f"[bold]{escape(pad(label, width))}[/]  {'' if own is None else f'{100 * own:.1f} %':>11}  "
        f"{escape(prediction['image'])}  [dim]({others})[/]"
    )


def pad(name: str, width: int) -> str:
    """Escape the control characters of a name, and pad it to a width in terminal cells."""
    name = escape_controls(name)
    return name + " " * (width - cell_len(name))
