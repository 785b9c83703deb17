"""The server keeps to HTTP: malformed headers, HEAD, conditional requests, status codes."""

from __future__ import annotations

import dataclasses
import re

import pytest
from starlette.testclient import TestClient

from lgmnet.studio.app import create_app
from tests.studio.conftest import form, png, queries
from tests.support.models import drawings

MALFORMED_HOSTS = ["[x", "[::1", "]", "a b", "a/b", "user@host", "h:port", "h:1:2", "é", "[::1]x"]


@pytest.fixture
def guarded(settings):
    """Client of a server that needs a token and knows its names."""
    settings = dataclasses.replace(settings, token="s3cret", hosts=["TestServer", "::1"])
    with TestClient(create_app(settings)) as client:
        yield client


@pytest.mark.parametrize("kind", ["client", "guarded"])
def test_a_malformed_host_is_400(request, kind):
    one = request.getfixturevalue(kind)
    for host in MALFORMED_HOSTS:
        for path in ("/v1/classifiers", "/v1/classifiers/", "/healthz", "/nosuch"):
            response = one.get(path, headers={"Host": host.encode()})
            assert response.status_code == 400
            assert response.json() == {"detail": "The header 'Host' is malformed."}


def test_two_hosts_are_400(client):
    headers = [("Host", "testserver"), ("Host", "evil.example")]
    assert client.get("/v1/classifiers", headers=headers).status_code == 400


@pytest.mark.parametrize("kind", ["client", "guarded"])
def test_a_malformed_origin_is_403(request, kind):
    one = request.getfixturevalue(kind)
    for origin in ("http://[", "http://[x]", "//", "null", "", "[", "http://é"):
        response = one.get("/v1/classifiers", headers={"Origin": origin.encode()})
        assert response.status_code == 403
        assert "other sites" in response.json()["detail"]


def test_names_of_hosts_are_compared_without_case(guarded):
    headers = {"Authorization": "Bearer s3cret", "Origin": "http://TESTSERVER"}
    assert guarded.get("/v1/models", headers={**headers, "Host": "testSERVER"}).status_code == 200
    del headers["Origin"]
    assert guarded.get("/v1/models", headers={**headers, "Host": "[::1]:80"}).status_code == 200


def test_the_token_needs_the_scheme_bearer(guarded):
    for wrong in ("s3cret", "Basic s3cret", "Bearer", "Bearers3cret", "é", "Bearer é"):
        response = guarded.get("/v1/classifiers", headers={"Authorization": wrong.encode()})
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
    for right in ("Bearer s3cret", "bearer s3cret", "BEARER  s3cret "):
        allowed = guarded.get("/v1/classifiers", headers={"Authorization": right})
        assert allowed.status_code == 200


def test_a_token_may_have_any_characters(settings):
    with TestClient(create_app(dataclasses.replace(settings, token="schlüssel"))) as client:
        headers = {b"Authorization": "Bearer schlüssel".encode()}
        assert client.get("/v1/classifiers", headers=headers).status_code == 200


def test_a_malformed_length_is_refused(client):
    for length, status in (("²", 400), ("x", 400), ("-1", 400), ("1e3", 400), ("9" * 5000, 413)):
        headers = {"Content-Length": length.encode()}
        assert client.get("/v1/classifiers", headers=headers).status_code == status


def test_made_up_methods_and_paths_make_no_new_labels_of_metrics(client, guarded, sky):
    for one in (client, guarded):
        for i in range(5):
            assert one.request(f"MADEUP{i}", f"/v1/classifiers/x{i}").status_code in (401, 405)
            assert one.get(f"/nosuch{i}").status_code in (401, 404)
            assert one.get(f"/static/nosuch{i}").status_code == 404
    text = client.get("/metrics").text
    labels = set(re.findall(r'method="(.*?)",route="(.*?)"', text))
    assert "MADEUP" not in text
    assert "nosuch" not in text
    routes = {*client.app.openapi()["paths"], "/", "/static", "other"}
    assert {method for method, _ in labels} <= {"GET", "POST", "other"}
    assert {route for _, route in labels} <= routes


def test_internal_errors_are_counted_and_have_the_form_of_all_errors(client, monkeypatch):
    monkeypatch.setattr(client.app.state.service.store, "page", None)
    quiet = TestClient(client.app, raise_server_exceptions=False)
    response = quiet.get("/v1/classifiers")
    assert response.status_code == 500
    assert response.json() == {"detail": "The server failed. Its log says why."}
    assert 'route="/v1/classifiers",status="500"} 1.0' in client.get("/metrics").text


def test_head_is_answered_like_get_without_the_content(client, sky):
    url = f"/v1/classifiers/{sky['id']}"
    paths = ["/", "/static/studio.js", "/docs", "/openapi.json", "/healthz", "/readyz", "/metrics"]
    paths += ["/v1/models", "/v1/classifiers", url, f"{url}/export", f"{url}/snippet"]
    paths += [f"{url}/images/0", f"{url}/images/99", "/nosuch", "/v1/examples/digits"]
    for path in paths:
        get, head = client.get(path), client.head(path)
        assert head.status_code == get.status_code, path
        assert head.content == b""
        assert head.headers["content-type"] == get.headers["content-type"]
        if path != "/metrics":  # It counts the request before.
            assert head.headers["content-length"] == str(len(get.content))
    assert client.head(url).headers["etag"] == f'"{sky["etag"]}"'


def test_405_names_all_methods_of_a_path(client, sky):
    allowed = {
        f"/v1/classifiers/{sky['id']}": {"GET", "HEAD", "PATCH", "DELETE"},
        "/v1/classifiers": {"GET", "HEAD", "POST"},
        "/v1/examples/digits": {"POST"},
        "/": {"GET", "HEAD"},
        "/static/studio.js": {"GET", "HEAD"},
    }
    for path, methods in allowed.items():
        response = client.put(path)
        assert response.status_code == 405
        assert set(response.headers["allow"].split(", ")) == methods


def test_get_with_if_none_match_is_304_while_the_version_is_the_same(client, sky):
    url = f"/v1/classifiers/{sky['id']}"
    etag = f'"{sky["etag"]}"'
    for path in (url, f"{url}/images/0", f"{url}/export"):
        assert client.get(path).headers["etag"] == etag
        for condition in (etag, f"W/{etag}", f'"x", {etag}', "*"):
            response = client.get(path, headers={"If-None-Match": condition})
            assert response.status_code == 304
            assert response.headers["etag"] == etag
            assert response.content == b""
            assert client.head(path, headers={"If-None-Match": condition}).status_code == 304
        assert client.get(path, headers={"If-None-Match": '"x"'}).status_code == 200
    client.patch(url, data={"name": "night"}, headers={"If-Match": etag})
    assert client.get(url, headers={"If-None-Match": etag}).status_code == 200
    missing = client.get(f"/v1/classifiers/{'0' * 32}", headers={"If-None-Match": "*"})
    assert missing.status_code == 404


def test_get_is_never_412(client, sky):
    url = f"/v1/classifiers/{sky['id']}"
    for path in (url, f"{url}/images/0", f"{url}/export", f"{url}/snippet"):
        for condition in ('"other"', "*"):
            assert client.get(path, headers={"If-Match": condition}).status_code == 200


def test_a_multipart_body_without_its_end_is_400(client, sky):
    """Otherwise the last image would be missing from the prediction, without a word."""
    head = b'--x\r\nContent-Disposition: form-data; name="images"; filename="i.png"\r\n\r\n'
    part = head + png(drawings(1, 1)[0, 0])
    two = part + b"\r\n" + part
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    url = f"/v1/classifiers/{sky['id']}/predict"
    for end in (b"", b"--x", b"--x-", b"\r\n--x", b"\r\n--x\r\n", b"\r\n--y--\r\n"):
        cut = client.post(url, content=two + end, headers=headers)
        assert cut.status_code == 400
        assert "closing boundary is missing" in cut.json()["detail"]
    for end in (b"\r\n--x--", b"\r\n--x--\r\n", b"\r\n--x--\r\nepilogue"):
        whole = client.post(url, content=two + end, headers=headers)
        assert whole.status_code == 200
        assert len(whole.json()["predictions"]) == 2


def test_an_empty_multipart_body_is_complete(client):
    headers = {"Content-Type": 'multipart/form-data; boundary="x"'}
    response = client.post("/v1/classifiers", content=b"--x--\r\n", headers=headers)
    assert response.status_code == 422
    assert "There are no images" in response.json()["detail"]


def test_a_label_that_shows_nothing_is_refused(client, sky):
    url = f"/v1/classifiers/{sky['id']}"
    match = {"If-Match": sky["etag"]}
    for label in ("", " ", "\t\n", "\u00a0", "\u200b", "\u2800 \u3164", "\ufeff"):
        created = client.post("/v1/classifiers", **form({"a": 1, label: 1}, model="tiny"))
        added = client.patch(url, **form({label: 1}), headers=match)
        renamed = client.patch(url, data={"rename": "moon", "to": label}, headers=match)
        named = client.patch(url, data={"name": label}, headers=match)
        for response in (created, added, renamed, named):
            assert response.status_code == 422, response.text
            assert "not blank" in response.json()["detail"]
    assert client.get(url).json()["etag"] == sky["etag"]


def test_predictions_of_no_image_are_refused(client, sky):
    url = f"/v1/classifiers/{sky['id']}/predict"
    assert client.post(url).status_code == 422
    assert client.post(url, files=queries()).status_code == 200
