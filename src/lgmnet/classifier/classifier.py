"""Forging: a handful of labelled samples become a classifier, in one forward pass and one file."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor

from lgmnet.config import from_json
from lgmnet.devices import inference_autocast
from lgmnet.episode import check_every_class_shown
from lgmnet.errors import ConfigError, DataError, FileFormatError, unknown_name
from lgmnet.evaluation.rejection import Rejection
from lgmnet.input_spec import InputSpec
from lgmnet.io import read_tensors, write_tensors
from lgmnet.methods import METHODS
from lgmnet.methods.base import Classifier, QueryAnalysis
from lgmnet.methods.ensemble import Ensemble
from lgmnet.model.model import Model
from lgmnet.nn.pretrained import load_backbone

KIND, VERSION = "lgmnet-classifier", 2
SAMPLES, LABELS = "support.samples", "support.labels"
IMAGES_A_BATCH = 256
FOLDS = 10
"""Samples of a class that are left out, one after the other, to see how good a classifier is."""


@dataclass(frozen=True)
class Support:
    """The labelled samples that a classifier is made from."""

    samples: Num[Tensor, "samples *feature"]
    """uint8 images, or vectors, as the model knows them."""
    labels: Int[Tensor, " samples"]
    """For each sample, the place of its class."""
    sources: tuple[str, ...]
    """Where each came from: a file's name, or empty."""

    def where(self, kept: Tensor) -> Support:
        """Those of the samples for which this holds, [samples]."""
        sources = (s for s, keep in zip(self.sources, kept.tolist(), strict=True) if keep)
        return Support(self.samples[kept], self.labels[kept], tuple(sources))


@dataclass(frozen=True)
class FittedClassifier:
    """A classifier of a person's own classes; to answer, it needs neither model nor images.

    Its support stays with it, to explain answers by, and to be edited. Whatever edits it gives
    another classifier, and needs the model that forged it.
    """

    classifier: Classifier
    classes: tuple[str, ...]
    support: Support
    model: str
    """Name of the model that made it."""
    fingerprint: str
    """Of that model's weights."""
    method: str
    config: Any
    """Config of the method that made it."""
    backbone: str = ""
    """The frozen network that photos pass first, or empty."""
    rejections: tuple[Rejection, ...] = ()
    """The model's thresholds for what is of none of the classes."""
    notes: dict[str, str] = field(default_factory=dict)
    """What whoever made it wants to have kept with it."""

    @property
    def inputs(self) -> InputSpec:
        """Samples that it classifies."""
        if self.backbone:
            return load_backbone(self.backbone).inputs
        return InputSpec(tuple(self.support.samples.shape[1:]))

    @property
    def shots(self) -> tuple[int, ...]:
        """Samples that each class was shown with."""
        return tuple(self.support.labels.bincount(minlength=len(self.classes)).tolist())

    @torch.inference_mode()
    def predict_proba(
        self, samples: Num[Tensor, "samples *feature"]
    ) -> Float[Tensor, "samples classes"]:
        """Probability of each class for each sample; some hundred samples at a time.

        Raises:
            DataError: if the samples are not of the kind and shape that the model knows.
        """
        if not len(samples):
            return torch.empty(0, len(self.classes))
        return self.asked(self.classifier, samples).exp()

    def predict(self, samples: Num[Tensor, "samples *feature"]) -> list[str]:
        """The most probable class of each sample."""
        return [self.classes[i] for i in self.predict_proba(samples).argmax(1).tolist()]

    @torch.inference_mode()
    def analyze(self, samples: Num[Tensor, "samples *feature"]) -> QueryAnalysis:
        """Compute probabilities and all else that can be said about samples, in one pass.

        Everything is held in memory: pass some hundred samples at a time.

        Raises:
            DataError: if there are no samples, or they are not of the kind and shape that the
                model takes.
        """
        parts = []
        for part in samples.split(IMAGES_A_BATCH):
            queries = self.seen(part)
            with inference_autocast(queries):
                parts.append(self.classifier.analyze(queries[None]))
        if not parts:
            raise DataError("There are no samples: expected at least one.")

        def join(name: str) -> Tensor | None:
            values = [getattr(part, name) for part in parts]
            return None if values[0] is None else torch.cat([value[0] for value in values])

        log_p, attention = join("log_p"), join("support_attention")
        assert log_p is not None
        if attention is not None and attention.shape[1] != len(self.support.samples):
            attention = None  # The keys are class means, not support samples.
        return QueryAnalysis(log_p, join("similarity"), attention, join("embedding"))

    @property
    def support_embedding(self) -> Float[Tensor, "keys features"] | None:
        """Keys that samples are compared with (see `Classifier.support_embedding`)."""
        keys = self.classifier.support_embedding
        return None if keys is None else keys[0]

    def explain(self, samples: Num[Tensor, "samples *feature"]) -> Float[Tensor, "samples support"]:
        """Compute the share of each answer that each support sample accounts for.

        Raises:
            DataError: if the samples are not of the kind and shape that the model takes.
            ConfigError: if the method does not attend to single support samples.
        """
        attention = self.analyze(samples).support_attention
        if attention is None:
            raise ConfigError(
                f"'{self.model}' does not attend to single support samples, so an answer cannot be "
                "traced back to them."
            )
        return attention

    @property
    def threshold(self) -> float:
        """How like a class a sample must be to be of it: the model's at the nearest shot.

        Raises:
            ConfigError: if the model has none.
        """
        if not self.rejections:
            raise ConfigError(
                f"'{self.model}' has no threshold for what is of none of the classes; "
                "'lgmnet calibrate' chooses one, then forge anew."
            )
        shot = sum(self.shots) / len(self.shots)
        nearest = min(self.rejections, key=lambda r: abs(math.log(r.shot / shot)))
        return nearest.threshold

    @torch.inference_mode()
    def fits(self, samples: Num[Tensor, "samples *feature"]) -> Bool[Tensor, " samples"]:
        """Decide for each sample if it belongs to any class at all, by the threshold.

        Raises:
            DataError: if the samples are not of the kind and shape that the model takes.
            ConfigError: if the model has no threshold, or compares classes only with each other.
        """
        parts = samples.split(IMAGES_A_BATCH) if len(samples) else ()
        rejected = [self.rejected(self.analyze(part)) for part in parts]
        return ~torch.cat([torch.empty(0, dtype=torch.bool), *rejected])

    def rejected(self, analysis: QueryAnalysis) -> Bool[Tensor, " samples"]:
        """Which of the samples that were answered fit no class, by the threshold.

        Raises:
            ConfigError: if the model has no threshold, or compares classes only with each other.
        """
        threshold = self.threshold
        if analysis.similarity is None:
            raise ConfigError(
                f"'{self.model}' compares classes only with each other, so it cannot say that a "
                "sample is of none of them."
            )
        return analysis.similarity < threshold

    @torch.inference_mode()
    def spread(
        self,
        model: Model,
        samples: Num[Tensor, "samples *feature"],
        draws: int = 10,
        seed: int | None = 0,
    ) -> Float[Tensor, "samples classes"]:
        """How far classifiers with randomly drawn contexts disagree: standard deviations.

        Args:
            model: The one that forged it.
            samples: To be asked.
            draws: How many classifiers to draw.
            seed: Of the draws; None for others each time.

        Raises:
            ConfigError: if another model forged it.
            DataError: if the samples are not of the kind and shape that the model knows.
        """
        self.check_model(model)
        generator = torch.Generator(model.method.device)
        generator.seed() if seed is None else generator.manual_seed(seed)
        support_x, support_y = to_float(self.support.samples), self.support.labels
        task = (support_x[None], support_y[None], len(self.classes))
        with inference_autocast(support_x):
            drawn = Ensemble(model.inference_method, *task, draws, generator=generator)
        return self.asked(drawn.spread, samples)

    def with_samples(
        self,
        model: Model,
        samples: Num[Tensor, "samples *feature"],
        labels: Sequence[str],
        sources: Sequence[str] | None = None,
    ) -> FittedClassifier:
        """The classifier with further samples, of its classes or of new ones.

        Args:
            model: The one that forged it.
            samples: As the model knows them.
            labels: The class of each; new ones come after those that are there, in this order.
            sources: Where each came from.

        Raises:
            ConfigError: if another model forged it.
            DataError: if the samples are not of the kind and shape that the model knows.
        """
        self.check_model(model)
        samples = to_support_samples(samples, tuple(self.support.samples.shape[1:]), self.backbone)
        classes = list(dict.fromkeys([*self.classes, *labels]))
        places = torch.tensor([classes.index(label) for label in labels])
        support = Support(
            torch.cat([self.support.samples, samples]),
            torch.cat([self.support.labels, places]),
            (*self.support.sources, *(sources or [""] * len(samples))),
        )
        return fit_support(model, support, classes, self.notes)

    def without(self, model: Model, name: str) -> FittedClassifier:
        """The classifier without one of its classes.

        Args:
            model: The one that forged it.
            name: Of the class.

        Raises:
            ConfigError: if another model forged it, there is no such class, or fewer than two
                would be left.
        """
        self.check_model(model)
        place = self.place_of(name)
        if len(self.classes) == 2:
            raise ConfigError(
                f"Without '{name}' only '{self.classes[1 - place]}' would be left; a classifier "
                "needs two classes. Add another first."
            )
        kept = self.support.where(self.support.labels != place)
        labels = kept.labels - (kept.labels > place).long()
        classes = [other for other in self.classes if other != name]
        return fit_support(model, dataclasses.replace(kept, labels=labels), classes, self.notes)

    def without_samples(self, model: Model, places: Sequence[int]) -> FittedClassifier:
        """The classifier without some of its samples.

        Args:
            model: The one that forged it.
            places: Which, counted from 0.

        Raises:
            ConfigError: if another model forged it, there are not so many, or a class would be
                left without any.
        """
        self.check_model(model)
        count = len(self.support.samples)
        wrong = [place for place in places if not 0 <= place < count]
        if wrong:
            raise ConfigError(f"There is no sample {wrong[0]}; there are 0 to {count - 1}.")
        kept = torch.ones(count, dtype=torch.bool)
        kept[list(places)] = False
        support = self.support.where(kept)
        left = support.labels.bincount(minlength=len(self.classes))
        if not bool(left.all()):
            empty = self.classes[int(left.argmin())]
            raise ConfigError(
                f"'{empty}' would be left without a sample; remove the class instead."
            )
        return fit_support(model, support, self.classes, self.notes)

    def renamed(self, old: str, new: str) -> FittedClassifier:
        """The classifier with another name for one of its classes.

        Raises:
            ConfigError: if there is no such class, or already one of the new name.
        """
        place = self.place_of(old)
        if new != old and new in self.classes:
            raise ConfigError(
                f"There is a class '{new}' already; two classes cannot have the same name."
            )
        classes = tuple(new if i == place else name for i, name in enumerate(self.classes))
        return dataclasses.replace(self, classes=classes)

    def place_of(self, name: str) -> int:
        """The place of a class.

        Raises:
            ConfigError: if there is none of this name.
        """
        if name not in self.classes:
            raise unknown_name("class", name, self.classes)
        return self.classes.index(name)

    def asked(
        self, answer: Callable[[Tensor], Tensor], samples: Num[Tensor, "samples *feature"]
    ) -> Float[Tensor, "samples *answer"]:
        """What is answered for samples, some hundred of them at a time.

        Args:
            answer: For queries as of one task.
            samples: At least one.

        Raises:
            DataError: if the samples are not of the kind and shape that the model knows.
        """
        parts = map(self.seen, samples.split(IMAGES_A_BATCH))
        found = []
        for part in parts:
            with inference_autocast(part):
                found.append(answer(part[None])[0])
        return torch.cat(found)

    def seen(self, samples: Num[Tensor, "samples *feature"]) -> Float[Tensor, "samples *seen"]:
        """Samples as the classifier takes them.

        Raises:
            DataError: if they are not of the kind and shape that the model knows.
        """
        shape = tuple(self.support.samples.shape[1:])
        return to_float(to_support_samples(samples, shape, self.backbone))

    def check_model(self, model: Model) -> None:
        """Check that this is the model that forged it.

        Raises:
            ConfigError: if it is another.
        """
        if model.fingerprint != self.fingerprint:
            raise ConfigError(
                f"This classifier was forged by '{self.model}' with the weights "
                f"{self.fingerprint}, but this is '{model.name}' with {model.fingerprint}. Name "
                "the model that forged it, or forge it anew."
            )

    def save(self, path: Path) -> None:
        """Write the whole classifier to one safetensors file, which appears whole or not at all."""
        about = {
            "method": self.method,
            "config": json.dumps(dataclasses.asdict(self.config)),
            "classes": json.dumps(self.classes),
            "sources": json.dumps(self.support.sources),
            "model": self.model,
            "fingerprint": self.fingerprint,
            "backbone": self.backbone,
            "rejections": json.dumps([dataclasses.asdict(one) for one in self.rejections]),
            "notes": json.dumps(self.notes),
        }
        support = {SAMPLES: self.support.samples, LABELS: self.support.labels}
        write_tensors(path, {**self.classifier.state_dict(), **support}, KIND, VERSION, about)

    @classmethod
    def load(cls, path: Path) -> FittedClassifier:
        """Read what `save` wrote.

        Raises:
            FileFormatError: if the file is absent, damaged, altered, not ours, or of another
                version.
        """
        tensors, about = read_tensors(path, KIND, VERSION, checked=True)
        try:
            kind = METHODS[about["method"]]
            config = from_json(kind.config_type, json.loads(about["config"]))
            classes = tuple(json.loads(about["classes"]))
            sources = tuple(json.loads(about["sources"]))
            support = Support(tensors.pop(SAMPLES), tensors.pop(LABELS), sources)
            if not all(isinstance(name, str) for name in (*classes, *sources)):
                raise TypeError("a name that is no text")
            if not len(support.samples) == len(support.labels) == len(sources):
                raise ValueError(f"{len(support.samples)} samples, but {len(sources)} sources")
            check_every_class_shown(support.labels[None], len(classes))
            classifier = kind.restore(config, len(classes), tensors)
            if kind.input_spec(config).any_length:
                classifier.double()
            notes = dict(json.loads(about["notes"]))
            made_by = (about["model"], about["fingerprint"], about["method"], config)
            backbone = about["backbone"]
            rejections = tuple(from_json(Rejection, one) for one in json.loads(about["rejections"]))
            return cls(classifier, classes, support, *made_by, backbone, rejections, notes)
        except (KeyError, ValueError, TypeError, RuntimeError, AssertionError) as error:
            raise FileFormatError(f"'{path}' is a damaged classifier: {error}") from error


def fit_classifier(
    model: Model,
    samples: Num[Tensor, "samples *feature"],
    labels: Sequence[int],
    classes: Sequence[str],
    *,
    sources: Sequence[str] | None = None,
) -> FittedClassifier:
    """Make a classifier from labelled samples, in one forward pass.

    Args:
        model: A trained model, from `lgmnet.load_model`.
        samples: Support samples as the model knows them; for drawings, ink = 255 on 0.
        labels: For each sample, the place of its class in ``classes``. Uneven shots are fine.
        classes: Names of the classes.
        sources: Where each sample came from, such as the name of its file.

    Raises:
        EpisodeError: if a class has no sample, a label is out of range, or there is one class only.
        DataError: if the samples are not of the kind and shape that the model knows.
    """
    spec = model.method.inputs
    any_length = spec.any_length and samples.ndim == 2
    shape = tuple(samples.shape[1:]) if any_length else spec.shape
    samples = to_support_samples(samples, shape, model.backbone)
    named = tuple(sources) if sources is not None else ("",) * len(samples)
    return fit_support(model, Support(samples, torch.tensor(labels), named), classes)


@torch.inference_mode()
def fit_support(
    model: Model, support: Support, classes: Sequence[str], notes: dict[str, str] | None = None
) -> FittedClassifier:
    """The classifier that a model makes of a support set."""
    labels = support.labels.clone()  # A file cannot hold one tensor twice.
    samples = to_float(support.samples)
    with inference_autocast(samples):
        classifier = model.inference_method.adapt(samples[None], labels[None], len(classes))
    return FittedClassifier(
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
    )


@torch.inference_mode()
def leave_one_out(
    model: Model, support: Support, way: int, folds: int = FOLDS
) -> tuple[Int[Tensor, " asked"], Float[Tensor, "asked classes"]]:
    """What classifiers answer that have not seen what they are asked: one of each class left out.

    The first classifier leaves out the first sample of each class that has another, the next the
    second, and so on; so every sample is asked once, of a classifier with one shot less.

    Args:
        model: That forges.
        support: All samples.
        way: Number of classes.
        folds: How many of each class to leave out at most.

    Returns:
        Places of the samples asked, and the probabilities of each; none, if no class has two.
    """
    samples = to_float(support.samples)
    with inference_autocast(samples):
        embedded = model.inference_method.embedding(samples).to(samples.dtype)
    method = model.inference_method.without_embedding()
    order = torch.zeros_like(support.labels)  # A sample's number among those of its class.
    for place in range(way):
        mine = support.labels == place
        order[mine] = torch.arange(int(mine.sum()))
    others = support.labels.bincount(minlength=way)[support.labels] > 1
    asked, answers = [torch.empty(0, dtype=torch.long)], [torch.empty(0, way)]
    # Not one batch of tasks: where shots are uneven, their supports are of different sizes.
    for fold in range(min(int(order.max()) + 1, folds)):
        out = others & (order == fold)
        if not bool(out.any()):
            continue
        classifier = method.adapt(embedded[~out][None], support.labels[~out][None], way)
        asked.append(out.nonzero()[:, 0])
        answers.append(classifier(embedded[out][None])[0].exp())
    return torch.cat(asked), torch.cat(answers)


def to_support_samples(
    samples: Num[Tensor, "samples *feature"], expected: tuple[int, ...], backbone: str
) -> Num[Tensor, "samples *kept"]:
    """Samples as a classifier keeps them: photos as features, where there is a backbone.

    Raises:
        DataError: if they are not images or vectors of the shape expected, nor photos.
    """
    if backbone and samples.dtype == torch.uint8 and samples.ndim == 4 and samples.shape[1] == 3:
        from lgmnet.model.feature_cache import embed_photos

        return embed_photos(load_backbone(backbone), samples)
    images = len(expected) == 3
    fits = samples.dtype == torch.uint8 if images else samples.is_floating_point()
    if not fits or tuple(samples.shape[1:]) != expected:
        what, kind = ("Images", "uint8") if images else ("Vectors", "floats")
        raise DataError(
            f"{what} must be {kind} [{what.lower()}, {', '.join(map(str, expected))}], but are "
            f"{str(samples.dtype).removeprefix('torch.')} {list(samples.shape)}."
        )
    return samples


def to_float(samples: Num[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Samples as networks take them: uint8 images as the values 0..1, vectors as they are."""
    return samples if samples.is_floating_point() else samples.to(torch.float32) / 255
