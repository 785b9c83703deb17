"""Store of classifiers: an index in a database, and their files in a folder or a bucket.

A file is written before the index names it and is never changed afterwards: a new version is a new
file. So every file that the index names is complete, however a process ends, and several servers
can share one store.

An index and a folder that are both new get one id, which both keep. An index cleans up only in the
folder that has its id, and only by moving files to the folder ``trash`` inside.
"""

import dataclasses
import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from lgmnet.errors import ConfigError, UserError
from lgmnet.studio.errors import (
    ConflictError,
    DamagedError,
    StoreError,
    StoreFullError,
    absent_error,
    conflict_error,
    translated_errors,
)
from lgmnet.studio.folder import ID_FILE, FileFolder
from lgmnet.studio.index import (
    CLASSIFIERS,
    RECORD_COLUMNS,
    SELECT_RECORD,
    SELECT_VERSION,
    DamagedEntry,
    Metadata,
    Record,
    check_schema,
    create_database,
    create_tables,
    database_file,
    file_name,
    get_property,
    is_hex_id,
    is_time,
    row_to_record,
    set_property,
)

ORPHAN_AGE = 3600.0
"""Age in seconds from which a file that the index does not name counts as left over."""
RESERVE_BYTES = 262_144
"""Space on the index's disk that is kept for removing classifiers when the disk is full."""
RESERVE_SUFFIX = ".reserve"

LOGGER = logging.getLogger("lgmnet.studio")


class Store:
    """Store of the classifiers of one person or one team.

    Args:
        database: SQLAlchemy URL of the index: SQLite or PostgreSQL.
        files: Folder or fsspec URL of the files, such as ``s3://bucket/classifiers``.

    Raises:
        ConfigError: if a URL is malformed or needs a package that is not installed.
        StoreError: if the database or the file storage cannot be used, or if another version of
            lgmnet made them.
    """

    def __init__(self, database: str, files: str) -> None:
        with translated_errors():
            try:
                self.engine = create_database(database)
                self.folder = FileFolder(files)
            except (ImportError, ValueError, ArgumentError) as error:
                raise ConfigError(f"The store cannot be opened: {error}") from error
        self.index_file = database_file(self.engine)
        try:
            self.id = self._open_index()
            """Id that the index and its folder share, None if the index has none."""
        except StoreFullError:  # SQLite needs space even to open an index.
            self._free_reserve()
            self.id = self._open_index()
        self._index_identity = self._identify_index()
        self._fill_reserve()

    def check(self) -> None:
        """Check that index and files can be used, and are those with which the store was opened.

        Raises:
            StoreError: if they are not.
        """
        with translated_errors():
            self._check_index_present()
            with self.engine.connect() as connection:
                check_schema(connection)
            if not self.folder.exists():
                raise StoreError(f"The folder '{self.folder.top}' does not exist.")
            if self.id is not None and (present := self.folder.read_id()) != self.id:
                raise StoreError(
                    f"Expected the id {self.id} in '{self.folder.path(ID_FILE)}', but found "
                    f"{present}: the folder is not mounted, or belongs to another index. Give the "
                    "files that belong to the index. If these are the files, write the id there."
                )

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
        self.folder.remove(old.file)
        return new

    def get(self, id: str) -> Record:
        """Return the record of a classifier.

        Raises:
            AbsentError: if there is no classifier with this id.
            DamagedError: if its entry in the index is damaged.
        """
        with translated_errors(), self.engine.connect() as connection:
            row = connection.execute(SELECT_RECORD, {"id": id}).first()
        if row is None:
            raise absent_error(id)
        return row_to_record(row)

    def version(self, id: str) -> str:
        """Return the current version of a classifier, which takes a third of the time of `get`.

        Raises:
            AbsentError: if there is no classifier with this id.
        """
        with translated_errors(), self.engine.connect() as connection:
            version = connection.execute(SELECT_VERSION, {"id": id}).scalar()
        if version is None:
            raise absent_error(id)
        return str(version)

    def page(
        self, limit: int, after: tuple[float, str] | None = None
    ) -> Sequence[Record | DamagedEntry]:
        """Return up to ``limit`` entries, newest first, after the one of this time and id."""
        order = (CLASSIFIERS.c.created, CLASSIFIERS.c.id)
        query = sa.select(*RECORD_COLUMNS).order_by(*(c.desc() for c in order)).limit(limit)
        if after is not None:
            query = query.where(sa.tuple_(*order) < after)
        with translated_errors(), self.engine.connect() as connection:
            rows = connection.execute(query).all()
        entries: list[Record | DamagedEntry] = []
        for row in rows:
            try:
                entries.append(row_to_record(row))
            except DamagedError as error:
                created = float(row.created) if is_time(row.created) else math.inf
                entries.append(DamagedEntry(str(row.id), created, error.reason))
        return entries

    def remove(self, id: str, version: str | None = None) -> None:
        """Remove a classifier, with a version only if that is the current one.

        Raises:
            AbsentError: if there is no classifier with this id.
            ConflictError: if the current version is another one.
        """
        try:
            removed = self._remove_entry(id, version)
        except StoreFullError:  # Even removing needs space: SQLite writes a log of each change.
            self._free_reserve()
            removed = self._remove_entry(id, version)
        if is_hex_id(removed):
            self.folder.remove(file_name(id, removed))
        self._fill_reserve()

    @contextmanager
    def file(self, record: Record) -> Iterator[Path]:
        """Give the file of a classifier as a local path, valid inside the ``with`` block.

        Raises:
            ConflictError: if the classifier was changed or removed since it was read.
        """
        with translated_errors():
            try:
                with self.folder.open(record.file) as path:
                    yield path
            except FileNotFoundError as error:
                raise conflict_error(record.id) from error

    def sweep(self) -> int:
        """Move files that the index does not name to the trash, and return their number.

        Interrupted processes leave such files. Those younger than `ORPHAN_AGE` stay: another
        process may be about to add them to the index. Nothing is moved unless index and folder have
        the same id, because otherwise the files may belong to another index.
        """
        with translated_errors():
            if self.id is None or self.folder.read_id() != self.id:
                LOGGER.warning(
                    "Left-over files in '%s' stay there: the index and the folder do not have the "
                    "same id, so the files may belong to another index.",
                    self.folder.top,
                )
                return 0
            with self.engine.connect() as connection:
                rows = connection.execute(sa.select(CLASSIFIERS.c.id, CLASSIFIERS.c.version))
                named = {file_name(row.id, row.version) for row in rows}
            return self.folder.move_to_trash(named, ORPHAN_AGE)

    def close(self) -> None:
        """Close the connections to the database."""
        self.engine.dispose()

    def _open_index(self) -> str | None:
        """Create or check the tables, and return the id of the index as `_pair` does."""
        with translated_errors():
            create_tables(self.engine)
            return self._pair()

    def _pair(self) -> str | None:
        """Give one id to index and folder if both are new, and return the index's id."""
        # The order of reading matters when several servers open a new store at the same time: the
        # folder has its id before its first file, and its first file before the index's first row.
        with self.engine.connect() as connection:
            id = get_property(connection, "files")
            is_new = connection.execute(sa.select(CLASSIFIERS.c.id).limit(1)).first() is None
        is_new = is_new and not self.folder.own_files() and self.folder.read_id() is None
        if is_new:
            set_property(self.engine, "files", uuid4().hex)
        if id is None:  # Another server may have set it between the reading above and now.
            with self.engine.connect() as connection:
                id = get_property(connection, "files")
        if is_new:
            assert id is not None
            self.folder.write_id(id)
        return id

    def _identify_index(self) -> tuple[int, int] | None:
        """Return device and number of the index's file, None if it is gone or is no file."""
        with suppress(OSError):
            if self.index_file is not None:
                status = self.index_file.stat()
                return status.st_dev, status.st_ino
        return None

    def _check_index_present(self) -> None:
        """Check that the index's file is there: SQLite goes on writing to a file that was removed.

        Raises:
            StoreError: if it was removed or replaced.
        """
        if self._identify_index() != self._index_identity:
            raise StoreError(
                f"The index '{self.index_file}' was removed or replaced; restart the server."
            )

    def _write_file(self, name: str, write: Callable[[Path], None]) -> int:
        """Write a file and return its size in bytes.

        Raises:
            StoreError: if the folder is gone or cannot be written to.
        """
        try:
            return self.folder.write(name, write)
        except UserError as error:  # The system's error is the cause of that of `atomic_write`.
            raise StoreError(str(error)) from error.__cause__

    def _remove_entry(self, id: str, version: str | None) -> str:
        """Remove a classifier from the index, and return the version that it had."""
        with translated_errors(), self.engine.begin() as connection:
            present = connection.execute(SELECT_VERSION, {"id": id}).scalar()
            if present is None:
                raise absent_error(id)
            is_present = (CLASSIFIERS.c.id == id) & (CLASSIFIERS.c.version == present)
            is_other = version not in (None, present)
            if (
                is_other
                or connection.execute(sa.delete(CLASSIFIERS).where(is_present)).rowcount == 0
            ):
                raise conflict_error(id)
        return str(present)

    def _fill_reserve(self) -> None:
        """Write the file that keeps space, if it is absent and there is space for it."""
        if self.index_file is None:
            return
        path = self.index_file.with_suffix(RESERVE_SUFFIX)
        if path.exists():
            return
        try:
            path.write_bytes(os.urandom(RESERVE_BYTES))  # File systems compress zeros away.
        except OSError:
            self._free_reserve()

    def _free_reserve(self) -> None:
        if self.index_file is not None:
            with suppress(OSError):
                self.index_file.with_suffix(RESERVE_SUFFIX).unlink()

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
                self._check_index_present()
                record = dataclasses.replace(record, bytes=self._write_file(record.file, write))
                with self.engine.begin() as connection:
                    row = dataclasses.asdict(record)
                    if connection.execute(statement.values(**row)).rowcount == 0:
                        raise conflict_error(id)
                return record
        except (ConflictError, StoreFullError):
            # After other errors the index may still name the file: the commit may have succeeded
            # although no answer came back.
            self.folder.remove(record.file)
            raise


def store_urls(folder: Path) -> tuple[str, str]:
    """Create a folder for a store and return its two URLs: an SQLite database and its files.

    Raises:
        StoreError: if the folder cannot be created.
    """
    with translated_errors():
        (folder / "files").mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{folder / 'index.sqlite'}", str(folder / "files")
