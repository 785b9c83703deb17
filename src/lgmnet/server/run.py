"""The server as a process: where it listens, and how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType

import torch
import uvicorn
from fastapi import FastAPI

from lgmnet.errors import ConfigError, UserError
from lgmnet.server.guard import Gate, is_loopback

SWITCH = 0.001
"""Seconds that a thread may keep the interpreter from another: networks need it for each step."""
LONGEST_END = 30.0
"""Seconds that requests in flight have to finish."""


class Server(uvicorn.Server):
    """Ends gracefully: requests in flight finish, new ones are answered with 503 meanwhile.

    Args:
        config: Uvicorn's.
        gate: Of the application.
        started: Called once it listens.
    """

    def __init__(
        self, config: uvicorn.Config, gate: Gate, started: Callable[[], object] = lambda: None
    ) -> None:
        super().__init__(config)
        self.gate = gate
        self.when_started = started
        self.ending: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        if self.started:
            self.when_started()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """On a first signal let nothing new in; on a second end at once."""
        if self.gate.closing or sig not in (signal.SIGINT, signal.SIGTERM):
            super().handle_exit(sig, frame)
            return
        self.gate.closing = True

    async def on_tick(self, counter: int) -> bool:
        """Uvicorn's heartbeat: whether to end."""
        if self.gate.closing and self.ending is None:
            self.ending = asyncio.create_task(self._end())
        return await super().on_tick(counter)

    async def _end(self) -> None:
        """End when nothing is in flight any more."""
        if self.gate.in_flight:
            self.gate.empty.clear()
            try:
                await asyncio.wait_for(self.gate.empty.wait(), LONGEST_END)
            except TimeoutError:
                self.force_exit = True
        self.should_exit = True


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens, so that a port that is taken is said before anything else.

    Raises:
        UserError: if it cannot be had.
    """
    sock = None
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(2048)
    except OSError as error:
        if sock is not None:
            sock.close()
        raise UserError(
            f"Cannot listen on {host}, port {port}: {error.strerror or error}. Take another with "
            "--port, or --port 0 for any that is free."
        ) from error
    return sock


def check_address(host: str, token: str | None, *, anyone: bool) -> None:
    """Check that whoever can reach the server may.

    Raises:
        ConfigError: if others can, and nothing keeps them out.
    """
    if is_loopback(host) or token or anyone:
        return
    raise ConfigError(
        f"On '{host}' others could reach the server, and nobody would have to show a token. Set "
        "LGMNET_TOKEN, or say --without-token if that is meant."
    )


def run(
    app: FastAPI, sock: socket.socket, started: Callable[[], object], *, verbose: bool = False
) -> None:
    """Serve until a signal ends it."""
    # One core is for reading and answering: if networks had all, each of their steps would wait
    # for the thread that has just lost its core.
    torch.set_num_threads(max(1, (os.cpu_count() or 1) - 1))
    sys.setswitchinterval(SWITCH)
    config = uvicorn.Config(
        app,
        log_level="info" if verbose else "warning",
        access_log=verbose,
        timeout_graceful_shutdown=int(LONGEST_END),
        server_header=False,
    )
    Server(config, app.state.gate, started).run([sock])
