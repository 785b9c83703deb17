"""The commands as processes: how they start and stop, and when they refuse to start."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from lgmnet.errors import UserError
from lgmnet.studio.app import Settings
from lgmnet.studio.process import open_listening_socket, run_many
from lgmnet.studio.store import store_urls
from tests.browser.conftest import Studio
from tests.support.command_line import lgmnet


def fetch(address: str, path: str, **headers: str) -> tuple[int, bytes]:
    """Return the status code and the body of a response."""
    request = urllib.request.Request(address + path, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def fit_digits(address: str) -> str:
    """Fit the example, and return the id of its classifier."""
    request = urllib.request.Request(address + "/v1/examples/digits", method="POST")
    with urllib.request.urlopen(request, timeout=60) as response:
        id: str = json.load(response)["id"]
    return id


@pytest.mark.slow
def test_serve_has_the_api_without_the_page_and_stops_with_code_0(tmp_path):
    server = Studio(tmp_path / "store", command="serve", LGMNET_TOKEN="s3cret")
    assert fetch(server.address, "/readyz")[0] == 200
    code, page = fetch(server.address, "/")
    assert code == 200
    assert b"/docs" in page
    assert b"<script" not in page, "not the page of the studio"
    assert fetch(server.address, "/v1/models")[0] == 401
    code, body = fetch(server.address, "/v1/models", Authorization="Bearer s3cret")
    assert code == 200
    assert {"omniglot", "photos"} <= {model["name"] for model in json.loads(body)}
    code, stderr = server.stop(signal.SIGTERM)
    assert code == 0
    assert "Traceback" not in stderr


@pytest.mark.slow
def test_workers_share_the_work_and_one_that_dies_is_replaced(tmp_path):
    server = Studio(tmp_path / "store", "--workers", "2", command="serve")
    first = workers_of(server.process.pid)
    assert len(first) == 2
    id = fit_digits(server.address)
    for _ in range(20):
        assert fetch(server.address, f"/v1/classifiers/{id}")[0] == 200
    metrics = fetch(server.address, "/metrics")[1].decode()
    expected = 'method="GET",route="/v1/classifiers/{id}",status="200"} 20.0'
    assert expected in metrics, "either worker reports the requests of both"
    os.kill(first[0], signal.SIGKILL)
    wait_until(lambda: len(now := workers_of(server.process.pid)) == 2 and first[0] not in now)
    for _ in range(20):
        assert fetch(server.address, f"/v1/classifiers/{id}")[0] == 200
    code, stderr = server.stop()
    assert code == 0
    assert "Traceback" not in stderr


@pytest.mark.slow
def test_workers_stop_when_their_parent_is_killed(tmp_path):
    server = Studio(tmp_path / "store", "--workers", "2", command="serve")
    workers = workers_of(server.process.pid)
    assert len(workers) == 2
    server.stop(signal.SIGKILL)
    wait_until(lambda: not any(is_running(pid) for pid in workers))


@pytest.mark.slow
def test_a_worker_that_ends_before_it_serves_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")  # `run_many` sets it; this restores it.
    settings = Settings(*store_urls(tmp_path / "store"), ["nosuch"])
    with (
        open_listening_socket("127.0.0.1", 0) as sock,
        pytest.raises(UserError, match="ended before it could serve"),
    ):
        run_many(settings, sock, lambda: pytest.fail("no worker can serve"), workers=2)


@pytest.mark.slow
def test_at_shutdown_an_export_in_progress_finishes_and_new_requests_are_refused(tmp_path):
    """An export takes seconds; the server is told to stop while it runs."""
    server = Studio(tmp_path / "store")
    id = fit_digits(server.address)
    responses: list[tuple[int, bytes]] = []
    path = f"/v1/classifiers/{id}/export?format=onnx"
    thread = threading.Thread(target=lambda: responses.append(fetch(server.address, path)))
    thread.start()
    time.sleep(1.0)
    assert thread.is_alive(), "the export was done before the server could be told to stop"
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    late, body = fetch(server.address, "/v1/classifiers")
    assert late == 503
    assert "shutting down" in json.loads(body)["detail"]
    thread.join()
    assert responses[0][0] == 200
    assert len(responses[0][1]) > 100_000
    server.process.wait(30)
    code, stderr = server.stop()
    assert code == 0
    assert "Traceback" not in stderr


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_when_the_server_is_killed(tmp_path):
    acknowledged: set[str] = set()
    for _ in range(2):
        server = Studio(tmp_path / "store")

        def fit_until_killed(address: str = server.address) -> None:
            try:
                while True:
                    acknowledged.add(fit_digits(address))
            except OSError:
                return

        clients = [threading.Thread(target=fit_until_killed) for _ in range(3)]
        for client in clients:
            client.start()
        n_before, deadline = len(acknowledged), time.monotonic() + 60
        while len(acknowledged) < n_before + 4 and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(server.process.pid, signal.SIGKILL)
        for client in clients:
            client.join()
        server.stop()
    assert len(acknowledged) >= 8
    server = Studio(tmp_path / "store")
    for id in acknowledged:
        code, body = fetch(server.address, f"/v1/classifiers/{id}")
        assert code == 200, body
        assert len(json.loads(body)["classes"]) == 10
    server.stop()


def test_mistakes_are_refused_before_anything_starts(tmp_path, monkeypatch):
    monkeypatch.delenv("LGMNET_TOKEN", raising=False)
    store = tmp_path / "store"
    refused = lgmnet("serve", "--host", "0.0.0.0", "--store", store)
    assert refused.code == 2
    assert "Set LGMNET_TOKEN" in refused.err
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        refused = lgmnet("studio", "--port", port, "--store", store, "--no-browser")
    assert refused.code == 2
    assert f"port {port}" in refused.err
    refused = lgmnet("serve", "--database", "sqlite:///x", "--port", 0)
    assert refused.code == 2
    assert "--database URL and --files URL together" in " ".join(refused.err.split())
    (tmp_path / "file").write_text("in the way")
    refused = lgmnet("serve", "--port", 0, "--store", tmp_path / "file")
    assert refused.code == 2
    assert "cannot be used" in refused.err
    refused = lgmnet("serve", "--port", 0, "--store", store, "--model", "nosuch")
    assert refused.code == 2
    assert "nosuch" in refused.err
    assert not Path("x").exists()


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def workers_of(pid: int) -> list[int]:
    """Return the processes that a server has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    commands = {int(child): Path(f"/proc/{child}/cmdline").read_text() for child in children}
    return [child for child, command in commands.items() if "spawn_main" in command]


def is_running(pid: int) -> bool:
    """Return True if a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
