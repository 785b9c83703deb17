"""Classifiers are kept whole or not at all, in SQLite and PostgreSQL, in folders and buckets."""

from __future__ import annotations

import errno
import os
import pwd
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lgmnet.errors import ConfigError, UserError
from lgmnet.io import atomic_write
from lgmnet.studio.store import (
    GRACE,
    AbsentError,
    ConflictError,
    Metadata,
    Store,
    StoreError,
    StoreFullError,
)

ABOUT = Metadata("sky", "tiny", ("moon", "star"), (1, 2))
OTHER = Metadata("sky", "tiny", ("moon", "star", "sun"), (1, 2, 3))


def writes(data: bytes):
    def write(path: Path) -> None:
        with atomic_write(path) as draft:
            draft.write_bytes(data)

    return write


@pytest.fixture(scope="session")
def postgres(tmp_path_factory) -> Iterator[str]:
    """A PostgreSQL of our own, from whatever binaries the machine has."""
    found = [shutil.which("initdb"), *map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb"))]
    tools = [Path(path).resolve().parent for path in found if path]
    tools = [folder for folder in tools if (folder / "pg_ctl").exists()]
    if not tools:
        pytest.skip("no PostgreSQL to start (Debian: apt-get install postgresql)")
    user = None
    if os.getuid() == 0:  # PostgreSQL refuses to be root.
        try:
            user = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("PostgreSQL refuses to run as root, and there is no user 'postgres'")
    folder = Path("/tmp") / f"lgmnet-postgres-{os.getpid()}"  # A socket's path must be short.
    folder.mkdir(mode=0o700)
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def tool(name: str, *words: str) -> None:
        line = [str(tools[0] / name), "-D", str(folder / "data"), *words]
        who: dict[str, Any] = {}
        if user is not None:
            who = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        ran = subprocess.run(
            line, capture_output=True, text=True, cwd="/", timeout=120, check=False, **who
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr

    try:
        tool("initdb", "--auth=trust", "--username=lgmnet", "--no-sync")
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        tool("pg_ctl", "start", "-w", "-o", options, "-l", str(folder / "log"))
        yield f"postgresql+psycopg://lgmnet@127.0.0.1:{port}/postgres"
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            tool("pg_ctl", "stop", "-m", "immediate")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite, folder", "sqlite, bucket", "postgres, bucket"])
def anywhere(request, tmp_path) -> Iterator[Store]:
    """Each kind of store, empty."""
    if request.param == "sqlite, folder":
        store = Store.in_folder(tmp_path / "kept")
    elif request.param == "sqlite, bucket":
        store = Store(f"sqlite:///{tmp_path / 'index.sqlite'}", f"memory://{tmp_path.name}")
    else:
        store = Store(request.getfixturevalue("postgres"), f"memory://{tmp_path.name}")
    yield store
    for record in store.page(100):
        store.remove(record.id)
    store.close()


def test_what_is_added_can_be_read_changed_and_removed(anywhere):
    record = anywhere.add(ABOUT, writes(b"first"))
    assert anywhere.get(record.id) == record
    assert record.bytes == 5
    with anywhere.file(record) as path:
        assert path.read_bytes() == b"first"
    new = anywhere.replace(record, OTHER, writes(b"second"))
    assert (new.id, new.created) == (record.id, record.created)
    assert new.version != record.version
    assert anywhere.get(record.id) == new
    with anywhere.file(new) as path:
        assert path.read_bytes() == b"second"
    with pytest.raises(ConflictError, match="read it again"), anywhere.file(record):
        pass
    anywhere.remove(record.id)
    with pytest.raises(AbsentError, match="may have been removed"):
        anywhere.get(record.id)
    assert anywhere.fs.ls(anywhere.top) == [], "no file is left over"


def test_of_two_editors_only_one_gets_through(anywhere):
    record = anywhere.add(ABOUT, writes(b"0"))
    outcomes: list[object] = []
    gate = threading.Barrier(4)

    def edit(number: int) -> None:
        gate.wait()
        try:
            outcomes.append(anywhere.replace(record, OTHER, writes(b"%d" % number)))
        except ConflictError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=edit, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [one for one in outcomes if not isinstance(one, ConflictError)]
    assert len(outcomes) == 4
    assert len(winners) == 1
    assert anywhere.get(record.id) == winners[0]
    assert len(anywhere.fs.ls(anywhere.top)) == 1
    with pytest.raises(ConflictError):
        anywhere.remove(record.id, record.version)
    anywhere.get(record.id)


def test_pages_hold_all_once_the_newest_first(anywhere):
    ids = [anywhere.add(ABOUT, writes(b"x")).id for _ in range(7)]
    seen, after = [], None
    while some := anywhere.page(3, after):
        assert len(some) <= 3
        seen += [record.id for record in some]
        after = (some[-1].created, some[-1].id)
    assert seen == ids[::-1]


def test_two_servers_share_a_store(postgres, tmp_path):
    one, two = (Store(postgres, f"memory://{tmp_path.name}") for _ in range(2))
    record = one.add(ABOUT, writes(b"shared"))
    with two.file(two.get(record.id)) as path:
        assert path.read_bytes() == b"shared"
    two.replace(two.get(record.id), OTHER, writes(b"edited"))
    with pytest.raises(ConflictError):
        one.replace(record, ABOUT, writes(b"lost"))
    assert one.get(record.id).about == OTHER
    one.remove(record.id)
    one.close()
    two.close()


@pytest.mark.slow
def test_killed_at_200_random_moments_nothing_acknowledged_is_lost(tmp_path):
    line = [sys.executable, "-m", "tests.studio.killed", str(tmp_path / "kept"), "200"]
    root = Path(__file__).parents[2]
    ran = subprocess.run(line, cwd=root, capture_output=True, text=True, timeout=280, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert ran.stdout.startswith("200 killed, ")
    assert int(ran.stdout.split()[2]) > 200


def test_a_full_disk_leaves_what_was_kept(store, monkeypatch):
    """When the file cannot be written: the system says so in the middle of it."""
    record = store.add(ABOUT, writes(b"first"))

    def full(path: Path) -> None:
        with atomic_write(path) as draft:
            draft.write_bytes(b"hal")
            raise OSError(errno.ENOSPC, "No space left on device")

    for act in (lambda: store.add(ABOUT, full), lambda: store.replace(record, OTHER, full)):
        with pytest.raises(StoreFullError, match=r"is full\. Nothing was changed"):
            act()
    assert store.page(10) == [record]
    with store.file(record) as path:
        assert path.read_bytes() == b"first"
    assert len(store.fs.ls(store.top)) == 1


def test_a_full_database_leaves_what_was_kept(store):
    """When the index cannot grow, as SQLite itself finds."""
    record = store.add(ABOUT, writes(b"first"))
    with store.engine.connect() as connection:
        pages = connection.exec_driver_sql("pragma page_count").scalar()
        connection.exec_driver_sql(f"pragma max_page_count = {pages}")
    large = Metadata("x" * 200, "tiny", tuple("c" * 200 for _ in range(500)), (1,) * 500)
    with pytest.raises(StoreFullError):
        store.add(large, writes(b"second"))
    assert store.page(10) == [record]
    assert len(store.fs.ls(store.top)) == 1


def test_left_over_files_are_swept_once_they_are_old(store):
    record = store.add(ABOUT, writes(b"kept"))
    folder = Path(store.top)
    old, new = folder / "0-0.safetensors", folder / "1-1.safetensors"
    for path in (old, new):
        path.write_bytes(b"left over")
    os.utime(old, (time.time() - GRACE - 60,) * 2)
    os.utime(folder / record.file, (time.time() - GRACE - 60,) * 2)
    assert store.sweep() == 1
    assert {path.name for path in folder.iterdir()} == {record.file, new.name}


def test_a_store_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot be used"):
        Store.in_folder(tmp_path / "file")
    with pytest.raises(ConfigError, match="cannot be opened"):
        Store("nonsense", str(tmp_path / "files"))
    with pytest.raises(ConfigError, match="cannot be opened"):
        Store("sqlite://", "nosuch://bucket")
    (tmp_path / "index.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreError, match="cannot be used: file is not a database"):
        Store.in_folder(tmp_path)
    with pytest.raises(StoreError, match="cannot be used"):
        Store("postgresql+psycopg://nobody@127.0.0.1:1/none?connect_timeout=2", "memory://none")
