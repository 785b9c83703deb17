"""Predictions, pictures and the estimated accuracy of a classifier."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from lgmnet.classifier.thumbnails import encode_image
from tests.studio.conftest import form, png, queries
from tests.support.command_line import lgmnet
from tests.support.images import png_claiming
from tests.support.models import drawings


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
