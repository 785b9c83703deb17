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
from lgmnet.studio.index_file import IndexFile
from lgmnet.studio.versions import (
    StepKind,
    drop_all,
    drop_old,
    drop_removed,
    drop_undone,
    keep_version,
    take_version,
    version_files,
)

ORPHAN_AGE = 3600.0
"""Age in seconds from which a file that the index does not name counts as left over."""

LOGGER = logging.getLogger("lgmnet.studio")


class Store:
    """Store of the classifiers of one person or one team.

    Args:
        database: SQLAlchemy URL of the index: SQLite or PostgreSQL.
        files: Folder or fsspec URL of the files, such as ``s3://bucket/classifiers``.
        n_undo: Number of earlier versions of a classifier that are kept for `step`. If it is not
            0, removed classifiers are kept for a day for `restore`.

    Raises:
        ConfigError: if a URL is malformed or needs a package that is not installed.
        StoreError: if the database or the file storage cannot be used, or if another version of
            lgmnet made them.
    """

    def __init__(self, database: str, files: str, n_undo: int = 0) -> None:
        self.n_undo = n_undo
        with translated_errors():
            try:
                self.engine = create_database(database)
                self.folder = FileFolder(files)
            except (ImportError, ValueError, ArgumentError) as error:
                raise ConfigError(f"The store cannot be opened: {error}") from error
        path = database_file(self.engine)
        try:
            self.id = self._open_index()
            """Id that the index and its folder share, None if the index has none."""
        except StoreFullError:  # SQLite needs space even to open an index.
            IndexFile(path).free_reserve()
            self.id = self._open_index()
        self.index_file = IndexFile(path)
        self.index_file.fill_reserve()

    def check(self) -> None:
        """Check that index and files can be used, and are those with which the store was opened.

        Raises:
            StoreError: if they are not.
        """
        with translated_errors():
            self.index_file.check()
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

        What was undone before cannot be redone afterwards.

        Raises:
            ConflictError: if ``old`` is no longer the current version; nothing is changed then.
        """
        is_old = (CLASSIFIERS.c.id == old.id) & (CLASSIFIERS.c.version == old.version)
        update = sa.update(CLASSIFIERS).where(is_old)

        def keep_old(connection: sa.Connection) -> list[str]:
            keep_version(connection, old, "undo")
            return drop_undone(connection, old.id) + drop_old(connection, old.id, self.n_undo)

        return self._write(metadata, old.id, old.created, write, update, keep_old)

    def step(self, old: Record, kind: StepKind) -> Record:
        """Return from the version ``old`` to the one before, or redo what was undone last.

        Raises:
            ConfigError: if there is nothing to undo or to redo.
            ConflictError: if ``old`` is no longer the current version; nothing is changed then.
        """
        with translated_errors(), self.engine.begin() as connection:
            is_old = (CLASSIFIERS.c.id == old.id) & (CLASSIFIERS.c.version == old.version)
            other = take_version(connection, old.id, kind)
            if other is None:
                raise ConfigError(f"There is nothing to {kind}.")
            other = dataclasses.replace(other, changed=time.time())
            update = sa.update(CLASSIFIERS).where(is_old).values(**dataclasses.asdict(other))
            if connection.execute(update).rowcount == 0:
                raise conflict_error(old.id)
            keep_version(connection, old, "redo" if kind == "undo" else "undo")
        return other

    def restore(self, id: str) -> Record:
        """Restore a classifier that was removed less than a day ago.

        Raises:
            AbsentError: if there is no such classifier.
        """
        with translated_errors(), self.engine.begin() as connection:
            record = take_version(connection, id, "removed")
            if record is None:
                raise absent_error(id)
            connection.execute(sa.insert(CLASSIFIERS).values(**dataclasses.asdict(record)))
        return record

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

        It can be restored for a day, unless its entry is damaged or the disk is full.

        Raises:
            AbsentError: if there is no classifier with this id.
            ConflictError: if the current version is another one.
        """
        try:
            files = self._remove_entry(id, version, is_kept=self.n_undo > 0)
        except StoreFullError:  # Even removing needs space: SQLite writes a log of each change.
            self.index_file.free_reserve()
            files = self._remove_entry(id, version, is_kept=False)
        self.folder.remove_all(files)
        self.index_file.fill_reserve()

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
            with self.engine.begin() as connection:
                expired = drop_removed(connection)
                rows = connection.execute(sa.select(CLASSIFIERS.c.id, CLASSIFIERS.c.version))
                named = {file_name(row.id, row.version) for row in rows}
                named |= version_files(connection)
            self.folder.remove_all(expired)
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

    def _write_file(self, name: str, write: Callable[[Path], None]) -> int:
        """Write a file and return its size in bytes.

        Raises:
            StoreError: if the folder is gone or cannot be written to.
        """
        try:
            return self.folder.write(name, write)
        except UserError as error:  # The system's error is the cause of that of `atomic_write`.
            raise StoreError(str(error)) from error.__cause__

    def _remove_entry(self, id: str, version: str | None, *, is_kept: bool) -> list[str]:
        """Remove a classifier from the index, and return the names of files to remove."""
        record = None
        if is_kept:
            with suppress(DamagedError):
                record = self.get(id)
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
            files = drop_removed(connection)
            if record is not None and record.version == present:
                removed = dataclasses.replace(record, changed=time.time())
                keep_version(connection, removed, "removed")
                return files
            files += drop_all(connection, id)
        return files + ([file_name(id, str(present))] if is_hex_id(present) else [])

    def _write(
        self,
        metadata: Metadata,
        id: str,
        created: float,
        write: Callable[[Path], None],
        statement: sa.Insert | sa.Update,
        keep_old: Callable[[sa.Connection], list[str]] = lambda connection: [],
    ) -> Record:
        """Write the file of a new version, then the row of the index.

        ``keep_old`` keeps the old version in the same transaction, and returns the names of files
        that are no longer needed. On a full disk, earlier versions make room.
        """
        record = Record(
            **dataclasses.asdict(metadata),
            id=id,
            version=uuid4().hex,
            bytes=0,
            created=created,
            changed=time.time(),
        )
        try:
            return self._write_record(record, write, statement, keep_old)
        except StoreFullError:
            if not self._free_versions():
                raise
            return self._write_record(record, write, statement, keep_old)

    def _write_record(
        self,
        record: Record,
        write: Callable[[Path], None],
        statement: sa.Insert | sa.Update,
        keep_old: Callable[[sa.Connection], list[str]],
    ) -> Record:
        try:
            with translated_errors():
                self.index_file.check()
                record = dataclasses.replace(record, bytes=self._write_file(record.file, write))
                with self.engine.begin() as connection:
                    row = dataclasses.asdict(record)
                    if connection.execute(statement.values(**row)).rowcount == 0:
                        raise conflict_error(record.id)
                    unneeded = keep_old(connection)
                self.folder.remove_all(unneeded)
                return record
        except (ConflictError, StoreFullError):
            # After other errors the index may still name the file: the commit may have succeeded
            # although no answer came back.
            self.folder.remove(record.file)
            raise

    def _free_versions(self) -> bool:
        """Remove all earlier versions because the disk is full; return False if there are none."""
        try:
            with translated_errors(), self.engine.begin() as connection:
                files = drop_all(connection)
        except StoreFullError:
            return False
        self.folder.remove_all(files)
        return bool(files)


def store_urls(folder: Path) -> tuple[str, str]:
    """Create a folder for a store and return its two URLs: an SQLite database and its files.

    Raises:
        StoreError: if the folder cannot be created.
    """
    with translated_errors():
        (folder / "files").mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{folder / 'index.sqlite'}", str(folder / "files")
