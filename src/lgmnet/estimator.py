"""A few-shot classifier with scikit-learn's contract: fit adapts, in one forward pass."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped

from lgmnet.classifier.classifier import FittedClassifier, Support, fit_support, to_support_samples
from lgmnet.classifier.report import Report, report_on
from lgmnet.data.inputs import to_samples
from lgmnet.errors import ConfigError, DataError, extra
from lgmnet.model.model import Model, load_model
from lgmnet.model.registry import model_folder

with extra("sklearn", "estimators"):
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data

LABELS = {"b": bool, "i": int, "u": int, "f": float, "U": str}
"""Kinds of labels that a file can keep, by NumPy's letter for each."""
KIND_OF_LABELS = "labels"


class FewShotClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A handful of labelled samples in, a classifier out; nothing is trained.

    ``X`` is what the model knows: for a model of images a list of paths, PIL images or arrays, or
    one array [images, height, width] or [images, height, width, channels]; for a model of vectors
    an array [samples, features]. ``y`` are labels of any kind that scikit-learn takes.

    Args:
        model: Name of a shipped model, or the folder of one.
        random_state: Seed of whatever is drawn at random (`spread`); None for another each time.
        device: Where to compute, such as ``cuda``.
        unknown: What `predict` answers where a sample fits no class, such as ``-1`` or
            ``"none of these"``; None to always answer a class.

    Attributes:
        classes_: The labels, sorted; the columns of `predict_proba`.
        classifier_: The classifier itself (`lgmnet.FittedClassifier`).
        n_features_in_: Length of the vectors, for a model of vectors.

    >>> classifier = FewShotClassifier("omniglot")
    >>> classifier.get_params()
    {'device': 'cpu', 'model': 'omniglot', 'random_state': 0, 'unknown': None}
    """

    def __init__(
        self,
        model: str | Path = "omniglot",
        *,
        random_state: int | None = 0,
        device: str = "cpu",
        unknown: Any = None,
    ) -> None:
        self.model = model
        self.random_state = random_state
        self.device = device
        self.unknown = unknown

    def fit(self, X: Any, y: Any) -> FewShotClassifier:
        """Make the classifier of these samples, in one forward pass.

        Args:
            X: Support samples; uneven shots are fine.
            y: The label of each.

        Raises:
            ConfigError: if there is no such model.
            DataError: if ``X`` is empty or not what the model knows, ``X`` and ``y`` differ in
                length, a label is of no known kind, or there is one class only.
        """
        labels = self._labels(y)
        samples = self._samples(X, len(labels))
        classes, places = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise DataError(
                f"Expected samples of at least two classes, but all are of one class, "
                f"{classes.tolist()[0]!r}."
            )
        support = Support(samples, torch.from_numpy(places), self._sources(X, len(samples)))
        self._keep(fit_support(self._model(), support, self._names(classes)), classes)
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> FewShotClassifier:
        """Add samples, of classes known or new; the classifier is made anew of all.

        Args:
            X: Further samples.
            y: The label of each.
            classes: Not needed; a class exists once it is shown.
        """
        if not hasattr(self, "classifier_"):
            return self.fit(X, y)
        labels = self._labels(y)
        samples = self._samples(X, len(labels), reset=False)
        all_labels = np.concatenate([self.classes_[self.classifier_.support.labels], labels])
        merged, places = np.unique(all_labels, return_inverse=True)
        old = self.classifier_.support
        support = Support(
            torch.cat([old.samples, samples]),
            torch.from_numpy(places),
            (*old.sources, *self._sources(X, len(samples))),
        )
        self._keep(fit_support(self._forger(), support, self._names(merged)), merged)
        return self

    def remove_class(self, label: Any) -> FewShotClassifier:
        """Forget a class and its samples.

        Raises:
            ConfigError: if there is no such class, or fewer than two would be left.
        """
        check_is_fitted(self)
        fitted = self.classifier_.without(self._forger(), self._name(label))
        self._keep(fitted, self.classes_[self.classes_ != label])
        return self

    def rename_class(self, old: Any, new: Any) -> FewShotClassifier:
        """Give a class another label.

        Raises:
            ConfigError: if there is no such class, or already one with the new label.
        """
        check_is_fitted(self)
        renamed = self.classifier_.renamed(self._name(old), str(new))
        labels = self._labels([new if label == old else label for label in self.classes_.tolist()])
        if labels.dtype.kind != self.classes_.dtype.kind:
            raise ConfigError(
                f"Expected a label like the others, such as {self.classes_[0]!r}, but came {new!r}."
            )
        classes, order = np.unique(labels, return_index=True)
        if np.array_equal(labels, classes):
            self._keep(renamed, classes)
            return self
        # The columns follow the labels' order, so the classes move.
        places = torch.from_numpy(np.argsort(order))[renamed.support.labels]
        support = Support(renamed.support.samples, places, renamed.support.sources)
        self._keep(fit_support(self._forger(), support, self._names(classes)), classes)
        return self

    def predict_proba(self, X: Any) -> Float[np.ndarray, "samples classes"]:
        """Probability of each class, in the order of ``classes_``."""
        check_is_fitted(self)
        samples = self._samples(X, reset=False)
        return self.classifier_.predict_proba(samples).cpu().numpy()

    def predict(self, X: Any) -> Shaped[np.ndarray, " samples"]:
        """The most probable label of each sample, or ``unknown`` where it fits no class.

        Raises:
            ConfigError: if ``unknown`` is asked for and the model has no threshold, or it is not
                of the labels' kind.
        """
        check_is_fitted(self)
        samples = self._samples(X, reset=False)
        places = self.classifier_.predict_proba(samples).argmax(1).cpu().numpy()
        labels: np.ndarray = self.classes_[places]
        if self.unknown is None:
            return labels
        if np.asarray(self.unknown).dtype.kind != labels.dtype.kind:
            raise ConfigError(
                f"'unknown' must be a label like the others, such as {self.classes_[0]!r}, but is "
                f"{self.unknown!r}."
            )
        return np.where(self.classifier_.fits(samples).cpu().numpy(), labels, self.unknown)

    def explain(self, X: Any) -> Float[np.ndarray, "samples support"]:
        """How much each support sample carries of each answer; each row sums to 1.

        Columns are in the order in which `fit` and `partial_fit` were shown the samples.
        """
        check_is_fitted(self)
        return self.classifier_.explain(self._samples(X, reset=False)).cpu().numpy()

    def spread(self, X: Any, draws: int = 10) -> Float[np.ndarray, "samples classes"]:
        """How far classifiers of several random contexts disagree: standard deviations.

        Args:
            X: Samples to ask about.
            draws: How many classifiers to draw.
        """
        check_is_fitted(self)
        return self.classifier_.spread(
            self._forger(), self._samples(X, reset=False), draws, self.random_state
        ).numpy()

    def report(self, X: Any, y: Any) -> Report:
        """What is confused among labelled samples, and which support samples may be mislabelled.

        Raises:
            ConfigError: if a label is none of ``classes_``.
        """
        check_is_fitted(self)
        labels = self._labels(y)
        samples = self._samples(X, len(labels), reset=False)
        names, sources = [*map(self._name, labels)], self._sources(X, len(samples))
        answered = self.classifier_.predict_proba(samples)
        return report_on(self.classifier_, answered, names, sources, self._forger())

    def save(self, path: str | Path) -> None:
        """Write the classifier to one file, without pickle; `lgmnet predict` reads it too."""
        check_is_fitted(self)
        self.classifier_.save(Path(path))

    @classmethod
    def load(
        cls, path: str | Path, *, model: str | Path | None = None, device: str = "cpu"
    ) -> FewShotClassifier:
        """Read what `save`, or `lgmnet forge`, wrote.

        Args:
            path: The file.
            model: The model that forged it, for editing it, where that does not ship.
            device: Where to compute.

        Raises:
            FileFormatError: if the file is absent, damaged, altered, not ours, or of another
                version.
        """
        fitted = FittedClassifier.load(Path(path))
        kind = fitted.notes.get(KIND_OF_LABELS, "U")
        labels = np.array(fitted.classes)
        estimator = cls(model or fitted.model, device=device)
        estimator.n_features_in_ = fitted.inputs.shape[0]
        estimator._keep(fitted, labels == "True" if kind == "b" else labels.astype(LABELS[kind]))
        return estimator

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        fitted = getattr(self, "classifier_", None)
        kind = fitted.inputs.kind if fitted else self._model().input_kind
        vectors = kind == "vector"
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = vectors, not vectors
        return tags

    def _model(self) -> Model:
        """The model that ``model`` names."""
        folder = model_folder(self.model)
        stamp = max(path.stat().st_mtime_ns for path in (folder, *folder.iterdir()))
        return loaded(folder, stamp, self.device)

    def _forger(self) -> Model:
        """The model that made the classifier, for making another."""
        model = self._model()
        self.classifier_.check_model(model)
        return model

    def _labels(self, y: Any) -> np.ndarray:
        """Labels as an array of one of the kinds of `LABELS`."""
        if y is None:
            raise DataError(
                "This FewShotClassifier requires y to be passed, but the target y is None."
            )
        labels = np.asarray(y)
        if labels.ndim == 2 and labels.shape[1] == 1:
            from sklearn.utils.validation import column_or_1d

            labels = column_or_1d(labels, warn=True)
        if labels.dtype == object and all(isinstance(label, str) for label in labels.ravel()):
            labels = labels.astype(str)
        with warnings.catch_warnings():
            # One sample of each class is what this is for.
            warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
            check_classification_targets(labels)
        if labels.dtype.kind not in LABELS or labels.ndim != 1:
            raise DataError(
                "Unknown label type: labels must be texts, whole numbers, floats or truth values, "
                f"one for each sample, but are {labels.dtype} of shape {list(labels.shape)}."
            )
        return labels

    def _samples(self, X: Any, labels: int | None = None, *, reset: bool = True) -> torch.Tensor:
        """``X`` as the model takes it, checked for its length where labels come with it.

        Args:
            X: As a person gives it.
            labels: How many labels came with it.
            reset: Whether the model is asked what it takes, or the classifier that there is.
        """
        asked = self._model() if reset else self.classifier_
        shape = asked.inputs.shape
        if len(shape) == 1:
            X = validate_data(self, X, reset=reset, dtype=np.float64)
            shape = X.shape[1:] if reset and self._model().inputs.any_length else shape
        samples = to_samples(X, shape)
        if labels is not None and labels != len(samples):
            raise DataError(
                f"There are {len(samples)} samples, but {labels} labels; expected one each."
            )
        if asked.backbone:  # A classifier keeps features, not photos.
            samples = to_support_samples(samples, shape, asked.backbone)
        return samples.to(self.device)

    def _sources(self, X: Any, samples: int) -> tuple[str, ...]:
        if isinstance(X, np.ndarray) or not isinstance(X, Sequence):
            return ("",) * samples
        return tuple(str(x) if isinstance(x, (str, Path)) else "" for x in X)

    def _names(self, classes: np.ndarray) -> tuple[str, ...]:
        return tuple(str(label) for label in classes.tolist())

    def _name(self, label: Any) -> str:
        return self._names(np.asarray([label]).astype(self.classes_.dtype))[0]

    def _keep(self, fitted: FittedClassifier, classes: np.ndarray) -> None:
        fitted.notes[KIND_OF_LABELS] = classes.dtype.kind
        self.classifier_, self.classes_ = fitted, classes


@lru_cache(maxsize=4)
def loaded(folder: Path, stamp: int, device: str) -> Model:
    """The model in a folder, read once as long as the folder stays as it is."""
    model = load_model(folder)
    model.method.to(device)
    return model
