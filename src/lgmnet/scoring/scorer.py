"""Callable that scores batches of images in the worker processes of batch engines."""

import hashlib
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lgmnet.data.images.arrays import to_image_file, to_pil_image
from lgmnet.data.images.pixels import ImageBytes, read_pixels, to_pixels
from lgmnet.engines.names import AUTO, ENGINES
from lgmnet.errors import (
    ConfigError,
    ImageError,
    to_utf8,
    unknown_name_error,
)
from lgmnet.io import read_file
from lgmnet.scoring.loaded import LoadedClassifier, count_threads, load_content

LABEL, PROBABILITY, ERROR = "label", "probability", "error"
NONE_PROBABILITY = "none_probability"
NONE_LABEL = "none of these"
IMAGE_COLUMNS = ("image", "bytes", "content")
"""Columns that hold the images in Hugging Face and Ray, in Ray's and in Spark's binary files."""

Columns = dict[str, np.ndarray]
ReadImage = np.ndarray | ImageError
"""Pixels, uint8 [channels, height, width], or the reason why they cannot be read."""


class Scorer:
    """Score batches of images with one classifier: a dict of arrays in, a dict of arrays out.

    A scorer can be pickled. It carries the content of its file, so that worker processes on other
    machines need only the package. A process loads the classifier at its first batch, once for all
    copies of the scorer. With a file that ``lgmnet export`` wrote, PyTorch is not imported.

    The result has one entry for each image in every column:

    - ``label``: the most probable class, or ``none of these`` if ``none`` is given; empty if the
      image cannot be read
    - ``probability``: that of the label; NaN if the image cannot be read
    - ``probability_<class>``: that of each class
    - ``none_probability``: that of belonging to no class, if the classifier knows it
    - ``error``: why the image cannot be read; else empty
    - all columns that came in, except for the images

    >>> import tempfile
    >>> from lgmnet import FewShotClassifier
    >>> blank, line = np.full((28, 28), 255, np.uint8), np.uint8(255 * (1 - np.eye(28)))
    >>> classifier = FewShotClassifier("omniglot").fit([blank, line], ["blank", "line"])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     classifier.save(Path(folder, "lines.safetensors"))
    ...     scorer = Scorer(Path(folder, "lines.safetensors"))
    >>> scorer({"image": [line], "page": [7]})["label"].tolist()
    ['line']

    With Ray Data::

        import ray
        from lgmnet.scoring import Scorer

        photos = ray.data.read_binary_files("s3://bucket/photos", include_paths=True)
        scores = photos.map_batches(
            Scorer, fn_constructor_args=["birds.onnx"], batch_size=64,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=8),
        )
        scores.write_parquet("s3://bucket/scores")

    With Spark::

        from pyspark.ml.functions import predict_batch_udf

        scorer = Scorer("birds.onnx")
        texts = ("label", "error")
        fields = [f"`{c}` {'string' if c in texts else 'float'}" for c in scorer.columns]
        score = predict_batch_udf(
            lambda: scorer, return_type=", ".join(fields), batch_size=64
        )
        photos = spark.read.format("binaryFile").load("s3://bucket/photos")
        photos.select("path", score("content").alias("scores"))

    With Hugging Face datasets::

        from datasets import Image, load_dataset

        photos = load_dataset("imagefolder", data_dir="photos", split="train")
        photos = photos.cast_column("image", Image(decode=False))  # unreadable ones become errors
        scores = photos.map(
            Scorer("birds.onnx"), batched=True, batch_size=64, remove_columns=["image"]
        )

    Args:
        file: Classifier file, or one that ``lgmnet export`` wrote.
        engine: Engine that computes features (see `lgmnet.load_model`); exported classifiers run on
            ONNX Runtime.
        none: True to give the label ``none of these`` to images that fit no class, or the share of
            images of the classes that may be rejected by mistake, such as 0.05.
        column: Column that holds the images; by default the first of `IMAGE_COLUMNS`.

    Raises:
        FileFormatError: if there is no such file, or it cannot be read.
        ConfigError: if there is no such engine.
    """

    def __init__(
        self,
        file: str | os.PathLike[str],
        *,
        engine: str = AUTO,
        none: bool | float = False,
        column: str = "",
    ) -> None:
        if engine not in ENGINES:
            raise unknown_name_error("engine", engine, ENGINES)
        self.name = str(file)
        self.engine = engine
        self.none = none
        self.column = column
        self.content = read_file(Path(file))
        self.identity = hashlib.sha256(self.content).hexdigest()[:16]

    @property
    def loaded(self) -> LoadedClassifier:
        """The classifier, which is loaded at the first use in this process.

        Raises:
            UserError: as `load_content` does.
        """
        key = (self.identity, self.engine, repr(self.none))
        with _lock:
            if key not in _loaded:
                _loaded[key] = load_content(self.content, self.name, self.engine, self.none)
            return _loaded[key]

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of the result; `LABEL` and `ERROR` hold texts, the others floats."""
        names = (LABEL, PROBABILITY, ERROR, *map(class_column, self.loaded.classes))
        return (*names, NONE_PROBABILITY) if self.loaded.knows_none else names

    def __call__(self, batch: Mapping[str, Any] | Sequence[Any] | np.ndarray) -> Columns:
        """Score a batch.

        Args:
            batch: Columns by name; or the images themselves: encoded bytes, arrays [height, width]
                or [height, width, channels], PIL images, paths, or dicts with ``bytes`` or
                ``path`` as Hugging Face stores images.

        Returns:
            Columns by name (see the class).

        Raises:
            ConfigError: if there is no column of images.
        """
        if not isinstance(batch, Mapping):
            return self.score(self.read(batch))
        column = self.find_column(batch)
        others = {name: np.asarray(values) for name, values in batch.items() if name != column}
        return others | self.score(self.read(batch[column]))

    def find_column(self, batch: Mapping[str, Any]) -> str:
        """Find the name of the column of images.

        Raises:
            ConfigError: if there is none.
        """
        names = (self.column,) if self.column else IMAGE_COLUMNS
        for name in names:
            if name in batch:
                return name
        raise ConfigError(
            f"Expected the images in a column {' or '.join(map(repr, names))}, but the batch has "
            f"{', '.join(map(repr, batch)) or 'no columns'}. Name it: Scorer(file, column=...)."
        )

    def read(self, images: Iterable[Any]) -> list[ReadImage]:
        """Read images on several threads; an image that cannot be read becomes its error."""
        shape = self.loaded.shape

        def read(numbered: tuple[int, Any]) -> ReadImage:
            index, image = numbered
            try:
                return read_one(image, index, shape)
            except ImageError as error:
                return error

        return list(decoding_pool().map(read, enumerate(images)))

    def score(self, images: Sequence[ReadImage]) -> Columns:
        """Score what `read` has read."""
        loaded = self.loaded
        is_read = np.array([not isinstance(image, ImageError) for image in images], dtype=bool)
        n, n_classes = len(images), len(loaded.classes)
        probabilities = np.full((n, n_classes), np.nan, np.float32)
        none, is_none = np.full(n, np.nan, np.float32), np.zeros(n, dtype=bool)
        if is_read.any():
            readable = [image for image in images if not isinstance(image, ImageError)]
            answers = loaded.run(np.stack(readable))
            probabilities[is_read], is_none[is_read] = answers.probabilities, answers.is_none
            if answers.none_probability is not None:
                none[is_read] = answers.none_probability
        labels, errors = np.full(n, "", object), np.full(n, "", object)
        probability = np.full(n, np.nan, np.float32)
        for i, image in enumerate(images):
            if isinstance(image, ImageError):
                errors[i] = to_utf8(str(image))
            elif is_none[i]:
                labels[i], probability[i] = NONE_LABEL, none[i]
            else:
                best = probabilities[i].argmax()
                labels[i], probability[i] = loaded.classes[best], probabilities[i, best]
        values = [labels, probability, errors, *probabilities.T, none]
        return dict(zip(self.columns, values, strict=False))  # The last one may be unknown.


_loaded: dict[tuple[str, str, str], LoadedClassifier] = {}
"""Classifiers that this process has loaded, for all copies of a scorer."""
_lock = threading.RLock()


def class_column(name: str) -> str:
    """Return the name of the column with the probability of a class."""
    return f"{PROBABILITY}_{name}"


def read_one(image: Any, index: int, shape: Sequence[int]) -> np.ndarray:
    """Read one image of any form that `Scorer` takes.

    Raises:
        ImageError: naming the file or the index of the image.
    """
    if isinstance(image, Mapping):
        image = image.get("bytes") or image.get("path")
    file = image if isinstance(image, ImageBytes) else to_image_file(image, index)
    if file is not None:
        return read_pixels(file, shape)
    try:
        return to_pixels(image if isinstance(image, Image.Image) else to_pil_image(image), shape)
    except Exception as error:  # PIL images are decoded here, and readers raise any exception.
        raise ImageError(f"Image {index} cannot be used: {error}.") from error


@cache
def decoding_pool() -> ThreadPoolExecutor:
    """Return the threads of this process that decode images."""
    return ThreadPoolExecutor(count_threads(), "lgmnet-decoder")
