"""Requests generated from the OpenAPI schema never make the service fail (schemathesis)."""

from __future__ import annotations

import itertools
import warnings

import pytest
from hypothesis import HealthCheck, given, settings
from starlette.testclient import TestClient

from lgmnet.studio.app import Settings, create_app
from lgmnet.studio.store import store_urls
from tests.studio.conftest import LIMITS, form

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    from schemathesis.checks import not_a_server_error

pytestmark = pytest.mark.filterwarnings("ignore")

RESPONSE_SECONDS = 250
"""Time for one response, a little less than that of a whole test."""
OPERATIONS = [
    ("post", "/v1/classifiers"),
    ("get", "/v1/classifiers"),
    ("get", "/v1/classifiers/{id}"),
    ("patch", "/v1/classifiers/{id}"),
    ("delete", "/v1/classifiers/{id}"),
    ("post", "/v1/classifiers/{id}/undo"),
    ("post", "/v1/classifiers/{id}/redo"),
    ("post", "/v1/classifiers/{id}/restore"),
    ("post", "/v1/classifiers/{id}/predict"),
    ("get", "/v1/classifiers/{id}/estimate"),
    ("get", "/v1/classifiers/{id}/export"),
    ("get", "/v1/classifiers/{id}/snippet"),
    ("get", "/v1/classifiers/{id}/images/{place}"),
    ("get", "/v1/models"),
    ("post", "/v1/examples/digits"),
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", "/metrics"),
]


@pytest.fixture(scope="module")
def app_and_id(tmp_path_factory, tiny):
    """Application with a classifier, and the classifier's id."""
    urls = store_urls(tmp_path_factory.mktemp("fuzz"))
    app = create_app(Settings(*urls, [str(tiny)], LIMITS))
    with TestClient(app) as client:
        response = client.post("/v1/classifiers", **form({"a": 1, "b": 2}, model="tiny"))
    return app, response.json()["id"]  # Each request of schemathesis starts and stops the app.


def test_all_operations_are_listed(app_and_id):
    app, _ = app_and_id
    paths = app.openapi()["paths"]
    assert {(method, path) for path in paths for method in paths[path]} == set(OPERATIONS)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_no_request_makes_the_service_fail(method, path, app_and_id):
    app, id = app_and_id
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    operation = schema[path][method.upper()]
    is_expensive = "export" in path or "digits" in path

    @settings(
        max_examples=8 if is_expensive else 200,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def send(case) -> None:
        if "{id}" in path and method != "delete" and next(counter) % 4:
            case.path_parameters["id"] = id  # Most requests go to the classifier that exists.
            if method == "patch" or path.endswith("do"):
                case.headers = {**(case.headers or {}), "If-Match": "*"}
        # Schemathesis waits for 10 seconds only; a busy machine may need more.
        response = case.call(timeout=RESPONSE_SECONDS)
        case.validate_response(response, checks=[not_a_server_error])

    counter = itertools.count(1)
    send()
