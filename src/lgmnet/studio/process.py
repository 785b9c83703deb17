"""Server processes: listening, serving with one or several workers, and shutting down."""

import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI
from prometheus_client.multiprocess import mark_process_dead

from lgmnet.errors import ConfigError, UserError
from lgmnet.studio.app import Settings, create_app
from lgmnet.studio.body import BodyReader
from lgmnet.studio.middleware import RequestLimiter, is_loopback

SWITCH_INTERVAL = 0.001
"""Seconds that a thread may hold the interpreter: networks need it for each of their steps."""
SHUTDOWN_TIMEOUT = 30.0
"""Seconds that requests in progress have to finish; later they are answered with 503."""


class Server(uvicorn.Server):
    """Server that shuts down gracefully.

    Requests in progress finish, while new ones and those whose body has not arrived are refused
    with 503. Once the server listens, ``started`` is called. If not ``alone``, another process
    receives Ctrl-C and stops this one.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        limiter: RequestLimiter,
        bodies: BodyReader,
        started: Callable[[], object],
        *,
        alone: bool,
    ) -> None:
        super().__init__(config)
        self.limiter, self.bodies, self.on_started, self.alone = limiter, bodies, started, alone
        self.deadline = float("inf")

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen."""
        await super().startup(sockets)
        if self.started:
            self.on_started()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Refuse new requests on the first signal, and stop at once on the second."""
        if not self.alone and sig == signal.SIGINT:
            return
        if self.limiter.is_closing or sig not in (signal.SIGINT, signal.SIGTERM):
            super().handle_exit(sig, frame)
            return
        self.limiter.is_closing = True
        self.deadline = time.monotonic() + SHUTDOWN_TIMEOUT

    async def on_tick(self, counter: int) -> bool:
        """Return True if the server must stop; uvicorn calls this ten times a second."""
        if self.limiter.is_closing:
            self.bodies.stop()
            remaining = self.deadline - time.monotonic()
            self.should_exit |= remaining <= 0 or self.limiter.in_flight == 0
            # uvicorn waits as long for responses on their way, and cancels what is left.
            self.config.timeout_graceful_shutdown = max(1, int(remaining))
        return await super().on_tick(counter)


def open_listening_socket(host: str, port: int) -> socket.socket:
    """Open a socket that listens, so that a port in use is reported before anything else starts.

    Raises:
        UserError: if the address cannot be used.
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
            f"Cannot listen on {host}, port {port}: {error.strerror or error}. Choose another port "
            "with --port, or --port 0 for any free port."
        ) from error
    return sock


def check_address(host: str, token: str | None, *, allow_anyone: bool) -> None:
    """Check that others cannot reach the server without a token, unless ``allow_anyone``.

    Raises:
        ConfigError: if others could, and may not.
    """
    if not (is_loopback(host) or token or allow_anyone):
        raise ConfigError(
            f"On '{host}' others could reach the server without a token. Set LGMNET_TOKEN, or pass "
            "--without-token if that is intended."
        )


def run(
    app: FastAPI,
    sock: socket.socket,
    started: Callable[[], object],
    *,
    verbose: bool = False,
    alone: bool = True,
) -> None:
    """Serve an application from `create_app` until a signal stops the server.

    Once requests are served, ``started`` is called. With ``verbose``, each request prints a line.
    Unless ``alone``, other processes serve too.
    """
    if alone:
        # One core is left for reading and answering requests. If networks used all of them, each
        # of their steps would wait for the thread that has just lost its core.
        torch.set_num_threads(max(1, (os.cpu_count() or 1) - 1))
    sys.setswitchinterval(SWITCH_INTERVAL)
    create_server(app, started, verbose=verbose, alone=alone).run([sock])


def create_server(
    app: FastAPI, started: Callable[[], object], *, verbose: bool = False, alone: bool = True
) -> Server:
    """Create the server of an application; the arguments are those of `run`."""
    config = uvicorn.Config(
        app, log_level="info" if verbose else "warning", access_log=verbose, server_header=False
    )
    return Server(config, app.state.limiter, app.state.bodies, started, alone=alone)


def run_many(
    settings: Settings,
    sock: socket.socket,
    started: Callable[[], object],
    workers: int,
    *,
    verbose: bool = False,
) -> None:
    """Serve with several processes on one socket and one store until a signal stops them.

    A process that dies is started again. uvicorn's own process manager is not used: it closes
    connections instead of refusing requests with 503, kills workers that need more than some
    seconds to import torch, and its workers stay if it is killed. The arguments are those of `run`;
    ``started`` is called once all processes serve requests.

    Raises:
        UserError: if a process ends before it serves requests.
    """
    context = multiprocessing.get_context("spawn")
    ready = context.Semaphore(0)
    stopping = threading.Event()

    def start_worker() -> SpawnProcess:
        process = context.Process(target=run_worker, args=(settings, sock, ready, workers, verbose))
        process.start()
        return process

    with tempfile.TemporaryDirectory() as metrics_folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics_folder
        handlers = {
            sig: signal.signal(sig, lambda *_: stopping.set())
            for sig in (signal.SIGINT, signal.SIGTERM)
        }
        processes = [start_worker() for _ in range(workers)]
        try:
            n_ready = 0
            while not stopping.is_set():
                dead = [process for process in processes if not process.is_alive()]
                if dead and n_ready < workers:
                    raise UserError(
                        "A process of the server ended before it could serve requests; see above."
                    )
                for process in dead:
                    mark_process_dead(process.pid)  # type: ignore[no-untyped-call]
                    processes[processes.index(process)] = start_worker()
                if ready.acquire(timeout=0.2):
                    n_ready += 1
                    if n_ready == workers:
                        started()
        finally:
            for process in processes:
                process.terminate()  # SIGTERM: the process shuts down gracefully.
            for process in processes:
                process.join(SHUTDOWN_TIMEOUT + 10)
            for sig, handler in handlers.items():
                signal.signal(sig, handler)


def run_worker(
    settings: Settings, sock: socket.socket, ready: Any, workers: int, verbose: bool
) -> None:
    """Run one of several processes that serve; ``ready`` is released once it does."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def stop_with_parent() -> None:  # A parent that is killed cannot send a signal.
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop_with_parent, daemon=True).start()
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    run(create_app(settings), sock, ready.release, verbose=verbose, alone=False)
