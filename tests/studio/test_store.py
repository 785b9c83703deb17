"""The store keeps complete classifiers, in SQLite and PostgreSQL, in folders and buckets."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lgmnet.errors import ConfigError, UserError
from lgmnet.io import atomic_write
from lgmnet.studio.errors import (
    AbsentError,
    ConflictError,
    StoreError,
    StoreFullError,
)
from lgmnet.studio.index import Metadata
from lgmnet.studio.store import Store, store_urls
from tests.studio.conftest import SKY, writer

LARGER_SKY = Metadata("sky", "tiny", ("moon", "star", "sun"), (1, 2, 3))


@pytest.fixture(params=["sqlite, folder", "sqlite, bucket", "postgres, bucket"])
def any_store(request, tmp_path) -> Iterator[Store]:
    """Empty store of each kind."""
    if request.param == "sqlite, folder":
        store = Store(*store_urls(tmp_path / "store"))
    elif request.param == "sqlite, bucket":
        store = Store(f"sqlite:///{tmp_path / 'index.sqlite'}", f"memory://{tmp_path.name}")
    else:
        store = Store(request.getfixturevalue("postgres"), f"memory://{tmp_path.name}")
    yield store
    for record in store.page(100):
        store.remove(record.id)
    store.close()


def test_add_read_replace_and_remove(any_store):
    record = any_store.add(SKY, writer(b"first"))
    assert any_store.get(record.id) == record
    assert record.bytes == 5
    with any_store.file(record) as path:
        assert path.read_bytes() == b"first"
    new = any_store.replace(record, LARGER_SKY, writer(b"second"))
    assert (new.id, new.created) == (record.id, record.created)
    assert new.version != record.version
    assert any_store.get(record.id) == new
    with any_store.file(new) as path:
        assert path.read_bytes() == b"second"
    with pytest.raises(ConflictError, match="Read it again"), any_store.file(record):
        pass
    any_store.remove(record.id)
    with pytest.raises(AbsentError, match="may have been removed"):
        any_store.get(record.id)
    assert any_store.folder.own_files() == [], "the classifier's files are removed"


def test_only_one_of_several_editors_succeeds(any_store):
    record = any_store.add(SKY, writer(b"0"))
    outcomes: list[object] = []
    barrier = threading.Barrier(4)

    def edit(number: int) -> None:
        barrier.wait()
        try:
            outcomes.append(any_store.replace(record, LARGER_SKY, writer(b"%d" % number)))
        except ConflictError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=edit, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [outcome for outcome in outcomes if not isinstance(outcome, ConflictError)]
    assert len(outcomes) == 4
    assert len(winners) == 1
    assert any_store.get(record.id) == winners[0]
    assert len(any_store.folder.own_files()) == 1
    with pytest.raises(ConflictError):
        any_store.remove(record.id, record.version)
    any_store.get(record.id)


def test_pages_hold_each_record_once_newest_first(any_store):
    ids = [any_store.add(SKY, writer(b"x")).id for _ in range(7)]
    listed, after = [], None
    while page := any_store.page(3, after):
        assert len(page) <= 3
        listed += [record.id for record in page]
        after = (page[-1].created, page[-1].id)
    assert listed == ids[::-1]


def test_two_servers_share_a_store(postgres, tmp_path):
    first, second = (Store(postgres, f"memory://{tmp_path.name}") for _ in range(2))
    record = first.add(SKY, writer(b"shared"))
    with second.file(second.get(record.id)) as path:
        assert path.read_bytes() == b"shared"
    second.replace(second.get(record.id), LARGER_SKY, writer(b"edited"))
    with pytest.raises(ConflictError):
        first.replace(record, SKY, writer(b"lost"))
    assert vars(LARGER_SKY).items() <= vars(first.get(record.id)).items()
    first.remove(record.id)
    first.close()
    second.close()


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_when_killed_at_random_moments(tmp_path):
    """``LGMNET_KILLS=200`` kills as often as the documents say."""
    n_kills = os.environ.get("LGMNET_KILLS", "50")
    command = [sys.executable, "-m", "tests.studio.kill_writers", str(tmp_path / "store"), n_kills]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        command, cwd=root, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith(f"{n_kills} killed, ")
    assert int(done.stdout.split()[2]) > int(n_kills)


def test_a_full_disk_leaves_the_store_unchanged(store):
    """The disk is full in the middle of writing a file."""
    record = store.add(SKY, writer(b"first"))

    def write_half(path: Path) -> None:
        with atomic_write(path) as draft:
            draft.write_bytes(b"hal")
            raise OSError(errno.ENOSPC, "No space left on device")

    for change in (
        lambda: store.add(SKY, write_half),
        lambda: store.replace(record, LARGER_SKY, write_half),
    ):
        with pytest.raises(StoreFullError, match=r"is full\. Nothing was changed"):
            change()
    assert store.page(10) == [record]
    with store.file(record) as path:
        assert path.read_bytes() == b"first"
    assert len(store.folder.own_files()) == 1


def test_a_full_database_leaves_the_store_unchanged(store):
    """SQLite reports that the index cannot grow."""
    record = store.add(SKY, writer(b"first"))
    with store.engine.connect() as connection:
        pages = connection.exec_driver_sql("pragma page_count").scalar()
        connection.exec_driver_sql(f"pragma max_page_count = {pages}")
    large = Metadata("x" * 200, "tiny", tuple("c" * 200 for _ in range(500)), (1,) * 500)
    with pytest.raises(StoreFullError):
        store.add(large, writer(b"second"))
    assert store.page(10) == [record]
    assert len(store.folder.own_files()) == 1


def test_a_store_that_cannot_be_opened(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot be used"):
        Store(*store_urls(tmp_path / "file"))
    with pytest.raises(ConfigError, match="cannot be opened"):
        Store("nonsense", str(tmp_path / "files"))
    with pytest.raises(ConfigError, match="cannot be opened"):
        Store("sqlite://", "nosuch://bucket")
    (tmp_path / "index.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreError, match="cannot be used: file is not a database"):
        Store(*store_urls(tmp_path))
    with pytest.raises(StoreError, match="cannot be used"):
        Store("postgresql+psycopg://nobody@127.0.0.1:1/none?connect_timeout=2", "memory://none")
