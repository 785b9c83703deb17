"""Middleware that every request passes: access, limits, security headers and metrics."""

import asyncio
import hmac
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lgmnet.studio.body import BodyError, BodyReader, ClientLeftError, check_complete
from lgmnet.studio.metrics import Metrics

PUBLIC_PATHS = ("/", "/docs", "/docs/oauth2-redirect", "/openapi.json", "/healthz", "/readyz")
"""Paths that need no token: they tell nothing of a classifier."""
PUBLIC_PREFIXES = ("/static/", "/static-offline-docs/")
"""Beginnings of further paths that need no token."""
UNLIMITED_PATHS = ("/healthz", "/readyz", "/metrics")
"""Paths that are served however many requests are in progress."""
SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)
CLOSE = {"connection": "close"}
"""Header of refusals: the request may not have been read to its end, so no other can follow it."""
RETRY = {"retry-after": "1"}
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._~%!$&'()*+,;=-]*)(:[0-9]*)?", re.IGNORECASE)
"""Host header: RFC 9110, section 7.2, and RFC 3986, section 3.2.2."""
MAX_LENGTH_DIGITS = 15
CLIENT_LEFT = 499
"""Status code in the metrics of a request whose client left before its end; nginx's too."""


@dataclass
class RequestLimiter:
    """Count of the requests in progress, shared by the middleware and the server process.

    A request is in progress from the end of its body to the beginning of its response. So clients
    that send or read slowly keep nobody else from being served.
    """

    max_in_flight: int
    in_flight: int = 0
    is_closing: bool = False
    """If True, new requests are refused because the server is shutting down."""


class GuardMiddleware:
    """Refuse requests that are not allowed, and count all others.

    Token and hosts are those of `Settings`. A list of hosts keeps out pages of other sites whose
    name resolves to this server (DNS rebinding). HEAD is answered like GET, without the content.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        limiter: RequestLimiter,
        metrics: Metrics,
        bodies: BodyReader,
        token: str | None,
        hosts: Sequence[str],
    ) -> None:
        self.app, self.limiter, self.metrics, self.bodies = app, limiter, metrics, bodies
        self.token = None if token is None else token.encode()
        self.hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on to the application, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, method = time.perf_counter(), scope["method"]
        status = 0
        if method == "HEAD":
            scope = {**scope, "method": "GET"}

        async def send_secured(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], *SECURITY_HEADERS]}
            elif method == "HEAD":
                message = {**message, "body": b""}
            await send(message)

        try:
            await self.respond(scope, receive, send_secured)
        except ClientLeftError:
            status = CLIENT_LEFT
        except asyncio.CancelledError:
            # The server cancels what is not done when it has waited long enough at its end.
            if status or not self.limiter.is_closing:
                raise
            await refuse_closing()(scope, receive, send_secured)
        finally:
            route = getattr(scope.get("route"), "path", None)
            seconds = time.perf_counter() - start
            self.metrics.count_request(method, route, status or 500, seconds)

    async def respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body of a request, then run the application or refuse the request."""
        headers = Headers(scope=scope)
        refusal = self.find_refusal(scope, headers)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        try:
            body = await self.bodies.read(receive)
            check_complete(headers, body)
        except BodyError as error:
            retry = {} if error.status in (400, 413) else RETRY
            await refuse(error.status, str(error), retry)(scope, receive, send)
            return
        parts = [body]
        del body  # The application decides how long the body stays in memory.

        async def receive_body() -> Message:
            if parts:
                return {"type": "http.request", "body": parts.pop(), "more_body": False}
            return await receive()

        if scope["path"] in UNLIMITED_PATHS:
            await self.app(scope, receive_body, send)
            return
        refusal = self.find_overload()  # Others may have come while the body arrived.
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        is_in_progress = True
        self.limiter.in_flight += 1
        self.metrics.in_flight.inc()

        def end_progress() -> None:
            nonlocal is_in_progress
            if is_in_progress:
                is_in_progress = False
                self.limiter.in_flight -= 1
                self.metrics.in_flight.dec()

        async def send_response(message: Message) -> None:
            end_progress()
            await send(message)

        try:
            await self.app(scope, receive_body, send_response)
        finally:
            end_progress()

    def find_refusal(self, scope: Scope, headers: Headers) -> JSONResponse | None:
        """Return the response that refuses a request, or None if the request is allowed."""
        host = headers.get("host", "").lower()
        parts = HOST.fullmatch(host)
        if parts is None or len(headers.getlist("host")) > 1:
            return refuse(400, "The header 'Host' is malformed.")
        if self.hosts and parts[1].strip("[]") not in self.hosts:
            return refuse(
                421, f"This server is not known as '{host}'; allow the name with --host-name."
            )
        if any(find_host(origin) != host for origin in headers.getlist("origin")):
            return refuse(403, "Pages of other sites may not use this server.")
        if not self.is_permitted(scope["path"], headers.get("authorization", "")):
            return refuse(
                401,
                "A token is needed: send the header 'Authorization: Bearer TOKEN'.",
                {"www-authenticate": "Bearer"},
            )
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdecimal()):
            return refuse(400, "The header 'Content-Length' is malformed.")
        if len(length) > MAX_LENGTH_DIGITS or int(length) > self.bodies.max_bytes:
            return refuse(413, self.bodies.too_large)
        return None if scope["path"] in UNLIMITED_PATHS else self.find_overload()

    def find_overload(self) -> JSONResponse | None:
        """Return the response that refuses a request to a busy server, or None if it is not."""
        if self.limiter.is_closing:
            return refuse_closing()
        if self.limiter.in_flight >= self.limiter.max_in_flight:
            return refuse(429, "Too many requests at a time; try again soon.", RETRY)
        return None

    def is_permitted(self, path: str, authorization: str) -> bool:
        """Return True if a path is public, or if the header Authorization has the token."""
        if self.token is None or path in PUBLIC_PATHS or path.startswith(PUBLIC_PREFIXES):
            return True
        scheme, _, token = authorization.partition(" ")
        # Headers are decoded as Latin-1, whatever their bytes mean.
        is_token = hmac.compare_digest(token.strip().encode("latin-1"), self.token)
        return is_token and scheme.lower() == "bearer"


def refuse(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Return a response that refuses a request."""
    return JSONResponse({"detail": message}, status, CLOSE | (headers or {}))


def refuse_closing() -> JSONResponse:
    """Return the response to requests that come, or are not done, when the server shuts down."""
    return refuse(503, "The server is shutting down; try again soon.", RETRY)


def find_host(origin: str) -> str | None:
    """Return host and port of an Origin header in lower case, None if it has none."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Return True if an address can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
