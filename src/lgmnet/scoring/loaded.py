"""Classifiers as functions of arrays: classifier files on PyTorch, exported ones without it."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8

from lgmnet.data.images.kind import (
    MAX_CHECKED_IMAGES,
    ToneStatistics,
    describe_mismatch,
    measure_tones,
    sample_indices,
)
from lgmnet.data.images.pixels import MIN_DECODED_SIDE, ImageFile, decode_image
from lgmnet.engines.names import AUTO
from lgmnet.engines.runtimes import load_onnx_outputs
from lgmnet.errors import ConfigError, FileFormatError, ImageError, UserError

EXPORT_ENGINES = (AUTO, "onnxruntime")


@dataclass(frozen=True)
class Answers:
    """Answers of a classifier to some images."""

    probabilities: Float[np.ndarray, "images classes"]
    is_none: Bool[np.ndarray, " images"]
    """True for images that belong to no class; all False if these are not looked for."""
    none_probability: Float[np.ndarray, " images"] | None
    """Probability of that; None if the classifier does not know it."""


@dataclass(frozen=True)
class LoadedClassifier:
    """Classifier of images that is ready to answer."""

    classes: tuple[str, ...]
    shape: tuple[int, ...]
    """[1, side, side] of a drawing, [3, height, width] of a photo."""
    model: str
    """Name of the model that made the classifier."""
    is_for_drawings: bool
    """True if it was made from drawings, False for photos."""
    knows_none: bool
    """True if the answers have a `none_probability`."""
    finds_none: bool
    """True if images that belong to no class are looked for."""
    run: Callable[[UInt8[np.ndarray, "images channels height width"]], Answers]
    """Function from at least one image to the answers."""

    def find_mismatch(self, files: Sequence[ImageFile]) -> str | None:
        """Describe why image files do not suit the classifier (see `describe_mismatch`)."""
        sampled = [files[i] for i in sample_indices(len(files), MAX_CHECKED_IMAGES)]
        return describe_mismatch(
            measure_files(sampled), are_for_drawings=self.is_for_drawings, model=self.model
        )


def measure_files(files: Iterable[ImageFile]) -> Iterator[ToneStatistics]:
    """Yield the tones of image files, without those that cannot be read."""
    for file in files:
        with suppress(ImageError):
            yield measure_tones(decode_image(file, MIN_DECODED_SIDE))


def load_content(
    content: bytes, name: str, engine: str = AUTO, none: bool | float = False
) -> LoadedClassifier:
    """Load the content of a classifier file, or of one that ``lgmnet export`` wrote.

    Args:
        content: Content of the file.
        name: Name of the file in error messages.
        engine: Engine (see `lgmnet.engines.engine.load_engine`).
        none: True to find images of no class, or the rate of false rejections for that.

    Raises:
        FileFormatError: if the file is neither of both, or damaged.
        ConfigError: if it takes vectors, has no threshold for images of no class, or cannot run on
            the engine.
        UserError: if a package is not installed.
    """
    is_tensor_file = content[8:9] == b"{"  # Eight bytes with the length of a header in JSON.
    load = load_fitted if is_tensor_file else load_exported
    return load(content, name, engine, none)


def load_fitted(content: bytes, name: str, engine: str, none: bool | float) -> LoadedClassifier:
    """Load a classifier file; see `load_content`."""
    import dataclasses

    import torch

    from lgmnet.classifier.export import find_rejection
    from lgmnet.classifier.file import parse_classifier, try_classifier
    from lgmnet.classifier.image_kind import is_for_drawings
    from lgmnet.model.feature_cache import PHOTO_BATCH_SIZE
    from lgmnet.nn.pretrained import load_backbone

    parsed = parse_classifier(content, Path(name))
    fitted = dataclasses.replace(parsed, engine=engine)
    if not fitted.inputs.is_image:
        raise ConfigError(f"'{name}' takes vectors; only classifiers of images can score images.")
    try_classifier(fitted, Path(name))
    threshold = None
    if none is not False:
        threshold = fitted.rejection.threshold_for(None if none is True else none)
    backbone = load_backbone(fitted.backbone) if fitted.backbone else None

    def run(images: np.ndarray) -> Answers:
        samples = torch.from_numpy(images)
        if backbone is not None:  # Not through the cache of features, which would grow for ever.
            embed = backbone.on_engine(engine)
            features = torch.cat([embed(batch) for batch in samples.split(PHOTO_BATCH_SIZE)])
            samples = features.to(backbone.stored_dtype).to(torch.float32)
        batches = list(fitted.analyze_batches(samples))
        probabilities = torch.cat([batch.log_p.exp() for batch in batches])
        is_none = torch.zeros(len(images), dtype=torch.bool)
        if threshold is not None:
            is_none = torch.cat([fitted.require_similarity(b) < threshold for b in batches])
        parts = [p for p in map(fitted.none_probability, batches) if p is not None]
        return Answers(
            probabilities.float().numpy(),
            is_none.numpy(),
            torch.cat(parts).float().numpy() if parts else None,
        )

    knows_none = find_rejection(fitted) is not None
    return LoadedClassifier(
        fitted.classes,
        fitted.inputs.shape,
        fitted.model,
        is_for_drawings(fitted),
        knows_none,
        threshold is not None,
        run,
    )


def load_exported(content: bytes, name: str, engine: str, none: bool | float) -> LoadedClassifier:
    """Load a classifier that ``lgmnet export`` wrote, without PyTorch; see `load_content`."""
    if engine not in EXPORT_ENGINES:
        raise ConfigError(
            f"An exported classifier such as '{name}' runs on ONNX Runtime, and not on '{engine}'. "
            "Give the engine 'auto', or the classifier file that it was exported from."
        )
    try:
        run_outputs, metadata = load_onnx_outputs(content, count_threads())
        classes, shape = json.loads(metadata["classes"]), json.loads(metadata["shape"])
        model = metadata["model"]
    except UserError:  # ONNX Runtime is not installed.
        raise
    except Exception as error:  # ONNX Runtime raises exceptions of its own.
        raise FileFormatError(
            f"'{name}' is neither a classifier file nor one that 'lgmnet export' wrote, or it is "
            "damaged."
        ) from error
    limit = None if none is False else find_limit(metadata, name, none)

    def run(images: np.ndarray) -> Answers:
        probabilities, *others = run_outputs(images)
        is_none = np.zeros(len(images), dtype=bool) if limit is None else others[0] > limit
        return Answers(probabilities, is_none, others[0] if others else None)

    # Releases that did not store the kind of the images stored the shape that tells it.
    kind = metadata.get("images", "drawings" if shape[0] == 1 else "photos")
    return LoadedClassifier(
        tuple(classes),
        tuple(shape),
        model,
        kind == "drawings",
        "none" in metadata,
        limit is not None,
        run,
    )


def find_limit(metadata: Mapping[str, str], name: str, none: bool | float) -> float:
    """Find the probability of belonging to no class above which an image does.

    Raises:
        ConfigError: if the exported classifier does not know the probability, or the rate is out of
            range.
    """
    if "none" not in metadata:
        raise ConfigError(
            f"'{name}' cannot tell that an image belongs to none of its classes. Score without, or "
            "choose a threshold with 'lgmnet calibrate', then forge and export again."
        )
    stored: dict[str, Any] = json.loads(metadata["none"])
    if none is True:
        return float(stored["threshold"])
    rates = stored["rates"]
    if not rates or not rates[0] <= none <= rates[-1]:
        known = f"between {rates[0]} and {rates[-1]}" if rates else "left out here"
        raise ConfigError(f"The rate of false rejections must be {known}, but is {none}.")
    # Between stored rates, similarities are interpolated; log-odds are a linear function of them.
    p = np.clip(np.array(stored["thresholds"], np.float64), 1e-15, 1 - 1e-15)
    log_odds = np.interp(np.log(none), np.log(rates), np.log(p / (1 - p)))
    return float(1 / (1 + np.exp(-log_odds)))


def count_threads() -> int:
    """Count the threads that this process should use: ``OMP_NUM_THREADS``, else its cores."""
    named = os.environ.get("OMP_NUM_THREADS", "")
    if named.isdecimal() and int(named) > 0:
        return int(named)
    affinity = getattr(os, "sched_getaffinity", None)  # Not on macOS.
    return len(affinity(0)) if affinity else os.cpu_count() or 1
