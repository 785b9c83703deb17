"""What the service does, without HTTP: forge, edit, ask and export classifiers that are kept."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import io
import json
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import anyio
import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from lgmnet import __version__
from lgmnet.classifier.classifier import FittedClassifier, fit_classifier
from lgmnet.classifier.edit import add_samples, remove_class, remove_samples, rename_class
from lgmnet.data.images.kind import detect_drawings
from lgmnet.data.images.read import ImageBytes, read_images, to_photo
from lgmnet.errors import ConfigError, DataError, ImageError, UserError, unknown_name
from lgmnet.methods.base import QueryAnalysis
from lgmnet.model.model import Model, load_model
from lgmnet.model.registry import shipped_models
from lgmnet.studio.store import AbsentError, ConflictError, Metadata, Record, Store
from lgmnet.studio.worker import Worker

T = TypeVar("T")
AUTO, DRAWINGS, PHOTOS = "auto", "omniglot", "photos"
HANDS = 2
"""Threads that read images, and write to the store."""
CACHED = 64
"""Classifiers that stay in memory."""
NAME, THUMBNAILS = "name", "thumbnails"
"""Notes in a classifier's file: what a person calls it, and photos in small by their source."""
THUMBNAIL = 112


@dataclass(frozen=True)
class Limits:
    """What is refused before it can do harm."""

    body: int = 64_000_000
    """Bytes of a request."""
    image: int = 20_000_000
    """Bytes of an image."""
    images: int = 1000
    """Images of a request."""
    classes: int = 200
    images_per_class: int = 500
    label: int = 200
    """Characters of a name."""
    in_flight: int = 64
    """Requests that are worked on at a time."""


@dataclass(frozen=True)
class LabelledFile:
    """An image file with the name of its class."""

    label: str
    file: ImageBytes


@dataclass(frozen=True)
class Edit:
    """What is to become of a classifier; done in this order."""

    name: str | None = None
    rename: tuple[tuple[str, str], ...] = ()
    drop: tuple[int, ...] = ()
    """Places of single images, as they were before the edit."""
    remove: tuple[str, ...] = ()
    add: tuple[LabelledFile, ...] = ()


@dataclass(frozen=True)
class FitResult:
    """A classifier that was just forged or edited, and kept."""

    kept: StoredClassifier
    milliseconds: float
    unreadable: tuple[str, ...] = ()
    why: str | None = None


@dataclass(frozen=True)
class StoredClassifier:
    """A classifier with its record."""

    record: Record
    fitted: FittedClassifier

    @property
    def is_of_photos(self) -> bool:
        """Whether it knows photos; else drawings."""
        return self.fitted.inputs.kind == "photo"

    @cached_property
    def keys(self) -> list[str]:
        """What tells each image of the support from others, whatever place it has."""
        support = self.fitted.support
        return [
            sha256(source.encode() + sample.numpy().tobytes()).hexdigest()[:16]
            for source, sample in zip(support.sources, support.samples, strict=True)
        ]

    @cached_property
    def plane(self) -> tuple[Tensor, Tensor] | None:
        """The support's middle, and the two axes along which it varies most."""
        keys = self.fitted.support_embedding
        if keys is None or len(keys) != len(self.fitted.support.samples):
            return None
        unit = F.normalize(keys.float(), dim=-1)
        middle = unit.mean(0)
        axes = torch.linalg.svd(unit - middle, full_matrices=False).Vh[:2]
        # Of the two directions of an axis, always the same one.
        signs = axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()
        return middle, F.pad(axes * signs, (0, 0, 0, 2 - len(axes)))

    def places(self, seen: Float[Tensor, "samples features"] | None) -> list[tuple[float, float]]:
        """Where samples lie in the plane; none, if there is no plane."""
        if self.plane is None or seen is None:
            return []
        middle, axes = self.plane
        at = (F.normalize(seen.float(), dim=-1) - middle) @ axes.mT
        return [(round(x, 4), round(y, 4)) for x, y in at.tolist()]


class Service:
    """Everything behind the API.

    Args:
        store: Where classifiers are kept.
        models: Names or folders of models beside those that ship.
        limits: What is refused.
        answered: Told of every pass through a network: samples, and questions answered at once.
    """

    def __init__(
        self,
        store: Store,
        models: Sequence[str] = (),
        limits: Limits | None = None,
        answered: Callable[[int, int], object] = lambda samples, asked: None,
    ) -> None:
        self.store = store
        self.limits = limits or Limits()
        self.named = {Path(name).name: name for name in (*shipped_models(), *models)}
        self.worker = Worker(answered)
        self.hands = anyio.CapacityLimiter(HANDS)
        self._models: dict[str, Model] = {}
        self._cache: OrderedDict[str, StoredClassifier] = OrderedDict()
        self._lock = threading.Lock()
        self._exporting = threading.Lock()

    def start(self) -> None:
        """Begin: remove what is left over, read the models."""
        self.worker.start()
        self.store.sweep()
        self.models()

    def close(self) -> None:
        """End, when all that is being computed is done; it may begin again."""
        self.worker.stop()
        self.store.close()

    def models(self) -> list[Model]:
        """All models of images."""
        found = (self.model(name) for name in self.named)
        return [m for m in found if m.input_kind != "vector"]

    def model(self, name: str) -> Model:
        """A model by its name, read once.

        Raises:
            ConfigError: if there is none.
        """
        with self._lock:
            if name not in self._models:
                if name not in self.named:
                    raise unknown_name("model", name, self.named)
                self._models[name] = load_model(self.named[name])
            return self._models[name]

    async def forge(self, name: str, model: str, images: Sequence[LabelledFile]) -> FitResult:
        """Forge a classifier and keep it.

        Args:
            name: What a person calls it.
            model: Name of the model, or ``auto`` to take the one that suits the images.
            images: Of two classes or more. Those that cannot be read are left out.

        Raises:
            UserError: if it cannot be made of these, or not be kept.
        """
        self._check(images)
        self._check_names([name])
        if not images:
            raise DataError("There are no images: expected some of two classes or more.")
        loaded, why = await self._by_hand(self._choose, model, images)
        good, pixels, unreadable = await self._by_hand(self._read, images, loaded.inputs.shape)
        classes = list(dict.fromkeys(one.label for one in good))
        if len(classes) < 2:
            only = f"only '{classes[0]}'" if classes else "none"
            raise DataError(
                " ".join([f"Expected images of two classes or more, but came {only}.", *unreadable])
            )
        self._check_classes({c: sum(one.label == c for one in good) for c in classes})

        def act() -> tuple[FittedClassifier, float]:
            started = time.perf_counter()
            labels = [classes.index(one.label) for one in good]
            sources = [source_of(one.file) for one in good]
            fitted = fit_classifier(loaded, pixels, labels, classes, sources=sources)
            return fitted, 1000 * (time.perf_counter() - started)

        fitted, milliseconds = await asyncio.wrap_future(self.worker.run(act))
        notes = {"made": f"lgmnet {__version__}, lgmnet studio", NAME: name}
        fitted = dataclasses.replace(fitted, notes=notes)

        def keep() -> StoredClassifier:
            named = add_thumbnails(fitted, good)
            return self._keep(self.store.add(about(named), named.save), named)

        return FitResult(await self._by_hand(keep), milliseconds, unreadable, why)

    def open(self, data: bytes, name: str | None) -> FitResult:
        """Keep a classifier that comes as a file.

        Raises:
            UserError: if it is none of images, or none that this service's models have forged.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "classifier.safetensors"
            path.write_bytes(data)
            try:
                fitted = FittedClassifier.load(path)
            except UserError as error:
                raise DataError(str(error).replace(f"'{path}'", "The file")) from error
        if not fitted.inputs.is_image:
            raise DataError("The classifier is of vectors; the studio knows images.")
        self._check_classes(dict(zip(fitted.classes, fitted.shots, strict=True)))
        self._check_names(fitted.classes)
        fitted.check_model(self.model(fitted.model))
        called = name or str(fitted.notes.get(NAME) or "opened")
        self._check_names([called])
        fitted = dataclasses.replace(fitted, notes={**fitted.notes, NAME: called})
        return FitResult(self._keep(self.store.add(about(fitted), fitted.save), fitted), 0.0)

    async def edit(self, kept: StoredClassifier, edit: Edit) -> FitResult:
        """Edit a classifier and keep it in place of what it was.

        Raises:
            ConflictError: if somebody else has changed it meanwhile.
            UserError: if the edit cannot be, or not be kept; nothing is changed then.
        """
        old = kept.fitted
        self._check(edit.add)
        self._check_names([new for _, new in edit.rename])
        loaded = self.model(old.model)
        good, pixels, unreadable = await self._by_hand(self._read, edit.add, old.inputs.shape)
        if edit.add and not good:
            raise DataError(" ".join(unreadable))

        def act() -> tuple[FittedClassifier, float]:
            started = time.perf_counter()
            fitted = old
            for before, after in edit.rename:
                fitted = rename_class(fitted, before, after)
            # Dropped first: the places are those that were there before.
            if edit.drop:
                fitted = remove_samples(fitted, loaded, edit.drop)
            for name in edit.remove:
                fitted = remove_class(fitted, loaded, name)
            if good:
                labels, sources = zip(*((o.label, source_of(o.file)) for o in good), strict=True)
                fitted = add_samples(fitted, loaded, pixels, labels, sources)
            return fitted, 1000 * (time.perf_counter() - started)

        fitted, milliseconds = await asyncio.wrap_future(self.worker.run(act))
        self._check_classes(dict(zip(fitted.classes, fitted.shots, strict=True)))
        if edit.name is not None:
            self._check_names([edit.name])
            fitted = dataclasses.replace(fitted, notes={**fitted.notes, NAME: edit.name})

        def keep() -> StoredClassifier:
            named = add_thumbnails(fitted, good)
            record = self.store.replace(kept.record, about(named), named.save)
            return self._keep(record, named)

        return FitResult(await self._by_hand(keep), milliseconds, unreadable)

    def get(self, id: str) -> StoredClassifier:
        """A classifier by its id, as it is now.

        Raises:
            AbsentError: if there is none.
        """
        for _ in range(5):
            record = self.store.get(id)
            with self._lock:
                if (kept := self._cache.get(record.file)) is not None:
                    self._cache.move_to_end(record.file)
                    return kept
            try:
                with self.store.file(record) as path:
                    fitted = FittedClassifier.load(path)
            except ConflictError:  # Changed between the two; then there is another version.
                continue
            return self._keep(record, fitted)
        raise ConflictError(f"The classifier '{id}' changes faster than it can be read; try again.")

    async def ask(
        self, id: str, files: Sequence[ImageBytes]
    ) -> tuple[StoredClassifier, list[ImageError | None], QueryAnalysis | None]:
        """What a classifier, by its id, says of images.

        Returns:
            The classifier; for each image what was wrong with it, or None; and the answers for
            those that could be read, None if there are none.

        Raises:
            AbsentError: if there is no such classifier.
            DataError: if there are too many images, or too large ones.
        """
        self._check([LabelledFile("", file) for file in files])

        def read() -> tuple[StoredClassifier, list[ImageError | None], list[Tensor]]:
            kept = self.get(id)
            found = read_images(files, kept.fitted.inputs.shape)
            problems = [one if isinstance(one, ImageError) else None for one in found]
            return kept, problems, [one for one in found if not isinstance(one, ImageError)]

        kept, problems, pixels = await self._by_hand(read)
        if not pixels:
            return kept, problems, None
        asked = self.worker.ask(kept.fitted, torch.stack(pixels))
        return kept, problems, await asyncio.wrap_future(asked)

    def export(self, kept: StoredClassifier) -> bytes:
        """The classifier as one ONNX file; takes some seconds.

        Raises:
            UserError: if it cannot be exported.
        """
        from lgmnet.classifier.export import export

        with self._exporting, tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            export(kept.fitted, path)
            return path.read_bytes()

    def file(self, kept: StoredClassifier) -> bytes:
        """The classifier's own file."""
        with self.store.file(kept.record) as path:
            return path.read_bytes()

    def picture(self, kept: StoredClassifier, place: int) -> bytes:
        """An image that it was shown, in small, as PNG or WebP.

        Raises:
            AbsentError: if there are not so many images, or this one is not kept.
        """
        support = kept.fitted.support
        if not 0 <= place < len(support.samples):
            raise AbsentError(
                f"There is no image {place}; there are 0 to {len(support.samples) - 1}."
            )
        sample = support.samples[place]
        if sample.ndim == 3 and sample.dtype == torch.uint8:
            pixels = 255 - sample[0] if len(sample) == 1 else sample.movedim(0, 2)
            return encoded(Image.fromarray(pixels.numpy()), "PNG")
        found = thumbnails(kept.fitted).get(support.sources[place])
        if found is None:
            raise AbsentError("Of this photo the classifier has kept the features alone.")
        try:
            return base64.b64decode(found, validate=True)
        except (ValueError, TypeError) as error:
            raise AbsentError("The picture of this photo is damaged.") from error

    async def _by_hand(self, act: Callable[..., T], *of: Any) -> T:
        """What an act gives that reads images or writes.

        Few at a time: many would take the interpreter from each other and from the networks.
        """
        return await anyio.to_thread.run_sync(act, *of, limiter=self.hands)

    def _choose(self, model: str, images: Sequence[LabelledFile]) -> tuple[Model, str | None]:
        """The model by its name, or the one that suits the images, and why."""
        why = None
        if model == AUTO:
            drawn, why = detect_drawings([one.file for one in images])
            model = DRAWINGS if drawn else PHOTOS
        loaded = self.model(model)
        if loaded.input_kind == "vector":
            raise ConfigError(f"'{model}' takes vectors, not images.")
        return loaded, why

    def _keep(self, record: Record, fitted: FittedClassifier) -> StoredClassifier:
        kept = StoredClassifier(record, fitted)
        with self._lock:
            self._cache[record.file] = kept
            while len(self._cache) > CACHED:
                self._cache.popitem(last=False)
        return kept

    def _read(
        self, images: Sequence[LabelledFile], shape: Sequence[int]
    ) -> tuple[list[LabelledFile], Tensor, tuple[str, ...]]:
        """Those that can be read, their pixels, and a sentence for each other."""
        good, pixels, unreadable = [], [], []
        found = read_images([one.file for one in images], shape)
        for one, read in zip(images, found, strict=True):
            if isinstance(read, ImageError):
                unreadable.append(str(read))
            else:
                good.append(one)
                pixels.append(read)
        stacked = torch.stack(pixels) if pixels else torch.empty(0, *shape, dtype=torch.uint8)
        return good, stacked, tuple(unreadable)

    def _check(self, images: Sequence[LabelledFile]) -> None:
        if len(images) > self.limits.images:
            raise DataError(
                f"At most {self.limits.images} images come in one request, but {len(images)} did; "
                "send them in several."
            )
        for one in images:
            if len(one.file.data) > self.limits.image:
                raise DataError(
                    f"'{one.file.name}' has {len(one.file.data):,} bytes; an image has at most "
                    f"{self.limits.image:,}. Make it smaller."
                )
        self._check_names([one.label for one in images if one.label])

    def _check_names(self, names: Sequence[str]) -> None:
        for name in names:
            if not name.strip() or len(name) > self.limits.label or "\0" in name:
                raise ConfigError(
                    f"A name has 1 to {self.limits.label} characters, not only blanks; but came "
                    f"{name[: self.limits.label]!r}."
                )

    def _check_classes(self, shots: dict[str, int]) -> None:
        if len(shots) > self.limits.classes:
            raise ConfigError(
                f"A classifier has at most {self.limits.classes} classes here, but this one would "
                f"have {len(shots)}."
            )
        for name, shot in shots.items():
            if shot > self.limits.images_per_class:
                raise ConfigError(
                    f"A class has at most {self.limits.images_per_class} images here, but '{name}' "
                    f"would have {shot}."
                )


def about(fitted: FittedClassifier) -> Metadata:
    """What the index says of a classifier."""
    return Metadata(fitted.notes.get(NAME, ""), fitted.model, fitted.classes, fitted.shots)


def source_of(file: ImageBytes) -> str:
    """What an image is known by among a classifier's: what it holds, and its name."""
    return f"{sha256(file.data).hexdigest()[:16]} {file.name}"


def thumbnails(fitted: FittedClassifier) -> dict[str, str]:
    """Photos in small, by their source, in base 64."""
    try:
        found = json.loads(fitted.notes.get(THUMBNAILS, "{}"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def add_thumbnails(fitted: FittedClassifier, new: Sequence[LabelledFile]) -> FittedClassifier:
    """The classifier with photos in small, of which it else has the features alone."""
    if not fitted.backbone:
        return fitted
    found = thumbnails(fitted)
    for one in new:
        with Image.open(io.BytesIO(one.file.data)) as image:
            pixels = to_photo(image, THUMBNAIL, THUMBNAIL).movedim(0, 2).numpy()
        small = encoded(Image.fromarray(np.ascontiguousarray(pixels)), "WEBP")
        found[source_of(one.file)] = base64.b64encode(small).decode()
    kept = {source: found[source] for source in fitted.support.sources if source in found}
    return dataclasses.replace(fitted, notes={**fitted.notes, THUMBNAILS: json.dumps(kept)})


def encoded(image: Image.Image, format: str) -> bytes:
    """A picture as the bytes of a file."""
    out = io.BytesIO()
    image.save(out, format)
    return out.getvalue()


def missing_extra(model: Model) -> str | None:
    """What is to be installed before a model can forge; None if nothing."""
    if not model.backbone or find_spec("efficientnet_lite_pytorch") is not None:
        return None
    return "Photos need the extra 'photos': pip install 'lgmnet[photos]'."
