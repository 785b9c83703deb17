"""Routes that create, list, read, edit, remove, use and export classifiers."""

import logging
import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal
from urllib.parse import quote

import anyio
from fastapi import APIRouter, File, Form, Header, HTTPException, Path, Query, Request, Response
from PIL import Image
from pydantic import GetPydanticSchema, WithJsonSchema
from pydantic_core.core_schema import no_info_plain_validator_function
from starlette.datastructures import UploadFile

from lgmnet.classifier.export import snippet
from lgmnet.classifier.thumbnails import encode_image
from lgmnet.data.images.read import ImageBytes
from lgmnet.errors import ConfigError
from lgmnet.model.registry import AUTO_MODEL
from lgmnet.studio.classifiers import LabelledFile, thumbnail
from lgmnet.studio.disconnect import while_connected
from lgmnet.studio.errors import ConflictError
from lgmnet.studio.index import DamagedEntry, Record
from lgmnet.studio.schemas import (
    ClassifierOut,
    Estimate,
    Page,
    Predictions,
    Snippet,
    StudioService,
    to_classifier_out,
    to_estimate,
    to_fitted_out,
    to_predictions,
    to_summary,
)

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
IfMatch = Annotated[
    str | None, Header(description="Etag of the version to change, or * for the current version.")
]

IfNoneMatch = Annotated[
    str | None, Header(description="Etags of versions that need not be sent again.")
]
NOT_MODIFIED: dict[int | str, dict[str, Any]] = {
    304: {"description": "The caller has the current version."}
}

router = APIRouter(tags=["classifiers"])


# Routes that need a network are coroutines: they wait for the worker without a thread of their own.
@router.post("/v1/classifiers", status_code=201)
async def forge(
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
) -> ClassifierOut:
    """Fit a classifier to labelled images, or add one that comes as a file."""
    if file is not None:
        new_name = None if name == DEFAULT_NAME else name
        work = service.open(file.data, new_name)
    else:
        work = service.fit(name, model, pair(images, labels))
    return to_fitted_out(await while_connected(request, work), response)


@router.post("/v1/examples/digits", status_code=201)
async def digits(service: StudioService, response: Response) -> ClassifierOut:
    """Fit a classifier to an example: five of scikit-learn's handwritten digits of each class."""
    images = await anyio.to_thread.run_sync(example_digits)
    return to_fitted_out(await service.fit("digits", "omniglot", images), response)


@router.get("/v1/classifiers")
def page(
    service: StudioService,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: Annotated[str | None, Query(description="'next' of the page before.")] = None,
) -> Page:
    """List classifiers, newest first."""
    entries = service.store.page(limit + 1, None if after is None else parse_cursor(after))
    shown, has_more = entries[:limit], len(entries) > limit
    damaged = [entry for entry in shown if isinstance(entry, DamagedEntry)]
    for entry in damaged:
        LOGGER.warning("The index's entry of '%s' is damaged: %s", entry.id, entry.reason)
    return Page(
        items=[to_summary(entry) for entry in shown if isinstance(entry, Record)],
        damaged=[entry.id for entry in damaged],
        next=f"{min(shown[-1].created, MAX_TIME)!r}_{shown[-1].id}" if has_more else None,
    )


@router.get("/v1/classifiers/{id}", response_model=ClassifierOut, responses=NOT_MODIFIED)
def get(
    service: StudioService, id: Id, response: Response, if_none_match: IfNoneMatch = None
) -> ClassifierOut | Response:
    """Return a classifier with its classes and images."""
    stored = service.get(id)
    return not_modified(if_none_match, stored.record) or to_classifier_out(stored, response)


@router.patch("/v1/classifiers/{id}")
async def edit(
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
    model: Annotated[
        str | None, Form(description="Name of the model to switch to, or auto.")
    ] = None,
) -> ClassifierOut:
    """Rename classes, drop images, remove classes and add images: in this order, all or nothing.

    With 'model', the classifier is then fitted by that model. Without it, the model of a classifier
    of less than three classes is chosen anew if it was chosen automatically before.
    """
    if if_match is None:
        raise HTTPException(
            428,
            "Send the header If-Match with the etag of the version to change, so that nobody's "
            "work is overwritten; or with * for the current version.",
        )
    if len(rename) != len(to):
        raise ConfigError(
            f"Expected a new name for each class to rename, but got {len(rename)} of 'rename' and "
            f"{len(to)} of 'to'."
        )
    if name is None and "name" in await request.form():
        name = ""  # FastAPI takes an empty field for an absent one.
    stored = await anyio.to_thread.run_sync(service.get, id)
    check_match(if_match, stored.record)
    work = service.edit(
        stored,
        name=name,
        rename=list(zip(rename, to, strict=True)),
        drop=drop,
        remove=remove,
        add=pair(images, labels),
        model=model,
    )
    return to_fitted_out(await while_connected(request, work), response)


@router.delete("/v1/classifiers/{id}", status_code=204, response_model=None)
def remove(service: StudioService, id: Id, if_match: IfMatch = None) -> None:
    """Remove a classifier."""
    if if_match is None or if_match.strip() == "*":
        service.store.remove(id)  # Also if its entry is damaged.
        return
    record = service.store.get(id)
    check_match(if_match, record)
    service.store.remove(id, record.version)


@router.get(
    "/v1/classifiers/{id}/images/{place}",
    response_class=Response,
    responses={200: {"content": {"image/png": {}, "image/webp": {}}}, **NOT_MODIFIED},
)
def picture(
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
async def estimate(service: StudioService, request: Request, id: Id) -> Estimate:
    """Estimate the accuracy: every image is classified without it and its copies."""
    stored, result = await while_connected(request, service.estimate(id))
    return to_estimate(stored, result)


@router.get(
    "/v1/classifiers/{id}/export",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}}, **NOT_MODIFIED},
)
async def export(
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
    name = quote(f"{record.name or 'classifier'}.{format}", safe="")
    disposition = {"Content-Disposition": f"attachment; filename*=UTF-8''{name}"}
    return Response(
        data,
        media_type="application/octet-stream",
        headers=disposition | etag_header(record),
    )


@router.get("/v1/classifiers/{id}/snippet")
def lines(
    service: StudioService,
    id: Id,
    language: Annotated[Literal["python", "javascript"], Query()] = "python",
) -> Snippet:
    """Return the lines of code that run the exported ONNX file."""
    return Snippet(language=language, lines=snippet(language, service.get(id).fitted))


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


def check_match(if_match: str, record: Record) -> None:
    """Check that a classifier has a version that If-Match names.

    Raises:
        ConflictError: if it has another version.
    """
    if not names_version(if_match, record):
        raise ConflictError(
            "The classifier was changed by somebody else since you read it. Read it again, then "
            "repeat your change."
        )


def etag_header(record: Record) -> dict[str, str]:
    """Return the header ETag of everything that shows a version of a classifier."""
    return {"ETag": f'"{record.version}"'}


def not_modified(if_none_match: str | None, record: Record) -> Response | None:
    """Return the response 304 if If-None-Match names the version, None if it does not."""
    if if_none_match is None or not names_version(if_none_match, record):
        return None
    return Response(status_code=304, headers=etag_header(record))


def names_version(condition: str, record: Record) -> bool:
    """Return True if If-Match or If-None-Match names the version of a record, or is ``*``."""
    etags = {tag.strip().removeprefix("W/").strip('"') for tag in condition.split(",")}
    return bool(etags & {"*", record.version})


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
