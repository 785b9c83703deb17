"""Route that predicts the classes of images."""

from __future__ import annotations

import pytest

from tests.studio.conftest import queries
from tests.support.command_line import lgmnet
from tests.support.images import png_claiming


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
