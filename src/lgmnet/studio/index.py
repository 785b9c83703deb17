"""Index of a store: the tables of its database, their version, and their rows as records."""

import json
import math
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from lgmnet.studio.errors import DamagedError, StoreError

SCHEMA_VERSION = "1"
"""Version of the tables, which the index states about itself; every change of them raises it."""
FILE_SUFFIX = ".safetensors"
HEX_ID = "[0-9a-f]{32}"
CONNECT_SECONDS = 5
"""Seconds after which a PostgreSQL server that does not answer counts as unreachable."""

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
PROPERTIES = sa.Table(
    "lgmnet_store",
    SCHEMA,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("value", sa.String(200), nullable=False),
)
"""Properties of the index: ``schema``, the version of its tables; ``files``, its folder's id."""


def to_text_columns(columns: Iterable[sa.Column[Any]]) -> list[sa.ColumnElement[Any]]:
    """Return columns to select, where JSON is text: one bad entry must not spoil other rows."""
    return [
        sa.cast(column, sa.Text).label(column.name) if isinstance(column.type, sa.JSON) else column
        for column in columns
    ]


RECORD_COLUMNS = to_text_columns(CLASSIFIERS.c)
# Building a statement takes longer than executing it, so these are built once.
IS_ID = CLASSIFIERS.c.id == sa.bindparam("id")
SELECT_RECORD = sa.select(*RECORD_COLUMNS).where(IS_ID)
SELECT_VERSION = sa.select(CLASSIFIERS.c.version).where(IS_ID)


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
        return file_name(self.id, self.version)


@dataclass(frozen=True)
class DamagedEntry:
    """Entry of the index that cannot be read as a record."""

    id: str
    created: float
    """Place in the order of the list: seconds since 1970, or infinity if not even that is known."""
    reason: str


def is_hex_id(value: object) -> bool:
    """Return True if a value is an id or a version, whose characters are safe in file names."""
    return isinstance(value, str) and re.fullmatch(HEX_ID, value) is not None


def is_text(value: object) -> bool:
    """Return True if a value is a text."""
    return isinstance(value, str)


def is_count(value: object) -> bool:
    """Return True if a value is a whole number."""
    return isinstance(value, int)


def is_time(value: object) -> bool:
    """Return True if a value is a finite number."""
    return isinstance(value, int | float) and math.isfinite(value)


FIELD_RULES: dict[str, Callable[[Any], bool]] = {
    "id": is_hex_id,
    "version": is_hex_id,
    "name": is_text,
    "model": is_text,
    "classes": lambda values: all(map(is_text, values)),
    "shots": lambda values: all(map(is_count, values)),
    "bytes": is_count,
    "created": is_time,
    "changed": is_time,
}
"""Test of each field of a `Record`: SQLite stores anything in any column."""


def file_name(id: str, version: str) -> str:
    """Return the name of the file of a version of a classifier."""
    return f"{id}-{version}{FILE_SUFFIX}"


def create_database(url: str) -> sa.Engine:
    """Create the engine of a database. SQLite gets durable commits and readers that do not wait."""
    parsed = sa.make_url(url)
    options = {}
    if parsed.drivername == "postgresql+psycopg":
        options = {"connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": 1000 * CONNECT_SECONDS}
    arguments = {name: value for name, value in options.items() if name not in parsed.query}
    engine = sa.create_engine(parsed, pool_pre_ping=True, connect_args=arguments)
    if engine.dialect.name == "sqlite":

        @sa.event.listens_for(engine, "connect")
        def set_pragmas(connection: Any, _: Any) -> None:
            # Text that is no UTF-8 must not make the other rows of a query unreadable.
            connection.text_factory = lambda data: data.decode(errors="replace")
            cursor = connection.cursor()
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000"):
                cursor.execute(f"pragma {pragma}")
            cursor.close()

    return engine


def database_file(engine: sa.Engine) -> Path | None:
    """Return the file of an SQLite database, None if the database is in memory or no SQLite."""
    name = engine.url.database
    if engine.dialect.name != "sqlite" or not name or name.startswith((":", "file:")):
        return None
    return Path(name)


def create_tables(engine: sa.Engine) -> None:
    """Create the tables of a new index, and check those of an existing one.

    Raises:
        StoreError: if another version of lgmnet made the tables.
    """
    try:
        SCHEMA.create_all(engine)
    except SQLAlchemyError:
        SCHEMA.create_all(engine)  # Another server has just made the same tables.
    present = {column["name"] for column in sa.inspect(engine).get_columns(CLASSIFIERS.name)}
    missing = [column.name for column in CLASSIFIERS.c if column.name not in present]
    if missing:
        raise StoreError(
            f"The index cannot be used: its table '{CLASSIFIERS.name}' lacks the columns "
            f"{', '.join(missing)}. Restore the index from a backup, or choose another store."
        )
    set_property(engine, "schema", SCHEMA_VERSION)
    with engine.connect() as connection:
        check_schema(connection)


def check_schema(connection: sa.Connection) -> None:
    """Check that the index has the tables, the columns and the version that this lgmnet reads.

    Raises:
        SQLAlchemyError: if a table or a column is missing.
        StoreError: if the index has another version.
    """
    version = get_property(connection, "schema")
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"The index has schema version {version}, but this lgmnet reads version "
            f"{SCHEMA_VERSION}. Use the lgmnet that made the store, or choose another store."
        )
    connection.execute(sa.select(*RECORD_COLUMNS).limit(1))


def get_property(connection: sa.Connection, name: str) -> str | None:
    """Return a property of the index, None if it is absent."""
    query = sa.select(PROPERTIES.c.value).where(PROPERTIES.c.name == name)
    value = connection.execute(query).scalar()
    return None if value is None else str(value)


def set_property(engine: sa.Engine, name: str, value: str) -> None:
    """Write a property of the index, unless it has a value already."""
    with engine.connect() as connection:
        if get_property(connection, name) is not None:
            return
    with suppress(IntegrityError), engine.begin() as connection:  # Another server was faster.
        connection.execute(sa.insert(PROPERTIES).values(name=name, value=value))


def row_to_record(row: Any) -> Record:
    """Convert a row with the fields of a record; others are ignored.

    Raises:
        DamagedError: if the row does not describe a classifier.
    """
    values = {field.name: row._mapping[field.name] for field in fields(Record)}
    try:
        values |= {name: tuple(json.loads(values[name])) for name in ("classes", "shots")}
    except (ValueError, TypeError) as error:
        raise damaged_entry_error(row.id, f"classes or shots are no list: {error}") from error
    broken = [field for field, is_valid in FIELD_RULES.items() if not is_valid(values[field])]
    if broken or len(values["classes"]) != len(values["shots"]):
        raise damaged_entry_error(
            row.id, f"wrong values of: {', '.join(broken or ('classes', 'shots'))}"
        )
    return Record(**values)


def damaged_entry_error(id: object, reason: str) -> DamagedError:
    """Create the error for a row that cannot be read."""
    return DamagedError(
        f"The entry of the classifier '{id}' in the index is damaged. Remove the classifier, or "
        "restore the index from a backup.",
        reason,
    )
