"""Report on a classifier as one HTML page that contains its pictures."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from lgmnet.classifier.report import Prediction, Report
from lgmnet.errors import require_extra
from lgmnet.io import write_text

MAX_GALLERY_PICTURES = 60
MAX_CONFUSED_PAIRS = 20
MAX_LABELLED_CLASSES = 40
"""Number of classes up to which the confusion matrix shows its counts, and larger names."""

PictureSource = Callable[[Prediction], Image.Image | None]
"""Function that gives the picture of an image, or None if there is none."""


def write_page(
    report: Report, path: Path, title: str, image_of: PictureSource, support_image_of: PictureSource
) -> None:
    """Write a report as one HTML page, with pictures of labelled images and of support images.

    Raises:
        UserError: if jinja2 or matplotlib is not installed, or the page cannot be written.
    """
    with require_extra("quickstart", "report pages"):
        import jinja2
    template = jinja2.Template(
        Path(__file__).with_name("report.html.jinja").read_text(encoding="utf-8"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    page = template.render(
        title=title,
        report=report,
        confused=report.confused[:MAX_CONFUSED_PAIRS],
        confusion=to_data_url(draw_confusion(report)),
        wrong=make_gallery(report.wrong, image_of),
        suspects=make_gallery(report.suspects or (), support_image_of),
    )
    write_text(path, page)


def make_gallery(predictions: Sequence[Prediction], picture_of: PictureSource) -> dict[str, Any]:
    """Collect the pictures of the first predictions, and the number of all others."""
    pictures = []
    for prediction in predictions[:MAX_GALLERY_PICTURES]:
        picture = picture_of(prediction)
        pictures.append((prediction, None if picture is None else to_data_url(picture)))
    return {"pictures": pictures, "n_others": len(predictions) - len(pictures)}


def to_data_url(picture: Image.Image) -> str:
    """Encode a picture as a URL that contains it."""
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def draw_confusion(report: Report) -> Image.Image:
    """Draw the confusion matrix; the shade of a cell is its share of the row."""
    with require_extra("quickstart", "pictures"):
        from matplotlib.figure import Figure
    counts = torch.tensor(report.confusion, dtype=torch.float64)
    shares = counts / counts.sum(1, keepdim=True).clamp_min(1)
    way = len(report.classes)
    side = min(max(3.5, 0.45 * way + 1.5), 20)
    figure = Figure(figsize=(side, side), dpi=100, layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
    font_size = 9 if way <= MAX_LABELLED_CLASSES else 5
    axes.set_xticks(range(way), report.classes, rotation=90, fontsize=font_size, parse_math=False)
    axes.set_yticks(range(way), report.classes, fontsize=font_size, parse_math=False)
    axes.set(xlabel="predicted", ylabel="label")
    if way <= MAX_LABELLED_CLASSES:
        for row, column in counts.nonzero().tolist():
            count = str(int(counts[row, column]))
            color = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, count, ha="center", va="center", fontsize=8, color=color)
    stream = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):  # The font may lack letters of class names.
        figure.savefig(stream, format="png")
    return Image.open(stream).convert("RGB")
