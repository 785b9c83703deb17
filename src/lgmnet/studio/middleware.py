"""Middleware that every request passes: access, limits, security headers and metrics."""

import hmac
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from fastapi import HTTPException
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
CLOSE = {"connection": "close"}
"""Header of refusals: the request may not have been read to its end, so no other can follow it."""


@dataclass
class RequestLimiter:
    """Count of the requests in progress, shared by the middleware and the server process."""

    max_in_flight: int
    in_flight: int = 0
    is_closing: bool = False
    """If True, new requests are refused because the server is shutting down."""


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
        self.max_body_bytes, self.token, self.hosts = max_body_bytes, token, hosts
        self.too_large = (
            f"A request has at most {max_body_bytes:,} bytes. Send the images in several requests."
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on to the application, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def send_secured(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self.find_refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send_secured)
        elif scope["path"] in UNLIMITED_PATHS:
            await self.app(scope, receive, send_secured)
        else:
            await self.run_app(scope, receive, send_secured)
        route = getattr(scope.get("route"), "path", "other")
        self.metrics.requests.labels(scope["method"], route, str(status)).inc()
        self.metrics.seconds.labels(route).observe(time.perf_counter() - start)

    async def run_app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application, and stop reading a request that exceeds the maximum size."""
        n_bytes = 0

        async def receive_limited() -> Message:
            nonlocal n_bytes
            message = await receive()
            n_bytes += len(message.get("body", b""))
            if n_bytes > self.max_body_bytes:  # FastAPI passes this error on to its handler.
                raise HTTPException(413, self.too_large, CLOSE)
            return message

        self.limiter.in_flight += 1
        try:
            with self.metrics.in_flight.track_inprogress():
                await self.app(scope, receive_limited, send)
        finally:
            self.limiter.in_flight -= 1

    def find_refusal(self, scope: Scope) -> JSONResponse | None:
        """Return the response that refuses a request, or None if the request is allowed."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self.hosts and (urlsplit(f"//{host}").hostname or "") not in self.hosts:
            return refuse(
                421, f"This server is not known as '{host}'; allow the name with --host-name."
            )
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return refuse(403, "Pages of other sites may not use this server.")
        path = scope["path"]
        if self.token is not None and path != "/" and not path.startswith(PUBLIC_PREFIXES):
            token = headers.get("authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(token.encode(), self.token.encode()):
                return refuse(
                    401,
                    "A token is needed: send the header 'Authorization: Bearer TOKEN'.",
                    {"www-authenticate": "Bearer"},
                )
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > self.max_body_bytes:
            return refuse(413, self.too_large)
        if path in UNLIMITED_PATHS:
            return None
        retry = {"retry-after": "1"}
        if self.limiter.is_closing:
            return refuse(503, "The server is shutting down; try again soon.", retry)
        if self.limiter.in_flight >= self.limiter.max_in_flight:
            return refuse(429, "Too many requests at a time; try again soon.", retry)
        return None


def refuse(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Return a response that refuses a request."""
    return JSONResponse({"detail": message}, status, CLOSE | (headers or {}))


def is_loopback(host: str) -> bool:
    """Return True if an address can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
