"""Routes that report the models and the state of the server, and its documentation."""

from __future__ import annotations

import re

from tests.studio.conftest import queries


def test_health_models_metrics_and_documentation(client, sky):
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}
    models = {model["name"]: model for model in client.get("/v1/models").json()}
    assert models["tiny"]["available"] is True
    assert models["omniglot"]["kind"] == "drawings"
    assert "vectors" not in models
    client.post(f"/v1/classifiers/{sky['id']}/predict", files=queries(3))
    metrics = client.get("/metrics").text
    route = 'method="POST",route="/v1/classifiers/{id}/predict",status="200"'
    assert f"lgmnet_requests_total{{{route}}} 1.0" in metrics
    assert "lgmnet_images_answered_total 3.0" in metrics
    assert "lgmnet_predict_jobs_per_pass_sum 1.0" in metrics
    docs = client.get("/docs").text
    assert "//" not in re.sub(r"(src|href)=\"/[^/]", "", docs).replace("// ", "")
    assert client.get("/openapi.json").json()["paths"]["/v1/classifiers/{id}"].keys() == {
        "get",
        "patch",
        "delete",
    }
