"""Predictions of image files, which are read while others are classified."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lgmnet.cli.console import print_notice
from lgmnet.cli.prediction_rows import NONE_LABEL
from lgmnet.errors import ImageError
from lgmnet.progress import track_progress

if TYPE_CHECKING:
    from torch import Tensor

    from lgmnet.classifier.classifier import FittedClassifier

PASS_SIZE = 64
"""Number of images that are classified in one pass, while others are read."""


def predict_files(
    fitted: FittedClassifier, paths: Iterable[Path], threshold: float | None = None
) -> Generator[dict[str, Any], None, None]:
    """Yield a prediction or an error for every file, in order.

    Threads read the images of a batch while the first of them are classified, and no image of a
    later one. Photos for a classifier of drawings give one warning on stderr, and so do drawings
    for one of photos. Images whose similarity is below the threshold get the label `NONE_LABEL`.
    """
    import torch

    from lgmnet.classifier.classifier import BATCH_SIZE
    from lgmnet.classifier.image_kind import find_mismatch
    from lgmnet.data.images.files import ImageFiles

    remaining, shape = iter(paths), fitted.inputs.shape
    checks_kind = True
    pool = ThreadPoolExecutor(torch.get_num_threads())
    try:
        while batch := list(itertools.islice(remaining, BATCH_SIZE)):
            files = ImageFiles(batch)
            if checks_kind and (mismatch := find_mismatch(fitted, files)) is not None:
                print_notice(f"warning: {mismatch}")
                checks_kind = False  # Once is enough.
            images = pool.map(partial(files.read_at, shape=shape), range(len(batch)))
            read = zip(batch, images, strict=True)
            while some := list(itertools.islice(read, PASS_SIZE)):
                yield from predict_read(fitted, some, threshold)
    finally:
        pool.shutdown(cancel_futures=True)  # Nobody may want the rest of the rows.


def predict_read(
    fitted: FittedClassifier,
    files: Sequence[tuple[Path, Tensor | ImageError]],
    threshold: float | None,
) -> Iterator[dict[str, Any]]:
    """Yield the prediction of each file that was read, or its error."""
    import torch

    images = [image for _, image in files if not isinstance(image, ImageError)]
    predictions = iter(predict_batch(fitted, torch.stack(images), threshold) if images else ())
    for path, image in files:
        is_error = isinstance(image, ImageError)
        yield {"image": str(path), **({"error": str(image)} if is_error else next(predictions))}


def predict_batch(
    fitted: FittedClassifier, images: Tensor, threshold: float | None
) -> Iterator[dict[str, Any]]:
    """Yield the label of each image and the probability of every class, and of none."""
    analysis = fitted.analyze(images)
    is_rejected, none = [False] * len(images), None
    if threshold is not None:
        is_rejected = (fitted.require_similarity(analysis) < threshold).tolist()
        none = fitted.none_probability(analysis)
    for i, row in enumerate(analysis.log_p.exp().tolist()):
        probabilities = dict(zip(fitted.classes, row, strict=True))
        best = max(probabilities, key=lambda name: probabilities[name])
        label = NONE_LABEL if is_rejected[i] else best
        prediction: dict[str, Any] = {"label": label, "probabilities": probabilities}
        yield prediction if none is None else prediction | {"none_probability": float(none[i])}


def with_progress(
    predictions: Iterable[dict[str, Any]], total: int | None
) -> Generator[dict[str, Any], None, None]:
    """Yield predictions and report the progress."""
    with track_progress("images", total) as progress:
        for prediction in predictions:
            yield prediction
            progress.advance()
