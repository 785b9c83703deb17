"""The sweep moves only the store's own left-over files, and only in the index's own folder."""

from __future__ import annotations

import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from lgmnet.studio.app import create_app
from lgmnet.studio.errors import StoreError
from lgmnet.studio.folder import ID_FILE, TRASH
from lgmnet.studio.index import CLASSIFIERS, PROPERTIES, file_name
from lgmnet.studio.store import ORPHAN_AGE, Store, store_urls
from tests.studio.conftest import SKY, writer

LEFT_OVER = file_name("0" * 32, "1" * 32)
UNFINISHED = f".0123abcd.{file_name('2' * 32, '3' * 32)}"
FOREIGN = ("thesis.pdf", "0-0.safetensors", f"{'0' * 32}.safetensors", f"x{LEFT_OVER}")


def put(folder: Path, *names: str, age: float = ORPHAN_AGE + 60) -> None:
    for name in names:
        (folder / name).write_bytes(b"content")
        os.utime(folder / name, (time.time() - age,) * 2)


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_only_old_files_of_the_store_that_the_index_does_not_name_go_to_the_trash(store):
    record = store.add(SKY, writer(b"stored"))
    folder = Path(store.folder.top)
    put(folder, *FOREIGN, LEFT_OVER, UNFINISHED, record.file)
    young = file_name("4" * 32, "5" * 32)
    put(folder, young, age=60)
    (folder / "sub").mkdir()
    put(folder / "sub", LEFT_OVER)
    assert store.sweep() == 2
    assert names_in(folder) == {*FOREIGN, record.file, young, ID_FILE, TRASH, "sub"}
    assert names_in(folder / TRASH) == {LEFT_OVER, UNFINISHED}
    assert (folder / TRASH / LEFT_OVER).read_bytes() == b"content"
    assert names_in(folder / "sub") == {LEFT_OVER}
    assert store.sweep() == 0, "the trash is not swept"


def test_a_folder_whose_name_is_that_of_a_file_does_not_make_the_start_fail(settings, store):
    (Path(store.folder.top) / LEFT_OVER).mkdir()
    with TestClient(create_app(settings)) as client:
        assert client.get("/readyz").status_code == 200
    assert (Path(store.folder.top) / LEFT_OVER).is_dir()


@pytest.mark.parametrize("has_other_id", [True, False])
def test_another_index_moves_nothing(store, tmp_path, caplog, has_other_id):
    """The index is new, or belongs to another folder: the files are those of another store."""
    record = store.add(SKY, writer(b"stored"))
    folder = Path(store.folder.top)
    put(folder, record.file, LEFT_OVER)
    url = f"sqlite:///{tmp_path / 'other.sqlite'}"
    if has_other_id:
        Store(url, str(tmp_path / "others")).close()
    other = Store(url, str(folder))
    with caplog.at_level(logging.WARNING):
        assert other.sweep() == 0
    other.close()
    assert {record.file, LEFT_OVER} < names_in(folder)
    assert [entry.levelname for entry in caplog.records] == ["WARNING"]
    assert "may belong to another index" in caplog.text
    assert store.sweep() == 1, "the folder's own index still sweeps it"


def test_an_index_of_files_without_an_id_gets_none(tmp_path):
    """The files were there before the index, so nobody knows whose they are."""
    (tmp_path / "files").mkdir()
    put(tmp_path / "files", LEFT_OVER)
    store = Store(f"sqlite:///{tmp_path / 'index.sqlite'}", str(tmp_path / "files"))
    assert store.id is None
    assert store.sweep() == 0
    store.check()
    store.close()
    assert names_in(tmp_path / "files") == {LEFT_OVER}


def test_the_sweep_in_a_bucket(tmp_path):
    store = Store(f"sqlite:///{tmp_path / 'index.sqlite'}", f"memory://{tmp_path.name}")
    record = store.add(SKY, writer(b"stored"))
    fs, top = store.folder.fs, store.folder.top
    for name in (LEFT_OVER, "thesis.pdf", f"sub/{LEFT_OVER}"):
        fs.pipe_file(f"{top}/{name}", b"content")
    for path in fs.find(top):
        fs.store[path].modified = fs.store[path].modified.fromtimestamp(0, tz=None).astimezone()
    assert store.sweep() == 1
    store.close()
    assert {path.removeprefix(f"{top}/") for path in fs.find(top)} == {
        *(record.file, ID_FILE, "thesis.pdf", f"sub/{LEFT_OVER}", f"{TRASH}/{LEFT_OVER}")
    }


def test_a_store_that_was_interrupted_while_it_was_made_is_completed(tmp_path):
    """The index got its id, but the process ended before the folder got it."""
    urls = store_urls(tmp_path)
    store = Store(*urls)
    (tmp_path / "files" / ID_FILE).unlink()
    again = Store(*urls)
    assert again.id == store.id
    assert again.folder.read_id() == store.id
    again.close()
    store.close()


def test_servers_that_open_a_new_store_at_the_same_time_agree_on_its_id(postgres, tmp_path):
    engine = sa.create_engine(postgres)
    with engine.begin() as connection:
        for name in ("classifiers", "lgmnet_store"):
            connection.exec_driver_sql(f"drop table if exists {name}")
    with ThreadPoolExecutor(6) as pool:
        stores = list(pool.map(lambda _: Store(postgres, f"memory://{tmp_path.name}"), range(6)))
    ids = {store.id for store in stores}
    assert len(ids) == 1
    assert ids == {stores[0].folder.read_id()}
    for store in stores:
        store.close()
    engine.dispose()


def test_an_index_of_another_version_is_refused_with_a_sentence(store, tmp_path):
    urls = store_urls(tmp_path / "store")
    with store.engine.begin() as connection:
        connection.execute(
            sa.update(PROPERTIES).where(PROPERTIES.c.name == "schema").values(value="2")
        )
    with pytest.raises(
        StoreError, match=r"has schema version 2, but this lgmnet reads version 1\."
    ):
        Store(*urls)
    with pytest.raises(StoreError, match="schema version 2"):
        store.check()


def test_an_index_without_a_column_is_refused_with_a_sentence(store, tmp_path):
    with store.engine.begin() as connection:
        connection.exec_driver_sql(f"alter table {CLASSIFIERS.name} drop column shots")
    with pytest.raises(StoreError, match=r"'classifiers' lacks the columns shots\."):
        Store(*store_urls(tmp_path / "store"))
    with pytest.raises(StoreError, match="shots"):
        store.check()


def test_an_index_of_before_versions_were_stated_is_read(store, tmp_path):
    record = store.add(SKY, writer(b"stored"))
    with store.engine.begin() as connection:
        connection.exec_driver_sql(f"drop table {PROPERTIES.name}")
    again = Store(*store_urls(tmp_path / "store"))
    assert again.get(record.id) == record
    again.check()
    again.close()
