"""Whatever is sent that the OpenAPI allows, or nearly, the service never fails (schemathesis)."""

from __future__ import annotations

import itertools
import warnings

import pytest
from hypothesis import HealthCheck, given, settings
from starlette.testclient import TestClient

from lgmnet.studio.app import create_app
from tests.studio.conftest import form

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    from schemathesis.checks import not_a_server_error

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory, tiny_folder):
    """A schema of a service that has a classifier, and its id."""
    from lgmnet.studio.app import Settings
    from lgmnet.studio.store import urls_in
    from tests.studio.conftest import LIMITS

    kept = urls_in(tmp_path_factory.mktemp("fuzzed"))
    app = create_app(Settings(*kept, [str(tiny_folder)], LIMITS))
    with TestClient(app) as client:
        made = client.post("/v1/classifiers", **form({"a": 1, "b": 2}, model="tiny")).json()
    return app, made  # What is sent begins and ends the app anew.


def operations() -> list[tuple[str, str]]:
    """All routes, as the app lists them."""
    return [
        ("post", "/v1/classifiers"),
        ("get", "/v1/classifiers"),
        ("get", "/v1/classifiers/{id}"),
        ("patch", "/v1/classifiers/{id}"),
        ("delete", "/v1/classifiers/{id}"),
        ("post", "/v1/classifiers/{id}/predict"),
        ("get", "/v1/classifiers/{id}/export"),
        ("get", "/v1/classifiers/{id}/snippet"),
        ("get", "/v1/classifiers/{id}/images/{place}"),
        ("get", "/v1/models"),
        ("post", "/v1/examples/digits"),
        ("get", "/healthz"),
        ("get", "/readyz"),
        ("get", "/metrics"),
    ]


def test_all_routes_are_fuzzed(fuzzed):
    app, _ = fuzzed
    listed = {(m, p) for p, of in app.openapi()["paths"].items() for m in of}
    assert listed == set(operations())


@pytest.mark.slow
@pytest.mark.parametrize(("method", "path"), operations())
def test_no_request_makes_it_fail(method, path, fuzzed):
    app, made = fuzzed
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    operation = schema[path][method.upper()]
    few = 8 if "export" in path or "digits" in path else 200

    @settings(
        max_examples=few,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def ask(case) -> None:
        if "{id}" in path and method != "delete" and next(turns) % 4:
            case.path_parameters["id"] = made["id"]  # Most go to a classifier that is there.
            if method == "patch":
                case.headers = {**(case.headers or {}), "If-Match": "*"}
        response = case.call()
        case.validate_response(response, checks=[not_a_server_error])

    turns = itertools.count(1)
    ask()
