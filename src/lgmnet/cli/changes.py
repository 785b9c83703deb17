"""Changed answers between two classifiers, for ``lgmnet report --against``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.markup import escape

from lgmnet.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from lgmnet.classifier.changes import Change, Changes
    from lgmnet.classifier.classifier import FittedClassifier
    from lgmnet.data.images.folder import LabelledImages

MAX_LISTED = 10


def find_changes(
    first: FittedClassifier,
    second: FittedClassifier,
    probabilities: Tensor,
    images: LabelledImages,
) -> Changes:
    """Compare the answers of two classifiers; ``probabilities`` are those of the first one.

    Raises:
        ConfigError: if they take images of different shapes.
    """
    from lgmnet.classifier.changes import compare_answers

    if first.inputs != second.inputs:
        raise ConfigError(
            f"The classifiers take different images, {list(first.inputs.shape)} and "
            f"{list(second.inputs.shape)}; only classifiers of the same kind can be compared."
        )
    labels = [images.classes[label] for label in images.labels]
    answers = (second.classes, second.predict_proba(images.images))
    return compare_answers(labels, images.sources, (first.classes, probabilities), answers)


def format_changes(changes: Changes, against: Path) -> list[RenderableType]:
    """Format changed answers as lines of rich markup."""
    n, (before, after) = changes.n_images, changes.n_correct
    text: list[RenderableType] = [
        f"against {escape(str(against))}: {before} of {n} images are classified correctly here "
        f"({100 * before / n:.1f} %), {after} there ({100 * after / n:.1f} %)"
    ]
    if changes.improved_share is not None:
        low, high = changes.improved_share
        verdict = "neither is ahead"
        if not low <= 50 <= high:
            verdict = "this one is ahead" if high < 50 else "the other one is ahead"
        text.append(f"On these images {verdict}, as far as so many of them can say.")
    for title, listed in (
        ("only the other is right", changes.improved),
        ("only this one is right", changes.worsened),
        ("both are wrong, but differently", changes.other),
    ):
        if listed:
            text.append(f"{title}: {len(listed)}")
            text += map(format_change, listed[:MAX_LISTED])
    return text


def format_change(change: Change) -> str:
    """Format one changed answer as a line of rich markup."""
    before, after = escape(change.before), escape(change.after)
    return f"  {escape(change.source)}: {escape(change.label)}; {before} here, {after} there"
