"""Store of classifiers: an index in a database, and their files in a folder or a bucket.

A file is written before the index names it and is never changed afterwards: a new version is a new
file. So every file that the index names is complete, however a process ends, and several servers
can share one store.
"""

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
import sqlalchemy as sa
from fsspec.implementations.local import LocalFileSystem
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError

from lgmnet.errors import ConfigError, UserError

ORPHAN_AGE = 3600.0
"""Age in seconds from which a file that the index does not name counts as left over."""
FILE_SUFFIX = ".safetensors"

SCHEMA = sa.MetaData()
CLASSIFIERS = sa.Table(
    "classifiers",
    SCHEMA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("version", sa.String(32), nullable=False),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("classes", sa.JSON, nullable=False),
    sa.Column("shots", sa.JSON, nullable=False),
    sa.Column("bytes", sa.Integer, nullable=False),
    sa.Column("created", sa.Float, nullable=False, index=True),
    sa.Column("changed", sa.Float, nullable=False),
)


class StoreFullError(UserError):
    """The disk is full; everything stored before is unchanged."""


class StoreError(UserError):
    """The database or the file storage cannot be used."""


class ConflictError(UserError):
    """The classifier was changed or removed since it was read."""


class AbsentError(UserError):
    """There is no such classifier or image."""


@dataclass(frozen=True)
class Metadata:
    """Description of a classifier in the index, apart from its id and times."""

    name: str
    model: str
    classes: tuple[str, ...]
    shots: tuple[int, ...]


@dataclass(frozen=True)
class Record(Metadata):
    """Entry of the index for one classifier."""

    id: str
    version: str
    bytes: int
    created: float
    """Seconds since 1970."""
    changed: float

    @property
    def file(self) -> str:
        """Name of the classifier's file."""
        return f"{self.id}-{self.version}{FILE_SUFFIX}"


class Store:
    """Store of the classifiers of one person or one team.

    Args:
        database: SQLAlchemy URL of the index: SQLite or PostgreSQL.
        files: Folder or fsspec URL of the files, such as ``s3://bucket/classifiers``.

    Raises:
        ConfigError: if a URL is malformed or needs a package that is not installed.
        StoreError: if the database or the file storage cannot be used.
    """

    def __init__(self, database: str, files: str) -> None:
        with translated_errors():
            try:
                self.engine = create_database(database)
                self.fs, self.top = fsspec.core.url_to_fs(files)
            except (ImportError, ValueError, ArgumentError) as error:
                raise ConfigError(f"The store cannot be opened: {error}") from error
            self.fs.makedirs(self.top, exist_ok=True)
            SCHEMA.create_all(self.engine)

    def check(self) -> None:
        """Check that the index can be read.

        Raises:
            StoreError: if it cannot be read.
        """
        with translated_errors(), self.engine.connect() as connection:
            connection.execute(sa.select(CLASSIFIERS.c.id).limit(1))

    def add(self, metadata: Metadata, write: Callable[[Path], None]) -> Record:
        """Add a classifier, whose complete file ``write`` writes to a path.

        It is stored durably when this method returns.

        Raises:
            StoreFullError: if the disk is full.
            StoreError: if the store cannot be used.
        """
        return self._write(metadata, uuid4().hex, time.time(), write, sa.insert(CLASSIFIERS))

    def replace(self, old: Record, metadata: Metadata, write: Callable[[Path], None]) -> Record:
        """Replace the version ``old`` of a classifier by a new one; for the rest see `add`.

        Raises:
            ConflictError: if ``old`` is no longer the current version; nothing is changed then.
        """
        is_old = (CLASSIFIERS.c.id == old.id) & (CLASSIFIERS.c.version == old.version)
        update = sa.update(CLASSIFIERS).where(is_old)
        new = self._write(metadata, old.id, old.created, write, update)
        self._remove_file(old)
        return new

    def get(self, id: str) -> Record:
        """Return the record of a classifier.

        Raises:
            AbsentError: if there is no classifier with this id.
        """
        with translated_errors(), self.engine.connect() as connection:
            row = connection.execute(sa.select(CLASSIFIERS).where(CLASSIFIERS.c.id == id)).first()
        if row is None:
            raise AbsentError(f"There is no classifier '{id}'; it may have been removed.")
        return row_to_record(row)

    def page(self, limit: int, after: tuple[float, str] | None = None) -> Sequence[Record]:
        """Return up to ``limit`` records, newest first, after the one of this time and id."""
        order = (CLASSIFIERS.c.created, CLASSIFIERS.c.id)
        query = sa.select(CLASSIFIERS).order_by(*(c.desc() for c in order)).limit(limit)
        if after is not None:
            query = query.where(sa.tuple_(*order) < after)
        with translated_errors(), self.engine.connect() as connection:
            return [row_to_record(row) for row in connection.execute(query)]

    def remove(self, id: str, version: str | None = None) -> None:
        """Remove a classifier, with a version only if that is the current one.

        Raises:
            AbsentError: if there is no classifier with this id.
            ConflictError: if the current version is another one.
        """
        record = self.get(id)
        matches = CLASSIFIERS.c.id == id
        if version is not None:
            matches &= CLASSIFIERS.c.version == version
        with translated_errors(), self.engine.begin() as connection:
            if connection.execute(sa.delete(CLASSIFIERS).where(matches)).rowcount == 0:
                raise conflict_error(id)
        self._remove_file(record)

    @contextmanager
    def file(self, record: Record) -> Iterator[Path]:
        """Give the file of a classifier as a local path, valid inside the ``with`` block.

        Raises:
            ConflictError: if the classifier was changed or removed since it was read.
        """
        with translated_errors():
            if isinstance(self.fs, LocalFileSystem):
                path = Path(self.top) / record.file
                if not path.is_file():
                    raise conflict_error(record.id)
                yield path
                return
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / record.file
                try:
                    self.fs.get_file(f"{self.top}/{record.file}", str(path))
                except FileNotFoundError as error:
                    raise conflict_error(record.id) from error
                yield path

    def sweep(self) -> int:
        """Remove files that the index does not name, left by processes that were interrupted.

        Files younger than `ORPHAN_AGE` stay: another process may be about to add them to the index.
        The number of files removed is returned.
        """
        with translated_errors():
            with self.engine.connect() as connection:
                rows = connection.execute(sa.select(CLASSIFIERS.c.id, CLASSIFIERS.c.version))
                named = {f"{row.id}-{row.version}{FILE_SUFFIX}" for row in rows}
            removed = 0
            for path in self.fs.ls(self.top, detail=False):
                name = path.rsplit("/", maxsplit=1)[-1]
                if name not in named and self._age(path) > ORPHAN_AGE:
                    with suppress(FileNotFoundError):
                        self.fs.rm_file(path)
                        removed += 1
            return removed

    def close(self) -> None:
        """Close the connections to the database."""
        self.engine.dispose()

    def _age(self, path: str) -> float:
        """Return the age of a file in seconds, 0 if it is not known."""
        with suppress(NotImplementedError, FileNotFoundError):
            return time.time() - float(self.fs.modified(path).timestamp())
        return 0.0

    def _write(
        self,
        metadata: Metadata,
        id: str,
        created: float,
        write: Callable[[Path], None],
        statement: sa.Insert | sa.Update,
    ) -> Record:
        """Write the file of a new version, then the row of the index."""
        record = Record(
            **dataclasses.asdict(metadata),
            id=id,
            version=uuid4().hex,
            bytes=0,
            created=created,
            changed=time.time(),
        )
        try:
            with translated_errors():
                record = dataclasses.replace(record, bytes=self._write_file(record, write))
                with self.engine.begin() as connection:
                    row = dataclasses.asdict(record)
                    if connection.execute(statement.values(**row)).rowcount == 0:
                        raise conflict_error(id)
                return record
        except (ConflictError, StoreFullError):
            # After other errors the index may still name the file: the commit may have succeeded
            # although no answer came back.
            self._remove_file(record)
            raise

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
        # `sweep` removes later what cannot be removed now.
        with suppress(OSError):
            self.fs.rm_file(f"{self.top}/{record.file}")


def store_urls(folder: Path) -> tuple[str, str]:
    """Create a folder for a store and return its two URLs: an SQLite database and its files.

    Raises:
        StoreError: if the folder cannot be created.
    """
    with translated_errors():
        (folder / "files").mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{folder / 'index.sqlite'}", str(folder / "files")


def create_database(url: str) -> sa.Engine:
    """Create the engine of a database. SQLite gets durable commits and readers that do not wait."""
    engine = sa.create_engine(url, pool_pre_ping=True)
    if engine.dialect.name == "sqlite":

        @sa.event.listens_for(engine, "connect")
        def set_pragmas(connection: Any, _: Any) -> None:
            cursor = connection.cursor()
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000"):
                cursor.execute(f"pragma {pragma}")
            cursor.close()

    return engine


def row_to_record(row: Any) -> Record:
    """Convert a row of the index to a record."""
    return Record(**{**row._mapping, "classes": tuple(row.classes), "shots": tuple(row.shots)})


def conflict_error(id: str) -> ConflictError:
    """Create the error for a classifier that was changed or removed since it was read."""
    return ConflictError(
        f"The classifier '{id}' was changed or removed by somebody else since it was read. Read it "
        "again."
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
