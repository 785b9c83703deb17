"""Conditional requests: If-Match for changes, If-None-Match for what the caller has already."""

from typing import Annotated

from fastapi import Header, HTTPException, Response

from lgmnet.studio.errors import ConflictError
from lgmnet.studio.index import Record

IfMatch = Annotated[
    str | None, Header(description="Etag of the version to change, or * for the current version.")
]
IfNoneMatch = Annotated[
    str | None, Header(description="Etags of versions that need not be sent again.")
]


def require_match(if_match: str | None) -> str:
    """Return the header If-Match.

    Raises:
        HTTPException: 428 if it is absent.
    """
    if if_match is None:
        raise HTTPException(
            428,
            "Send the header If-Match with the etag of the version to change, so that nobody's "
            "work is overwritten; or with * for the current version.",
        )
    return if_match


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
