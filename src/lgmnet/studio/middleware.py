"""Middleware that every request passes: access, limits, security headers and metrics."""

from __future__ import annotations

import asyncio
import hmac
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PUBLIC_PREFIXES = (
    "/static/",
    "/docs",
    "/static-offline-docs/",
    "/openapi.json",
    "/healthz",
    "/readyz",
)
"""Beginnings of the paths that need no token, besides ``/``: they tell nothing of a classifier."""
UNLIMITED_PATHS = ("/healthz", "/readyz", "/metrics")
"""Paths that are served however many requests are in progress."""
SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
}


@dataclass
class RequestLimiter:
    """Count of the requests in progress, shared by the middleware and the server process."""

    max_in_flight: int
    in_flight: int = 0
    is_closing: bool = False
    """If True, new requests are refused because the server is shutting down."""
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the last request in progress ends."""


class Metrics:
    """Counters and histograms of requests and predictions."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        common: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter(
            "lgmnet_requests", "HTTP requests.", ["method", "route", "status"], **common
        )
        self.seconds = Histogram(
            "lgmnet_request_seconds", "Time from a request to its response.", ["route"], **common
        )
        self.in_flight = Gauge(
            "lgmnet_requests_in_flight",
            "Requests in progress.",
            multiprocess_mode="livesum",
            **common,
        )
        self.images = Counter("lgmnet_images_answered", "Images predicted.", **common)
        self.jobs_per_pass = Histogram(
            "lgmnet_predict_jobs_per_pass",
            "Prediction jobs in one pass of a network.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            **common,
        )

    def export(self) -> bytes:
        """Return all metrics in Prometheus's text format, summed over all worker processes."""
        registry = self.registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    def count_pass(self, samples: int, jobs: int) -> None:
        """Count a pass of a network."""
        self.images.inc(samples)
        self.jobs_per_pass.observe(jobs)


class GuardMiddleware:
    """Refuse requests that are not allowed, and count all others.

    Token and hosts are those of `Settings`. A list of hosts keeps out pages of other sites whose
    name resolves to this server (DNS rebinding).
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        limiter: RequestLimiter,
        metrics: Metrics,
        max_body_bytes: int,
        token: str | None,
        hosts: Sequence[str],
    ) -> None:
        self.app, self.limiter, self.metrics = app, limiter, metrics
        self.max_body_bytes, self.token, self.hosts = max_body_bytes, token, tuple(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on to the application, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start = time.perf_counter()
        sender = ResponseSender(send)
        refusal = self.find_refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, sender)
        elif scope["path"] in UNLIMITED_PATHS:
            await self.app(scope, receive, sender)
        else:
            await self.run_app(scope, receive, sender)
        route = getattr(scope.get("route"), "path", "other")
        self.metrics.requests.labels(scope["method"], route, str(sender.status)).inc()
        self.metrics.seconds.labels(route).observe(time.perf_counter() - start)

    async def run_app(self, scope: Scope, receive: Receive, sender: ResponseSender) -> None:
        """Run the application, and stop reading a request that exceeds the maximum size."""
        n_bytes = 0

        async def receive_limited() -> Message:
            nonlocal n_bytes
            message = await receive()
            n_bytes += len(message.get("body", b""))
            if n_bytes > self.max_body_bytes:
                sender.replacement = self.too_large()
                return {"type": "http.disconnect"}
            return message

        self.add_in_flight(1)
        try:
            await self.app(scope, receive_limited, sender)
            await sender.send_replacement(scope, receive)
        finally:
            self.add_in_flight(-1)
            if self.limiter.in_flight == 0:
                self.limiter.idle.set()

    def add_in_flight(self, change: int) -> None:
        """Change the count of the requests in progress."""
        self.limiter.in_flight += change
        self.metrics.in_flight.set(self.limiter.in_flight)

    def find_refusal(self, scope: Scope) -> JSONResponse | None:
        """Return the response that refuses a request, or None if the request is allowed."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self.hosts and host_name(host) not in self.hosts:
            return refuse(
                421, f"This server is not known as '{host}'; allow the name with --host-name."
            )
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return refuse(403, "Pages of other sites may not use this server.")
        if self.token is not None and not is_public(scope["path"]):
            token = headers.get("authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(token.encode(), self.token.encode()):
                return refuse(
                    401,
                    "A token is needed: send the header 'Authorization: Bearer TOKEN'.",
                    {"www-authenticate": "Bearer"},
                )
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > self.max_body_bytes:
            return self.too_large()
        if scope["path"] in UNLIMITED_PATHS:
            return None
        retry = {"retry-after": "1"}
        if self.limiter.is_closing:
            return refuse(503, "The server is shutting down; try again soon.", retry)
        if self.limiter.in_flight >= self.limiter.max_in_flight:
            return refuse(429, "Too many requests at a time; try again soon.", retry)
        return None

    def too_large(self) -> JSONResponse:
        """Return the response to a request that exceeds the maximum size."""
        return refuse(
            413,
            f"A request has at most {self.max_body_bytes:,} bytes. Send the images in several "
            "requests.",
        )


class ResponseSender:
    """ASGI ``send`` that adds the security headers and can replace the application's response."""

    def __init__(self, send: Send) -> None:
        self.send = send
        self.status = 500
        self.has_started = False
        self.replacement: JSONResponse | None = None

    async def __call__(self, message: Message) -> None:
        """Send a part of the response, unless a replacement is going to be sent."""
        if self.replacement is not None and not self.has_started:
            return
        if message["type"] == "http.response.start":
            self.has_started = True
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        await self.send(message)

    async def send_replacement(self, scope: Scope, receive: Receive) -> None:
        """Send the replacement, if there is one and nothing has been sent yet."""
        replacement, self.replacement = self.replacement, None
        if replacement is not None and not self.has_started:
            await replacement(scope, receive, self)


def refuse(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Return a response that refuses a request, and closes the connection.

    The connection cannot be used again, because the request may not have been read to its end.
    """
    return JSONResponse({"detail": message}, status, {"connection": "close", **(headers or {})})


def is_public(path: str) -> bool:
    """Return True if a path needs no token."""
    return path == "/" or path.startswith(PUBLIC_PREFIXES)


def host_name(host: str) -> str:
    """Return the name in a Host header, without its port."""
    return (urlsplit(f"//{host}").hostname or "") if host else ""


def is_loopback(host: str) -> bool:
    """Return True if an address can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
