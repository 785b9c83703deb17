"""Errors of the store, and how errors of databases and file systems become errors of the store."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import OperationalError, SQLAlchemyError

from lgmnet.errors import DataError, UserError


class StoreFullError(UserError):
    """The disk is full; everything stored before is unchanged."""


class StoreError(UserError):
    """The database or the file storage cannot be used."""


class DamagedError(UserError):
    """The entry or the file of one classifier is damaged or missing; the reason is for the log."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class ConflictError(UserError):
    """The classifier was changed or removed since it was read."""


class RequestTooLargeError(DataError):
    """The images of a request are too many or too large together; smaller requests are allowed."""


class AbsentError(UserError):
    """There is no such classifier or image."""


def absent_error(id: str) -> AbsentError:
    """Create the error for a classifier that is not in the index."""
    return AbsentError(f"There is no classifier '{id}'; it may have been removed.")


def conflict_error(id: str) -> ConflictError:
    """Create the error for a classifier that was changed or removed since it was read."""
    return ConflictError(
        f"The classifier '{id}' was changed or removed by somebody else since it was read. Read it "
        "again."
    )


def damaged_file_error(id: str, reason: str) -> DamagedError:
    """Create the error for a classifier whose file is damaged or missing."""
    return DamagedError(
        f"The classifier '{id}' is damaged in the store: {reason}. Remove the classifier, or "
        "restore its file from a backup.",
        reason,
    )


@contextmanager
def translated_errors() -> Iterator[None]:
    """Translate errors of databases and file systems into `StoreFullError` and `StoreError`."""
    try:
        yield
    except (UserError, OSError, SQLAlchemyError) as error:
        # `atomic_write` has already turned the system's error into a sentence of its own.
        if is_disk_full(error.__cause__ if isinstance(error, UserError) else error):
            raise StoreFullError(
                "The disk that holds the classifiers is full. Nothing was changed; free some "
                "space, then try again."
            ) from error
        if isinstance(error, UserError):
            raise
        reason = getattr(error, "orig", None) or error
        raise StoreError(f"The store cannot be used: {reason}") from error


def is_disk_full(error: BaseException | None) -> bool:
    """Return True if an error says that the disk is full."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    message = str(error).lower()
    return isinstance(error, OperationalError) and any(
        phrase in message for phrase in ("disk is full", "no space left", "disk full")
    )
