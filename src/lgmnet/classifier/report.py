"""How good a classifier is on labelled images: what it confuses, and what may be mislabelled."""

from __future__ import annotations

import base64
import html
import io
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from lgmnet.classifier.classifier import FittedClassifier, leave_one_out
from lgmnet.errors import UserError, extra
from lgmnet.io import write_text
from lgmnet.model.model import Model

SUSPECT = 0.1
"""A support sample is suspect if, left out, it is given less than this for its own label."""
MOST_SHOWN = 60
"""Images of a kind that a page shows."""


@dataclass(frozen=True)
class Answer:
    """One image and what was answered."""

    source: str
    """Its file, or empty."""
    label: str
    """What it is said to be."""
    answered: str
    probability: float
    """Of what was answered."""


@dataclass(frozen=True)
class Report:
    """Answers to labelled images, counted."""

    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    """How often images of each class (rows) were answered with each class (columns)."""
    wrong: tuple[Answer, ...]
    """Images answered wrongly, the surest first."""
    suspects: tuple[Answer, ...] | None
    """Support images that may be mislabelled, the most suspect first; None if it was not asked."""

    @property
    def asked(self) -> int:
        """How many images were asked about."""
        return sum(map(sum, self.confusion))

    @property
    def right(self) -> int:
        """How many of them were answered rightly."""
        return sum(row[place] for place, row in enumerate(self.confusion))

    @property
    def accuracy(self) -> float:
        """In percent."""
        return 100 * self.right / self.asked

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the accuracy, in percent (Wilson, 1927)."""
        n, part, z = self.asked, self.right / self.asked, 1.959964
        middle, half = (
            part + z * z / (2 * n),
            z * math.sqrt(part * (1 - part) / n + z * z / (4 * n * n)),
        )
        low, high = ((middle + sign * half) / (1 + z * z / n) for sign in (-1, 1))
        return 100 * low, 100 * high

    @property
    def per_class(self) -> list[tuple[str, int, int]]:
        """Of each class that was asked about: its name, the images asked, and those right."""
        rows = enumerate(zip(self.classes, self.confusion, strict=True))
        return [(name, sum(row), row[place]) for place, (name, row) in rows if sum(row)]

    @property
    def confused(self) -> list[tuple[str, str, int]]:
        """Pairs of a class and what it was taken for, with counts; the most frequent first."""
        pairs = [
            (name, other, count)
            for place, (name, row) in enumerate(zip(self.classes, self.confusion, strict=True))
            for column, (other, count) in enumerate(zip(self.classes, row, strict=True))
            if count and column != place
        ]
        return sorted(pairs, key=lambda pair: -pair[2])

    def as_json(self) -> dict[str, Any]:
        """All of it, of plain numbers and texts."""
        return {
            "asked": self.asked,
            "accuracy": self.accuracy,
            "interval": list(self.interval),
            "classes": list(self.classes),
            "confusion": [list(row) for row in self.confusion],
            "per_class": {name: [right, asked] for name, asked, right in self.per_class},
            "wrong": [vars(answer) for answer in self.wrong],
            "suspects": None if self.suspects is None else [vars(a) for a in self.suspects],
        }


def report_on(
    fitted: FittedClassifier,
    probabilities: Float[Tensor, "images classes"],
    labels: Sequence[str],
    sources: Sequence[str],
    model: Model | None = None,
) -> Report:
    """Count the answers to labelled images, and look for mislabelled support images.

    Args:
        fitted: The classifier.
        probabilities: What it answered.
        labels: The class of each image.
        sources: Where each image came from.
        model: The model that forged it, by which the support is looked through; None leaves that.

    Raises:
        UserError: if there are no images.
        ConfigError: if another model forged it, or a label is none of its classes.
    """
    if not len(labels):
        raise UserError("There are no images to report on: expected at least one.")
    way = len(fitted.classes)
    truth, answered = torch.tensor([*map(fitted.place_of, labels)]), probabilities.argmax(1).cpu()
    counts = (truth * way + answered).bincount(minlength=way * way).view(way, way)
    wrong = answers(fitted, probabilities, truth, sources, (answered != truth).nonzero()[:, 0])
    return Report(
        fitted.classes,
        tuple(map(tuple, counts.tolist())),
        tuple(sorted(wrong, key=lambda answer: -answer.probability)),
        None if model is None else suspects(fitted, model),
    )


def suspects(fitted: FittedClassifier, model: Model) -> tuple[Answer, ...]:
    """Support samples that a classifier made of the others takes for another class."""
    fitted.check_model(model)
    support = fitted.support
    asked, probabilities = leave_one_out(model, support, len(fitted.classes), max(fitted.shots))
    labels = support.labels[asked]
    own = probabilities.gather(1, labels[:, None])[:, 0]
    order = own.argsort()
    found = order[own[order] < SUSPECT]
    sources = [support.sources[i] or f"sample {i}" for i in asked.tolist()]
    return tuple(answers(fitted, probabilities, labels, sources, found))


def answers(
    fitted: FittedClassifier,
    probabilities: Float[Tensor, "images classes"],
    labels: Int[Tensor, " images"],
    sources: Sequence[str],
    places: Int[Tensor, " some"],
) -> list[Answer]:
    """The answers to the images at these places."""
    best = probabilities.max(1)
    return [
        Answer(
            sources[i],
            fitted.classes[int(labels[i])],
            fitted.classes[int(best.indices[i])],
            float(best.values[i]),
        )
        for i in places.tolist()
    ]


PictureOf = Callable[[Answer], Image.Image | None]


def write_page(report: Report, path: Path, title: str, asked: PictureOf, shown: PictureOf) -> None:
    """Write a report as one HTML page with its pictures in it.

    Args:
        report: What to show.
        path: The page.
        title: Its heading.
        asked: Gives the picture of an image that was asked about, or None where there is none.
        shown: The same of a support image.
    """
    low, high = report.interval
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{right} of {asked}</td>"
        f"<td>{100 * right / asked:.1f} %</td></tr>"
        for name, asked, right in report.per_class
    )
    pairs = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(other)}</td><td>{count}</td></tr>"
        for name, other, count in report.confused[:20]
    )
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        f"<p><b>{report.accuracy:.1f} %</b> of {report.asked:,} images answered rightly "
        f"(95 % interval {low:.1f} to {high:.1f} %).</p>",
        "<h2>What was answered</h2>",
        f'<img alt="Confusion matrix" src="{as_data(confusion_picture(report))}">',
        f"<h2>Each class</h2><table><tr><th>class<th>right<th>accuracy</tr>{rows}</table>",
    ]
    if pairs:
        parts.append(
            f"<h2>Most confused</h2><table><tr><th>is<th>was taken for<th>times</tr>{pairs}</table>"
        )
    if report.suspects:
        parts.append(
            "<h2>Perhaps mislabelled</h2><p>Shown as examples of one class, but taken for another "
            "by a classifier that has not seen them:</p>"
            + gallery(report.suspects, "shown as", shown)
        )
    if report.wrong:
        parts.append("<h2>Answered wrongly</h2>" + gallery(report.wrong, "is", asked))
    body = "\n".join(parts)
    write_text(
        path,
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{html.escape(title)}'
        f"</title>\n<style>{STYLE}</style>\n<body>{body}</body></html>\n",
    )


STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;"
    "color:#1f2328}img{max-width:100%}table{border-collapse:collapse}"
    "td,th{text-align:left;padding:.2rem 1.5rem .2rem 0;border-bottom:1px solid #d1d9e0}"
    "figure{display:inline-block;margin:0 1rem 1rem 0;width:9rem;vertical-align:top}"
    "figure img{height:6rem}figcaption{font-size:.8rem;overflow-wrap:anywhere}"
)


def gallery(found: Sequence[Answer], words: str, picture_of: PictureOf) -> str:
    """Images with what they are, what was answered, and where they are."""
    figures = []
    for answer in found[:MOST_SHOWN]:
        picture = picture_of(answer)
        shown = "" if picture is None else f'<img alt="" src="{as_data(picture)}">'
        figures.append(
            f"<figure>{shown}<figcaption>{words} <b>{html.escape(answer.label)}</b>, answered "
            f"<b>{html.escape(answer.answered)}</b> ({100 * answer.probability:.0f} %)<br>"
            f"{html.escape(answer.source)}</figcaption></figure>"
        )
    more = len(found) - MOST_SHOWN
    return "".join(figures) + (f"<p>And {more:,} more.</p>" if more > 0 else "")


def as_data(picture: Image.Image) -> str:
    """A picture as an address that holds the picture itself."""
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def confusion_picture(report: Report) -> Image.Image:
    """The confusion matrix, rows in parts of their sums.

    Raises:
        UserError: if matplotlib is not installed.
    """
    with extra("quickstart", "pictures"):
        from matplotlib.figure import Figure
    counts = torch.tensor(report.confusion, dtype=torch.float64)
    parts = counts / counts.sum(1, keepdim=True).clamp_min(1)
    way = len(report.classes)
    side = min(max(3.5, 0.45 * way + 1.5), 20)
    figure = Figure(figsize=(side, side), dpi=100, layout="constrained")
    axes = figure.subplots()
    axes.imshow(parts.numpy(), cmap="Blues", vmin=0, vmax=1)
    small = 9 if way <= 40 else 5
    axes.set_xticks(range(way), report.classes, rotation=90, fontsize=small, parse_math=False)
    axes.set_yticks(range(way), report.classes, fontsize=small, parse_math=False)
    axes.set(xlabel="answered", ylabel="is")
    if way <= 40:
        for row, column in counts.nonzero().tolist():
            axes.text(
                column,
                row,
                f"{int(counts[row, column])}",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if parts[row, column] > 0.5 else "black",
            )
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of names in letters that the font lacks.
        figure.savefig(stream, format="png")
    return Image.open(stream).convert("RGB")
