"""Earlier versions of classifiers: kept within limits, stepped through, restored after removal."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from lgmnet.errors import ConfigError
from lgmnet.io import atomic_write
from lgmnet.studio import versions
from lgmnet.studio.errors import AbsentError, ConflictError, StoreFullError
from lgmnet.studio.index import Record
from lgmnet.studio.store import Store, store_urls
from tests.studio.conftest import SKY, form, writer


@pytest.fixture(params=["sqlite", "postgres"])
def keeping(request, tmp_path) -> Iterator[Store]:
    """Store that keeps three earlier versions, in each kind of database."""
    if request.param == "sqlite":
        store = Store(*store_urls(tmp_path / "store"), n_undo=3)
    else:
        store = Store(request.getfixturevalue("postgres"), f"memory://{tmp_path.name}", n_undo=3)
    yield store
    store.n_undo = 0
    for record in store.page(100):
        store.remove(record.id)
    store.close()


def content(store: Store, record: Record) -> bytes:
    with store.file(record) as path:
        return path.read_bytes()


def test_changes_are_undone_and_redone_within_the_limit(keeping):
    records = [keeping.add(SKY, writer(b"0"))]
    for i in range(1, 6):
        records.append(keeping.replace(records[-1], SKY, writer(b"%d" % i)))
    assert len(keeping.folder.own_files()) == 4, "the current version and three earlier ones"
    current = records[-1]
    for earlier in records[-2:-5:-1]:
        current = keeping.step(current, "undo")
        assert current.version == earlier.version
        assert content(keeping, current) == content(keeping, earlier)
        assert keeping.get(current.id) == current
    with pytest.raises(ConfigError, match="nothing to undo"):
        keeping.step(current, "undo")
    for later in records[-3:]:
        current = keeping.step(current, "redo")
        assert current.version == later.version
    with pytest.raises(ConfigError, match="nothing to redo"):
        keeping.step(current, "redo")
    with pytest.raises(ConflictError):
        keeping.step(records[2], "undo")
    assert keeping.get(current.id) == current
    # A change after undoing leaves nothing to redo, and removes the files of what was undone.
    current = keeping.replace(keeping.step(current, "undo"), SKY, writer(b"new"))
    with pytest.raises(ConfigError, match="nothing to redo"):
        keeping.step(current, "redo")
    assert content(keeping, keeping.step(current, "undo")) == b"4"
    assert sorted(content(keeping, r) for r in records[2:5]) == [b"2", b"3", b"4"]


def test_large_versions_are_dropped_earlier(keeping, monkeypatch):
    monkeypatch.setattr(versions, "MAX_UNDO_BYTES", 250)
    record = keeping.add(SKY, writer(b"x" * 100))
    for _ in range(4):
        record = keeping.replace(record, SKY, writer(b"x" * 100))
    assert len(keeping.folder.own_files()) == 3


def test_a_removed_classifier_is_restored_with_its_versions(keeping):
    first = keeping.add(SKY, writer(b"first"))
    second = keeping.replace(first, SKY, writer(b"second"))
    keeping.remove(second.id)
    with pytest.raises(AbsentError):
        keeping.get(second.id)
    assert keeping.page(10) == []
    restored = keeping.restore(second.id)
    assert keeping.get(second.id) == restored
    assert content(keeping, restored) == b"second"
    assert content(keeping, keeping.step(restored, "undo")) == b"first"
    with pytest.raises(AbsentError):
        keeping.restore(second.id)


def test_a_removed_classifier_is_gone_after_a_day(keeping, monkeypatch):
    old = keeping.add(SKY, writer(b"old"))
    old = keeping.replace(old, SKY, writer(b"older version"))
    other = keeping.add(SKY, writer(b"other"))
    keeping.remove(old.id)
    later = time.time() + versions.REMOVED_SECONDS + 1
    monkeypatch.setattr("lgmnet.studio.versions.time.time", lambda: later)
    keeping.remove(other.id)
    with pytest.raises(AbsentError):
        keeping.restore(old.id)
    assert keeping.folder.own_files() == [other.file]


def test_the_sweep_leaves_earlier_versions_alone(keeping, monkeypatch):
    if keeping.index_file.path is None:
        pytest.skip("files in memory have no age")
    first = keeping.add(SKY, writer(b"first"))
    second = keeping.replace(first, SKY, writer(b"second"))
    removed = keeping.add(SKY, writer(b"removed"))
    keeping.remove(removed.id)
    monkeypatch.setattr("lgmnet.studio.store.ORPHAN_AGE", -1.0)
    assert keeping.sweep() == 0
    assert content(keeping, keeping.step(second, "undo")) == b"first"
    assert content(keeping, keeping.restore(removed.id)) == b"removed"


def test_earlier_versions_make_room_on_a_full_disk(tmp_path):
    store = Store(*store_urls(tmp_path / "store"), n_undo=3)
    record = store.replace(store.add(SKY, writer(b"0")), SKY, writer(b"1"))
    assert len(store.folder.own_files()) == 2

    def write_if_room(path: Path) -> None:
        with atomic_write(path) as draft:
            draft.write_bytes(b"2")
            if len(store.folder.own_files()) > 2:  # With the draft.
                raise OSError(errno.ENOSPC, "No space left on device")

    new = store.replace(record, SKY, write_if_room)
    assert content(store, new) == b"2"
    other = store.add(SKY, write_if_room)
    with pytest.raises(ConfigError, match="nothing to undo"):
        store.step(new, "undo")
    with pytest.raises(StoreFullError):
        store.replace(other, SKY, write_if_room)
    assert sorted(store.folder.own_files()) == sorted([new.file, other.file])
    store.close()


def test_an_index_of_an_earlier_lgmnet_gets_the_table(tmp_path):
    urls = store_urls(tmp_path / "store")
    old = Store(*urls, n_undo=3)
    record = old.add(SKY, writer(b"0"))
    with old.engine.begin() as connection:
        connection.execute(sa.text("drop table lgmnet_versions"))
    old.close()
    store = Store(*urls, n_undo=3)
    new = store.replace(record, SKY, writer(b"1"))
    assert content(store, store.step(new, "undo")) == b"0"
    store.close()


def test_the_api_undoes_redoes_and_restores(client, sky):
    url = f"/v1/classifiers/{sky['id']}"
    match = {"If-Match": sky["etag"]}
    assert client.post(f"{url}/undo").status_code == 428
    nothing = client.post(f"{url}/undo", headers=match)
    assert nothing.status_code == 422
    assert nothing.json()["detail"] == "There is nothing to undo."
    edited = client.patch(url, data={"remove": "moon"}, headers=match).json()
    assert client.post(f"{url}/undo", headers=match).status_code == 412
    undone = client.post(f"{url}/undo", headers={"If-Match": edited["etag"]})
    assert undone.headers["etag"] == f'"{sky["etag"]}"'
    assert undone.json()["class_details"] == sky["class_details"]
    redone = client.post(f"{url}/redo", headers={"If-Match": "*"}).json()
    assert redone["classes"] == edited["classes"]
    assert client.delete(url).status_code == 204
    assert client.get(url).status_code == 404
    restored = client.post(f"{url}/restore")
    assert restored.json()["classes"] == edited["classes"]
    assert client.post(f"{url}/restore").status_code == 404


def test_images_move_between_classes(client, sky):
    url = f"/v1/classifiers/{sky['id']}"

    def move(code: int = 200, **fields: object) -> dict[str, Any]:
        response = client.patch(url, data=fields, headers={"If-Match": "*"})
        assert response.status_code == code, response.text
        result: dict[str, Any] = response.json()
        return result

    keys = {image["key"] for one in sky["class_details"] for image in one["images"]}
    moved = move(move=[1, 3], into=["sun ☀", "comet"])
    assert moved["classes"] == {"moon": 1, "star": 1, "sun ☀": 3, "comet": 1}
    assert {i["key"] for one in moved["class_details"] for i in one["images"]} == keys
    merged = move(move=[0], into=["comet"], drop=[4])
    assert merged["classes"] == {"star": 1, "sun ☀": 2, "comet": 2}
    assert "a class for each image to move" in move(422, move=[0])["detail"]
    assert "There is no sample 77" in move(422, move=[77], into=["star"])["detail"]
    assert "not blank" in move(422, move=[0], into=[" "])["detail"]
    everything = {"move": [0, 1, 2, 3, 4], "into": ["star"] * 5}
    assert "needs two classes" in move(422, **everything)["detail"]
    # The result is that of a classifier fitted to these images.
    direct = client.post("/v1/classifiers", **form({"a": 1, "b": 2}, model="tiny")).json()
    other = client.patch(
        f"/v1/classifiers/{direct['id']}",
        data={"move": [1], "into": ["a"]},
        headers={"If-Match": "*"},
    )
    assert other.json()["classes"] == {"a": 2, "b": 1}
