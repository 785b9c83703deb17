"""The rows of the page of benchmarks in plain words, for results whose labels are for programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CLASSIFIER = {
    "fit, 5-way 1-shot, ms": "time to fit a classifier, 5-way 1-shot, ms",
    "fit, 5-way 5-shot, ms": "time to fit a classifier, 5-way 5-shot, ms",
    "fit, 20-way 5-shot, ms": "time to fit a classifier, 20-way 5-shot, ms",
    "predict one query, 5-way 1-shot, ms": "time to predict one image, 5-way 1-shot, ms",
    "predict one query, 5-way 5-shot, ms": "time to predict one image, 5-way 5-shot, ms",
    "predict one query, 20-way 5-shot, ms": "time to predict one image, 20-way 5-shot, ms",
    "predict, images per second": "images that `predict` answers in a second",
    "embedding network only, images per second": (
        "images that its embedding network alone embeds in a second"
    ),
    "predict in ONNX Runtime, images per second": (
        "images that the exported classifier answers in ONNX Runtime in a second"
    ),
    "embedding network only in ONNX Runtime, images per second": (
        "images that its embedding network alone embeds there in a second"
    ),
    "time of predict / time of the embedding network": (
        "time of `predict` divided by that of its embedding network"
    ),
    "the same in ONNX Runtime": "the same ratio of times in ONNX Runtime",
    "fit on photos, 5-way 5-shot, ms": "time to fit a classifier of photos, 5-way 5-shot, ms",
    "fit on photos, time added to the backbone's, %": (
        "time that fitting on photos adds to the backbone's, %"
    ),
    "predict photos, time added to the backbone's, %": (
        "time that predicting photos adds to the backbone's, %"
    ),
    "`lgmnet forge`, 20-way 5-shot, peak memory, MB": (
        "peak memory of `lgmnet forge`, 20-way 5-shot, MB"
    ),
    "`lgmnet predict` of one image, s": "time of `lgmnet predict` for one image, s",
    "`lgmnet predict` of 30,000 images, s": "time of `lgmnet predict` for 30,000 images, s",
    "`lgmnet predict` of 30,000 images, peak memory, MB": (
        "peak memory of `lgmnet predict` for 30,000 images, MB"
    ),
    "`lgmnet predict` of one photo, s": "time of `lgmnet predict` for one photo, s",
}
SERVICE = {
    "errors": "requests that failed",
    "requests per second": "requests answered in a second",
    "predictions per second": "predictions among them",
    "classifiers created per second": "new classifiers among them",
    "predict/p50_ms": "time of a prediction, median, ms",
    "predict/p99_ms": "time of a prediction, slowest of a hundred, ms",
    "create/p50_ms": "time to create a classifier, median, ms",
    "create/p99_ms": "time to create a classifier, slowest of a hundred, ms",
    "delete/p50_ms": "time to delete a classifier, median, ms",
    "delete/p99_ms": "time to delete a classifier, slowest of a hundred, ms",
    "predict without the service, ms": "time of a prediction without the service, ms",
    "fit without the service, ms": "time to fit a classifier without the service, ms",
    "time added to the model's own, %": "time that the service adds to the model's own, %",
    "memory after the warm-up, MB": "memory of all processes after the warm-up, MB",
    "memory at half time, MB": "memory of all processes at half time, MB",
    "memory at the end, MB": "memory of all processes at the end, MB",
}
ENGINES = {
    "the engine alone, photos per second": "photos that the engine alone computes in a second",
    "predict, photos per second": "photos that `lgmnet predict` answers in a second",
    "predict with the engine torch, photos per second": "the same with the engine `torch`",
    "eager PyTorch and scikit-learn, photos per second": (
        "photos that eager PyTorch with scikit-learn answers in a second"
    ),
    "predict / the engine alone": "rate of `lgmnet predict` divided by that of the engine alone",
    "predict / predict with the engine torch": (
        "rate of `lgmnet predict` divided by that with the engine `torch`"
    ),
    "predict / eager PyTorch and scikit-learn": (
        "rate of `lgmnet predict` divided by that of eager PyTorch with scikit-learn"
    ),
}
SCORING = {
    "photos per second, 1 worker": "photos that one worker scores in a second",
    "photos per second, 2 workers": "photos that two workers score in a second",
    "scaling from 1 to 2 workers, %": "rate of two workers divided by twice that of one, %",
    "memory of a worker after a quarter of the time, MB": (
        "memory of a worker after a quarter of the time, MB"
    ),
    "memory of a worker at half time, MB": "memory of a worker at half time, MB",
    "memory of a worker at the end, MB": "memory of a worker at the end, MB",
    "bytes of a photo": "size of a photo, bytes",
}
SETTINGS = {
    *("clients", "server processes", "duration, s", "threads", "photos", "rounds"),
    "photos of a part",
}
"""Numbers that say how something was measured; they stand in the text, not in a table."""
OPERATIONS = {"adapt": "adapting", "predict": "predicting 50 queries", "train": "a training step"}
SIZES = {
    "way": "with the way",
    "shot": "with the shot",
    "tasks": "with the number of tasks",
    "image_size": "with the number of pixels",
}
NOT_RUN = "not run"


def flatten(result: Mapping[str, Any]) -> dict[str, float]:
    """Return all numbers of a result; those of a nested one are named ``outer/inner``."""
    numbers: dict[str, float] = {}
    for label, value in result.items():
        if isinstance(value, int | float):
            numbers[label] = value
        elif isinstance(value, Mapping):
            nested = flatten(value).items()
            numbers |= {f"{label}/{inner}": number for inner, number in nested}
    return numbers


def describe_curve(name: str) -> str:
    """Describe a curve of ``benchmarks/scaling.py``, whose name is such as ``adapt by way``."""
    operation, _, size = name.partition(" by ")
    return f"{OPERATIONS[operation]}, {SIZES[size]}"
