"""The model of a classifier: chosen anew while it has few classes, and switched at any time."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lgmnet.classifier.thumbnails import encode_image
from lgmnet.studio.pictures import MAX_PICTURE_RATIO, PICTURE_SIDE, encode_picture
from tests.studio.conftest import form, png
from tests.support.models import drawings

pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra 'photos'")


def scene(seed: int) -> bytes:
    """Encode a colourful picture of many tones."""
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    image = Image.fromarray(pixels).resize((300, 240), Image.Resampling.BICUBIC)
    return encode_image(image, "JPEG")


def labelled(images: list[tuple[str, bytes]], **fields: Any) -> dict[str, Any]:
    """Make the arguments of a request with these labelled images."""
    files = [
        ("images", (f"{i}", data, "application/octet-stream")) for i, (_, data) in enumerate(images)
    ]
    return {"files": files, "data": {"labels": [label for label, _ in images], **fields}}


def edit(client, classifier, code: int = 200, **request: Any) -> dict[str, Any]:
    response = client.patch(
        f"/v1/classifiers/{classifier['id']}", headers={"If-Match": classifier["etag"]}, **request
    )
    assert response.status_code == code, response.text
    result: dict[str, Any] = response.json()
    return result


def answer(client, classifier, data: bytes) -> str:
    files = [("images", ("query", data, "application/octet-stream"))]
    response = client.post(f"/v1/classifiers/{classifier['id']}/predict", files=files)
    label: str = response.json()["predictions"][0]["label"]
    return label


def test_the_model_is_chosen_anew_while_there_are_two_classes(client):
    """Two drawings came first; the photos of the other classes decide."""
    made = client.post("/v1/classifiers", **form({"moon": 1, "star": 1})).json()
    assert (made["model"], made["kind"]) == ("omniglot", "drawings")
    photos = [(name, scene(i)) for name in ("sky", "sea") for i in range(3)]
    grown = edit(client, made, **labelled(photos))
    assert (grown["model"], grown["kind"]) == ("photos", "photos")
    assert grown["model_reason"].startswith("photos: ")
    assert grown["classes"] == {"moon": 1, "star": 1, "sky": 3, "sea": 3}
    for place in range(8):
        picture = client.get(f"/v1/classifiers/{made['id']}/images/{place}")
        assert picture.headers["content-type"] == "image/webp"
    ink = [("sun", png(image)) for image in drawings(1, 20, seed=3)[0][:12]]
    again = edit(client, grown, **labelled(ink))
    assert again["model"] == "photos", "four classes are enough to be sure"
    assert again["model_reason"] is None


def test_the_model_can_be_switched_at_any_time(client):
    classes = {"moon": 2, "star": 2, "sun": 1}
    made = client.post("/v1/classifiers", **form(classes, name="sky")).json()
    direct = client.post("/v1/classifiers", **form(classes, model="photos")).json()
    switched = edit(client, made, data={"model": "photos"})
    assert (switched["model"], switched["name"]) == ("photos", "sky")
    assert switched["classes"] == classes
    images = drawings(3, 2)
    for image in images[:, 0]:
        assert answer(client, switched, png(image)) == answer(client, direct, png(image))
    back = edit(client, switched, data={"model": "auto"})
    assert back["model"] == "omniglot"
    original = client.post("/v1/classifiers", **form(classes)).json()
    for image in images[:, 0]:
        assert answer(client, back, png(image)) == answer(client, original, png(image))
    combined = edit(client, back, data={"model": "tiny", "drop": [0], "remove": ["sun"]})
    assert combined["classes"] == {"moon": 1, "star": 2}
    assert combined["model"] == "tiny"
    edit(client, combined, 422, data={"model": "absent"})
    edit(client, combined, 422, data={"model": "vectors"})


def test_a_chosen_model_stays(client):
    made = client.post("/v1/classifiers", **form({"a": 1, "b": 1}, model="omniglot")).json()
    grown = edit(client, made, **labelled([("c", scene(i)) for i in range(5)]))
    assert grown["model"] == "omniglot"


def test_a_classifier_from_elsewhere_keeps_its_model(client, tmp_path, tiny):
    """It has no pictures, and the message says so."""
    from tests.support.command_line import lgmnet
    from tests.support.images import symbols

    folder, file = symbols(tmp_path / "s", {"a": 1, "b": 1}), tmp_path / "c.safetensors"
    assert lgmnet("forge", folder, "-o", file, "--model", tiny).code == 0
    made = client.post("/v1/classifiers", files=[("file", ("c", file.read_bytes()))]).json()
    problem = edit(client, made, 422, data={"model": "photos"})
    assert "holds none of 'a/0.png'" in json.dumps(problem)
    assert edit(client, made, **labelled([("c", scene(0))]))["model"] == "tiny"


def test_pictures_are_small():
    wide = Image.new("RGB", (5000, 400))
    picture = Image.open(io.BytesIO(encode_picture(wide)))
    assert picture.size == (PICTURE_SIDE * MAX_PICTURE_RATIO, PICTURE_SIDE)
    small = Image.open(io.BytesIO(encode_picture(Image.new("LA", (30, 40)))))
    assert small.size == (30, 40)
