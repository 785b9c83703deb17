"""Who may ask, and how much: the token, names and origins, limits, and the end of the server."""

from __future__ import annotations

import dataclasses
import threading
import time

import pytest
from starlette.testclient import TestClient

from lgmnet.errors import ConfigError, UserError
from lgmnet.studio.app import create_app
from lgmnet.studio.middleware import is_loopback
from lgmnet.studio.process import check_address, listening
from tests.studio.conftest import asked, form


@pytest.fixture
def guarded(settings):
    """A server that asks for a token and knows its name."""
    wanted = dataclasses.replace(settings, token="s3cret", hosts=["testserver", "127.0.0.1"])
    with TestClient(create_app(wanted)) as made:
        yield made


def test_nothing_of_a_classifier_is_seen_without_the_token(guarded):
    right, wrong = {"Authorization": "Bearer s3cret"}, {"Authorization": "Bearer s3cre"}
    for path in ("/v1/classifiers", "/v1/models", "/metrics"):
        for headers in ({}, wrong, {"Authorization": "s3cret "}):
            answer = guarded.get(path, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert "token" in answer.json()["detail"]
        assert guarded.get(path, headers=right).status_code == 200
    assert guarded.post("/v1/classifiers", **form({"a": 1, "b": 1})).status_code == 401
    for path in ("/", "/static/studio.js", "/healthz", "/readyz", "/docs"):
        assert guarded.get(path).status_code == 200


def test_other_names_and_pages_of_other_sites_are_refused(guarded):
    headers = {"Authorization": "Bearer s3cret"}
    rebound = guarded.get("/v1/classifiers", headers={**headers, "Host": "evil.example"})
    assert rebound.status_code == 421
    assert "not known as 'evil.example'" in rebound.json()["detail"]
    other = {**headers, "Origin": "http://evil.example"}
    assert guarded.post("/v1/classifiers", headers=other).status_code == 403
    same = {**headers, "Origin": "http://testserver"}
    assert guarded.get("/v1/classifiers", headers=same).status_code == 200
    with_port = {**headers, "Host": "127.0.0.1:7860"}
    assert guarded.get("/v1/classifiers", headers=with_port).status_code == 200
    assert guarded.get("/v1/classifiers", headers={**headers, "Origin": "null"}).status_code == 403


def test_the_page_loads_nothing_from_elsewhere(client):
    page = client.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for path in ("/", "/static/studio.js", "/static/api.js", "/static/inputs.js"):
        text = client.get(path).text.replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text
        assert "https://" not in text
        assert "innerHTML" not in text, "labels are put in as text"
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["x-frame-options"] == "DENY"


def test_a_body_that_grows_beyond_the_limit_is_cut_off(client):
    """Without a length in its header: only counting tells."""
    sent = 0

    def endless():
        nonlocal sent
        while sent < 10_000_000:
            sent += 65_536
            yield b"x" * 65_536

    answer = client.post(
        "/v1/classifiers",
        content=endless(),
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )
    assert answer.status_code == 413
    assert "at most 4,000,000 bytes" in answer.json()["detail"]
    assert client.app.state.gate.in_flight == 0


def test_too_many_at_a_time_are_told_to_come_again(client, made):
    gate, service = client.app.state.gate, client.app.state.service
    hold, begun = threading.Event(), threading.Event()

    def busy() -> None:
        begun.set()
        hold.wait()

    service.worker.run(busy)
    begun.wait()
    url, codes = f"/v1/classifiers/{made['id']}/predict", []
    threads = [
        threading.Thread(target=lambda: codes.append(client.post(url, files=asked()).status_code))
        for _ in range(gate.most)
    ]
    for thread in threads:
        thread.start()
    while gate.in_flight < gate.most:
        time.sleep(0.01)
    refused = client.get("/v1/classifiers")
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "1"
    assert client.get("/healthz").status_code == 200, "it is alive all the same"
    hold.set()
    for thread in threads:
        thread.join()
    assert codes == [200] * gate.most
    assert client.get("/v1/classifiers").status_code == 200


def test_at_the_end_new_requests_get_503_and_those_in_flight_finish(client, made):
    gate, service = client.app.state.gate, client.app.state.service
    hold, begun, answers = threading.Event(), threading.Event(), []

    def busy() -> None:
        begun.set()
        hold.wait()

    service.worker.run(busy)
    begun.wait()
    url = f"/v1/classifiers/{made['id']}/predict"
    asking = threading.Thread(target=lambda: answers.append(client.post(url, files=asked())))
    asking.start()
    while gate.in_flight < 1:
        time.sleep(0.01)
    gate.closing = True
    late = client.get("/v1/classifiers")
    assert late.status_code == 503
    assert "about to end" in late.json()["detail"]
    assert client.get("/readyz").status_code == 503
    assert client.get("/healthz").status_code == 200
    hold.set()
    asking.join()
    assert answers[0].status_code == 200
    assert gate.in_flight == 0


def test_bombs_are_refused_by_name(client, made):
    from tests.cli.making import png_claiming

    files = [("images", ("bomb.png", png_claiming(9000, 9000), "image/png"))]
    answer = client.post(f"/v1/classifiers/{made['id']}/predict", files=files)
    assert answer.status_code == 200
    assert "'bomb.png'" in answer.json()["predictions"][0]["error"]
    assert "9000 x 9000 pixels" in answer.json()["predictions"][0]["error"]


def test_a_failure_of_our_own_is_a_sentence_too(client, made, monkeypatch):
    def broken(*_: object) -> None:
        raise RuntimeError("secret details")

    monkeypatch.setattr(client.app.state.service.worker, "ask", broken)
    quiet = TestClient(client.app, raise_server_exceptions=False)
    answer = quiet.post(f"/v1/classifiers/{made['id']}/predict", files=asked())
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert client.app.state.gate.in_flight == 0


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
def test_others_are_let_in_only_with_a_token_or_when_told_so(host, loopback):
    assert is_loopback(host) == loopback
    check_address(host, "token", anyone=False)
    check_address(host, None, anyone=True)
    if loopback:
        check_address(host, None, anyone=False)
    else:
        with pytest.raises(ConfigError, match="Set LGMNET_TOKEN"):
            check_address(host, None, anyone=False)


def test_a_port_that_is_taken_is_said():
    with listening("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(UserError, match=rf"port {port}: .*--port"):
            listening("127.0.0.1", port)
    with pytest.raises(UserError, match="Cannot listen on no such host"):
        listening("no such host", 0)
