"""Classifier files: one safetensors file with weights, support set and metadata, without pickle."""

import dataclasses
import json
from pathlib import Path

from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.classifier.support import Support
from lgmnet.config import from_json
from lgmnet.episode import check_every_class_shown
from lgmnet.errors import FileFormatError
from lgmnet.evaluation.rejection import Rejection
from lgmnet.io import read_tensors, write_tensors
from lgmnet.methods import METHODS

CLASSIFIER_KIND, CLASSIFIER_VERSION = "lgmnet-classifier", 3
SAMPLES_KEY, LABELS_KEY = "support.samples", "support.labels"


def save_classifier(fitted: FittedClassifier, path: Path, *, overwrite: bool = False) -> None:
    """Write a classifier to one safetensors file, which appears whole or not at all.

    Raises:
        UserError: if the file cannot be written, or if a file that is no classifier is there and
            ``overwrite`` is False.
    """
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
    }
    support = {SAMPLES_KEY: fitted.support.samples, LABELS_KEY: fitted.support.labels}
    tensors = {**fitted.classifier.state_dict(), **support}
    write_tensors(path, tensors, CLASSIFIER_KIND, CLASSIFIER_VERSION, metadata, overwrite=overwrite)


def load_classifier(path: Path) -> FittedClassifier:
    """Read a classifier that `save_classifier` wrote.

    Raises:
        FileFormatError: if the file is absent, damaged, altered, of another kind, or of another
            version.
    """
    tensors, metadata = read_tensors(path, CLASSIFIER_KIND, CLASSIFIER_VERSION)
    try:
        method = METHODS[metadata["method"]]
        config = from_json(method.config_type, json.loads(metadata["config"]))
        classes = tuple(json.loads(metadata["classes"]))
        sources = tuple(json.loads(metadata["sources"]))
        support = Support(tensors.pop(SAMPLES_KEY), tensors.pop(LABELS_KEY), sources)
        if not all(isinstance(name, str) for name in (*classes, *sources)):
            raise TypeError("a name that is no text")
        if not len(support.samples) == len(support.labels) == len(sources):
            raise ValueError(f"{len(support.samples)} samples, but {len(sources)} sources")
        check_every_class_shown(support.labels[None], len(classes))
        classifier = method.restore(config, len(classes), tensors)
        if method.input_spec(config).any_length:
            classifier.double()
        return FittedClassifier(
            classifier,
            classes,
            support,
            metadata["model"],
            metadata["fingerprint"],
            metadata["method"],
            config,
            metadata["backbone"],
            tuple(from_json(Rejection, r) for r in json.loads(metadata["rejections"])),
            dict(json.loads(metadata["notes"])),
        )
    except (KeyError, ValueError, TypeError, RuntimeError, AssertionError) as error:
        raise FileFormatError(f"'{path}' is a damaged classifier: {error}") from error
