"""Earlier versions of classifiers, in a table beside that of the current ones, for undoing.

The functions take a connection, so that their changes and those of the current version are made in
one transaction. Those that drop versions return the names of files to remove after it.
"""

import dataclasses
import time
from typing import Literal

import sqlalchemy as sa

from lgmnet.studio.index import (
    CLASSIFIERS,
    SCHEMA,
    Record,
    file_name,
    row_to_record,
    to_text_columns,
)

Kind = Literal["undo", "redo", "removed"]
"""Kind of an earlier version: older than the current one, undone, or of a removed classifier."""
StepKind = Literal["undo", "redo"]
"""Direction of a step to another version."""
MAX_UNDO_BYTES = 100_000_000
"""Limit for the files of the earlier versions of one classifier, all together."""
REMOVED_SECONDS = 86_400.0
"""Seconds for which a removed classifier can be restored."""

VERSIONS = sa.Table(
    "lgmnet_versions",
    SCHEMA,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("kind", sa.String(8), nullable=False),
    *(sa.Column(c.name, c.type, nullable=False, index=c.name == "id") for c in CLASSIFIERS.c),
)
"""Earlier versions, each with the fields of a `Record`; a larger number came later."""
VERSION_COLUMNS = to_text_columns(VERSIONS.c[column.name] for column in CLASSIFIERS.c)


def keep_version(connection: sa.Connection, record: Record, kind: Kind) -> None:
    """Keep a version as an earlier one."""
    connection.execute(sa.insert(VERSIONS).values(kind=kind, **dataclasses.asdict(record)))


def take_version(connection: sa.Connection, id: str, kind: Kind) -> Record | None:
    """Take out the latest version of a kind of a classifier, None if there is none."""
    query = sa.select(VERSIONS.c.number, *VERSION_COLUMNS).order_by(VERSIONS.c.number.desc())
    row = connection.execute(query.where(is_of(id, kind)).limit(1)).first()
    if row is None:
        return None
    connection.execute(sa.delete(VERSIONS).where(VERSIONS.c.number == row.number))
    return row_to_record(row)


def drop_undone(connection: sa.Connection, id: str) -> list[str]:
    """Drop the versions of a classifier that were undone; return the names of their files."""
    return _drop(connection, is_of(id, "redo"))


def drop_old(connection: sa.Connection, id: str, n_versions: int) -> list[str]:
    """Drop all but the latest versions that fit into the limits; return their files' names."""
    query = sa.select(VERSIONS.c.number, VERSIONS.c.bytes).where(is_of(id, "undo"))
    rows = connection.execute(query.order_by(VERSIONS.c.number.desc())).all()
    n_kept, n_bytes = 0, 0
    for row in rows[:n_versions]:
        n_bytes += row.bytes
        if n_bytes > MAX_UNDO_BYTES:
            break
        n_kept += 1
    if n_kept == len(rows):
        return []
    return _drop(connection, is_of(id, "undo") & (VERSIONS.c.number <= rows[n_kept].number))


def drop_removed(connection: sa.Connection) -> list[str]:
    """Drop classifiers that were removed long ago; return their files' names."""
    before = time.time() - REMOVED_SECONDS
    is_expired = (VERSIONS.c.kind == "removed") & (VERSIONS.c.changed < before)
    ids = connection.execute(sa.select(VERSIONS.c.id).where(is_expired)).scalars().all()
    return [file for id in ids for file in drop_all(connection, id)]


def drop_all(connection: sa.Connection, id: str | None = None) -> list[str]:
    """Drop all versions of a classifier, or of all of them; return their files' names."""
    return _drop(connection, sa.true() if id is None else VERSIONS.c.id == id)


def version_files(connection: sa.Connection) -> set[str]:
    """Return the names of the files of all earlier versions."""
    rows = connection.execute(sa.select(VERSIONS.c.id, VERSIONS.c.version))
    return {file_name(row.id, row.version) for row in rows}


def is_of(id: str, kind: Kind) -> sa.ColumnElement[bool]:
    """Return the condition for the versions of a kind of a classifier."""
    return (VERSIONS.c.id == id) & (VERSIONS.c.kind == kind)


def _drop(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> list[str]:
    """Drop the versions that meet a condition; return their files' names."""
    rows = connection.execute(sa.select(VERSIONS.c.id, VERSIONS.c.version).where(condition)).all()
    if rows:
        connection.execute(sa.delete(VERSIONS).where(condition))
    return [file_name(row.id, row.version) for row in rows]
