"""Folder or bucket with the files of a store."""

import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import contextmanager, suppress
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from lgmnet.io import write_text
from lgmnet.studio.index import FILE_SUFFIX, HEX_ID

ID_FILE = "lgmnet-store.txt"
"""File with the id of the folder, which the index that owns the folder states too."""
TRASH = "trash"
"""Folder inside the folder, to which left-over files are moved."""
OWN_FILE = re.compile(rf"(\.[0-9a-f]{{8}}\.)?{HEX_ID}-{HEX_ID}{re.escape(FILE_SUFFIX)}")
"""Names of the store's files, with the prefix that `atomic_write` gives to unfinished ones."""


class FileFolder:
    """Folder or bucket with the files of a store.

    Args:
        url: Folder or fsspec URL, such as ``s3://bucket/classifiers``. It is created if absent.

    Raises:
        ImportError: if the URL needs a package that is not installed.
        ValueError: if the URL is malformed.
        OSError: if the folder cannot be created.
    """

    def __init__(self, url: str) -> None:
        self.fs, self.top = fsspec.core.url_to_fs(url)
        self.is_local = isinstance(self.fs, LocalFileSystem)
        self.fs.makedirs(self.top, exist_ok=True)

    def path(self, name: str) -> str:
        """Return the path of a file in the file system."""
        return f"{self.top}/{name}"

    def exists(self) -> bool:
        """Return True if the folder exists. A bucket has no folders, so there it always does."""
        return not self.is_local or Path(self.top).is_dir()

    def read_id(self) -> str | None:
        """Return the id of the folder, None if it has none."""
        try:
            data: bytes = self.fs.cat_file(self.path(ID_FILE))
        except FileNotFoundError:
            return None
        return data.decode(errors="replace").strip()

    def write_id(self, id: str) -> None:
        """Give an id to the folder."""
        if self.is_local:
            write_text(Path(self.path(ID_FILE)), f"{id}\n")
        else:
            self.fs.pipe_file(self.path(ID_FILE), f"{id}\n".encode())

    def own_files(self) -> list[str]:
        """Return the names of all files that a store wrote, apart from the trash."""
        entries = self.fs.ls(self.top, detail=True)
        names = (e["name"].rsplit("/", maxsplit=1)[-1] for e in entries if e["type"] == "file")
        return [name for name in names if OWN_FILE.fullmatch(name)]

    def write(self, name: str, write: Callable[[Path], None]) -> int:
        """Write a file by a function that takes its path, and return its size in bytes."""
        if self.is_local:
            path = Path(self.path(name))
            write(path)
            return path.stat().st_size
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            write(path)
            self.fs.put_file(str(path), self.path(name))
            return path.stat().st_size

    @contextmanager
    def open(self, name: str) -> Iterator[Path]:
        """Give a file as a local path, valid inside the ``with`` block.

        Raises:
            FileNotFoundError: if there is no such file.
        """
        if self.is_local:
            path = Path(self.path(name))
            if not path.is_file():
                raise FileNotFoundError(str(path))
            yield path
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            self.fs.get_file(self.path(name), str(path))
            yield path

    def remove(self, name: str) -> None:
        """Remove a file, if present. One that cannot be removed now is swept later."""
        with suppress(OSError):
            self.fs.rm_file(self.path(name))

    def remove_all(self, names: Iterable[str]) -> None:
        """Remove files (see `remove`)."""
        for name in names:
            self.remove(name)

    def move_to_trash(self, keep: Set[str], min_age: float) -> int:
        """Move the store's own files to the trash, apart from some names and from young files.

        Args:
            keep: Names that stay.
            min_age: Age in seconds below which files stay.

        Returns:
            The number of files moved.
        """
        n_moved = 0
        for name in self.own_files():
            if name not in keep and self._age(name) > min_age:
                self.fs.makedirs(self.path(TRASH), exist_ok=True)
                with suppress(FileNotFoundError):  # Another server was faster.
                    self.fs.mv(self.path(name), self.path(f"{TRASH}/{name}"))
                    n_moved += 1
        return n_moved

    def _age(self, name: str) -> float:
        """Return the age of a file in seconds, 0 if it is not known."""
        with suppress(NotImplementedError, FileNotFoundError):
            return time.time() - float(self.fs.modified(self.path(name)).timestamp())
        return 0.0
