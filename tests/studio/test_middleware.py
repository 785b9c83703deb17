"""Access, limits and shutdown: who may use the server, how much at a time, and until when."""

from __future__ import annotations

import dataclasses
import re
import threading
import time

import pytest
from starlette.testclient import TestClient

from lgmnet.errors import ConfigError, UserError
from lgmnet.studio.app import create_app
from lgmnet.studio.middleware import is_loopback
from lgmnet.studio.process import check_address, open_listening_socket
from lgmnet.studio.routes.server import PAGE_FOLDER
from tests.studio.conftest import block, form, queries


@pytest.fixture
def guarded(settings):
    """Client of a server that needs a token and knows its names."""
    settings = dataclasses.replace(settings, token="s3cret", hosts=["testserver", "127.0.0.1"])
    with TestClient(create_app(settings)) as client:
        yield client


def test_classifiers_are_hidden_without_the_token(guarded):
    right, wrong = {"Authorization": "Bearer s3cret"}, {"Authorization": "Bearer s3cre"}
    for path in ("/v1/classifiers", "/v1/models", "/metrics"):
        for headers in ({}, wrong, {"Authorization": "s3cret "}):
            response = guarded.get(path, headers=headers)
            assert response.status_code == 401
            assert response.headers["www-authenticate"] == "Bearer"
            assert "token" in response.json()["detail"]
        assert guarded.get(path, headers=right).status_code == 200
    assert guarded.post("/v1/classifiers", **form({"a": 1, "b": 1})).status_code == 401
    for path in ("/", "/static/studio.js", "/healthz", "/readyz", "/docs"):
        assert guarded.get(path).status_code == 200


def test_unknown_host_names_and_pages_of_other_sites_are_refused(guarded):
    token = {"Authorization": "Bearer s3cret"}
    rebound = guarded.get("/v1/classifiers", headers={**token, "Host": "evil.example"})
    assert rebound.status_code == 421
    assert "not known as 'evil.example'" in rebound.json()["detail"]
    other_site = {**token, "Origin": "http://evil.example"}
    assert guarded.post("/v1/classifiers", headers=other_site).status_code == 403
    same_site = {**token, "Origin": "http://testserver"}
    assert guarded.get("/v1/classifiers", headers=same_site).status_code == 200
    with_port = {**token, "Host": "127.0.0.1:7860"}
    assert guarded.get("/v1/classifiers", headers=with_port).status_code == 200
    assert guarded.get("/v1/classifiers", headers={**token, "Origin": "null"}).status_code == 403
    both = [*token.items(), *same_site.items(), ("Origin", "http://evil.example")]
    assert guarded.get("/v1/classifiers", headers=both).status_code == 403


def test_the_page_loads_nothing_from_other_sites(client):
    page = client.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    scripts = [path.name for path in PAGE_FOLDER.glob("*.js")]
    assert "studio.js" in scripts
    for path in ("/", *(f"/static/{name}" for name in scripts)):
        text = client.get(path).text.replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text
        assert "https://" not in text
        assert "innerHTML" not in text, "labels are set as text"
        imported = re.findall(r'from "(.*?)"', text)
        assert {name.removeprefix("./") for name in imported} <= set(scripts)
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["x-frame-options"] == "DENY"


def test_a_body_that_exceeds_the_limit_is_cut_off(client):
    """Without a length in the headers, only counting the bytes tells."""
    n_sent = 0

    def chunks():
        nonlocal n_sent
        while n_sent < 10_000_000:
            n_sent += 65_536
            yield b"x" * 65_536

    response = client.post(
        "/v1/classifiers",
        content=chunks(),
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )
    assert response.status_code == 413
    assert "at most 4,000,000 bytes" in response.json()["detail"]
    assert client.app.state.limiter.in_flight == 0


def test_too_many_requests_at_a_time_are_refused(client, sky):
    limiter = client.app.state.limiter
    release = block(client.app.state.service.worker)
    url, codes = f"/v1/classifiers/{sky['id']}/predict", []
    threads = [
        threading.Thread(target=lambda: codes.append(client.post(url, files=queries()).status_code))
        for _ in range(limiter.max_in_flight)
    ]
    for thread in threads:
        thread.start()
    while limiter.in_flight < limiter.max_in_flight:
        time.sleep(0.01)
    refused = client.get("/v1/classifiers")
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "1"
    assert client.get("/healthz").status_code == 200, "health is reported when the server is busy"
    release.set()
    for thread in threads:
        thread.join()
    assert codes == [200] * limiter.max_in_flight
    assert client.get("/v1/classifiers").status_code == 200


def test_at_shutdown_new_requests_get_503_and_those_in_progress_finish(client, sky):
    limiter = client.app.state.limiter
    release = block(client.app.state.service.worker)
    responses = []
    url = f"/v1/classifiers/{sky['id']}/predict"
    thread = threading.Thread(target=lambda: responses.append(client.post(url, files=queries())))
    thread.start()
    while limiter.in_flight < 1:
        time.sleep(0.01)
    limiter.is_closing = True
    late = client.get("/v1/classifiers")
    assert late.status_code == 503
    assert "shutting down" in late.json()["detail"]
    assert client.get("/readyz").status_code == 503
    assert client.get("/healthz").status_code == 200
    release.set()
    thread.join()
    assert responses[0].status_code == 200
    assert limiter.in_flight == 0


def test_an_internal_error_shows_no_details(client, sky, monkeypatch):
    def fail(*_: object) -> None:
        raise RuntimeError("secret details")

    monkeypatch.setattr(client.app.state.service.worker, "submit_prediction", fail)
    other_client = TestClient(client.app, raise_server_exceptions=False)
    response = other_client.post(f"/v1/classifiers/{sky['id']}/predict", files=queries())
    assert response.status_code == 500
    assert "secret" not in response.text
    assert client.app.state.limiter.in_flight == 0


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.5", False),
        ("example.org", False),
    ],
)
def test_others_need_a_token_unless_the_user_allows_anyone(host, loopback):
    assert is_loopback(host) == loopback
    check_address(host, "token", allow_anyone=False)
    check_address(host, None, allow_anyone=True)
    if loopback:
        check_address(host, None, allow_anyone=False)
    else:
        with pytest.raises(ConfigError, match="Set LGMNET_TOKEN"):
            check_address(host, None, allow_anyone=False)


def test_a_port_in_use_is_reported():
    with open_listening_socket("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(UserError, match=rf"port {port}: .*--port"):
            open_listening_socket("127.0.0.1", port)
    with pytest.raises(UserError, match="Cannot listen on no such host"):
        open_listening_socket("no such host", 0)
