"""Routes that export classifiers."""

from __future__ import annotations

import json

import onnxruntime


def test_the_onnx_file_has_the_classes_and_runs(client, sky, tmp_path):
    response = client.get(f"/v1/classifiers/{sky['id']}/export", params={"format": "onnx"})
    assert response.status_code == 200
    assert response.headers["content-disposition"].endswith("''sky.onnx")
    (tmp_path / "m.onnx").write_bytes(response.content)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
    assert classes == list(sky["classes"])
    snippet = client.get(f"/v1/classifiers/{sky['id']}/snippet", params={"language": "python"})
    assert "onnxruntime" in snippet.json()["lines"]
