"""Few-shot classifier with the interface of a scikit-learn estimator."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped

from lgmnet.classifier import edit
from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.classifier.fit import fit_support
from lgmnet.classifier.image_kind import choose_model, find_input_mismatch
from lgmnet.classifier.labels import (
    check_known_labels,
    check_labels,
    check_same_kind,
    check_unknown,
    restore_labels,
)
from lgmnet.classifier.report import Report, report_on
from lgmnet.classifier.support import Support, to_support_samples
from lgmnet.criterion import Criterion
from lgmnet.data.inputs import check_vectors, collect_inputs, table_labels, to_samples
from lgmnet.devices import resolve_device
from lgmnet.engines.names import AUTO, EngineName
from lgmnet.errors import ConfigError, DataError, FileFormatError, require_extra
from lgmnet.model.hub import is_hub_name
from lgmnet.model.loaded import load_model_once
from lgmnet.model.model import Model
from lgmnet.model.registry import AUTO_MODEL

with require_extra("sklearn", "estimators"):
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils.validation import check_is_fitted, validate_data

LABEL_KIND_NOTE = "labels"


class FewShotClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Few-shot classifier that adapts to labelled samples in one forward pass, without training.

    ``X`` is what the model takes. For a model of images it is a list or an array of paths, a list
    of PIL images, arrays, or files as bytes or BytesIO, or one array [images, height, width] or
    [images, height, width, channels]. For a model of vectors it is an array [samples, features].
    ``y`` are texts, whole numbers or truth values, all of one kind. A DataFrame with the columns
    ``file`` and ``label`` is both in one.

    Args:
        model: Name of a shipped model, the folder of a model, or ``hub:owner/name`` on the Hugging
            Face hub. ``auto`` looks at the samples: ``omniglot`` for drawings, ``photos`` for
            photos, ``vectors`` for an array [samples, features].
        random_state: Seed of the random draws (`spread`), or a generator of NumPy that gives one;
            None for a different one each time.
        device: Device to compute on: ``cpu``, ``cuda``, or ``auto`` for a GPU if there is one.
        engine: Engine that computes the features of photos, or the embedding of drawings:
            ``torch``, ``onnxruntime``, ``openvino``, or ``auto`` for the fastest that is installed
            and gives the same features as ``torch``. Vectors are always computed by PyTorch.
        unknown: Label that `predict` gives to samples that belong to no class, such as ``-1`` or
            ``"none of these"``. If None, `predict` always gives a class.
        unknown_rate: Share of the samples of the classes that may get the label ``unknown`` by
            mistake, 0.001 to 0.5. If None, as many as samples of no class are accepted.
        by: Criterion of the classes, which one sample of each cannot show: ``things``, ``looks``
            (such as colour, texture or place), or ``auto`` for whatever the samples show. The first
            two need a model that was trained by criterion.

    Attributes:
        classes_: The labels, sorted; the columns of `predict_proba`.
        classifier_: The fitted classifier (`lgmnet.FittedClassifier`).
        n_features_in_: Length of the vectors; absent for a model of images.

    >>> classifier = FewShotClassifier("omniglot")
    >>> classifier.get_params()
    {'by': 'auto', 'device': 'cpu', 'engine': 'auto', 'model': 'omniglot', 'random_state': 0, \
'unknown': None, 'unknown_rate': None}

    After fitting, ``classifier_.model`` is the name of the model. A classifier that was fitted to
    drawings warns if it is given photos, and one that was fitted to photos warns if it is given
    three drawings or more.
    """

    def __init__(
        self,
        model: str | Path = AUTO_MODEL,
        *,
        random_state: int | np.random.RandomState | np.random.Generator | None = 0,
        device: str = "cpu",
        engine: EngineName = AUTO,
        unknown: Any = None,
        unknown_rate: float | None = None,
        by: Criterion = "auto",
    ) -> None:
        self.model = model
        self.random_state = random_state
        self.device = device
        self.engine = engine
        self.unknown = unknown
        self.unknown_rate = unknown_rate
        self.by = by

    def fit(self, X: Any, y: Any = None) -> FewShotClassifier:
        """Fit to labelled samples in one forward pass.

        Args:
            X: Support samples; uneven shots are fine.
            y: Label of each sample; None if ``X`` is a DataFrame with a column ``label``.

        Raises:
            ConfigError: if there is no such model, or it cannot judge ``by`` that.
            DataError: if ``X`` is empty or not what the model takes, ``X`` and ``y`` differ in
                length, labels have an unknown type or several, there is one class only, or all
                classes hold the same samples.
        """
        labels = check_labels(table_labels(X) if y is None else y)
        X = collect_inputs(X)
        model, notes = self._choose_model(X)
        model.inference_method_by(self.by)  # Raises now, and not after features were computed.
        samples = self._prepare_samples(X, len(labels), model)
        if not len(samples):
            raise DataError("There are no images: expected some of at least two classes.")
        classes, indices = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise DataError(
                f"Expected samples of at least two classes, but all are of one class, "
                f"{classes.tolist()[0]!r}."
            )
        support = Support(samples, torch.from_numpy(indices), self._sources(X, len(samples)))
        fitted = fit_support(model, support, self._class_names(classes), notes, by=self.by)
        self._set_fitted(fitted, classes)
        for name in ("n_features_in_", "feature_names_in_"):  # Of an earlier fit to vectors.
            self.__dict__.pop(name, None)
        if not model.inputs.is_image:
            validate_data(self, X, skip_check_array=True)  # Sets both.
        return self

    def partial_fit(self, X: Any, y: Any = None, classes: Any = None) -> FewShotClassifier:
        """Add samples, of existing or new classes, and fit again to all samples.

        ``classes`` is ignored; new classes are those of ``y``.

        Raises:
            ConfigError: if labels are not of the kind of the others, or the classifier was saved
                without its samples.
            DataError: as for `fit`.
        """
        if not hasattr(self, "classifier_"):
            return self.fit(X, y)
        labels = check_known_labels(table_labels(X) if y is None else y, self.classes_)
        X = collect_inputs(X)
        samples = self._prepare_samples(X, len(labels))
        old = self.classifier_.support
        old.require_samples()
        all_labels = np.concatenate([self.classes_[old.labels], labels])
        merged, indices = np.unique(all_labels, return_inverse=True)
        sources = (*old.sources, *self._sources(X, len(samples)))
        support = Support(torch.cat([old.samples, samples]), torch.from_numpy(indices), sources)
        names, notes, by = self._class_names(merged), self.classifier_.notes, self.classifier_.by
        self._set_fitted(fit_support(self._fitting_model(), support, names, notes, by=by), merged)
        return self

    def remove_class(self, label: Any) -> FewShotClassifier:
        """Remove a class and its samples, and fit again to the others.

        Raises:
            ConfigError: if there is no such class, or fewer than two classes would be left.
        """
        check_is_fitted(self)
        name = self._class_name(label)
        fitted = edit.remove_class(self.classifier_, self._fitting_model(), name)
        self._set_fitted(fitted, np.delete(self.classes_, self.classifier_.class_index(name)))
        return self

    def rename_class(self, old: Any, new: Any) -> FewShotClassifier:
        """Rename a class.

        Raises:
            ConfigError: if there is no class ``old``, already a class ``new``, or ``new`` is not of
                the kind of the other labels.
        """
        check_is_fitted(self)
        check_same_kind(new, self.classes_)
        name = self._class_name(old)
        renamed = edit.rename_class(self.classifier_, name, str(new))
        values = self.classes_.tolist()
        values[self.classifier_.class_index(name)] = new
        labels = check_labels(values)
        classes, order = np.unique(labels, return_index=True)
        if not np.array_equal(labels, classes):
            # The columns follow the order of the labels, so the class moves to another column.
            indices = torch.from_numpy(np.argsort(order))[renamed.support.labels]
            support = dataclasses.replace(renamed.support, labels=indices)
            names = self._class_names(classes)
            model = self._fitting_model()
            renamed = fit_support(model, support, names, renamed.notes, by=renamed.by)
        self._set_fitted(renamed, classes)
        return self

    def predict_proba(self, X: Any) -> Float[np.ndarray, "samples classes"]:
        """Compute the probability of each class, in the order of ``classes_``."""
        check_is_fitted(self)
        samples = self._prepare_samples(X)
        return self.classifier_.predict_proba(samples).cpu().numpy()

    def predict(self, X: Any) -> Shaped[np.ndarray, " samples"]:
        """Predict the most probable label, or ``unknown`` for a sample that belongs to no class.

        Raises:
            ConfigError: if ``unknown`` is set, but it is not of the type of the labels, or the
                model has no threshold; or if ``unknown_rate`` is out of range, or ``unknown`` is
                not set beside it.
        """
        check_is_fitted(self)
        samples = self._prepare_samples(X)
        if self.unknown is None and self.unknown_rate is not None:
            raise ConfigError(
                "'unknown_rate' says how often 'unknown' may be given by mistake; give 'unknown', "
                "the label of samples that belong to no class, as well."
            )
        if self.unknown is None:
            indices = self.classifier_.predict_proba(samples).argmax(1).cpu().numpy()
            labels: np.ndarray = self.classes_[indices]
            return labels
        check_unknown(self.unknown, self.classes_)
        self.classifier_.rejection.threshold_for(self.unknown_rate)  # Also without samples.
        batches = []
        for analysis in self.classifier_.analyze_batches(samples):
            labels = self.classes_[analysis.log_p.argmax(1).cpu().numpy()]
            is_unknown = self.classifier_.rejected(analysis, self.unknown_rate).cpu().numpy()
            batches.append(np.where(is_unknown, self.unknown, labels))
        return np.concatenate([self.classes_[:0], *batches])

    def explain(self, X: Any) -> Float[np.ndarray, "samples support"]:
        """Compute the share of each prediction that each support sample accounts for.

        Each row sums to 1. Columns are in the order in which `fit` and `partial_fit` were given the
        samples.
        """
        check_is_fitted(self)
        return self.classifier_.explain(self._prepare_samples(X)).cpu().numpy()

    def judged_by(self) -> dict[str, float]:
        """Tell by what the classes are told apart; see `FittedClassifier.judged_by`."""
        check_is_fitted(self)
        return self.classifier_.judged_by()

    def spread(self, X: Any, draws: int = 10) -> Float[np.ndarray, "samples classes"]:
        """Compute the standard deviation of each probability over ``draws`` task contexts.

        Raises:
            ConfigError: if ``draws`` is no whole number of at least 1, ``random_state`` is no seed,
                or the classifier was saved without its samples.
        """
        check_is_fitted(self)
        samples = self._prepare_samples(X)
        model = self._fitting_model()
        seed = self.random_state
        if isinstance(seed, (np.random.RandomState, np.random.Generator)):
            seed = int.from_bytes(seed.bytes(4), "big")
        return self.classifier_.spread(model, samples, draws, seed).cpu().numpy()

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Compute the share of correct predictions.

        Args:
            X: Samples.
            y: Their labels; None if ``X`` is a DataFrame with a column ``label``.
            sample_weight: Weight of each sample; None for equal ones.

        Raises:
            DataError: if there are no labels.
        """
        labels = table_labels(X) if y is None else y
        return float(super().score(X, labels, sample_weight))

    def report(self, X: Any, y: Any = None) -> Report:
        """Compare predictions with labels, and search for mislabelled support samples.

        ``y`` is None if ``X`` is a DataFrame with a column ``label``.

        Raises:
            ConfigError: if a label is none of ``classes_``.
            DataError: if ``X`` or ``y`` cannot be used, or they differ in length.
        """
        check_is_fitted(self)
        labels = check_known_labels(table_labels(X) if y is None else y, self.classes_)
        X = collect_inputs(X)
        samples = self._prepare_samples(X, len(labels))
        names, sources = [*map(self._class_name, labels)], self._sources(X, len(samples))
        probabilities = self.classifier_.predict_proba(samples)
        model = self._fitting_model() if self.classifier_.support.has_samples else None
        return report_on(self.classifier_, probabilities, names, sources, model)

    def save(self, path: str | Path, *, overwrite: bool = False, support: bool = True) -> None:
        """Write the classifier to one file, without pickle; `lgmnet predict` reads it too.

        If ``support`` is False, the file holds no support samples: it predicts the same, but it
        cannot be edited, nor its answers explained.

        Raises:
            ConfigError: if ``path`` is no path.
            UserError: if the file cannot be written, or if a file that is no classifier is there
                and ``overwrite`` is False.
        """
        check_is_fitted(self)
        self.classifier_.save(path, overwrite=overwrite, support=support)

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        model: str | Path | None = None,
        device: str = "cpu",
        engine: EngineName = AUTO,
    ) -> FewShotClassifier:
        """Read a classifier that `save` or `lgmnet forge` wrote.

        Args:
            path: Path of the file.
            model: Model that fitted the classifier; needed for edits if it is not a shipped one.
            device: Device to compute on: ``cpu``, ``cuda``, or ``auto`` for a GPU if there is one.
            engine: Engine, as in `FewShotClassifier`.

        Raises:
            ConfigError: if ``path`` is no path, or there is no such device or engine.
            UserError: if the engine is not installed.
            FileFormatError: if the file is absent, damaged, altered, of another kind, or of another
                version.
        """
        fitted = FittedClassifier.load(path, engine=engine).to(resolve_device(device))
        if model is None and is_hub_name(fitted.model):
            raise FileFormatError(
                f"'{path}' states that '{fitted.model}' fitted it, but a file must not start a "
                "download; name the model with model=..."
            )
        classes = restore_labels(fitted.classes, fitted.notes.get(LABEL_KIND_NOTE, "U"), path)
        estimator = cls(model or fitted.model, device=device, engine=engine, by=fitted.by)
        if not fitted.inputs.is_image:
            estimator.n_features_in_ = fitted.inputs.shape[0]
        estimator._set_fitted(fitted, classes)
        return estimator

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        fitted = getattr(self, "classifier_", None)
        input_tags = tags.input_tags
        if fitted is None and self.model == AUTO_MODEL:
            input_tags.two_d_array = input_tags.three_d_array = True
            return tags
        kind = fitted.inputs.kind if fitted else self._load_model(self.model).input_kind
        is_vector = kind == "vector"
        input_tags.two_d_array, input_tags.three_d_array = is_vector, not is_vector
        return tags

    def _choose_model(self, X: Any) -> tuple[Model, dict[str, str]]:
        """Load the model that the parameter ``model`` names, or that suits ``X`` if it is ``auto``.

        Returns:
            The model, and the note of the kind of the images if they were looked at.
        """
        if self.model != AUTO_MODEL:
            return self._load_model(self.model), {}
        name, notes = choose_model(X)
        return self._load_model(name), notes

    def _load_model(self, name: str | Path) -> Model:
        return load_model_once(name, resolve_device(self.device), self.engine)

    def _fitting_model(self) -> Model:
        """Load the model, and check that it fitted the classifier."""
        model = self._load_model(self.classifier_.model if self.model == AUTO_MODEL else self.model)
        self.classifier_.check_model(model)
        return model

    def _prepare_samples(
        self, X: Any, n_labels: int | None = None, model: Model | None = None
    ) -> torch.Tensor:
        """Convert ``X`` to samples as a support set stores them; ``n_labels`` must be their number.

        The model decides which samples are valid; if it is None, the classifier does.
        """
        X = collect_inputs(X)
        reset = model is not None
        source = model or self.classifier_
        shape = source.inputs.shape
        if not reset and (mismatch := find_input_mismatch(self.classifier_, X)):
            warnings.warn(mismatch, UserWarning, stacklevel=3)
        if len(shape) == 1:
            X = check_vectors(self, X, reset=reset)
            shape = X.shape[1:] if reset and source.inputs.any_length else shape
        samples = to_samples(X, shape)
        if n_labels is not None and n_labels != len(samples):
            raise DataError(
                f"There are {len(samples)} samples, but {n_labels} labels; expected one each."
            )
        if source.backbone and len(samples):  # A support set stores features of photos.
            samples = to_support_samples(samples, shape, source.backbone, self.engine)
        return samples.to(resolve_device(self.device))

    def _sources(self, X: Any, n_samples: int) -> tuple[str, ...]:
        if isinstance(X, np.ndarray) or not isinstance(X, Sequence):
            return ("",) * n_samples
        return tuple(str(x) if isinstance(x, (str, Path)) else "" for x in X)

    def _class_names(self, classes: np.ndarray) -> tuple[str, ...]:
        return tuple(str(label) for label in classes.tolist())

    def _class_name(self, label: Any) -> str:
        check_same_kind(label, self.classes_)
        return self._class_names(np.asarray([label]))[0]

    def _set_fitted(self, fitted: FittedClassifier, classes: np.ndarray) -> None:
        notes = {**fitted.notes, LABEL_KIND_NOTE: classes.dtype.kind}
        self.classifier_ = dataclasses.replace(fitted, notes=notes)
        self.classes_ = classes
