"""Edits of classifiers: classes and samples added, removed or renamed.

Each function returns another classifier and leaves the given one unchanged. Edits that change the
support set fit the classifier to it again, in one forward pass. They need the model that fitted it
and the support samples, and raise a `ConfigError` if it is another model or the samples are not in
the file.
"""

import dataclasses
from collections.abc import Sequence

import torch
from jaxtyping import Num
from torch import Tensor

from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.classifier.fit import fit_support
from lgmnet.classifier.names import check_class_name
from lgmnet.classifier.support import Support, to_support_samples
from lgmnet.errors import ConfigError
from lgmnet.model.model import Model


def add_samples(
    fitted: FittedClassifier,
    model: Model,
    samples: Num[Tensor, "samples *feature"],
    labels: Sequence[str],
    sources: Sequence[str] | None = None,
) -> FittedClassifier:
    """Add samples, of existing or new classes.

    ``labels`` are class names; new classes follow the existing ones, in this order. ``sources``
    tell where each sample is from, such as the name of its file.

    Raises:
        DataError: if the samples are not of the kind and shape that the model takes, or there is
            not one source for each label.
    """
    fitted.check_model(model)
    old = fitted.support
    old.require_samples()
    shape = tuple(old.samples.shape[1:])
    samples = to_support_samples(samples, shape, fitted.backbone, model.engine)
    classes = list(dict.fromkeys([*fitted.classes, *labels]))
    indices = torch.tensor([classes.index(label) for label in labels])
    support = Support(
        torch.cat([old.samples, samples]),
        torch.cat([old.labels, indices]),
        (*old.sources, *(sources or [""] * len(samples))),
    )
    return fit_support(model, support, classes, fitted.notes, by=fitted.by)


def remove_class(fitted: FittedClassifier, model: Model, name: str) -> FittedClassifier:
    """Remove a class and its samples.

    Raises:
        ConfigError: if there is no such class, or fewer than two classes would be left.
    """
    fitted.check_model(model)
    index = fitted.class_index(name)
    if len(fitted.classes) == 2:
        raise ConfigError(
            f"Without '{name}' only '{fitted.classes[1 - index]}' would be left; a classifier "
            "needs two classes. Add another first."
        )
    rest = fitted.support.select(fitted.support.labels != index)
    labels = rest.labels - (rest.labels > index).long()
    classes = [other for other in fitted.classes if other != name]
    return fit_support(
        model, dataclasses.replace(rest, labels=labels), classes, fitted.notes, by=fitted.by
    )


def remove_samples(
    fitted: FittedClassifier, model: Model, indices: Sequence[int]
) -> FittedClassifier:
    """Remove the support samples with these indices, which start at 0.

    Raises:
        ConfigError: if an index is out of range, or a class would be left without a sample.
    """
    fitted.check_model(model)
    fitted.support.require_samples()
    check_indices(fitted, indices)
    mask = torch.ones(len(fitted.support.samples), dtype=torch.bool)
    mask[list(indices)] = False
    support = fitted.support.select(mask)
    shots = support.labels.bincount(minlength=len(fitted.classes))
    if not bool(shots.all()):
        empty = fitted.classes[int(shots.argmin())]
        raise ConfigError(f"'{empty}' would be left without a sample; remove the class instead.")
    return fit_support(model, support, fitted.classes, fitted.notes, by=fitted.by)


def move_samples(
    fitted: FittedClassifier, model: Model, indices: Sequence[int], names: Sequence[str]
) -> FittedClassifier:
    """Move the support samples with these indices to other classes, which may be new.

    ``names`` are the classes that they move to. A class that loses all its samples is removed.

    Raises:
        ConfigError: if an index is out of range, or fewer than two classes would be left.
    """
    fitted.check_model(model)
    fitted.support.require_samples()
    check_indices(fitted, indices)
    classes = list(dict.fromkeys([*fitted.classes, *names]))
    labels = fitted.support.labels.clone()
    for index, name in zip(indices, names, strict=True):
        labels[index] = classes.index(name)
    present = labels.unique().tolist()
    if len(present) < 2:
        raise ConfigError(
            f"All images would be of the class '{classes[present[0]]}'; a classifier needs two "
            "classes. Add images of another first."
        )
    labels = torch.tensor([present.index(label) for label in labels.tolist()])
    support = dataclasses.replace(fitted.support, labels=labels)
    kept = [classes[label] for label in present]
    return fit_support(model, support, kept, fitted.notes, by=fitted.by)


def check_indices(fitted: FittedClassifier, indices: Sequence[int]) -> None:
    """Check that a classifier has support samples with these indices.

    Raises:
        ConfigError: if it has not.
    """
    count = len(fitted.support.samples)
    if wrong := [index for index in indices if not 0 <= index < count]:
        raise ConfigError(f"There is no sample {wrong[0]}; there are 0 to {count - 1}.")


def rename_class(fitted: FittedClassifier, old: str, new: str) -> FittedClassifier:
    """Rename a class. This needs no model.

    Raises:
        ConfigError: if there is no class ``old``, or already a class ``new``, or ``new`` cannot be
            the name of a class.
    """
    check_class_name(new)
    index = fitted.class_index(old)
    if new != old and new in fitted.classes:
        raise ConfigError(
            f"There is a class '{new}' already; two classes cannot have the same name."
        )
    classes = tuple(new if i == index else name for i, name in enumerate(fitted.classes))
    return dataclasses.replace(fitted, classes=classes)
