"""What every request passes first: who may ask, how much at a time, and what is counted."""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

OPEN = ("/", "/static/", "/docs", "/static-offline-docs/", "/openapi.json", "/healthz", "/readyz")
"""What may be seen without the token: the page itself, but no classifier."""
UNCOUNTED = ("/healthz", "/readyz", "/metrics")
"""What is answered however much there is to do."""
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self'; manifest-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
"""For the page: nothing from elsewhere, and no script but its own file."""


class Metrics:
    """What is counted, for Prometheus."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        made: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter(
            "lgmnet_requests", "Requests answered.", ["method", "route", "status"], **made
        )
        self.seconds = Histogram(
            "lgmnet_request_seconds", "From a request to its answer.", ["route"], **made
        )
        self.in_flight = Gauge(
            "lgmnet_requests_in_flight",
            "Requests being worked on.",
            multiprocess_mode="livesum",
            **made,
        )
        self.images = Counter("lgmnet_images_answered", "Images that were answered.", **made)
        self.together = Histogram(
            "lgmnet_questions_together",
            "Predictions answered in one pass of a network.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            **made,
        )

    def text(self) -> bytes:
        """All counts; of all processes, where several share the work."""
        registry = self.registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    def answered(self, samples: int, asked: int) -> None:
        """Count a pass through a network."""
        self.images.inc(samples)
        self.together.observe(asked)


@dataclass
class Gate:
    """How many requests are being worked on, and whether new ones are let in."""

    most: int
    in_flight: int = 0
    closing: bool = False
    empty: asyncio.Event = field(default_factory=asyncio.Event)


class Guard:
    """Refuses what must not come in, counts what does.

    Args:
        app: What it guards.
        gate: Shared with whoever ends the server.
        metrics: To count in.
        body: Most bytes of a request.
        token: That everyone must show; None for nobody.
        hosts: Names under which the server may be spoken to, or none for any. A page of another
            site that has its name point here (DNS rebinding) is not let in by this.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        gate: Gate,
        metrics: Metrics,
        body: int,
        token: str | None,
        hosts: Sequence[str] = (),
    ) -> None:
        self.app, self.gate, self.metrics = app, gate, metrics
        self.body, self.token, self.hosts = body, token, tuple(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer why not."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        answer = Answering(send)
        path: str = scope["path"]
        refusal = self.refusal(scope)
        if refusal is not None:
            await refuse(answer, *refusal)
        elif path in UNCOUNTED:
            await self.app(scope, receive, answer)
        elif self.gate.closing:
            await refuse(answer, 503, "The server is about to end; try again soon.", retry=True)
        elif self.gate.in_flight >= self.gate.most:
            await refuse(answer, 429, "Too many requests at a time; try again soon.", retry=True)
        else:
            await self.let_in(scope, receive, answer)
        route = getattr(scope.get("route"), "path", "other")
        self.metrics.requests.labels(scope["method"], route, str(answer.status)).inc()
        self.metrics.seconds.labels(route).observe(time.perf_counter() - started)

    async def let_in(self, scope: Scope, receive: Receive, answer: Answering) -> None:
        """Work on a request, as long as it is not larger than it may be."""
        self.gate.in_flight += 1
        self.metrics.in_flight.set(self.gate.in_flight)
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.body:
                answer.instead = self.too_large()
                return {"type": "http.disconnect"}
            return message

        try:
            await self.app(scope, limited, answer)
            await answer.end()
        finally:
            self.gate.in_flight -= 1
            self.metrics.in_flight.set(self.gate.in_flight)
            if self.gate.in_flight == 0:
                self.gate.empty.set()

    def refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Why a request is not even looked at, if it is not."""
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        host = headers.get("host", "")
        if self.hosts and name_of(host) not in self.hosts:
            return 421, f"This server is not known as '{host}'; allow the name with --host-name."
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return 403, "Pages of other sites may not use this server."
        if self.token is not None and not is_open(scope["path"]):
            given = headers.get("authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode(), self.token.encode()):
                return 401, "A token is needed: send the header 'Authorization: Bearer TOKEN'."
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > self.body:
            return self.too_large()
        return None

    def too_large(self) -> tuple[int, str]:
        """The answer to a request with too much in it."""
        return 413, f"A request has at most {self.body:,} bytes; send the images in several."


class Answering:
    """Sends an answer on, with the headers that all have; or another in its stead."""

    def __init__(self, send: Send) -> None:
        self.send = send
        self.status = 500
        self.begun = False
        self.instead: tuple[int, str] | None = None

    async def __call__(self, message: Message) -> None:
        """Send a part of the answer on."""
        if self.instead is not None and not self.begun:
            return
        if message["type"] == "http.response.start":
            self.begun = True
            self.status = message["status"]
            there = {name.lower() for name, _ in message.get("headers", [])}
            more = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in there]
            message = {**message, "headers": [*message.get("headers", []), *more]}
        await self.send(message)

    async def end(self) -> None:
        """Send what is to be sent instead, if anything is."""
        if self.instead is not None and not self.begun:
            status, sentence = self.instead
            self.instead = None
            await refuse(self, status, sentence)


async def refuse(answer: Answering, status: int, sentence: str, *, retry: bool = False) -> None:
    """Answer with a sentence, and let go of the connection: its request may not have been read."""
    body = json.dumps({"detail": sentence}).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body))}
    headers["connection"] = "close"
    if retry:
        headers["retry-after"] = "1"
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    pairs = [(k.encode(), v.encode()) for k, v in headers.items()]
    await answer({"type": "http.response.start", "status": status, "headers": pairs})
    await answer({"type": "http.response.body", "body": body})


def is_open(path: str) -> bool:
    """Whether a path may be seen without the token."""
    return any(path == one or (len(one) > 1 and path.startswith(one)) for one in OPEN)


def name_of(host: str) -> str:
    """The name in a Host header, without its port."""
    return (urlsplit(f"//{host}").hostname or "") if host else ""


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
