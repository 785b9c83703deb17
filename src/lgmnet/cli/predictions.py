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
    import numpy as np

    from lgmnet.scoring.loaded import LoadedClassifier

BATCH_SIZE = 256
"""Number of images that are read at a time."""
PASS_SIZE = 64
"""Number of images that are classified in one pass, while others are read."""


def predict_files(
    loaded: LoadedClassifier, paths: Iterable[Path]
) -> Generator[dict[str, Any], None, None]:
    """Yield a prediction or an error for every file, in order.

    Threads read the images of a batch while the first of them are classified, and no image of a
    later one. If the first batch shows photos to a classifier of drawings, or drawings to one of
    photos, a warning goes to stderr.
    """
    from lgmnet.scoring.loaded import count_threads

    remaining, is_first = iter(paths), True
    pool = ThreadPoolExecutor(count_threads())
    try:
        while batch := list(itertools.islice(remaining, BATCH_SIZE)):
            if is_first and (mismatch := loaded.find_mismatch(batch)) is not None:
                print_notice(f"warning: {mismatch}")
            is_first = False
            images = pool.map(partial(try_reading, shape=loaded.shape), batch)
            read = zip(batch, images, strict=True)
            while some := list(itertools.islice(read, PASS_SIZE)):
                yield from predict_read(loaded, some)
    finally:
        pool.shutdown(cancel_futures=True)  # Nobody may want the rest of the rows.


def try_reading(path: Path, shape: Sequence[int]) -> np.ndarray | ImageError:
    """Read the pixels of an image file; return the error if it cannot be read."""
    from lgmnet.data.images.pixels import read_pixels

    try:
        return read_pixels(path, shape)
    except ImageError as error:
        return error


def predict_read(
    loaded: LoadedClassifier, files: Sequence[tuple[Path, np.ndarray | ImageError]]
) -> Iterator[dict[str, Any]]:
    """Yield the prediction of each file that was read, or its error."""
    import numpy as np

    images = [image for _, image in files if not isinstance(image, ImageError)]
    predictions = iter(predict_batch(loaded, np.stack(images)) if images else ())
    for path, image in files:
        is_error = isinstance(image, ImageError)
        yield {"image": str(path), **({"error": str(image)} if is_error else next(predictions))}


def predict_batch(loaded: LoadedClassifier, images: np.ndarray) -> Iterator[dict[str, Any]]:
    """Yield the label of each image and the probability of every class, and of none."""
    answers = loaded.run(images)
    none = answers.none_probability if loaded.finds_none else None
    for i, row in enumerate(answers.probabilities.tolist()):
        probabilities = dict(zip(loaded.classes, row, strict=True))
        best = max(probabilities, key=lambda name: probabilities[name])
        label = NONE_LABEL if answers.is_none[i] else best
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
