"""Routes that report the models and the state of the server, and its documentation."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from starlette.testclient import TestClient

import lgmnet.studio
from lgmnet.data.images.pixels import IMAGE_SUFFIXES
from lgmnet.studio.app import create_app
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


def test_names_in_the_schema_suit_generated_clients(client):
    schema = client.get("/openapi.json").json()
    names = schema["components"]["schemas"]
    assert {"Classifier", "ClassifierSummary", "Model", "Prediction", "Error"} <= names.keys()
    assert {"CreateClassifierRequest", "UpdateClassifierRequest", "PredictRequest"} <= names.keys()
    for name, component in names.items():
        assert re.fullmatch(r"([A-Z][a-z]+)+", name)
        assert component["title"] == name
        assert not name.endswith("Out")
    operations = [
        operation["operationId"] for path in schema["paths"].values() for operation in path.values()
    ]
    assert len(set(operations)) == len(operations)
    assert {"create_classifier", "list_classifiers", "predict", "undo"} <= set(operations)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", operation) for operation in operations)
    assert client.get("/openapi.json").json() == schema
    text = client.get("/openapi.json").text
    for reference in re.findall(r"#/components/schemas/(\w+)", text):
        assert reference in names


def test_a_server_without_the_page_links_to_its_documentation(settings):
    settings = dataclasses.replace(settings, page=False, token="s3cret")
    with TestClient(create_app(settings)) as client:
        home = client.get("/")
        assert home.status_code == 200
        links = re.findall(r"href='(.*?)'", home.text)
        assert links == ["/docs", "/openapi.json"]
        assert all(client.get(link).status_code == 200 for link in links)
        assert client.get("/static/studio.js").status_code in (401, 404)


def test_the_page_takes_every_file_that_is_read():
    """What is in a zip and has another suffix is left out there without a word."""
    script = Path(lgmnet.studio.__path__[0]) / "page" / "files.js"
    pattern = re.search(r"const IMAGE_NAME =\s*/(.+)/i;", script.read_text("utf-8"))
    assert pattern is not None
    is_image = re.compile(pattern[1], re.IGNORECASE)
    assert [suffix for suffix in sorted(IMAGE_SUFFIXES) if not is_image.search(f"a{suffix}")] == []
    assert not is_image.search("notes.txt")
