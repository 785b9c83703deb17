"""File of an SQLite index: whether it is still there, and space that is kept beside it."""

import os
from contextlib import suppress
from pathlib import Path

from lgmnet.studio.errors import StoreError

RESERVE_BYTES = 262_144
"""Space on the index's disk that is kept for removing classifiers when the disk is full."""
RESERVE_SUFFIX = ".reserve"


class IndexFile:
    """File of an SQLite index. For another index, whose ``path`` is None, nothing is done."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._identity = self._identify()

    def check(self) -> None:
        """Check that the file is there: SQLite goes on writing to a file that was removed.

        Raises:
            StoreError: if it was removed or replaced.
        """
        if self._identify() != self._identity:
            raise StoreError(
                f"The index '{self.path}' was removed or replaced; restart the server."
            )

    def fill_reserve(self) -> None:
        """Write the file that keeps space, if it is absent and there is space for it."""
        if self.path is None or self.path.with_suffix(RESERVE_SUFFIX).exists():
            return
        try:
            # Not zeros, because file systems compress them away.
            self.path.with_suffix(RESERVE_SUFFIX).write_bytes(os.urandom(RESERVE_BYTES))
        except OSError:
            self.free_reserve()

    def free_reserve(self) -> None:
        """Remove the file that keeps space."""
        if self.path is not None:
            with suppress(OSError):
                self.path.with_suffix(RESERVE_SUFFIX).unlink()

    def _identify(self) -> tuple[int, int] | None:
        """Return device and number of the file, None if it is gone or the index is no file."""
        with suppress(OSError):
            if self.path is not None:
                status = self.path.stat()
                return status.st_dev, status.st_ino
        return None
