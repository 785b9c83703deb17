"""Files of classifiers: opened, exported, damaged, and kept over a restart."""

from __future__ import annotations

import dataclasses
import errno
import json
from pathlib import Path

import onnxruntime
import pytest
from starlette.testclient import TestClient

from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.studio.app import create_app
from tests.studio.conftest import form


def test_a_file_without_its_support_is_not_opened(client, sky, tmp_path):
    path = tmp_path / "sky.safetensors"
    path.write_bytes(client.get(f"/v1/classifiers/{sky['id']}/export").content)
    FittedClassifier.load(path).save(path, support=False)
    assert b"webp" not in path.read_bytes().lower(), "no pictures either"
    refused = client.post("/v1/classifiers", files={"file": ("s.safetensors", path.read_bytes())})
    assert refused.status_code == 422
    assert "was saved without its support set; forge it again" in refused.json()["detail"]


def test_an_exported_file_is_opened_and_edited(client, sky):
    data = client.get(f"/v1/classifiers/{sky['id']}/export").content
    response = client.post("/v1/classifiers", files={"file": ("sky.safetensors", data)})
    assert response.status_code == 201, response.text
    opened = response.json()
    assert opened["id"] != sky["id"]
    assert opened["name"] == "sky"
    assert opened["class_details"] == sky["class_details"]
    url = f"/v1/classifiers/{opened['id']}"
    edited = client.patch(url, data={"remove": "moon"}, headers={"If-Match": opened["etag"]})
    assert list(edited.json()["classes"]) == ["star", "sun ☀"]
    altered = bytearray(data)
    altered[-5] ^= 1
    for damaged in (bytes(altered), data[:-100], b"", b"\x80\x04pickle"):
        refused = client.post("/v1/classifiers", files={"file": ("x.safetensors", damaged)})
        assert refused.status_code == 422
        assert refused.json()["detail"].startswith("The file")
        assert "/tmp" not in refused.text


@pytest.mark.usefixtures("unchecked")
def test_a_manipulated_file_is_refused_or_harmless(client, sky, tmp_path):
    """The checksum is right, but names and thumbnails are not what they should be."""
    fitted = client.app.state.service.get(sky["id"]).fitted
    for changes, status in (
        ({"classes": ("a", 5, None)}, 422),
        ({"classes": ("a", "b", "x" * 41)}, 422),
        ({"notes": {"name": "n", "thumbnails": "[" * 100_000}}, 201),
        ({"notes": {"name": "n", "thumbnails": "[]"}}, 201),
        ({"notes": {"name": 7}}, 422),
        ({"notes": {"name": ["x"] * 100}}, 422),
        ({"fingerprint": "000000000000"}, 422),
        ({"model": "../../omniglot"}, 422),
    ):
        path = tmp_path / "f.safetensors"
        dataclasses.replace(fitted, **changes).save(path)
        files = {"file": ("f.safetensors", path.read_bytes())}
        response = client.post("/v1/classifiers", files=files)
        assert response.status_code == status, (changes, response.text)
        if status == 201:
            url = f"/v1/classifiers/{response.json()['id']}"
            assert client.get(url).status_code == 200
            assert client.get(f"{url}/images/0").status_code == 200


def test_names_are_never_used_as_paths(client, store, tmp_path):
    names = ["../../etc/passwd", "<script>alert(1)</script>", "a/b", "..", "con", "x%0A: y"]
    request = form(dict.fromkeys(names, 1), name="../../../evil", model="tiny")
    response = client.post("/v1/classifiers", **request)
    assert response.status_code == 201, response.text
    assert set(response.json()["classes"]) == set(names)
    exported = client.get(f"/v1/classifiers/{response.json()['id']}/export")
    assert exported.headers["content-disposition"] == (
        'attachment; filename=".._.._.._evil.safetensors"; '
        "filename*=UTF-8''..%2F..%2F..%2Fevil.safetensors"
    )
    assert {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*")} == {"store"}
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py"):
        assert client.get(path).status_code == 404
    for id in ("..", "../index.sqlite", "%2e%2e%2findex.sqlite", "a" * 31, "A" * 32):
        assert client.get(f"/v1/classifiers/{id}").status_code in (404, 405, 422)


def test_a_full_disk_is_507_and_changes_nothing(client, sky, monkeypatch):
    def fail(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    url = f"/v1/classifiers/{sky['id']}"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", fail)
        for response in (
            client.post("/v1/classifiers", **form({"a": 1, "b": 1}, model="tiny")),
            client.patch(url, data={"remove": "moon"}, headers={"If-Match": sky["etag"]}),
        ):
            assert response.status_code == 507, response.text
            assert "is full" in response.json()["detail"]
    assert client.get(url).json()["etag"] == sky["etag"]
    assert len(client.get("/v1/classifiers").json()["items"]) == 1
    edited = client.patch(url, data={"remove": "moon"}, headers={"If-Match": sky["etag"]})
    assert edited.status_code == 200


def test_a_file_altered_on_the_disk_is_refused(settings, sky, store):
    path = next(Path(store.folder.top).glob("*.safetensors"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with TestClient(create_app(settings), raise_server_exceptions=False) as restarted:
        response = restarted.get(f"/v1/classifiers/{sky['id']}")
    assert response.status_code == 500
    assert "damaged or was altered" in response.json()["detail"]


def test_a_classifier_is_the_same_after_a_restart(settings, sky):
    with TestClient(create_app(settings)) as restarted:
        read = restarted.get(f"/v1/classifiers/{sky['id']}").json()
    assert read["class_details"] == sky["class_details"]
    assert read["map"] == sky["map"]


def test_the_onnx_file_has_the_classes_and_runs(client, sky, tmp_path):
    response = client.get(f"/v1/classifiers/{sky['id']}/export", params={"format": "onnx"})
    assert response.status_code == 200
    assert response.headers["content-disposition"] == (
        "attachment; filename=\"sky.onnx\"; filename*=UTF-8''sky.onnx"
    )
    (tmp_path / "m.onnx").write_bytes(response.content)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
    assert classes == list(sky["classes"])
    snippet = client.get(f"/v1/classifiers/{sky['id']}/snippet", params={"language": "python"})
    assert "onnxruntime" in snippet.json()["lines"]
