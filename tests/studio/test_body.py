"""Slow clients hold no place of others, and the server ends although requests are in progress."""

from __future__ import annotations

import asyncio
import dataclasses
import http.client
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from starlette.types import Message

from lgmnet.studio import process
from lgmnet.studio.app import Settings, create_app
from lgmnet.studio.body import MAX_WAITING_BODIES, MIN_WINDOW_BYTES, BodyError, BodyReader
from lgmnet.studio.process import Server, create_server, open_listening_socket
from tests.studio.conftest import form
from tests.studio.test_process import wait_until

SLOW_HEAD = (
    b"POST /v1/classifiers HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n"
    b"Content-Type: multipart/form-data; boundary=x\r\n\r\n-"
)


@contextmanager
def serving(settings: Settings) -> Iterator[tuple[Server, int]]:
    """Serve in a thread of this process, and give the server and its port."""
    app = create_app(settings)
    has_started = threading.Event()
    server = create_server(app, has_started.set)
    with open_listening_socket("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        thread = threading.Thread(target=server.run, args=([sock],))
        thread.start()
        assert has_started.wait(60)
        try:
            yield server, port
        finally:
            server.should_exit = True
            thread.join()


def fetch(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, body


def send_slowly(port: int, data: bytes = SLOW_HEAD) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=60)
    sock.sendall(data)
    return sock


def read_status(sock: socket.socket) -> int:
    response = http.client.HTTPResponse(sock)
    response.begin()
    response.read()
    sock.close()
    return response.status


def test_slow_clients_hold_no_place_and_get_408(settings):
    limits = dataclasses.replace(settings.limits, body_seconds=1.0)
    with serving(dataclasses.replace(settings, limits=limits)) as (server, port):
        slow = [send_slowly(port) for _ in range(3 * limits.max_in_flight)]
        wait_until(lambda: server.bodies.n_bytes == len(slow))
        assert fetch(port, "/v1/classifiers")[0] == 200
        assert [read_status(sock) for sock in slow] == [408] * len(slow)
        assert server.bodies.n_bytes == 0


def test_clients_that_read_slowly_hold_no_place(settings):
    """The page of the API's documentation is public, and too large for the buffers of sockets."""
    limits = dataclasses.replace(settings.limits, max_in_flight=2)
    request = b"GET /static-offline-docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with serving(dataclasses.replace(settings, limits=limits)) as (server, port):
        slow = []
        for _ in range(4):
            slow.append(send_slowly(port, request))
            assert slow[-1].recv(12) == b"HTTP/1.1 200"
        assert fetch(port, "/v1/classifiers")[0] == 200
        assert server.limiter.in_flight == 0
        for sock in slow:
            sock.close()


def test_clients_that_leave_in_the_middle_leave_nothing_behind(settings):
    with serving(settings) as (server, port):
        slow = [send_slowly(port) for _ in range(4)]
        wait_until(lambda: server.bodies.n_bytes == 4)
        for sock in slow:
            sock.close()
        wait_until(lambda: server.bodies.n_bytes == 0)
        metrics = fetch(port, "/metrics")[1].decode()
        assert 'method="POST",route="other",status="499"} 4.0' in metrics


def test_at_shutdown_bodies_on_their_way_are_refused_at_once(settings):
    with serving(settings) as (server, port):
        slow = send_slowly(port)
        wait_until(lambda: server.bodies.n_bytes == 1)
        server.handle_exit(signal.SIGTERM, None)
        assert read_status(slow) == 503


def test_at_shutdown_an_export_that_takes_too_long_gets_503(settings, monkeypatch):
    """The server waits for requests in progress, but not for ever; nobody gets 500."""
    monkeypatch.setattr(process, "SHUTDOWN_TIMEOUT", 0.5)
    with serving(settings) as (server, port):
        address = f"http://127.0.0.1:{port}/v1/classifiers"
        id = httpx.post(address, **form({"a": 1, "b": 1}, model="tiny")).json()["id"]
        release = threading.Event()
        monkeypatch.setattr("lgmnet.classifier.export.export", lambda *_: release.wait())
        responses: list[tuple[int, bytes]] = []
        path = f"/v1/classifiers/{id}/export?format=onnx"
        threads = [
            threading.Thread(target=lambda: responses.append(fetch(port, path))) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        wait_until(lambda: server.limiter.in_flight == 3)
        server.handle_exit(signal.SIGTERM, None)
        for thread in threads:
            thread.join()
        release.set()
    assert [status for status, _ in responses] == [503] * 3
    assert all(b"shutting down" in body for _, body in responses)


def read(reader: BodyReader, *chunks: bytes, pause: float = 0.0) -> bytes:
    """Read a body that comes in chunks, and then no more unless the last one is empty."""

    async def run() -> bytes:
        waiting = [*chunks]

        async def receive() -> Message:
            if not waiting:
                await asyncio.Event().wait()
            await asyncio.sleep(pause)
            chunk = waiting.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": chunk != b""}

        return await reader.read(receive)

    return asyncio.run(run())


def test_a_body_that_keeps_coming_may_take_longer_than_one_window():
    part = b"x" * MIN_WINDOW_BYTES
    reader = BodyReader(1_000_000, window=0.2)
    assert read(reader, *[part] * 8, b"", pause=0.05) == part * 8
    assert reader.n_bytes == 0


def test_a_trickle_is_refused():
    reader = BodyReader(1_000_000, window=0.2)
    with pytest.raises(BodyError, match=r"expected 10,000 bytes in 0\.2 seconds") as caught:
        read(reader, *[b"x"] * 1000, b"", pause=0.01)
    assert caught.value.status == 408
    assert reader.n_bytes == 0


def test_bodies_that_arrive_together_fill_a_limited_memory():
    reader = BodyReader(1000, window=60.0)
    reader.n_bytes = MAX_WAITING_BODIES * 1000  # What the others hold.
    with pytest.raises(BodyError, match="Too many requests") as caught:
        read(reader, b"x", b"")
    assert caught.value.status == 429
    assert read(reader, b"") == b"", "a body that has arrived is not refused"
