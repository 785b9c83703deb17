"""Operations of the studio, without HTTP: fit, edit, use and export classifiers, in limits."""

import asyncio
import dataclasses
import logging
import tempfile
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
import torch

from lgmnet import __version__
from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.classifier.cross_validation import LeaveOneOut
from lgmnet.classifier.edit import (
    add_samples,
    move_samples,
    remove_class,
    remove_samples,
    rename_class,
)
from lgmnet.classifier.file import parse_classifier, try_classifier
from lgmnet.classifier.learning_curve import ExpectedAccuracy, estimate_accuracies
from lgmnet.data.images.read import ImageBytes
from lgmnet.errors import DataError, ImageError, UserError
from lgmnet.model.model import Model
from lgmnet.progress import set_progress_display
from lgmnet.studio.classifiers import (
    NAME_NOTE,
    FitResult,
    LabelledFile,
    PredictResult,
    StoredClassifier,
    to_metadata,
    with_name,
)
from lgmnet.studio.disconnect import stop_if_cancelled
from lgmnet.studio.errors import ConflictError, StoreError, damaged_file_error, translated_errors
from lgmnet.studio.fitting import ModelChooser, fit_images, store_images
from lgmnet.studio.index import Record, file_name
from lgmnet.studio.limits import Limits
from lgmnet.studio.models import ModelCollection
from lgmnet.studio.reading import ImageReader
from lgmnet.studio.store import Store
from lgmnet.studio.versions import StepKind
from lgmnet.studio.worker import Worker

T = TypeVar("T")
MAX_IO_THREADS = 2
"""Threads that read images and write to the store. More of them would compete for the interpreter
with each other and with the networks."""
MAX_CACHED_CLASSIFIERS = 64
UPLOAD = Path("upload")
"""Name, in errors of lower layers, of a classifier file that a caller sent."""
MAX_READ_ATTEMPTS = 5
LOGGER = logging.getLogger("lgmnet.studio")


@contextmanager
def upload_errors() -> Iterator[None]:
    """Turn errors of the file `UPLOAD`, which has no path, into such that say "The file".

    Raises:
        DataError: with the same message.
    """
    try:
        yield
    except UserError as error:
        raise DataError(str(error).replace(f"'{UPLOAD}'", "The file")) from error


class Service:
    """Operations behind the HTTP API.

    For ``models`` see `ModelCollection`, and for ``on_pass`` see `Worker`.
    """

    def __init__(
        self,
        store: Store,
        models: Sequence[str] = (),
        limits: Limits | None = None,
        on_pass: Callable[[int, int], object] = lambda samples, jobs: None,
    ) -> None:
        self.store = store
        self.limits = limits or Limits()
        self.model_collection = ModelCollection(models)
        self.worker = Worker(on_pass)
        self._io_limiter = anyio.CapacityLimiter(MAX_IO_THREADS)
        self._export_limiter = anyio.CapacityLimiter(1)
        self._estimate_limiter = anyio.CapacityLimiter(1)
        self.reader = ImageReader(self._io_limiter, self.limits.max_pixels)
        self.chooser = ModelChooser(self.reader, self.model_collection)
        self._cache: OrderedDict[str, StoredClassifier] = OrderedDict()
        self._cache_lock = threading.Lock()

    def start(self) -> None:
        """Start the worker, remove left-over files and load the models."""
        self.worker.start()
        try:
            self.store.sweep()
        except UserError as error:
            LOGGER.warning("Left-over files stay in the store: %s", error)
        self.models()

    def close(self) -> None:
        """Stop once all queued jobs are done; `start` can be called again."""
        self.worker.stop()
        self.store.close()

    def find_problem(self) -> str | None:
        """Return the reason why the store cannot be used, None if it can be."""
        try:
            self.store.check()
        except UserError as error:
            return str(error)
        return None

    def models(self) -> list[Model]:
        """Return all models of images."""
        return self.model_collection.image_models()

    async def fit(self, name: str, model: str, images: Sequence[LabelledFile]) -> FitResult:
        """Fit a classifier and store it.

        The model may be ``auto``, the default model for the images. Images that cannot be read are
        left out.

        Raises:
            UserError: if the classifier cannot be fitted to these images, or not be stored.
        """
        self._check_new_images(images)
        self.limits.check_names([name])
        if not images:
            raise DataError("There are no images. Expected images of at least two classes.")

        opened = await self.reader.open([image.file for image in images])
        chosen = await self.chooser.choose(model, opened)
        read = await self.chooser.read(chosen.model, images, opened)
        counts = Counter(read.labels)
        classes = list(counts)  # In the order of their first images.
        if len(classes) < 2:
            only = f"only '{classes[0]}'" if classes else "none"
            message = f"Expected images of at least two classes, but got {only}."
            raise DataError(" ".join([message, *read.unreadable]))
        self.limits.check_classes(counts)
        fitted, milliseconds = await self._run_timed(lambda: fit_images(chosen.model, read))
        notes = {"made": f"lgmnet {__version__}, lgmnet studio", **chosen.notes}
        fitted = with_name(dataclasses.replace(fitted, notes=notes), name)

        def save() -> StoredClassifier:
            return self._add(store_images(fitted, read))

        stored = await self._run_io(save)
        return FitResult(stored, milliseconds, read.unreadable, chosen.reason)

    async def open(self, file: ImageBytes, name: str | None) -> FitResult:
        """Store a classifier that comes as a file, under a new name.

        Without one it gets the name that the file states, such as one from the studio does, or else
        that of the file.

        Raises:
            UserError: if the file is no classifier of images, or was fitted by a model that this
                service does not have.
        """
        fitted = await self.reader.run(partial(self._parse, file.data), is_large=True)
        name = name or fitted.notes.get(NAME_NOTE) or self.limits.name_of_file(file.name)
        self.limits.check_names([name])
        # Among the predictions, because it computes as they do.
        trial = self.worker.submit(partial(try_classifier, fitted, UPLOAD))
        with upload_errors():
            await asyncio.wrap_future(trial)
        return FitResult(await self._run_io(self._add, with_name(fitted, name)), 0.0)

    async def edit(
        self,
        stored: StoredClassifier,
        *,
        name: str | None,
        rename: Sequence[tuple[str, str]],
        drop: Sequence[int],
        remove: Sequence[str],
        add: Sequence[LabelledFile],
        move: Sequence[tuple[int, str]] = (),
        model: str | None = None,
    ) -> FitResult:
        """Edit a classifier and store it as a new version.

        Classes are renamed first, from the old name of each pair to the new one. Then images are
        moved to other classes and dropped, both by their places before the edit. Then classes are
        removed and images added. At last the
        model is switched, if ``model`` names another, or if the model of a classifier with less
        than three classes was chosen automatically and another suits all images better.

        Raises:
            ConflictError: if the classifier was changed meanwhile.
            UserError: if the edit is impossible, or its result cannot be stored; nothing is
                changed then.
        """
        self._check_new_images(add)
        self.limits.check_names(new for _, new in (*rename, *move))
        old_model = self.model_collection.get(stored.fitted.model)
        opened = await self.reader.open([image.file for image in add])
        chosen = await self.chooser.choose_for_edit(stored.fitted, add, opened, model)
        is_switched = chosen.model.fingerprint != old_model.fingerprint
        read = await self.chooser.read(chosen.model, add, opened)
        if add and not read.labels:
            raise DataError(" ".join(read.unreadable))

        def compute() -> FittedClassifier:
            fitted = stored.fitted
            for old, new in rename:
                fitted = rename_class(fitted, old, new)
            # Before anything else gives the images other places.
            if move:
                places, names = zip(*move, strict=True)
                fitted = move_samples(fitted, old_model, places, names)
            if drop:
                fitted = remove_samples(fitted, old_model, drop)
            for removed in remove:
                fitted = remove_class(fitted, old_model, removed)
            if read.labels and not is_switched:
                fitted = add_samples(fitted, old_model, read.pixels, read.labels, read.sources)
            return fitted

        fitted, milliseconds = await self._run_timed(compute)
        if is_switched:
            edited = fitted
            read = (await self.chooser.read_pictures(chosen.model, edited)).merge(read)
            fitted, milliseconds = await self._run_timed(
                lambda: fit_images(chosen.model, read, edited.classes)
            )
            fitted = dataclasses.replace(fitted, notes=edited.notes)
        self.limits.check_classes(dict(zip(fitted.classes, fitted.shots, strict=True)))
        fitted = dataclasses.replace(fitted, notes=fitted.notes | chosen.notes)
        if name is not None:
            self.limits.check_names([name])
            fitted = with_name(fitted, name)

        def save() -> StoredClassifier:
            complete = store_images(fitted, read)
            record = self.store.replace(stored.record, to_metadata(complete), complete.save)
            return self._cached(record, complete)

        return FitResult(await self._run_io(save), milliseconds, read.unreadable, chosen.reason)

    def step(self, stored: StoredClassifier, kind: StepKind) -> StoredClassifier:
        """Undo the last change of a classifier, or redo the change that was undone last.

        Raises:
            ConfigError: if there is nothing to undo or to redo.
            ConflictError: if the classifier was changed meanwhile.
        """
        self.store.step(stored.record, kind)
        return self.get(stored.record.id)

    def restore(self, id: str) -> StoredClassifier:
        """Restore a classifier that was removed less than a day ago.

        Raises:
            AbsentError: if there is no such classifier.
        """
        self.store.restore(id)
        return self.get(id)

    def get(self, id: str) -> StoredClassifier:
        """Return the current version of a classifier.

        Raises:
            AbsentError: if there is no classifier with this id.
            DamagedError: if its entry or its file is damaged or missing.
        """
        file = file_name(id, self.store.version(id))
        with self._cache_lock:
            if (stored := self._cache.get(file)) is not None:
                self._cache.move_to_end(file)
                return stored

        def load(path: Path) -> FittedClassifier:
            try:
                return FittedClassifier.load(path)
            except UserError as error:
                reason = str(error).replace(f"'{path}'", "its file")
                raise damaged_file_error(id, reason) from error

        return self._cached(*self._read(id, load))

    async def predict(self, id: str, files: Sequence[ImageBytes]) -> PredictResult:
        """Predict the classes of images.

        Raises:
            AbsentError: if there is no classifier with this id.
            RequestTooLargeError: if there are too many images.
            DataError: if one is too large.
        """
        self.limits.check_images(files)

        stored = await self._run_io(self.get, id)
        opened = await self.reader.open(files)
        images = await self.reader.read(opened, stored.fitted.inputs.shape)
        errors = [image if isinstance(image, ImageError) else None for image in images]
        pixels = [image for image in images if not isinstance(image, ImageError)]
        if not pixels:
            return PredictResult(stored, errors, None)
        future = self.worker.submit_prediction(stored.fitted, torch.stack(pixels))
        analysis = await asyncio.wrap_future(future)
        return PredictResult(stored, errors, analysis)

    async def estimate(
        self, id: str
    ) -> tuple[StoredClassifier, LeaveOneOut, ExpectedAccuracy | None]:
        """Estimate the accuracy of a classifier, now and with twice the images.

        Raises:
            AbsentError: if there is no classifier with this id.
        """
        stored = await self._run_io(self.get, id)
        fitted = stored.fitted
        model = self.model_collection.get(fitted.model)

        def run() -> tuple[LeaveOneOut, ExpectedAccuracy | None]:
            set_progress_display(stop_if_cancelled)
            return estimate_accuracies(fitted, model)

        # Not in the worker: with hundreds of images, predictions would wait for many seconds.
        results = await anyio.to_thread.run_sync(run, limiter=self._estimate_limiter)
        return stored, *results

    async def export(self, stored: StoredClassifier) -> bytes:
        """Export a classifier as one ONNX file, which takes a few seconds.

        Raises:
            UserError: if it cannot be exported.
        """
        from lgmnet.classifier.export import export

        def run() -> bytes:
            with translated_errors(), tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model.onnx"
                export(stored.fitted, path)
                return path.read_bytes()

        # One at a time; the others wait without a thread of their own.
        return await anyio.to_thread.run_sync(run, limiter=self._export_limiter)

    def file(self, id: str) -> tuple[Record, bytes]:
        """Return the current record of a classifier, and its own file.

        Raises:
            AbsentError: if there is no classifier with this id.
            DamagedError: if its entry is damaged, or its file is missing.
        """
        return self._read(id, Path.read_bytes)

    def _read(self, id: str, read: Callable[[Path], T]) -> tuple[Record, T]:
        """Return the current record of a classifier, and what a function reads from its file."""
        before = None
        for _ in range(MAX_READ_ATTEMPTS):
            record = self.store.get(id)
            if record == before:
                raise damaged_file_error(id, "its file is missing")
            try:
                with self.store.file(record) as path:
                    return record, read(path)
            except ConflictError:  # A new version came between the index and the file.
                before = record
        raise StoreError(f"The classifier '{id}' changes faster than it can be read.")

    def _parse(self, data: bytes) -> FittedClassifier:
        """Parse a classifier file that a caller sent; see `open`."""
        with upload_errors():
            fitted = parse_classifier(data, UPLOAD)
        fitted.support.require_samples()  # The studio shows and edits them.
        if not (fitted.backbone or fitted.inputs.is_image):
            raise DataError("This is a classifier of vectors; the studio takes those of images.")
        self.limits.check_classes(dict(zip(fitted.classes, fitted.shots, strict=True)))
        self.limits.check_names(fitted.classes)
        fitted.check_model(self.model_collection.get(fitted.model))
        return fitted

    async def _run_io(self, function: Callable[..., T], *args: Any) -> T:
        """Run a function that reads images or writes to the store in one of a few threads."""
        return await anyio.to_thread.run_sync(function, *args, limiter=self._io_limiter)

    async def _run_timed(
        self, compute: Callable[[], FittedClassifier]
    ) -> tuple[FittedClassifier, float]:
        """Run a computation in the worker, and measure its milliseconds without the waiting."""

        def timed() -> tuple[FittedClassifier, float]:
            start = time.perf_counter()
            fitted = compute()
            return fitted, 1000 * (time.perf_counter() - start)

        return await asyncio.wrap_future(self.worker.submit(timed))

    def _add(self, fitted: FittedClassifier) -> StoredClassifier:
        return self._cached(self.store.add(to_metadata(fitted), fitted.save), fitted)

    def _cached(self, record: Record, fitted: FittedClassifier) -> StoredClassifier:
        stored = StoredClassifier(record, fitted)
        with self._cache_lock:
            self._cache[record.file] = stored
            while len(self._cache) > MAX_CACHED_CLASSIFIERS:
                self._cache.popitem(last=False)
        return stored

    def _check_new_images(self, images: Sequence[LabelledFile]) -> None:
        self.limits.check_images([image.file for image in images])
        self.limits.check_names(image.label for image in images)
