"""Thumbnails of support images."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from lgmnet.studio.thumbnails import encode_image
from tests.studio.conftest import form


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
    opened = client.post("/v1/classifiers", files={"file": ("f.safetensors", exported)}).json()
    copy = client.get(f"/v1/classifiers/{opened['id']}/images/{place}")
    assert copy.content == thumbnail.content
    dropped = client.patch(url, data={"drop": [place]}, headers={"If-Match": classifier["etag"]})
    assert dropped.json()["classes"] == {"a": 2, "b": 1}
