"""Work that stops when the client has left."""

from collections.abc import Awaitable
from typing import TypeVar

import anyio
from fastapi import HTTPException, Request

T = TypeVar("T")
CLIENT_LEFT = 499
"""Status code, in the metrics, of a request whose client left before its response; nginx's too."""


async def while_connected(request: Request, work: Awaitable[T]) -> T:
    """Await work for a request whose body was read, and cancel it when the client disconnects.

    What runs in a thread runs to its end; jobs that wait for the worker are cancelled.

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
