"""Report on a classifier: errors, mislabelled support images, and the HTML page with pictures."""

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.classifier.cross_validation import LeaveOneOut, leave_one_out
from lgmnet.errors import UserError, require_extra, to_utf8
from lgmnet.evaluation.interval import wilson_interval
from lgmnet.io import check_destination, write_text
from lgmnet.model.model import Model
from lgmnet.warning_filter import ignore_warnings

MAX_SUSPECT_PROBABILITY = 0.1
"""A support sample is suspect if its own class gets less than this when the sample is left out."""
MAX_GALLERY_PICTURES = 60
MAX_CONFUSED_PAIRS = 20
PAGE_MARK = b'<meta name="generator" content="lgmnet report">'
"""Mark in the head of every page (see ``report.html.jinja``)."""
MAX_LABELLED_CLASSES = 40
"""Number of classes up to which the confusion matrix shows its counts, and larger names."""


@dataclass(frozen=True)
class Prediction:
    """Prediction for one labelled image."""

    source: str
    """File name of the image, or empty."""
    label: str
    predicted: str
    probability: float
    """Probability of the predicted class."""

    def as_json(self) -> dict[str, Any]:
        """Convert to plain numbers and texts."""
        return {
            "source": self.source,
            "label": self.label,
            "answered": self.predicted,
            "probability": self.probability,
        }


PictureSource = Callable[[Prediction], Image.Image | None]
"""Function that gives the picture of an image, or None if there is none."""


@dataclass(frozen=True)
class Report:
    """Confusion matrix of labelled images, errors, and suspect support images."""

    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    """Number of images by label (rows) and predicted class (columns)."""
    wrong: tuple[Prediction, ...]
    """Misclassified images, the most confident prediction first."""
    suspects: tuple[Prediction, ...] | None
    """Support images that may be mislabelled, the most suspect first; None if not searched."""

    @property
    def n_images(self) -> int:
        """Number of images."""
        return sum(map(sum, self.confusion))

    @property
    def n_correct(self) -> int:
        """Number of correctly classified images."""
        return sum(row[index] for index, row in enumerate(self.confusion))

    @property
    def accuracy(self) -> float:
        """Accuracy in percent."""
        return 100 * self.n_correct / self.n_images

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the accuracy, in percent (Wilson, 1927)."""
        return wilson_interval(self.n_correct / self.n_images, self.n_images)

    @property
    def per_class(self) -> list[tuple[str, int, int]]:
        """Name, number of images and number of correct ones, for each class that has images."""
        rows = enumerate(zip(self.classes, self.confusion, strict=True))
        return [(name, sum(row), row[index]) for index, (name, row) in rows if sum(row)]

    @property
    def confused(self) -> list[tuple[str, str, int]]:
        """Label, wrong prediction and number of images; the most frequent pair first."""
        pairs = [
            (label, predicted, count)
            for label, row in zip(self.classes, self.confusion, strict=True)
            for predicted, count in zip(self.classes, row, strict=True)
            if count and predicted != label
        ]
        return sorted(pairs, key=lambda pair: -pair[2])

    def as_json(self) -> dict[str, Any]:
        """Convert to plain numbers and texts."""
        return {
            "asked": self.n_images,
            "accuracy": self.accuracy,
            "interval": list(self.interval),
            "classes": list(self.classes),
            "confusion": [list(row) for row in self.confusion],
            "per_class": {name: [correct, images] for name, images, correct in self.per_class},
            "wrong": [prediction.as_json() for prediction in self.wrong],
            "suspects": None if self.suspects is None else [p.as_json() for p in self.suspects],
        }


def report_on(
    fitted: FittedClassifier,
    probabilities: Float[Tensor, "images classes"],
    labels: Sequence[str],
    sources: Sequence[str],
    model: Model | None = None,
) -> Report:
    """Compare predictions with labels, and search for mislabelled support images.

    ``labels`` are class names. The support is not searched if ``model`` is None, or the classifier
    was saved without it.

    Raises:
        UserError: if there are no images.
        ConfigError: if another model fitted the classifier, or a label is none of its classes.
    """
    if not len(labels):
        raise UserError("There are no images to report on: expected at least one.")
    way = len(fitted.classes)
    probabilities = probabilities.cpu()
    truth, predicted = torch.tensor([*map(fitted.class_index, labels)]), probabilities.argmax(1)
    counts = (truth * way + predicted).bincount(minlength=way * way).view(way, way)
    mistakes = (predicted != truth).nonzero()[:, 0]
    wrong = select_predictions(fitted.classes, probabilities, truth, sources, mistakes)
    return Report(
        fitted.classes,
        tuple(map(tuple, counts.tolist())),
        tuple(sorted(wrong, key=lambda prediction: -prediction.probability)),
        find_suspects(fitted, model) if model and fitted.support.has_samples else None,
    )


def find_suspects(fitted: FittedClassifier, model: Model) -> tuple[Prediction, ...]:
    """Find support samples that a classifier fitted to the others assigns to another class."""
    fitted.check_model(model)
    support = fitted.support
    validation = leave_one_out(model, support, len(fitted.classes), by=fitted.by)
    suspect = rank_suspects(validation)
    sources = [support.sources[i] or f"sample {i}" for i in validation.indices.tolist()]
    probabilities, labels = validation.probabilities, validation.labels
    return select_predictions(fitted.classes, probabilities, labels, sources, suspect)


def rank_suspects(validation: LeaveOneOut) -> Int[Tensor, " suspects"]:
    """Rank the rows of a validation whose own class is improbable, the most suspect first."""
    own = validation.probabilities.gather(1, validation.labels[:, None])[:, 0]
    order = own.argsort()
    return order[own[order] < MAX_SUSPECT_PROBABILITY]


def select_predictions(
    classes: Sequence[str],
    probabilities: Float[Tensor, "images classes"],
    labels: Int[Tensor, " images"],
    sources: Sequence[str],
    indices: Int[Tensor, " selected"],
) -> tuple[Prediction, ...]:
    """Select the predictions for the images with these indices."""
    confidences, predicted = (part.tolist() for part in probabilities.max(1))
    return tuple(
        Prediction(sources[i], classes[int(labels[i])], classes[predicted[i]], confidences[i])
        for i in indices.tolist()
    )


def write_page(
    report: Report,
    path: Path,
    title: str,
    image_of: PictureSource,
    support_image_of: PictureSource,
    *,
    overwrite: bool = False,
) -> None:
    """Write a report as one HTML page, with pictures of labelled images and of support images.

    Raises:
        UserError: if jinja2 or matplotlib is not installed, or as `check_page_destination` does.
    """
    check_page_destination(path, overwrite=overwrite)
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


def check_page_destination(path: Path, *, overwrite: bool = False) -> None:
    """Check that a page can be written, before its content is computed.

    Raises:
        UserError: if it cannot, or if a file that is no such page would be lost.
    """
    check_destination(path, "page of 'lgmnet report'", is_page, overwrite=overwrite)


def is_page(path: Path) -> bool:
    """Return True if a file is a page that `write_page` wrote."""
    try:
        with path.open("rb") as file:
            return PAGE_MARK in file.read(1000)
    except OSError:
        return False


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
    # Matplotlib takes text in UTF-8 only; file names may have other bytes.
    names = [to_utf8(name) for name in report.classes]
    axes.set_xticks(range(way), names, rotation=90, fontsize=font_size, parse_math=False)
    axes.set_yticks(range(way), names, fontsize=font_size, parse_math=False)
    axes.set(xlabel="predicted", ylabel="label")
    if way <= MAX_LABELLED_CLASSES:
        for row, column in counts.nonzero().tolist():
            count = str(int(counts[row, column]))
            color = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, count, ha="center", va="center", fontsize=8, color=color)
    stream = io.BytesIO()
    with ignore_warnings():  # The font may lack letters of class names.
        figure.savefig(stream, format="png")
    return Image.open(stream, formats=["PNG"]).convert("RGB")
