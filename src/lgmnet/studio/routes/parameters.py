"""Parameters and dependencies that several routes share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, cast

from fastapi import Depends, File, Form, Header, Path, Request
from pydantic import GetPydanticSchema, WithJsonSchema
from pydantic_core.core_schema import no_info_plain_validator_function
from starlette.datastructures import UploadFile

from lgmnet.data.images.read import ImageBytes
from lgmnet.errors import ConfigError
from lgmnet.studio.classifiers import LabelledFile
from lgmnet.studio.service import Service

MAX_FILE_NAME_LENGTH = 200


def read_upload(upload: object) -> ImageBytes:
    """Read an uploaded file; its name serves for error messages only.

    Raises:
        ValueError: if it is no file but a text field.
    """
    if not isinstance(upload, UploadFile):
        raise ValueError(f"Expected UploadFile, received: {type(upload)}")
    name = (upload.filename or "image")[:MAX_FILE_NAME_LENGTH]
    return ImageBytes(name, upload.file.read())


async def get_service(request: Request) -> Service:
    """Return the application's service."""
    return cast("Service", request.app.state.service)


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
    str | None,
    Header(description="Etag of the version to change, or * for the current version."),
]
StudioService = Annotated[Service, Depends(get_service)]


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
