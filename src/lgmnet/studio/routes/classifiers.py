"""Routes that create, list, read, edit, remove, use and export classifiers."""

import logging
import re
import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal
from urllib.parse import quote

import anyio
from fastapi import APIRouter, File, Form, Path, Query, Request, Response
from PIL import Image
from pydantic import GetPydanticSchema, WithJsonSchema
from pydantic_core.core_schema import no_info_plain_validator_function
from starlette.datastructures import UploadFile

from lgmnet.classifier.export import snippet
from lgmnet.classifier.thumbnails import encode_image
from lgmnet.data.images.read import ImageBytes
from lgmnet.errors import ConfigError
from lgmnet.model.registry import AUTO_MODEL
from lgmnet.studio.classifiers import LabelledFile
from lgmnet.studio.disconnect import while_connected
from lgmnet.studio.index import DamagedEntry, Record
from lgmnet.studio.pictures import thumbnail
from lgmnet.studio.routes.conditions import (
    IfMatch,
    IfNoneMatch,
    check_match,
    etag_header,
    not_modified,
    require_match,
)
from lgmnet.studio.schemas import (
    Classifier,
    ClassifierPage,
    CodeSnippet,
    Estimate,
    Predictions,
    StudioService,
    to_classifier_out,
    to_estimate,
    to_fitted_out,
    to_predictions,
    to_summary,
)
from lgmnet.studio.service import Service
from lgmnet.studio.versions import StepKind

DEFAULT_NAME = "untitled"
MAX_FILE_NAME_LENGTH = 200
MAX_TIME = 1e12
"""Latest time in seconds since 1970 that a page can begin with."""
LOGGER = logging.getLogger("lgmnet.studio")


def read_upload(upload: object) -> ImageBytes:
    """Read an uploaded file; its name serves for error messages only.

    Raises:
        ValueError: if it is no file but a text field.
    """
    if not isinstance(upload, UploadFile):
        raise ValueError(f"Expected UploadFile, received: {type(upload)}")
    name = (upload.filename or "image")[:MAX_FILE_NAME_LENGTH]
    return ImageBytes(name, upload.file.read())


Upload = Annotated[
    ImageBytes,
    GetPydanticSchema(lambda source, handler: no_info_plain_validator_function(read_upload)),
    WithJsonSchema({"type": "string", "contentMediaType": "application/octet-stream"}),
]
"""Uploaded file, read into memory. FastAPI's own ``UploadFile`` is not used as annotation, because
the objects that it passes are Starlette's, which runtime type checkers refuse."""
Images = Annotated[Sequence[Upload], File(description="Image files.")]
Labels = Annotated[
    Sequence[str], Form(description="Class of each image, in the order of the images.")
]
Id = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="Id of the classifier.")]
NOT_MODIFIED: dict[int | str, dict[str, Any]] = {
    304: {"description": "The caller has the current version."}
}

router = APIRouter(tags=["classifiers"])


# Routes that need a network are coroutines: they wait for the worker without a thread of their own.
@router.post("/v1/classifiers", status_code=201)
async def create_classifier(
    service: StudioService,
    request: Request,
    response: Response,
    images: Images = (),
    labels: Labels = (),
    name: Annotated[str, Form(description="Name of the classifier.")] = DEFAULT_NAME,
    model: Annotated[str, Form(description="Name of a model, or auto.")] = AUTO_MODEL,
    file: Annotated[
        Upload | None, File(description="A classifier's own file, in place of images.")
    ] = None,
) -> Classifier:
    """Fit a classifier to labelled images, or add one that comes as a file."""
    if file is not None:
        new_name = None if name == DEFAULT_NAME else name
        work = service.open(file, new_name)
    else:
        work = service.fit(name, model, pair(images, labels))
    return to_fitted_out(await while_connected(request, work), response)


@router.post("/v1/examples/digits", status_code=201)
async def create_example(service: StudioService, response: Response) -> Classifier:
    """Fit a classifier to an example: five of scikit-learn's handwritten digits of each class."""
    images = await anyio.to_thread.run_sync(example_digits)
    return to_fitted_out(await service.fit("digits", "omniglot", images), response)


@router.get("/v1/classifiers")
def list_classifiers(
    service: StudioService,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: Annotated[str | None, Query(description="'next' of the page before.")] = None,
) -> ClassifierPage:
    """List classifiers, newest first."""
    entries = service.store.page(limit + 1, None if after is None else parse_cursor(after))
    shown, has_more = entries[:limit], len(entries) > limit
    damaged = [entry for entry in shown if isinstance(entry, DamagedEntry)]
    for entry in damaged:
        LOGGER.warning("The index's entry of '%s' is damaged: %s", entry.id, entry.reason)
    return ClassifierPage(
        items=[to_summary(entry) for entry in shown if isinstance(entry, Record)],
        damaged=[entry.id for entry in damaged],
        next=f"{min(shown[-1].created, MAX_TIME)!r}_{shown[-1].id}" if has_more else None,
    )


@router.get("/v1/classifiers/{id}", response_model=Classifier, responses=NOT_MODIFIED)
def get_classifier(
    service: StudioService, id: Id, response: Response, if_none_match: IfNoneMatch = None
) -> Classifier | Response:
    """Return a classifier with its classes and images."""
    stored = service.get(id)
    return not_modified(if_none_match, stored.record) or to_classifier_out(stored, response)


@router.patch("/v1/classifiers/{id}")
async def update_classifier(
    service: StudioService,
    request: Request,
    id: Id,
    response: Response,
    if_match: IfMatch = None,
    images: Images = (),
    labels: Labels = (),
    name: Annotated[str | None, Form(description="New name of the classifier.")] = None,
    rename: Annotated[Sequence[str], Form(description="Classes to rename.")] = (),
    to: Annotated[Sequence[str], Form(description="Their new names, in the same order.")] = (),
    drop: Annotated[Sequence[int], Form(description="Places of images to drop.")] = (),
    remove: Annotated[Sequence[str], Form(description="Classes to remove.")] = (),
    move: Annotated[Sequence[int], Form(description="Places of images to move.")] = (),
    into: Annotated[
        Sequence[str], Form(description="Classes that they move into, in the same order.")
    ] = (),
    model: Annotated[
        str | None, Form(description="Name of the model to switch to, or auto.")
    ] = None,
) -> Classifier:
    """Rename classes, move and drop images, remove classes, add images: all of it or nothing.

    This is the order of the changes. A class that loses all images because they move is removed.
    With 'model', the classifier is then fitted by that model. Without it, the model of a classifier
    of less than three classes is chosen anew if it was chosen automatically before.
    """
    etags = require_match(if_match)
    if len(rename) != len(to):
        raise ConfigError(
            f"Expected a new name for each class to rename, but got {len(rename)} of 'rename' and "
            f"{len(to)} of 'to'."
        )
    if len(move) != len(into):
        raise ConfigError(
            f"Expected a class for each image to move, but got {len(move)} of 'move' and "
            f"{len(into)} of 'into'."
        )
    if name is None and "name" in await request.form():
        name = ""  # FastAPI takes an empty field for an absent one.
    stored = await anyio.to_thread.run_sync(service.get, id)
    check_match(etags, stored.record)
    work = service.edit(
        stored,
        name=name,
        rename=list(zip(rename, to, strict=True)),
        move=list(zip(move, into, strict=True)),
        drop=drop,
        remove=remove,
        add=pair(images, labels),
        model=model,
    )
    return to_fitted_out(await while_connected(request, work), response)


@router.delete("/v1/classifiers/{id}", status_code=204, response_model=None)
def delete_classifier(service: StudioService, id: Id, if_match: IfMatch = None) -> None:
    """Remove a classifier; it can be restored for a day."""
    if if_match is None or if_match.strip() == "*":
        service.store.remove(id)  # Also if its entry is damaged.
        return
    record = service.store.get(id)
    check_match(if_match, record)
    service.store.remove(id, record.version)


@router.post("/v1/classifiers/{id}/undo")
def undo(
    service: StudioService, id: Id, response: Response, if_match: IfMatch = None
) -> Classifier:
    """Undo the last change, whoever made it; this can be repeated, and redone."""
    return step(service, id, response, if_match, "undo")


@router.post("/v1/classifiers/{id}/redo")
def redo(
    service: StudioService, id: Id, response: Response, if_match: IfMatch = None
) -> Classifier:
    """Redo the change that was undone last, unless another change followed."""
    return step(service, id, response, if_match, "redo")


def step(
    service: Service,
    id: str,
    response: Response,
    if_match: str | None,
    kind: StepKind,
) -> Classifier:
    """Undo or redo a change of a classifier."""
    stored = service.get(id)
    check_match(require_match(if_match), stored.record)
    return to_classifier_out(service.step(stored, kind), response)


@router.post("/v1/classifiers/{id}/restore")
def restore_classifier(service: StudioService, id: Id, response: Response) -> Classifier:
    """Restore a classifier that was removed less than a day ago."""
    return to_classifier_out(service.restore(id), response)


@router.get(
    "/v1/classifiers/{id}/images/{place}",
    response_class=Response,
    responses={200: {"content": {"image/png": {}, "image/webp": {}}}, **NOT_MODIFIED},
)
def get_image(
    service: StudioService,
    id: Id,
    place: Annotated[int, Path(ge=0, le=10**9)],
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Return the thumbnail of a support image."""
    stored = service.get(id)
    data = thumbnail(stored.fitted, place)
    kind = "image/png" if data.startswith(b"\x89PNG") else "image/webp"
    full = Response(data, media_type=kind, headers=etag_header(stored.record))
    return not_modified(if_none_match, stored.record) or full


@router.post("/v1/classifiers/{id}/predict")
async def predict(
    service: StudioService,
    request: Request,
    id: Id,
    images: Annotated[Sequence[Upload], File(description="One image or several.")],
) -> Predictions:
    """Predict the classes of images; one that cannot be read gets an error in its place."""
    start = time.perf_counter()
    result = await while_connected(request, service.predict(id, images))
    return Predictions(
        etag=result.stored.record.version,
        milliseconds=round(1000 * (time.perf_counter() - start), 2),
        predictions=to_predictions(images, result),
    )


@router.get("/v1/classifiers/{id}/estimate")
async def estimate_accuracy(service: StudioService, request: Request, id: Id) -> Estimate:
    """Estimate the accuracy: every image is classified without it and its copies."""
    stored, result, more = await while_connected(request, service.estimate(id))
    return to_estimate(stored, result, more)


@router.get(
    "/v1/classifiers/{id}/export",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}}, **NOT_MODIFIED},
)
async def export_classifier(
    service: StudioService,
    request: Request,
    id: Id,
    format: Annotated[Literal["safetensors", "onnx"], Query()] = "safetensors",
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Return the classifier's own file, or an ONNX file that runs without lgmnet (slower)."""
    record = await anyio.to_thread.run_sync(service.store.get, id)
    if (unchanged := not_modified(if_none_match, record)) is not None:
        return unchanged
    if format == "onnx":
        stored = await anyio.to_thread.run_sync(service.get, id)
        record, data = stored.record, await while_connected(request, service.export(stored))
    else:
        record, data = await anyio.to_thread.run_sync(service.file, id)
    disposition = content_disposition(f"{record.name or 'classifier'}.{format}")
    return Response(
        data,
        media_type="application/octet-stream",
        headers={"Content-Disposition": disposition} | etag_header(record),
    )


@router.get("/v1/classifiers/{id}/snippet")
def get_snippet(
    service: StudioService,
    id: Id,
    language: Annotated[Literal["python", "javascript"], Query()] = "python",
) -> CodeSnippet:
    """Return the lines of code that run the exported ONNX file."""
    return CodeSnippet(language=language, lines=snippet(language, service.get(id).fitted))


def example_digits(shot: int = 5) -> list[LabelledFile]:
    """Return scikit-learn's handwritten digits, dark ink on white paper."""
    from lgmnet.data.datasets.digits import digits

    dataset = digits()
    images = []
    for label, name in enumerate(dataset.class_names):
        # Neighbours in the data set are written by the same person, so take images far apart.
        step = int(dataset.counts[label]) // shot
        for i in range(shot):
            pixels = 255 - dataset.images[int(dataset.starts[label]) + i * step, 0].numpy()
            data = encode_image(Image.fromarray(pixels), "PNG")
            images.append(LabelledFile(name, ImageBytes(f"{name}-{i}.png", data)))
    return images


def pair(images: Sequence[ImageBytes], labels: Sequence[str]) -> list[LabelledFile]:
    """Pair images with their labels.

    Raises:
        ConfigError: if there are not as many labels as images.
    """
    if len(images) != len(labels):
        raise ConfigError(
            f"Expected one label for each image, but got {len(images)} images and {len(labels)} "
            "labels."
        )
    return [LabelledFile(label, image) for image, label in zip(images, labels, strict=True)]


def content_disposition(name: str) -> str:
    """Return the header for a download: the name in full, and in ASCII for simple clients."""
    plain = re.sub(r"[^A-Za-z0-9 ._()+-]", "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def parse_cursor(after: str) -> tuple[float, str]:
    """Parse the 'next' of a page: creation time and id of the last classifier of that page.

    Raises:
        ConfigError: if it is not the 'next' of a page.
    """
    start, _, id = after.partition("_")
    try:
        created = float(start)
    except ValueError:
        created = float("nan")
    if not abs(created) <= MAX_TIME:  # Also true for NaN.
        raise ConfigError(f"'after' must be the 'next' of a page, but is '{after}'.")
    return created, id.replace("\0", "")
