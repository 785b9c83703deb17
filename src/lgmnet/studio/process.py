"""The server as a process: where it listens, and how it ends."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI
from prometheus_client.multiprocess import mark_process_dead

from lgmnet.errors import ConfigError, UserError
from lgmnet.studio.app import Settings, create_app
from lgmnet.studio.middleware import Gate, is_loopback

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
        alone: Whether it hears Ctrl-C itself; else another process does and tells it.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        gate: Gate,
        started: Callable[[], object],
        *,
        alone: bool = True,
    ) -> None:
        super().__init__(config)
        self.gate = gate
        self.when_started = started
        self.alone = alone
        self.ending: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        if self.started:
            self.when_started()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """On a first signal let nothing new in; on a second end at once."""
        if not self.alone and sig == signal.SIGINT:
            return
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
    app: FastAPI,
    sock: socket.socket,
    started: Callable[[], object],
    *,
    verbose: bool = False,
    alone: bool = True,
) -> None:
    """Serve until a signal ends it.

    Args:
        app: From `create_app`.
        sock: That listens.
        started: Called once requests are answered.
        verbose: Print a line for every request.
        alone: Whether this is the only process that serves.
    """
    cores = os.cpu_count() or 1
    if alone:
        # One core is for reading and answering: if networks had all, each of their steps would
        # wait for the thread that has just lost its core.
        torch.set_num_threads(max(1, cores - 1))
    sys.setswitchinterval(SWITCH)
    config = uvicorn.Config(
        app,
        log_level="info" if verbose else "warning",
        access_log=verbose,
        timeout_graceful_shutdown=int(LONGEST_END),
        server_header=False,
    )
    Server(config, app.state.gate, started, alone=alone).run([sock])


def run_many(
    settings: Settings,
    sock: socket.socket,
    started: Callable[[], object],
    workers: int,
    *,
    verbose: bool = False,
) -> None:
    """Serve by several processes on one socket and one store until a signal ends them.

    One that dies is started again.

    Args:
        settings: Of each.
        sock: That listens.
        started: Called once all answer requests.
        workers: How many.
        verbose: Print a line for every request.

    Raises:
        UserError: if one ends before it has begun.
    """
    fresh = multiprocessing.get_context("spawn")
    ready = fresh.Semaphore(0)
    ending = threading.Event()
    with tempfile.TemporaryDirectory() as counts:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = counts  # Where they count together.
        before = {
            sig: signal.signal(sig, lambda *_: ending.set())
            for sig in (signal.SIGINT, signal.SIGTERM)
        }

        def begin() -> Any:
            process = fresh.Process(
                target=serve_one, args=(settings, sock, ready, workers, verbose)
            )
            process.start()
            return process

        processes = [begin() for _ in range(workers)]
        try:
            begun = 0
            while not ending.is_set():
                dead = [process for process in processes if not process.is_alive()]
                if dead and begun < workers:
                    raise UserError("A process of the server ended before it had begun; see above.")
                for process in dead:
                    mark_process_dead(process.pid)  # type: ignore[no-untyped-call]
                    processes[processes.index(process)] = begin()
                if ready.acquire(timeout=0.2):
                    begun += 1
                    if begun == workers:
                        started()
        finally:
            for process in processes:
                process.terminate()  # Gracefully: it is a SIGTERM.
            for process in processes:
                process.join(LONGEST_END + 10)
            for sig, handler in before.items():
                signal.signal(sig, handler)


def serve_one(
    settings: Settings, sock: socket.socket, ready: Any, workers: int, verbose: bool
) -> None:
    """One of several processes that serve."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:  # A parent that was killed can tell nobody.
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=follow, daemon=True).start()
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    run(create_app(settings), sock, ready.release, verbose=verbose, alone=False)
