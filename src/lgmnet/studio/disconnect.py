"""Work that stops when the client has left."""

from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import anyio
import anyio.from_thread
from fastapi import HTTPException, Request

from lgmnet.progress import ProgressTask

T = TypeVar("T")
CLIENT_LEFT = 499
"""Status code, in the metrics, of a request whose client left before its response; nginx's too."""


async def while_connected(request: Request, work: Awaitable[T]) -> T:
    """Await work for a request whose body was read, and cancel it when the client disconnects.

    What runs in a thread runs to its end, or to its next step if `stop_if_cancelled` is its
    progress display; jobs that wait for the worker are cancelled.

    Raises:
        HTTPException: if the client has disconnected.
    """
    results: list[T] = []
    failure: Exception | None = None
    async with anyio.create_task_group() as group:

        async def watch() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            group.cancel_scope.cancel()

        group.start_soon(watch)
        try:
            results.append(await work)
        except Exception as error:  # The group would raise it within an ExceptionGroup.
            failure = error
        group.cancel_scope.cancel()
    if failure is not None:
        raise failure
    if not results:
        raise HTTPException(CLIENT_LEFT, "The client has left.")
    return results[0]


class _CancellableTask:
    """Work in a thread that ends at its next step if it was cancelled."""

    def advance(self, n: int = 1, detail: str = "") -> None:
        """Raise the event loop's error of cancellation if the work was cancelled."""
        anyio.from_thread.check_cancelled()

    def print(self, line: str) -> None:
        """Ignore the line."""


@contextmanager
def stop_if_cancelled(description: str, total: int | None) -> Iterator[ProgressTask]:
    """Stop the work of a thread at its next step once it is cancelled: a progress display."""
    yield _CancellableTask()
