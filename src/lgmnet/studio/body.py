"""Reading the body of a request, within limits of size and time."""

import asyncio
from collections.abc import Mapping

from python_multipart.multipart import parse_options_header
from starlette.types import Receive

MIN_WINDOW_BYTES = 10_000
"""Bytes that must arrive in each window of time, unless the body ends before."""
MAX_WAITING_BODIES = 8
"""Bodies of the maximum size that are held in memory while they arrive, all clients together."""


class BodyError(Exception):
    """Body that is refused, with the status code and the sentence of the response."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ClientLeftError(Exception):
    """The client has closed the connection before the end of its body."""


class BodyReader:
    """Reader of the bodies of all requests.

    A body is read completely before its request counts as in progress, so that a client that sends
    slowly holds no place that others could have.

    Args:
        max_bytes: Maximum size of a body.
        window: Seconds in which `MIN_WINDOW_BYTES` must arrive.
    """

    def __init__(self, max_bytes: int, window: float) -> None:
        self.max_bytes, self.window = max_bytes, window
        self.n_bytes = 0
        """Bytes of all bodies that have not arrived completely."""
        self.is_closing = False
        self._timeouts: set[asyncio.Timeout] = set()
        self.too_large = (
            f"A request has at most {max_bytes:,} bytes. Send the images in several requests."
        )

    async def read(self, receive: Receive) -> bytes:
        """Read a body.

        Raises:
            BodyError: if it is too large or too slow, if too many others are arriving, or if the
                server is shutting down.
            ClientLeftError: if the client has closed the connection.
        """
        body = bytearray()
        try:
            async with asyncio.timeout(self.window) as timeout:
                self._timeouts.add(timeout)
                try:
                    await self._read_into(body, receive, timeout)
                finally:
                    self._timeouts.discard(timeout)
                    self.n_bytes -= len(body)
        except TimeoutError as error:
            if self.is_closing:
                raise BodyError(503, "The server is shutting down; try again soon.") from error
            raise BodyError(
                408,
                f"The request arrives too slowly: expected {MIN_WINDOW_BYTES:,} bytes in "
                f"{self.window:g} seconds. Try again over a faster connection.",
            ) from error
        return bytes(body)

    async def _read_into(self, body: bytearray, receive: Receive, timeout: asyncio.Timeout) -> None:
        due = MIN_WINDOW_BYTES
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientLeftError
            chunk = message.get("body", b"")
            body += chunk
            self.n_bytes += len(chunk)
            if len(body) > self.max_bytes:
                raise BodyError(413, self.too_large)
            if not message.get("more_body", False):
                return
            if self.n_bytes > MAX_WAITING_BODIES * self.max_bytes:
                raise BodyError(429, "Too many requests at a time; try again soon.")
            if len(body) >= due and not self.is_closing:
                due = len(body) + MIN_WINDOW_BYTES
                timeout.reschedule(asyncio.get_running_loop().time() + self.window)

    def stop(self) -> None:
        """Refuse all bodies that have not arrived completely, because the server shuts down."""
        self.is_closing = True
        for timeout in self._timeouts:
            if not timeout.expired():
                timeout.reschedule(0.0)


def check_complete(headers: Mapping[str, str], body: bytes) -> None:
    """Check that a multipart body has its end; parsers pass over a part that is cut off.

    Raises:
        BodyError: if the body is cut off.
    """
    kind, options = parse_options_header(headers.get("content-type"))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        return
    # RFC 2046, section 5.1.1: each part follows a line with the delimiter; the last one ends in --.
    delimiter = b"\r\n--" + boundary
    start = body.rfind(delimiter)
    if start < 0 and body.startswith(delimiter[2:]):
        start = -2  # The first delimiter may open the body.
    end = start + len(delimiter)
    if start == -1 or body[end : end + 2] != b"--":
        raise BodyError(
            400, "The request was cut off: its closing boundary is missing. Send it again."
        )
