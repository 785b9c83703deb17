"""Classifiers of a user's own classes, as a model fits them to labelled samples."""

from __future__ import annotations

import copy
import dataclasses
import math
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float, Num
from torch import Tensor

from lgmnet.classifier.embedding import load_embedding, without_embedding
from lgmnet.classifier.support import (
    Support,
    check_is_tensor,
    to_float,
    to_support_samples,
)
from lgmnet.criterion import Criterion
from lgmnet.devices import inference_autocast
from lgmnet.engines.names import AUTO
from lgmnet.engines.runtimes import check_engine
from lgmnet.errors import ConfigError, DataError, unknown_name_error
from lgmnet.evaluation.aspects import Profile, explain_shares
from lgmnet.evaluation.rejection import Rejection
from lgmnet.input_spec import InputSpec
from lgmnet.io import to_path
from lgmnet.methods.base import Classifier, QueryAnalysis
from lgmnet.methods.ensemble import Ensemble
from lgmnet.model.model import Model
from lgmnet.nn.pretrained import load_backbone

T = TypeVar("T")
BATCH_SIZE = 256
"""Number of samples that pass a classifier at a time."""


@dataclass(frozen=True)
class FittedClassifier:
    """Classifier of a user's own classes. It predicts without the model and the image files.

    It holds its support set, for explanations and edits, unless it was saved without.
    `lgmnet.classifier.edit` makes edited classifiers and needs the model that fitted this one. All
    methods that take samples raise a `DataError` if these are not of the kind and shape that the
    model takes.

    >>> import lgmnet
    >>> samples = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    >>> model = lgmnet.load_model("vectors")
    >>> fitted = lgmnet.fit_classifier(model, samples, [0, 1], ["left", "right"])
    >>> fitted.classes[fitted.predict_proba(samples[:1]).argmax()]
    'left'
    """

    classifier: Classifier
    classes: tuple[str, ...]
    support: Support
    model: str
    """Name of the model that fitted it."""
    fingerprint: str
    """Fingerprint of that model's weights."""
    method: str
    """Name of that model's method."""
    config: Any
    """Config of that method."""
    backbone: str = ""
    """Name of the frozen network that computes features of photos; empty if there is none."""
    rejections: tuple[Rejection, ...] = ()
    """The model's thresholds for samples that belong to no class."""
    notes: dict[str, str] = field(default_factory=dict)
    """Texts that the caller stores with the classifier."""
    profiles: tuple[Profile, ...] = ()
    """The model's profiles of known criteria."""
    by: Criterion = "auto"
    """Criterion that the user stated (see `fit_classifier`)."""
    engine: str = AUTO
    """Engine of the backbone, or of the embedding of drawings (see `load_model`); it is not
    stored."""

    @property
    def inputs(self) -> InputSpec:
        """Samples that the classifier takes."""
        if self.backbone:
            return load_backbone(self.backbone).inputs
        return InputSpec(tuple(self.support.samples.shape[1:]))

    @property
    def shots(self) -> tuple[int, ...]:
        """Number of support samples of each class."""
        return tuple(self.support.labels.bincount(minlength=len(self.classes)).tolist())

    @torch.inference_mode()
    def predict_proba(
        self, samples: Num[Tensor, "samples *feature"]
    ) -> Float[Tensor, "samples classes"]:
        """Compute the probability of each class for each sample, `BATCH_SIZE` samples at a time.

        Raises:
            DataError: if the samples are not of the kind and shape that the model takes.
        """
        if not len(samples):
            return torch.empty(0, len(self.classes))
        batches = self._run_batches(lambda c, queries: c(queries)[0], samples)
        return require_probabilities(torch.cat(list(batches))).exp()

    def predict(self, samples: Num[Tensor, "samples *feature"]) -> list[str]:
        """Predict the most probable class of each sample."""
        return [self.classes[i] for i in self.predict_proba(samples).argmax(1).tolist()]

    def analyze_batches(self, samples: Num[Tensor, "samples *feature"]) -> Iterator[QueryAnalysis]:
        """Yield what `analyze` computes for one batch of `BATCH_SIZE` samples after the other.

        Raises:
            DataError: if the samples are not of the kind and shape that the model takes.
        """
        if not len(samples):
            return
        for analysis in self._run_batches(lambda c, queries: c.analyze(queries), samples):
            values = {name: value[0] for name, value in vars(analysis).items() if value is not None}
            require_probabilities(values["log_p"])
            attention = values.get("support_attention")
            if attention is not None and attention.shape[1] != len(self.support.samples):
                del values["support_attention"]  # The keys are class means, not support samples.
            yield QueryAnalysis(**values)

    @torch.inference_mode()
    def analyze(self, samples: Num[Tensor, "samples *feature"]) -> QueryAnalysis:
        """Compute probabilities, similarity, attention and embedding of samples in one pass.

        All results are held in memory. `analyze_batches` gives them batch by batch.

        Raises:
            DataError: if there are no samples.
        """
        batches = [vars(batch) for batch in self.analyze_batches(samples)]
        if not batches:
            raise DataError("There are no samples: expected at least one.")
        names = [name for name, value in batches[0].items() if value is not None]
        result = QueryAnalysis(**{name: torch.cat([b[name] for b in batches]) for name in names})
        if result.support_attention is not None:
            return result
        return dataclasses.replace(result, support_attention=self._share_support(result))

    def _share_support(self, analysis: QueryAnalysis) -> Float[Tensor, "samples support"] | None:
        """Trace answers back to the support samples, if the method can (`share_support`)."""
        if not self.support.has_samples or analysis.embedding is None:
            return None
        task = {name: value[None] for name, value in vars(analysis).items() if value is not None}
        support, labels = self._embedded_support, self.support.labels[None]
        shares = self.classifier.share_support(QueryAnalysis(**task), support, labels)
        return None if shares is None else shares[0]

    @cached_property
    def _embedded_support(self) -> Float[Tensor, "1 support features"]:
        """Support samples as queries are compared; embedded once, not for every answer."""
        embedded = self.classifier.analyze(to_float(self.support.samples)[None]).embedding
        assert embedded is not None
        return embedded

    @property
    def support_embedding(self) -> Float[Tensor, "keys features"] | None:
        """Keys that samples are compared with (see `Classifier.support_embedding`)."""
        keys = self.classifier.support_embedding
        return None if keys is None else keys[0]

    def explain(self, samples: Num[Tensor, "samples *feature"]) -> Float[Tensor, "samples support"]:
        """Compute the share of each prediction that each support sample accounts for.

        Raises:
            ConfigError: if the method does not attend to single support samples, or the classifier
                was saved without them.
        """
        self.support.require_samples()
        attention = self.analyze(samples).support_attention
        if attention is None:
            raise ConfigError(
                f"'{self.model}' does not attend to single support samples, so a prediction cannot "
                "be traced back to them."
            )
        return attention

    @property
    def rejection(self) -> Rejection:
        """Threshold for samples that belong to no class: the model's at the nearest shot.

        Raises:
            ConfigError: if the model has no threshold.
        """
        if not self.rejections:
            raise ConfigError(
                f"'{self.model}' has no threshold for samples that belong to no class. Choose one "
                "with 'lgmnet calibrate', then forge the classifier again."
            )
        shot = sum(self.shots) / len(self.shots)
        return min(self.rejections, key=lambda r: abs(math.log(r.shot / shot)))

    @property
    def threshold(self) -> float:
        """Similarity below which a sample belongs to no class (see `rejection`)."""
        return self.rejection.threshold

    @torch.inference_mode()
    def fits(self, samples: Num[Tensor, "samples *feature"]) -> Bool[Tensor, " samples"]:
        """Decide for each sample if it belongs to any class at all (see `rejected`).

        Raises:
            DataError: if the samples are not of the kind and shape that the model takes.
            ConfigError: if the model has no threshold, or compares classes only with each other.
        """
        rejected = [self.rejected(analysis) for analysis in self.analyze_batches(samples)]
        return ~torch.cat([torch.empty(0, dtype=torch.bool), *rejected])

    def none_probability(self, analysis: QueryAnalysis) -> Float[Tensor, " samples"] | None:
        """Compute the probability that samples belong to no class, if every second one does.

        None if the model has not measured it.
        """
        is_known = bool(self.rejections) and self.rejection.has_probabilities
        if not is_known or analysis.similarity is None:
            return None
        return self.rejection.none_probability(analysis.similarity)

    def rejected(
        self, analysis: QueryAnalysis, rate: float | None = None
    ) -> Bool[Tensor, " samples"]:
        """Decide which of the analyzed samples belong to no class, by the threshold.

        ``rate`` is that of false rejections (see `Rejection.threshold_for`).

        Raises:
            ConfigError: if the model has no threshold, or compares classes only with each other.
        """
        threshold = self.rejection.threshold_for(rate)
        return self.require_similarity(analysis) < threshold

    def require_similarity(self, analysis: QueryAnalysis) -> Float[Tensor, " samples"]:
        """Return the similarities of analyzed samples.

        Raises:
            ConfigError: if the method compares classes only with each other.
        """
        if analysis.similarity is None:
            raise ConfigError(
                f"'{self.model}' compares classes only with each other, so it cannot decide that a "
                "sample belongs to none of them."
            )
        return analysis.similarity

    @torch.inference_mode()
    def spread(
        self,
        model: Model,
        samples: Num[Tensor, "samples *feature"],
        draws: int = 10,
        seed: int | None = 0,
    ) -> Float[Tensor, "samples classes"]:
        """Compute the standard deviation of each probability over random task contexts.

        ``model`` is the one that fitted this classifier. A ``seed`` of None gives different draws
        each time.

        Raises:
            ConfigError: if another model fitted this classifier, it was saved without its support
                samples, or ``draws`` or ``seed`` is no whole number that can be used.
        """
        self.check_model(model)
        self.support.require_samples()
        support_x, support_y = to_float(self.support.samples), self.support.labels
        task = (support_x[None], support_y[None], len(self.classes))
        method = model.inference_method_by(self.by)
        generator = torch.Generator(method.device)
        try:
            generator.seed() if seed is None else generator.manual_seed(operator.index(seed))
        except (TypeError, RuntimeError, OverflowError, ValueError) as error:
            raise ConfigError(
                f"The seed must be None or a whole number of at most 64 bits, but is {seed!r:.100}."
            ) from error
        with inference_autocast(support_x):
            ensemble = Ensemble(method, *task, draws, generator=generator)
        if not len(samples):
            return torch.empty(0, len(self.classes))
        batches = self._run_batches(
            lambda _, queries: ensemble.spread(queries)[0], samples, embed_first=False
        )
        return torch.cat(list(batches))

    def judged_by(self) -> dict[str, float]:
        """Tell by what the classifier tells its classes apart.

        Returns:
            Share of each aspect, such as ``things`` or ``texture``, the largest first; they sum to
            1. Empty if the model cannot tell (see `lgmnet.evaluation.aspects`), or nothing does.
        """
        shares = self.classifier.group_shares
        # Where nothing tells the classes apart, the shares are 0 / 0.
        if not self.profiles or shares is None or not bool(shares.isfinite().all()):
            return {}
        return explain_shares(shares[0], self.profiles)

    def class_index(self, name: str) -> int:
        """Find the index of a class.

        Raises:
            ConfigError: if there is no class of this name.
        """
        if name not in self.classes:
            raise unknown_name_error("class", name, self.classes)
        return self.classes.index(name)

    def _run_batches(
        self,
        function: Callable[[Classifier, Tensor], T],
        samples: Tensor,
        *,
        embed_first: bool = True,
    ) -> Iterator[T]:
        """Apply a function of queries [1, query, *feature] to `BATCH_SIZE` samples at a time.

        It also gets the classifier, without its embedding if the queries have passed that on an
        engine.
        """
        check_is_tensor(samples)
        shape = tuple(self.support.samples.shape[1:])
        classifier, embedding = self.classifier, None
        layers = dict(classifier.named_children()).get("embedding")
        if embed_first and layers is not None:
            embedding = load_embedding(layers, shape, self.engine)
        if embedding is not None:
            classifier = without_embedding(classifier)
        for batch in samples.split(BATCH_SIZE):
            with torch.inference_mode():
                queries = to_float(to_support_samples(batch, shape, self.backbone, self.engine))
                if self.support.samples.is_floating_point():
                    queries = queries.to(self.support.samples.dtype)
                with inference_autocast(queries):
                    if embedding is not None:
                        queries = embedding(queries)
                    result = function(classifier, queries[None])
            yield result

    def to(self, device: torch.device | str) -> FittedClassifier:
        """Return a copy on another device."""
        support = self.support
        moved = dataclasses.replace(support, samples=support.samples.to(device))
        classifier = copy.deepcopy(self.classifier).to(device)
        return dataclasses.replace(self, classifier=classifier, support=moved)

    def check_model(self, model: Model) -> None:
        """Check that a model is the one that fitted this classifier.

        Raises:
            ConfigError: if it is another model, or the classifier states another config.
        """
        if model.fingerprint != self.fingerprint:
            raise ConfigError(
                f"This classifier was forged by '{self.model}' with the weights "
                f"{self.fingerprint}, but this is '{model.name}' with {model.fingerprint}. Name "
                "the model that forged it, or forge the classifier again."
            )
        stated = (self.method, self.config, self.backbone)
        if stated != (model.method_name, model.method.config, model.backbone):
            raise ConfigError(
                f"This classifier states another method, config or backbone than '{model.name}', "
                "which forged it. Use an intact copy, or forge the classifier again."
            )

    def save(self, path: str | Path, *, overwrite: bool = False, support: bool = True) -> None:
        """Write the classifier to a file (see `lgmnet.classifier.file.save_classifier`).

        Raises:
            ConfigError: if ``path`` is no path.
            UserError: if the file cannot be written, or if a file that is no classifier is there
                and ``overwrite`` is False.
        """
        from lgmnet.classifier.file import save_classifier  # That module imports this one.

        save_classifier(self, to_path(path), overwrite=overwrite, support=support)

    @classmethod
    def load(cls, path: str | Path, *, engine: str = AUTO) -> FittedClassifier:
        """Read a classifier from a file (see `lgmnet.classifier.file.load_classifier`).

        Raises:
            ConfigError: if ``path`` is no path, there is no such engine, or the file needs a
                backbone whose weights are not on this machine.
            FileFormatError: if the file is absent, damaged, altered, of another kind, or of another
                version.
        """
        from lgmnet.classifier.file import load_classifier

        check_engine(engine)
        return load_classifier(to_path(path), engine=engine)


def require_probabilities(
    log_p: Float[Tensor, "samples classes"],
) -> Float[Tensor, "samples classes"]:
    """Return log-probabilities if none is NaN.

    Raises:
        DataError: if one is; the weights of a classifier from elsewhere may be so large.
    """
    if bool(log_p.isnan().any()):
        index = int(log_p.isnan().any(1).nonzero()[0])
        raise DataError(
            f"The classifier has no answer to sample {index} of a batch: its numbers overflow. "
            "Forge it again."
        )
    return log_p
