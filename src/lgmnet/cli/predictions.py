"""Predictions of image files, one batch after the other."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lgmnet.cli.console import print_notice
from lgmnet.cli.prediction_rows import NONE_LABEL
from lgmnet.errors import DataError, ImageError
from lgmnet.progress import track_progress

if TYPE_CHECKING:
    from torch import Tensor

    from lgmnet.classifier.classifier import FittedClassifier
    from lgmnet.data.images.files import ImageFiles


def predict_files(
    fitted: FittedClassifier, paths: Iterable[Path], threshold: float | None = None
) -> Generator[dict[str, Any], None, None]:
    """Yield a prediction or an error for every file, in order.

    One batch of images is in memory at a time. Photos for a classifier of drawings give one warning
    on stderr. Images whose similarity is below the threshold get the label `NONE_LABEL`.
    """
    import torch

    from lgmnet.classifier.classifier import BATCH_SIZE
    from lgmnet.classifier.image_kind import is_for_drawings
    from lgmnet.data.images.files import ImageFiles

    remaining = iter(paths)
    checks_kind = is_for_drawings(fitted)
    while batch := list(itertools.islice(remaining, BATCH_SIZE)):
        files = ImageFiles(batch)
        if checks_kind and (mismatch := find_mismatch(fitted, files)) is not None:
            print_notice(f"warning: {mismatch}")
            checks_kind = False  # Once is enough.
        results = list(files.read(fitted.inputs.shape))
        images = [image for image in results if not isinstance(image, ImageError)]
        predictions = iter(predict_batch(fitted, torch.stack(images), threshold) if images else ())
        for path, result in zip(batch, results, strict=True):
            if isinstance(result, ImageError):
                yield {"image": str(path), "error": str(result)}
            else:
                yield {"image": str(path), **next(predictions)}


def find_mismatch(fitted: FittedClassifier, files: ImageFiles) -> str | None:
    """Describe why images are of another kind than a classifier was made from; None if not."""
    from lgmnet.classifier.image_kind import MAX_CHECKED_IMAGES, describe_mismatch

    try:
        return describe_mismatch(fitted, *files.detect_drawings(MAX_CHECKED_IMAGES))
    except DataError:  # None of them can be read, which their rows will say.
        return None


def predict_batch(
    fitted: FittedClassifier, images: Tensor, threshold: float | None
) -> Iterator[dict[str, Any]]:
    """Yield the label of each image and the probability of every class, and of none."""
    analysis = fitted.analyze(images)
    none = None if threshold is None else fitted.none_probability(analysis)
    if threshold is None:
        is_rejected = [False] * len(images)
    else:
        is_rejected = (fitted.require_similarity(analysis) < threshold).tolist()
    for i, row in enumerate(analysis.log_p.exp().tolist()):
        probabilities = dict(zip(fitted.classes, row, strict=True))
        best = max(probabilities, key=lambda name: probabilities[name])
        prediction = {"label": NONE_LABEL if is_rejected[i] else best}
        yield {
            **prediction,
            "probabilities": probabilities,
            **({} if none is None else {"none_probability": float(none[i])}),
        }


def with_progress(
    predictions: Iterable[dict[str, Any]], total: int | None
) -> Generator[dict[str, Any], None, None]:
    """Yield predictions and report the progress."""
    with track_progress("images", total) as progress:
        for prediction in predictions:
            yield prediction
            progress.advance()
