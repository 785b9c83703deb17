"""What is damaged or missing in the store is said, and does not take the rest with it."""

from __future__ import annotations

import errno
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from lgmnet.studio.app import Settings, create_app
from lgmnet.studio.errors import StoreError
from lgmnet.studio.index import Record
from lgmnet.studio.index_file import RESERVE_SUFFIX
from lgmnet.studio.schemas import ClassifierSummary
from lgmnet.studio.store import Store
from tests.studio.conftest import LIMITS, form, queries


def run_sql(client: TestClient, statement: str, *values: object) -> None:
    with client.app.state.service.store.engine.begin() as connection:  # type: ignore[attr-defined]
        connection.exec_driver_sql(statement, values)


def make(client: TestClient, name: str) -> dict[str, Any]:
    response = client.post("/v1/classifiers", **form({"a": 1, "b": 1}, name=name, model="tiny"))
    assert response.status_code == 201
    classifier: dict[str, Any] = response.json()
    return classifier


def summary_of(classifier: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a classifier that a list shows."""
    return {name: classifier[name] for name in ClassifierSummary.model_fields}


DAMAGE: list[tuple[str, object]] = [
    ("classes", "no JSON"),
    ("classes", "7"),
    ("classes", '["a"]'),
    ("shots", '["x", "y"]'),
    ("shots", "[1"),
    ("bytes", "many"),
    ("created", "yesterday"),
    ("changed", float("inf")),
    ("version", "../../etc/passwd"),
]


def test_a_damaged_row_is_reported_and_the_others_are_listed(client, caplog):
    first = make(client, "first")["id"]
    bad = [make(client, "bad")["id"] for _ in DAMAGE]
    last = make(client, "last")["id"]
    for id, (column, value) in zip(bad, DAMAGE, strict=True):
        run_sql(client, f"update classifiers set {column} = ? where id = ?", value, id)
    with caplog.at_level(logging.WARNING):
        page = client.get("/v1/classifiers")
    assert page.status_code == 200
    assert [item["id"] for item in page.json()["items"]] == [last, first]
    assert set(page.json()["damaged"]) == set(bad)
    assert all(id in caplog.text for id in bad)
    seen, after = [], None
    while True:
        params = {"limit": 1} | ({"after": after} if after else {})
        body = client.get("/v1/classifiers", params=params).json()
        seen += [item["id"] for item in body["items"]] + body["damaged"]
        if (after := body["next"]) is None:
            break
    assert sorted(seen) == sorted([first, *bad, last])
    client.app.state.service._cache.clear()  # Classifiers in memory are whole.
    for id in bad:
        read = client.get(f"/v1/classifiers/{id}")
        assert read.status_code == 500
        assert "is damaged. Remove the classifier" in read.json()["detail"]
        assert client.delete(f"/v1/classifiers/{id}").status_code == 204
    assert client.get("/v1/classifiers").json()["damaged"] == []


def test_a_name_that_is_no_text_does_not_hide_other_rows(client):
    """SQLite gives the bytes as they are; its driver fails at those that are no UTF-8."""
    ids = [make(client, "x")["id"] for _ in range(2)]
    run_sql(client, "update classifiers set name = cast(? as text) where id = ?", b"\xff", ids[0])
    page = client.get("/v1/classifiers")
    assert [item["name"] for item in page.json()["items"]] == ["x", "\ufffd"]


def test_a_missing_file_is_a_fault_of_the_server_and_not_of_the_caller(settings, sky, store):
    next(Path(store.folder.top).glob("*.safetensors")).unlink()
    url = f"/v1/classifiers/{sky['id']}"
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        for path in (url, f"{url}/export", f"{url}/images/0", f"{url}/export?format=onnx"):
            response = client.get(path)
            assert response.status_code == 500
            assert "its file is missing" in response.json()["detail"]
        assert client.post(f"{url}/predict", files=queries()).status_code == 500
        assert client.delete(url).status_code == 204


def run_on(store: Store, statement: str) -> None:
    with store.engine.begin() as connection:
        connection.exec_driver_sql(statement)


@pytest.mark.parametrize(
    ("break_store", "reason"),
    [
        (lambda store: shutil.rmtree(store.folder.top), "does not exist"),
        (lambda store: shutil.rmtree(store.index_file.path.parent), "was removed or replaced"),
        (lambda store: store.index_file.path.unlink(), "was removed or replaced"),
        (lambda store: store.folder.write_id("another"), "belongs to another index"),
        (lambda store: run_on(store, "alter table classifiers drop column shots"), "shots"),
        (lambda store: run_on(store, "update lgmnet_store set value = '9'"), "version 9"),
        (lambda store: run_on(store, "drop table classifiers"), "no such table"),
    ],
)
def test_a_broken_store_does_not_pass_its_check(store, break_store, reason):
    store.check()
    break_store(store)
    with pytest.raises(StoreError, match=reason):
        store.check()


def test_a_server_with_a_broken_store_is_not_ready(client, caplog):
    assert client.get("/readyz").json() == {"status": "ready"}
    shutil.rmtree(client.app.state.service.store.folder.top)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            response = client.get("/readyz")
            assert response.status_code == 503
            assert response.json() == {"detail": "not ready"}
    assert len(caplog.records) == 1, "a monitor does not fill the log"
    assert "does not exist" in caplog.text


def test_nothing_is_accepted_that_a_missing_folder_or_index_would_lose(client, sky, caplog):
    store: Store = client.app.state.service.store
    files, index = Path(store.folder.top), store.index_file.path
    assert index is not None
    for path in (files, index):
        hidden = path.rename(path.with_name("hidden"))
        with caplog.at_level(logging.ERROR):
            response = client.post("/v1/classifiers", **form({"a": 1, "b": 1}, model="tiny"))
        assert response.status_code == 503, response.text
        assert str(path) not in response.text
        assert str(path) in caplog.text
        hidden.rename(path)
        assert client.get("/v1/classifiers").json()["items"] == [summary_of(sky)]


def test_nobody_learns_from_answers_where_the_database_is(settings, postgres, tmp_path, caplog):
    urls = (postgres, f"memory://{tmp_path.name}")
    app = create_app(Settings(*urls, settings.models, LIMITS))
    with TestClient(app) as client:
        assert client.get("/readyz").status_code == 200
        store = app.state.service.store
        store.engine.dispose()
        down = sa.make_url(postgres).set(port=1)
        store.engine = sa.create_engine(down)
        ready, page = client.get("/readyz"), client.get("/v1/classifiers")
        assert ready.status_code == page.status_code == 503
        assert ready.json() == {"detail": "not ready"}
        assert "log says why" in page.json()["detail"]
        assert "retry-after" in page.headers
        assert caplog.text.count("127.0.0.1") >= 2


def fail_deletes_while(condition: Callable[[], bool], engine: sa.Engine) -> None:
    """Let SQLite report a full disk at each DELETE while a condition holds."""
    import sqlite3

    @sa.event.listens_for(engine, "before_cursor_execute")
    def fail(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("DELETE") and condition():
            raise sa.exc.OperationalError(
                statement, None, sqlite3.OperationalError("database or disk is full")
            )


def test_a_classifier_can_be_removed_when_the_disk_is_full(client, sky):
    """The index keeps some space for it, because a removal writes a log before it frees space."""
    store = client.app.state.service.store
    reserve = store.index_file.path.with_suffix(RESERVE_SUFFIX)
    assert reserve.stat().st_size > 100_000
    fail_deletes_while(reserve.exists, store.engine)
    url = f"/v1/classifiers/{sky['id']}"
    assert client.delete(url, headers={"If-Match": sky["etag"]}).status_code == 204
    assert client.get(url).status_code == 404
    assert reserve.exists(), "the space is kept again for the next time"


def test_only_writing_is_answered_with_507(client, sky, monkeypatch, caplog):
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    url = f"/v1/classifiers/{sky['id']}"
    monkeypatch.setattr("lgmnet.studio.service.tempfile.TemporaryDirectory", fail)
    response = client.get(f"{url}/export", params={"format": "onnx"})
    assert response.status_code == 503
    assert "No space left" in caplog.text
    fail_deletes_while(lambda: True, client.app.state.service.store.engine)
    assert client.delete(url).status_code == 503
    assert client.get(url).status_code == 200


@pytest.mark.parametrize("n_undo", [0, 20], ids=["not kept", "kept"])
def test_reading_while_somebody_edits_gives_one_version_or_the_other(
    client, sky, monkeypatch, n_undo
):
    """The index is read before the file; in between, a new version replaces the file."""
    service, url = client.app.state.service, f"/v1/classifiers/{sky['id']}"
    monkeypatch.setattr(service.store, "n_undo", n_undo)
    stale = service.store.get(sky["id"])
    edited = client.patch(url, data={"name": "night"}, headers={"If-Match": "*"}).json()
    read_now, calls = service.store.get, []

    def read_late(id: str) -> Record:
        calls.append(id)
        record: Record = stale if len(calls) == 1 else read_now(id)
        return record

    for path in (url, f"{url}/export"):
        calls.clear()
        service._cache.clear()
        with monkeypatch.context() as patch:
            patch.setattr(service.store, "get", read_late)
            response = client.get(path)
        assert response.status_code == 200, response.text
        # Where earlier versions are kept for undo, the file of the stale one is still there.
        versions = [edited, sky] if n_undo else [edited]
        assert response.headers["etag"] in [f'"{version["etag"]}"' for version in versions]
        assert n_undo or len(calls) > 1
