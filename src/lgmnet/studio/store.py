"""Where classifiers are kept: an index in a database, and their files beside it or in a bucket.

A file is written before the index names it, and never changed afterwards: a change is another file
under another version. So whatever the index names is whole, however a process ends, and several
servers may share one store.
"""

from __future__ import annotations

import dataclasses
import errno
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
from fsspec.implementations.local import LocalFileSystem
from sqlalchemy import (
    JSON,
    Column,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    delete,
    event,
    insert,
    select,
    tuple_,
    update,
)
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError

from lgmnet.errors import ConfigError, UserError

GRACE = 3600.0
"""Seconds after which a file that the index does not name is taken for left over."""
SUFFIX = ".safetensors"

METADATA = MetaData()
CLASSIFIERS = Table(
    "classifiers",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("version", String(32), nullable=False),
    Column("name", String(200), nullable=False),
    Column("model", String(200), nullable=False),
    Column("classes", JSON, nullable=False),
    Column("shots", JSON, nullable=False),
    Column("bytes", Integer, nullable=False),
    Column("created", Float, nullable=False, index=True),
    Column("changed", Float, nullable=False),
)


class StoreFullError(UserError):
    """There is no room left; what was kept before is as it was."""


class StoreError(UserError):
    """The database or the folder of files cannot be used."""


class ConflictError(UserError):
    """Somebody else has changed or removed it since it was read."""


class AbsentError(UserError):
    """There is no classifier of this id."""


@dataclass(frozen=True)
class Metadata:
    """What the index says of a classifier beside its id and times."""

    name: str
    model: str
    classes: tuple[str, ...]
    shots: tuple[int, ...]


@dataclass(frozen=True)
class Record:
    """One classifier as the index has it."""

    id: str
    version: str
    about: Metadata
    bytes: int
    created: float
    """Seconds since 1970."""
    changed: float

    @property
    def file(self) -> str:
        """Name of its file."""
        return f"{self.id}-{self.version}{SUFFIX}"


class Store:
    """Classifiers of one person, or of one team.

    Args:
        database: URL of the index, as SQLAlchemy has them: SQLite or PostgreSQL.
        files: Folder or fsspec URL, such as ``s3://bucket/classifiers``, of the files.

    Raises:
        ConfigError: if a URL is none, or names what is not installed.
        StoreError: if the database or the folder cannot be used.
    """

    def __init__(self, database: str, files: str) -> None:
        with problems():
            try:
                self.engine = engine_of(database)
                self.fs, self.top = fsspec.core.url_to_fs(files)
            except (ImportError, ValueError, ArgumentError) as error:
                raise ConfigError(f"The store cannot be opened: {error}") from error
            self.fs.makedirs(self.top, exist_ok=True)
            METADATA.create_all(self.engine)

    @classmethod
    def in_folder(cls, folder: Path) -> Store:
        """The store in a folder, see `urls_in`."""
        return cls(*urls_in(folder))

    def check(self) -> None:
        """Check that the index can be read.

        Raises:
            StoreError: if it cannot.
        """
        with problems(), self.engine.connect() as connection:
            connection.execute(select(CLASSIFIERS.c.id).limit(1))

    def add(self, about: Metadata, write: Callable[[Path], None]) -> Record:
        """Keep a new classifier; it is kept when this returns.

        Args:
            about: What the index is to say.
            write: Writes its file, whole, to the path it is given.

        Raises:
            StoreFullError: if there is no room.
            StoreError: if the store cannot be used.
        """
        now = time.time()
        record = Record(uuid4().hex, uuid4().hex, about, 0, now, now)
        return self._written(
            record, write, lambda row: insert(CLASSIFIERS).values(id=record.id, created=now, **row)
        )

    def replace(self, old: Record, about: Metadata, write: Callable[[Path], None]) -> Record:
        """Keep a classifier in place of its earlier version.

        Args:
            old: As it was read.
            about: What the index is to say.
            write: Writes its file, whole, to the path it is given.

        Raises:
            ConflictError: if it is no longer as it was read; nothing is changed then.
            StoreFullError: if there is no room.
            StoreError: if the store cannot be used.
        """
        record = Record(old.id, uuid4().hex, about, 0, old.created, time.time())
        there = (CLASSIFIERS.c.id == old.id) & (CLASSIFIERS.c.version == old.version)
        new = self._written(
            record, write, lambda row: update(CLASSIFIERS).where(there).values(**row)
        )
        self._remove_file(old)
        return new

    def get(self, id: str) -> Record:
        """A classifier by its id.

        Raises:
            AbsentError: if there is none.
        """
        with problems(), self.engine.connect() as connection:
            row = connection.execute(select(CLASSIFIERS).where(CLASSIFIERS.c.id == id)).first()
        if row is None:
            raise AbsentError(f"There is no classifier '{id}'; it may have been removed.")
        return record_of(row)

    def page(self, limit: int, after: tuple[float, str] | None = None) -> Sequence[Record]:
        """Classifiers, the newest first.

        Args:
            limit: How many at most.
            after: Time of creation and id of the last that was seen.
        """
        order = (CLASSIFIERS.c.created, CLASSIFIERS.c.id)
        asked = select(CLASSIFIERS).order_by(*(c.desc() for c in order)).limit(limit)
        if after is not None:
            asked = asked.where(tuple_(*order) < after)
        with problems(), self.engine.connect() as connection:
            return [record_of(row) for row in connection.execute(asked)]

    def remove(self, id: str, version: str | None = None) -> None:
        """Remove a classifier.

        Args:
            id: Of it.
            version: Which it must be of; None for any.

        Raises:
            AbsentError: if there is none.
            ConflictError: if it is of another version.
        """
        record = self.get(id)
        there = CLASSIFIERS.c.id == id
        if version is not None:
            there &= CLASSIFIERS.c.version == version
        with problems(), self.engine.begin() as connection:
            if connection.execute(delete(CLASSIFIERS).where(there)).rowcount == 0:
                raise conflict(id)
        self._remove_file(record)

    @contextmanager
    def file(self, record: Record) -> Iterator[Path]:
        """The file of a classifier, as a local path for as long as the block lasts.

        Raises:
            ConflictError: if it was changed or removed since it was read.
        """
        with problems():
            if isinstance(self.fs, LocalFileSystem):
                path = Path(self.top) / record.file
                if not path.is_file():
                    raise conflict(record.id)
                yield path
                return
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / record.file
                try:
                    self.fs.get_file(f"{self.top}/{record.file}", str(path))
                except FileNotFoundError as error:
                    raise conflict(record.id) from error
                yield path

    def sweep(self) -> int:
        """Remove files that the index does not name, left by processes that ended half-way.

        Younger ones than `GRACE` stay: somebody may be about to name them.

        Returns:
            How many were removed.
        """
        with problems():
            with self.engine.connect() as connection:
                rows = connection.execute(select(CLASSIFIERS.c.id, CLASSIFIERS.c.version))
                named = {f"{row.id}-{row.version}{SUFFIX}" for row in rows}
            removed = 0
            for path in self.fs.ls(self.top, detail=False):
                name = path.rsplit("/", maxsplit=1)[-1]
                if name not in named and self._age(path) > GRACE:
                    with suppress(FileNotFoundError):
                        self.fs.rm_file(path)
                        removed += 1
            return removed

    def close(self) -> None:
        """Let go of the database."""
        self.engine.dispose()

    def _age(self, path: str) -> float:
        """Seconds since a file was written; none, where that is not known."""
        with suppress(NotImplementedError, FileNotFoundError):
            return time.time() - float(self.fs.modified(path).timestamp())
        return 0.0

    def _written(
        self, record: Record, write: Callable[[Path], None], naming: Callable[[dict[str, Any]], Any]
    ) -> Record:
        """The record, once its file is written and the index names it."""
        try:
            with problems():
                size = self._write_file(record, write)
                row = {
                    "version": record.version,
                    "name": record.about.name,
                    "model": record.about.model,
                    "classes": list(record.about.classes),
                    "shots": list(record.about.shots),
                    "bytes": size,
                    "changed": record.changed,
                }
                with self.engine.begin() as connection:
                    if connection.execute(naming(row)).rowcount == 0:
                        raise conflict(record.id)
        except (ConflictError, StoreFullError):
            # After other errors the index may name it all the same: a commit that was not answered.
            self._remove_file(record)
            raise
        return dataclasses.replace(record, bytes=size)

    def _write_file(self, record: Record, write: Callable[[Path], None]) -> int:
        if isinstance(self.fs, LocalFileSystem):
            path = Path(self.top) / record.file
            write(path)
            return path.stat().st_size
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / record.file
            write(path)
            self.fs.put_file(str(path), f"{self.top}/{record.file}")
            return path.stat().st_size

    def _remove_file(self, record: Record) -> None:
        # What cannot be removed now will be swept.
        with suppress(OSError):
            self.fs.rm_file(f"{self.top}/{record.file}")


def urls_in(folder: Path) -> tuple[str, str]:
    """Of a folder, made if absent: an SQLite database with the files beside it.

    Raises:
        StoreError: if it cannot be made.
    """
    with problems():
        (folder / "files").mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{folder / 'index.sqlite'}", str(folder / "files")


def engine_of(url: str) -> Engine:
    """A database; SQLite so that what is committed stays, and readers do not wait."""
    engine = create_engine(make_url(url), pool_pre_ping=True)
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def durable(connection: Any, _: Any) -> None:
            cursor = connection.cursor()
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000"):
                cursor.execute(f"pragma {pragma}")
            cursor.close()

    return engine


def record_of(row: Any) -> Record:
    """A row of the index."""
    about = Metadata(row.name, row.model, tuple(row.classes), tuple(row.shots))
    return Record(row.id, row.version, about, row.bytes, row.created, row.changed)


def conflict(id: str) -> ConflictError:
    """The error for a classifier that is not as it was read."""
    return ConflictError(
        f"The classifier '{id}' was changed or removed by somebody else since it was read; read it "
        "again."
    )


@contextmanager
def problems() -> Iterator[None]:
    """Turn what databases and file systems raise into our own errors.

    Raises:
        StoreFullError: if there is no room.
        StoreError: for all else.
    """
    try:
        yield
    except UserError as error:
        # A whole file that could not be written says so as a sentence of its own.
        if is_full(error.__cause__):
            raise full() from error
        raise
    except (OSError, SQLAlchemyError) as error:
        if is_full(error):
            raise full() from error
        reason = getattr(error, "orig", None) or error
        raise StoreError(f"The store cannot be used: {reason}") from error


def full() -> StoreFullError:
    """The error for a disk without room."""
    return StoreFullError(
        "The disk that classifiers are kept on is full. Nothing was changed; make room, then try "
        "again."
    )


def is_full(error: BaseException | None) -> bool:
    """Whether an error says that there is no room on a disk."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    words = str(error).lower()
    return isinstance(error, OperationalError) and (
        "disk is full" in words or "no space left" in words or "disk full" in words
    )
