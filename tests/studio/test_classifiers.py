"""Routes that create, list, read, edit, remove, use and export classifiers."""

from __future__ import annotations

import dataclasses
import errno
import io
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image
from starlette.testclient import TestClient

from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.classifier.thumbnails import encode_image
from lgmnet.studio.app import create_app
from tests.studio.conftest import form, png, queries
from tests.support.command_line import lgmnet
from tests.support.images import png_claiming
from tests.support.models import drawings


def test_a_classifier_is_created_and_read(client, sky):
    assert sky["name"] == "sky"
    assert sky["model"] == "tiny"
    assert sky["kind"] == "drawings"
    assert sky["classes"] == {"moon": 1, "star": 2, "sun ☀": 3}
    assert [len(details["images"]) for details in sky["class_details"]] == [1, 2, 3]
    assert len(sky["map"]) == 6
    assert sky["milliseconds"] > 0
    response = client.get(f"/v1/classifiers/{sky['id']}")
    assert response.headers["etag"] == f'"{sky["etag"]}"'
    assert response.json() == {**sky, "milliseconds": None, "model_reason": None}


def test_an_edit_takes_effect_at_once(client, sky):
    url = f"/v1/classifiers/{sky['id']}"
    changes = form({"comet": 2, "moon": 1}, seed=5, rename=["star"], to=["Star <b>"])
    response = client.patch(url, **changes, headers={"If-Match": f'"{sky["etag"]}"'})
    assert response.status_code == 200, response.text
    edited = response.json()
    assert edited["classes"] == {"moon": 2, "Star <b>": 2, "sun ☀": 3, "comet": 2}
    assert edited["etag"] != sky["etag"]
    assert edited["id"] == sky["id"]
    assert image_keys(sky) < image_keys(edited)
    place = edited["class_details"][2]["images"][0]["place"]
    changes = {"remove": ["comet"], "drop": [place], "name": "night"}
    edited = client.patch(url, data=changes, headers={"If-Match": edited["etag"]}).json()
    assert edited["classes"] == {"moon": 2, "Star <b>": 2, "sun ☀": 2}
    assert edited["name"] == "night"
    assert client.get(url).json()["classes"] == edited["classes"]


def image_keys(classifier: dict[str, Any]) -> set[str]:
    return {image["key"] for details in classifier["class_details"] for image in details["images"]}


def test_an_edit_of_an_old_version_is_refused(client, sky):
    url = f"/v1/classifiers/{sky['id']}"
    assert client.patch(url, data={"name": "a"}).status_code == 428
    assert client.patch(url, data={"name": "a"}, headers={"If-Match": '"old"'}).status_code == 412
    etags = {"If-Match": f'W/"{sky["etag"]}", "x"'}
    assert client.patch(url, data={"name": "a"}, headers=etags).status_code == 200
    refused = client.patch(url, data={"name": "b"}, headers={"If-Match": f'"{sky["etag"]}"'})
    assert refused.status_code == 412
    assert "Read it again" in refused.json()["detail"]
    assert client.delete(url, headers={"If-Match": f'"{sky["etag"]}"'}).status_code == 412
    assert client.get(url).json()["name"] == "a"
    assert client.patch(url, data={"name": "c"}, headers={"If-Match": "*"}).status_code == 200
    assert client.delete(url).status_code == 204
    assert client.get(url).status_code == 404
    assert client.delete(url).status_code == 404


def test_editors_at_the_same_time_do_not_overwrite_each_other(client, sky):
    """Each reads, adds an image and tries again when refused; in the end all images are there."""
    url, refusals = f"/v1/classifiers/{sky['id']}", []

    def edit(number: int) -> None:
        while True:
            etag = client.get(url).json()["etag"]
            changes = form({"moon": 1}, seed=100 + number)
            response = client.patch(url, **changes, headers={"If-Match": etag})
            if response.status_code == 200:
                return
            assert response.status_code == 412
            refusals.append(number)

    threads = [threading.Thread(target=edit, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.get(url).json()["classes"]["moon"] == 7


def test_classifiers_are_listed_in_pages(client):
    created = [
        client.post("/v1/classifiers", **form({"a": 1, "b": 1}, seed=i, name=str(i), model="tiny"))
        for i in range(5)
    ]
    ids, after = [], None
    while True:
        params = {"limit": 2} | ({"after": after} if after else {})
        page = client.get("/v1/classifiers", params=params).json()
        ids += [item["id"] for item in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert ids == [response.json()["id"] for response in created][::-1]
    refused = client.get("/v1/classifiers", params={"after": "nonsense"})
    assert refused.status_code == 422
    assert "'next' of a page" in refused.json()["detail"]


def test_the_model_is_chosen_by_the_kind_of_the_images(client):
    response = client.post("/v1/classifiers", **form({"a": 2, "b": 2}))
    assert response.status_code == 201, response.text
    assert response.json()["model"] == "omniglot"
    assert response.json()["model_reason"].startswith("ink on paper")
    assert response.json()["detects_none_of_these"] is True
    url = f"/v1/classifiers/{response.json()['id']}/predict"
    prediction = client.post(url, files=queries()).json()["predictions"][0]
    assert prediction["none_of_these"] in (True, False)


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


def test_the_example_has_five_images_of_each_digit(client):
    response = client.post("/v1/examples/digits")
    assert response.status_code == 201, response.text
    assert list(response.json()["classes"].values()) == [5] * 10


@pytest.mark.parametrize(
    ("make_request", "status", "message"),
    [
        (lambda: {"data": {"labels": []}}, 422, "There are no images"),
        (lambda: form({"a": 2}, model="tiny"), 422, "only 'a'"),
        (lambda: form({"a": 1, "b": 1}, model="tinny"), 422, "Did you mean 'tiny'"),
        (lambda: form({"a": 1, "b": 1}, model="vectors"), 422, "takes vectors"),
        (lambda: form({"a": 1, " ": 1}, model="tiny"), 422, "not blank"),
        (lambda: form({"a": 1, "": 1}, model="tiny"), 422, "not blank"),
        (lambda: form({"a": 1, "\x1b[31mred": 1}, model="tiny"), 422, "control characters"),
        (lambda: form({"a": 1, "b\nc": 1}, model="tiny"), 422, "control characters"),
        (lambda: form({"a": 1, "b": 1}, name="\x1b[1m", model="tiny"), 422, "control characters"),
        (lambda: form({"a": 1, "b" * 41: 1}, model="tiny"), 422, "1 to 40 characters"),
        (lambda: form({"a": 13, "b": 1}, model="tiny"), 422, "'a' would have 13"),
        (lambda: form(dict.fromkeys("abcdefghijklm", 1), model="tiny"), 422, "would have 13"),
        (lambda: form(dict.fromkeys("abcdef", 11), model="tiny"), 413, "at most 60 images"),
        (lambda: {"files": queries(2), "data": {"labels": ["a"]}}, 422, "2 images and 1 labels"),
        (
            lambda: {
                "files": [("images", ("x.png", b"\x89PNG" + b"0" * 100_001, "image/png"))],
                "data": {"labels": ["a"]},
            },
            422,
            "an image has at most 100,000",
        ),
        (lambda: {"content": b"x" * 4_000_001}, 413, "at most 4,000,000 bytes"),
        (lambda: {"json": {"images": "a"}}, 422, "There are no images"),
        (lambda: {"data": {"images": ["a"]}}, 422, "'images.0': Value error, Expected UploadFile"),
    ],
)
def test_an_impossible_classifier_is_refused_with_a_message(make_request, status, message, client):
    response = client.post("/v1/classifiers", **make_request())
    assert response.status_code == status, response.text
    assert message in response.json()["detail"]
    assert client.get("/v1/classifiers").json()["items"] == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"remove": ["moon", "star"]}, "only 'sun ☀' would be left"),
        ({"remove": "mon"}, "Did you mean 'moon'"),
        ({"rename": "moon", "to": "star"}, "a class 'star' already"),
        ({"rename": "moon"}, "1 of 'rename' and 0 of 'to'"),
        ({"drop": "0"}, "'moon' would be left without"),
        ({"drop": "77"}, "There is no sample 77"),
        ({"name": " "}, "not blank"),
        ({"name": "a\x85b"}, "control characters"),
        ({"rename": "moon", "to": "\x1b[31m"}, "control characters"),
        ({"rename": "moon", "to": "x" * 41}, "1 to 40 characters"),
    ],
)
def test_an_impossible_edit_changes_nothing(changes, message, client, sky):
    url = f"/v1/classifiers/{sky['id']}"
    response = client.patch(url, data=changes, headers={"If-Match": sky["etag"]})
    assert response.status_code == 422, response.text
    assert message in response.json()["detail"]
    assert client.get(url).json()["etag"] == sky["etag"]


def test_images_of_a_class_with_control_characters_are_not_added(client, sky):
    request = form({"a\x07": 1}) | {"headers": {"If-Match": "*"}}
    response = client.patch(f"/v1/classifiers/{sky['id']}", **request)
    assert response.status_code == 422, response.text
    assert "control characters" in response.json()["detail"]


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


def test_predictions_equal_those_of_the_command_line(client, sky, tmp_path):
    files = queries(5)
    response = client.post(f"/v1/classifiers/{sky['id']}/predict", files=files).json()
    exported = tmp_path / "sky.safetensors"
    exported.write_bytes(client.get(f"/v1/classifiers/{sky['id']}/export").content)
    paths = []
    for _, (name, data, _) in files:
        paths.append(tmp_path / name)
        paths[-1].write_bytes(data)
    expected = lgmnet("predict", exported, *paths, "--json").json["predictions"]
    assert response["etag"] == sky["etag"]
    for prediction, other in zip(response["predictions"], expected, strict=True):
        assert prediction["label"] == other["label"]
        assert prediction["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)
        assert prediction["error"] is None
        weights = [attention["weight"] for attention in prediction["support_attention"]]
        assert sum(weights) == pytest.approx(1, abs=1e-4)
        assert len(prediction["map"]) == 2
        assert prediction["none_of_these"] is None, "the tiny model has no threshold"


def test_an_unreadable_image_gets_an_error_and_the_others_a_prediction(client, sky):
    files = [*queries(1), ("images", ("broken.png", b"no image", "image/png")), *queries(1, seed=3)]
    response = client.post(f"/v1/classifiers/{sky['id']}/predict", files=files)
    assert response.status_code == 200
    first, broken, last = response.json()["predictions"]
    assert first["label"]
    assert last["label"]
    assert broken["label"] is None
    assert "'broken.png' cannot be read as an image" in broken["error"]
    response = client.post(f"/v1/classifiers/{sky['id']}/predict", files=files[1:2])
    assert "cannot be read" in response.json()["predictions"][0]["error"]


def test_decompression_bombs_are_refused_by_name(client, sky):
    files = [("images", ("bomb.png", png_claiming(9000, 9000), "image/png"))]
    response = client.post(f"/v1/classifiers/{sky['id']}/predict", files=files)
    assert response.status_code == 200
    assert "'bomb.png'" in response.json()["predictions"][0]["error"]
    assert "9000 x 9000 pixels" in response.json()["predictions"][0]["error"]


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


def test_the_thumbnail_of_a_drawing_is_dark_ink_on_white_paper(client):
    response = client.post("/v1/classifiers", **form({"a": 1, "b": 1}, model="tiny"))
    classifier = response.json()
    place = classifier["class_details"][0]["images"][0]["place"]
    response = client.get(f"/v1/classifiers/{classifier['id']}/images/{place}")
    assert response.headers["content-type"] == "image/png"
    pixels = np.asarray(Image.open(io.BytesIO(response.content)))
    assert pixels.shape == (28, 28)
    assert (pixels < 128).any()
    assert pixels[0, 0] == 255
    assert client.get(f"/v1/classifiers/{classifier['id']}/images/99").status_code == 404


def test_a_classifier_of_photos_keeps_their_thumbnails(client):
    pytest.importorskip(
        "efficientnet_lite_pytorch", reason="needs the extra 'photos': pip install lgmnet[photos]"
    )
    rng = np.random.default_rng(0)

    def photo(red: int) -> bytes:
        pixels = rng.integers(0, 90, (60, 80, 3)) + np.array([red, 60, 150 - red])
        return encode_image(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), "PNG")

    files = [("images", (f"{i}.png", photo(150 * (i % 2)), "image/png")) for i in range(4)]
    data = {"labels": ["a", "b"] * 2, "model": "photos"}
    response = client.post("/v1/classifiers", files=files, data=data)
    assert response.status_code == 201, response.text
    classifier = response.json()
    assert classifier["kind"] == "photos"
    url = f"/v1/classifiers/{classifier['id']}"
    place = classifier["class_details"][1]["images"][0]["place"]
    thumbnail = client.get(f"{url}/images/{place}")
    assert thumbnail.headers["content-type"] == "image/webp"
    predictions = client.post(f"{url}/predict", files=files[:2]).json()["predictions"]
    assert [prediction["label"] for prediction in predictions] == ["a", "b"]
    # Thumbnails are part of the exported file, and go when their image is dropped.
    exported = client.get(f"{url}/export").content
    response = client.post("/v1/classifiers", files={"file": ("f.safetensors", exported)})
    assert response.status_code == 201, response.text
    copy = client.get(f"/v1/classifiers/{response.json()['id']}/images/{place}")
    assert copy.content == thumbnail.content
    dropped = client.patch(url, data={"drop": [place]}, headers={"If-Match": classifier["etag"]})
    assert dropped.json()["classes"] == {"a": 2, "b": 1}


def test_the_accuracy_is_estimated_with_its_interval(client, sky):
    images = drawings(3, 3)
    files = [("images", ("again.png", png(images[2, 0]), "image/png"))]
    grown = client.patch(
        f"/v1/classifiers/{sky['id']}",
        headers={"If-Match": sky["etag"]},
        files=files,
        data={"labels": ["moon"]},
    ).json()
    estimate = client.get(f"/v1/classifiers/{sky['id']}/estimate").json()
    assert estimate["etag"] == grown["etag"]
    assert estimate["asked"] == 7
    assert estimate["not_asked"] == estimate["copies"] == 0
    assert estimate["in_several_classes"] == [[3, 6]], "places of the image in two classes"
    low, high = estimate["interval"]
    assert 0 <= low <= estimate["accuracy"] <= high <= 100
    more = estimate["with_twice_the_images"]
    assert 0 <= more["interval"][0] <= more["accuracy"] <= more["interval"][1] <= 100
    assert client.get(f"/v1/classifiers/{'0' * 32}/estimate").status_code == 404
