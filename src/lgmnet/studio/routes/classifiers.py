"""Routes that create, list, read, edit and remove classifiers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import anyio
from fastapi import APIRouter, File, Form, HTTPException, Path, Query, Response

from lgmnet.errors import ConfigError
from lgmnet.studio.classifiers import Edit
from lgmnet.studio.examples import example_digits
from lgmnet.studio.models import AUTO
from lgmnet.studio.responses import to_classifier_out, to_fitted_out, to_summary
from lgmnet.studio.routes.parameters import (
    Id,
    IfMatch,
    Images,
    Labels,
    StudioService,
    Upload,
    pair,
)
from lgmnet.studio.schemas import ClassifierOut, Page
from lgmnet.studio.store import ConflictError, Record
from lgmnet.studio.thumbnails import thumbnail

DEFAULT_NAME = "untitled"

router = APIRouter(tags=["classifiers"])


# Routes that need a network are coroutines: they wait for the worker without a thread of their own.
@router.post("/v1/classifiers", status_code=201)
async def forge(
    service: StudioService,
    response: Response,
    images: Images = (),
    labels: Labels = (),
    name: Annotated[str, Form(description="Name of the classifier.")] = DEFAULT_NAME,
    model: Annotated[str, Form(description="Name of a model, or auto.")] = AUTO,
    file: Annotated[
        Upload | None, File(description="A classifier's own file, in place of images.")
    ] = None,
) -> ClassifierOut:
    """Fit a classifier to labelled images, or add one that comes as a file."""
    if file is not None:
        new_name = None if name == DEFAULT_NAME else name
        opened = await anyio.to_thread.run_sync(service.open, file.data, new_name)
        return to_fitted_out(opened, response)
    return to_fitted_out(await service.fit(name, model, pair(images, labels)), response)


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
    records = service.store.page(limit + 1, None if after is None else parse_cursor(after))
    items, has_more = records[:limit], len(records) > limit
    return Page(
        items=[to_summary(record) for record in items],
        next=f"{items[-1].created!r}_{items[-1].id}" if has_more else None,
    )


@router.get("/v1/classifiers/{id}")
def get(service: StudioService, id: Id, response: Response) -> ClassifierOut:
    """Return a classifier with its classes and images."""
    return to_classifier_out(service.get(id), response)


@router.patch("/v1/classifiers/{id}")
async def edit(
    service: StudioService,
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
) -> ClassifierOut:
    """Rename classes, drop images, remove classes and add images: in this order, all or nothing."""
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
    stored = await anyio.to_thread.run_sync(service.get, id)
    check_match(if_match, stored.record)
    changes = Edit(
        name=name,
        rename=tuple(zip(rename, to, strict=True)),
        drop=tuple(drop),
        remove=tuple(remove),
        add=tuple(pair(images, labels)),
    )
    return to_fitted_out(await service.edit(stored, changes), response)


@router.delete("/v1/classifiers/{id}", status_code=204, response_model=None)
def remove(service: StudioService, id: Id, if_match: IfMatch = None) -> None:
    """Remove a classifier."""
    record = service.store.get(id)
    if if_match is None or if_match.strip() == "*":
        service.store.remove(id)
        return
    check_match(if_match, record)
    service.store.remove(id, record.version)


@router.get(
    "/v1/classifiers/{id}/images/{place}",
    response_class=Response,
    responses={200: {"content": {"image/png": {}, "image/webp": {}}}},
)
def picture(
    service: StudioService, id: Id, place: Annotated[int, Path(ge=0, le=10**9)]
) -> Response:
    """Return the thumbnail of a support image."""
    data = thumbnail(service.get(id).fitted, place)
    kind = "image/png" if data.startswith(b"\x89PNG") else "image/webp"
    return Response(data, media_type=kind)


def check_match(if_match: str, record: Record) -> None:
    """Check that a classifier has a version that If-Match names.

    Raises:
        ConflictError: if it has another version.
    """
    etags = {tag.strip().removeprefix("W/").strip('"') for tag in if_match.split(",")}
    if not etags & {"*", record.version}:
        raise ConflictError(
            "The classifier was changed by somebody else since you read it. Read it again, then "
            "repeat your change."
        )


def parse_cursor(after: str) -> tuple[float, str]:
    """Parse the 'next' of a page.

    Returns:
        Creation time and id of the last classifier of that page.

    Raises:
        ConfigError: if it is not the 'next' of a page.
    """
    time, _, id = after.partition("_")
    try:
        created = float(time)
    except ValueError:
        created = float("nan")
    if not abs(created) < 1e12:  # Also true for NaN.
        raise ConfigError(f"'after' must be the 'next' of a page, but is '{after}'.")
    return created, id.replace("\0", "")
