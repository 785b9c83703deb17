"""The commands as processes: how they begin, end, and are refused."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.browser.conftest import Studio
from tests.cli.making import lgmnet


def ask(address: str, path: str, **headers: str) -> tuple[int, bytes]:
    request = urllib.request.Request(address + path, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.mark.slow
def test_serve_speaks_the_api_without_the_page_and_ends_with_code_0(tmp_path):
    running = Studio(tmp_path / "store", command="serve", LGMNET_TOKEN="s3cret")
    assert ask(running.address, "/readyz")[0] == 200
    assert ask(running.address, "/")[0] in (401, 404)
    assert ask(running.address, "/v1/models")[0] == 401
    code, body = ask(running.address, "/v1/models", Authorization="Bearer s3cret")
    assert code == 200
    assert {"omniglot", "photos"} <= {one["name"] for one in json.loads(body)}
    code, said = running.end(signal.SIGTERM)
    assert code == 0
    assert "Traceback" not in said


@pytest.mark.slow
def test_several_processes_share_the_work_and_one_that_dies_is_replaced(tmp_path):
    running = Studio(tmp_path / "store", "--workers", "2", command="serve")
    pid = running.process.pid

    def workers() -> list[int]:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        lines = {int(c): Path(f"/proc/{c}/cmdline").read_text() for c in children}
        return [c for c, line in lines.items() if "spawn_main" in line]

    first = workers()
    assert len(first) == 2
    request = urllib.request.Request(running.address + "/v1/examples/digits", method="POST")
    with urllib.request.urlopen(request, timeout=60) as answer:
        id = json.load(answer)["id"]
    for _ in range(20):
        assert ask(running.address, f"/v1/classifiers/{id}")[0] == 200
    counted = ask(running.address, "/metrics")[1].decode()
    found = 'method="GET",route="/v1/classifiers/{id}",status="200"} 20.0'
    assert found in counted, "whichever is asked counts for both"
    os.kill(first[0], signal.SIGKILL)
    deadline = time.monotonic() + 30
    while len(workers()) < 2 or first[0] in workers():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for _ in range(20):
        assert ask(running.address, f"/v1/classifiers/{id}")[0] == 200
    code, said = running.end()
    assert code == 0
    assert "Traceback" not in said


@pytest.mark.slow
def test_what_is_in_flight_is_finished_and_what_comes_then_is_told_so(tmp_path):
    """An export takes seconds; meanwhile the server is told to end."""
    running = Studio(tmp_path / "store")
    request = urllib.request.Request(running.address + "/v1/examples/digits", method="POST")
    with urllib.request.urlopen(request, timeout=60) as answer:
        id = json.load(answer)["id"]
    outcome: list[tuple[int, bytes]] = []
    path = f"/v1/classifiers/{id}/export?format=onnx"
    asking = threading.Thread(target=lambda: outcome.append(ask(running.address, path)))
    asking.start()
    time.sleep(1.0)
    assert asking.is_alive(), "the export was done before the server could be told to end"
    running.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    late, words = ask(running.address, "/v1/classifiers")
    assert late == 503
    assert "about to end" in json.loads(words)["detail"]
    asking.join()
    assert outcome[0][0] == 200
    assert len(outcome[0][1]) > 100_000
    running.process.wait(30)
    code, said = running.end()
    assert code == 0
    assert "Traceback" not in said


@pytest.mark.slow
def test_killed_while_it_serves_it_comes_back_with_all_that_it_acknowledged(tmp_path):
    acknowledged: set[str] = set()
    for _ in range(2):
        running = Studio(tmp_path / "store")

        def forge(address: str = running.address) -> None:
            request = urllib.request.Request(address + "/v1/examples/digits", method="POST")
            try:
                while True:
                    with urllib.request.urlopen(request, timeout=30) as answer:
                        acknowledged.add(json.load(answer)["id"])
            except OSError:
                return

        clients = [threading.Thread(target=forge) for _ in range(3)]
        for client in clients:
            client.start()
        before, deadline = len(acknowledged), time.monotonic() + 60
        while len(acknowledged) < before + 4 and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(running.process.pid, signal.SIGKILL)
        for client in clients:
            client.join()
        running.end()
    assert len(acknowledged) >= 8
    running = Studio(tmp_path / "store")
    for id in acknowledged:
        code, body = ask(running.address, f"/v1/classifiers/{id}")
        assert code == 200, body
        assert len(json.loads(body)["classes"]) == 10
    running.end()


def test_refused_before_anything_is_started(tmp_path, monkeypatch):
    monkeypatch.delenv("LGMNET_TOKEN", raising=False)
    store = tmp_path / "store"
    refused = lgmnet("serve", "--host", "0.0.0.0", "--store", store)
    assert refused.code == 2
    assert "Set LGMNET_TOKEN" in refused.err
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
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
