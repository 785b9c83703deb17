"""Fitting of classifiers to labelled samples, in one forward pass."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn

from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.classifier.embedding import load_embedding
from lgmnet.classifier.names import check_class_names
from lgmnet.classifier.support import Support, check_classes_differ, make_support, to_float
from lgmnet.criterion import Criterion
from lgmnet.devices import inference_autocast
from lgmnet.episode import check_samples
from lgmnet.errors import ConfigError, DataError
from lgmnet.model.model import Model


def fit_classifier(
    model: Model,
    samples: Num[Tensor, "samples *feature"],
    labels: Sequence[int],
    classes: Sequence[str],
    *,
    sources: Sequence[str] | None = None,
    by: Criterion = "auto",
) -> FittedClassifier:
    """Fit a classifier to labelled samples in one forward pass.

    Drawings have ink = 255 on 0. ``labels`` are indices into ``classes``; uneven shots are fine.
    ``sources`` tell where each sample is from, such as the name of its file. ``by`` says what tells
    the classes apart, which one sample of each cannot show: ``things``, ``looks`` (such as colour,
    texture or place), or ``auto`` for whatever the samples show.

    Raises:
        EpisodeError: if a class has no sample, a label is out of range, or there is one class only.
        ConfigError: if ``model`` is none, a class name cannot be used, or the model cannot judge
            ``by`` that.
        DataError: if the samples are not of the kind and shape that the model takes, all classes
            hold the same ones, a label is no whole number, or ``sources`` are not one for each.

    >>> from lgmnet import load_model
    >>> samples = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    >>> fit_classifier(load_model("vectors"), samples, [0, 1], ["left", "right"]).classes
    ('left', 'right')
    """
    if not isinstance(model, Model):
        raise ConfigError(
            f"Expected a model, but got {model!r:.100}. Load it by its name: "
            "lgmnet.load_model('omniglot')."
        )
    return fit_support(model, make_support(model, samples, labels, sources), classes, by=by)


@torch.inference_mode()
def embed_support(model: Model, support: Support) -> Float[Tensor, "samples *embedding"]:
    """Compute the shared embedding of support samples, which does not depend on the task."""
    samples, layers = to_float(support.samples), model.inference_method.embedding
    embedding = load_embedding(layers, samples.shape[1:], model.engine)
    if embedding is not None:
        return embedding(samples)
    with inference_autocast(samples):
        embedded: Tensor = layers(samples)
    return embedded


@torch.inference_mode()
def fit_support(
    model: Model,
    support: Support,
    classes: Sequence[str],
    notes: dict[str, str] | None = None,
    *,
    by: Criterion = "auto",
    embedded: Float[Tensor, "samples *embedding"] | None = None,
) -> FittedClassifier:
    """Fit a classifier to a support set.

    ``by`` is that of `fit_classifier`; ``embedded`` is the result of `embed_support`, if known.

    Raises:
        EpisodeError: if a class has no sample, a label is out of range, or there is one class only.
        ConfigError: if a class name cannot be used (see `check_class_names`), or the model cannot
            judge ``by`` that, or the samples are not here (see `Support`).
        DataError: if all classes hold the same samples, or sources are not one for each.
    """
    check_class_names(classes)
    support.require_samples()
    method = model.inference_method_by(by)
    labels = support.labels.clone()  # A file cannot hold one tensor twice.
    samples = to_float(support.samples)
    check_samples("support", samples[None], labels[None], len(classes))
    if len(support.sources) != len(samples):  # No file could be read that holds so many.
        raise DataError(
            f"There are {len(samples)} samples, but {len(support.sources)} sources; expected one "
            "for each, which may be empty."
        )
    check_classes_differ(support, len(classes), model.input_kind)
    if embedded is None:
        embedded = embed_support(model, support)
    with inference_autocast(samples):
        classifier = method.without_embedding().adapt(embedded[None], labels[None], len(classes))
    if not isinstance(method.embedding, nn.Identity):
        classifier.embedding = method.embedding  # Queries have not passed it yet.
    return FittedClassifier(
        # Generated weights may be in 16 bits; modules shared with the method are as the samples.
        classifier.to(samples.dtype),
        tuple(classes),
        support,
        model.name,
        model.fingerprint,
        model.method_name,
        model.method.config,
        model.backbone,
        model.rejections,
        notes or {},
        model.profiles,
        by,
        model.engine,
    )
