"""Classifier files: one safetensors file with weights, support set and metadata, without pickle.

A file may come from anybody, so it is checked completely before it is used.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from lgmnet.classifier.checks import (
    check_answers,
    check_backbone,
    check_profiles,
    check_state,
    check_support,
    restore_classifier,
)
from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.classifier.names import check_class_names
from lgmnet.classifier.support import Support
from lgmnet.classifier.thumbnails import without_images
from lgmnet.config import from_json
from lgmnet.criterion import Criterion, check_criterion
from lgmnet.engines.names import AUTO
from lgmnet.engines.runtimes import check_engine
from lgmnet.errors import FileFormatError, UserError
from lgmnet.evaluation.aspects import Profile
from lgmnet.evaluation.rejection import Rejection
from lgmnet.io import read_file
from lgmnet.methods import METHODS
from lgmnet.tensor_file import are_texts, parse_json, parse_tensors, write_tensors

CLASSIFIER_KIND, CLASSIFIER_VERSION = "lgmnet-classifier", 3
SAMPLES_KEY, LABELS_KEY = "support.samples", "support.labels"
MAX_REASON_LENGTH = 500
"""Limit for the length of a reason, which may quote the file, in an error message."""


def save_classifier(
    fitted: FittedClassifier, path: Path, *, overwrite: bool = False, support: bool = True
) -> None:
    """Write a classifier to one safetensors file, which appears whole or not at all.

    Args:
        fitted: The classifier.
        path: The file.
        overwrite: If True, a file that is no classifier is replaced.
        support: If False, the file holds neither the support samples nor their names and pictures.
            It predicts the same, but the classifier cannot be edited, nor answers explained.

    Raises:
        UserError: if the file cannot be written, or if a file that is no classifier is there and
            ``overwrite`` is False.
    """
    if not support:
        fitted = without_images(fitted)
    metadata = {
        "method": fitted.method,
        "config": json.dumps(dataclasses.asdict(fitted.config)),
        "classes": json.dumps(fitted.classes),
        "sources": json.dumps(fitted.support.sources),
        "model": fitted.model,
        "fingerprint": fitted.fingerprint,
        "backbone": fitted.backbone,
        "rejections": json.dumps([dataclasses.asdict(r) for r in fitted.rejections]),
        "notes": json.dumps(fitted.notes),
        "by": fitted.by,
        "has_samples": json.dumps(fitted.support.has_samples),
        "profiles": json.dumps([dataclasses.asdict(p) for p in fitted.profiles]),
    }
    tensors = fitted.classifier.state_dict() | {
        SAMPLES_KEY: fitted.support.samples,
        LABELS_KEY: fitted.support.labels,
    }
    tensors = {name: halve(tensor) for name, tensor in tensors.items()}
    write_tensors(path, tensors, CLASSIFIER_KIND, CLASSIFIER_VERSION, metadata, overwrite=overwrite)


def halve(tensor: Tensor) -> Tensor:
    """Convert a tensor of 32 bits to 16 if that loses nothing, as of shipped weights."""
    half = tensor.half() if tensor.dtype == torch.float32 else tensor
    return half if torch.equal(half.to(tensor.dtype), tensor) else tensor


def load_classifier(path: Path, *, engine: str = AUTO) -> FittedClassifier:
    """Read a classifier that `save_classifier` wrote, and let it give a trial answer.

    Raises:
        FileFormatError: if the file is absent, damaged, altered, of another kind, or of another
            version.
        ConfigError: if it needs a backbone whose weights are not on this machine.
    """
    fitted = dataclasses.replace(parse_classifier(read_file(path), path), engine=engine)
    try_classifier(fitted, path)
    return fitted


def parse_classifier(data: bytes, path: Path) -> FittedClassifier:
    """Parse the content of a classifier file; it is checked, except for its answers.

    Args:
        data: Content of the file.
        path: Path of the file in error messages.

    Raises:
        FileFormatError: if the file is damaged, altered, of another kind, or of another version.
        ConfigError: if it needs a backbone whose weights are not on this machine.
    """
    tensors, metadata = parse_tensors(data, path, CLASSIFIER_KIND, CLASSIFIER_VERSION)
    with name_in_errors(path):
        fitted = build_classifier(tensors, metadata)
    check_backbone(fitted.backbone, METHODS[fitted.method].input_spec(fitted.config).kind)
    return fitted


def try_classifier(fitted: FittedClassifier, path: Path) -> None:
    """Let a classifier from a file give a trial answer.

    Raises:
        FileFormatError: if its answers are no probabilities.
        ConfigError: if there is no such engine.
        UserError: if the cache folder, where engines keep converted networks, cannot be written to.
    """
    check_engine(fitted.engine)  # Tells nothing about the file.
    with name_in_errors(path):
        check_answers(fitted)


def build_classifier(tensors: dict[str, Tensor], metadata: Mapping[str, str]) -> FittedClassifier:
    """Build a classifier from the tensors and the metadata of its file.

    Raises:
        Exception: of any kind, if they do not make a classifier.
    """
    # Nothing computes in 16 bits; that is only how they are stored (see `halve`).
    tensors = {k: t.float() if t.dtype == torch.float16 else t for k, t in tensors.items()}
    parsed: dict[str, Any] = {
        name: parse_json(metadata[name])
        for name in ("config", "classes", "sources", "rejections", "notes")
    }
    # Files of earlier versions have neither profiles nor a stated criterion, but all samples.
    has_samples = parse_json(metadata.get("has_samples", "true"))
    by = metadata.get("by", "auto")
    check_criterion(by)
    profiles = [from_json(Profile, p) for p in parse_json(metadata.get("profiles", "[]"))]
    method = METHODS[metadata["method"]]
    config = from_json(method.config_type, parsed["config"])
    classes, sources, notes = tuple(parsed["classes"]), tuple(parsed["sources"]), parsed["notes"]
    check_class_names(classes)
    if not are_texts(sources):
        raise TypeError("a source is no text")
    if not isinstance(notes, dict) or not are_texts(notes.values()):
        raise TypeError("its notes are not a JSON object of texts")
    support = Support(tensors.pop(SAMPLES_KEY), tensors.pop(LABELS_KEY), sources)
    spec, way = method.input_spec(config), len(classes)
    check_support(
        support, way, spec.shape, any_length=spec.any_length, has_samples=bool(has_samples)
    )
    check_state(method, config, support, way, tensors)
    classifier = restore_classifier(method, config, way, tensors)
    check_profiles(classifier, profiles)
    return FittedClassifier(
        classifier,
        classes,
        support,
        metadata["model"],
        metadata["fingerprint"],
        metadata["method"],
        config,
        metadata["backbone"],
        tuple(from_json(Rejection, rejection) for rejection in parsed["rejections"]),
        notes,
        tuple(profiles),
        cast("Criterion", by),
    )


@contextmanager
def name_in_errors(path: Path) -> Iterator[None]:
    """Turn any error of building or trying a classifier into one that names its file.

    Raises:
        FileFormatError: naming the file.
        UserError: if this machine is at fault, and not the file: a package or a folder is missing.
    """
    try:
        yield
    except Exception as error:  # PyTorch raises any exception if tensors do not fit together.
        if type(error) is UserError:  # What tells about the content is of a class below it.
            raise
        reason = str(error) or type(error).__name__
        if len(reason) > MAX_REASON_LENGTH:
            reason = f"{reason[:MAX_REASON_LENGTH]} ..."
        raise FileFormatError(f"'{path}' is a damaged classifier: {reason}") from error
