"""Scoring on a Ray cluster of two nodes: a worker, the command, and the cluster are killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import lgmnet

pytestmark = pytest.mark.machines

N_IMAGES, PART_SIZE, N_PARTS = 24, 4, 6
BLOCKED = "/a/2.png"
"""Image that the server keeps back, so that its part is being scored at a known time."""
PATIENCE = 280.0


class PhotoServer(ThreadingHTTPServer):
    """Serves images, counts the requests, and keeps one image back until it is released."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), PhotoHandler)
        self.folder = folder
        self.requests: Counter[str] = Counter()
        self.released = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def addresses(self) -> list[str]:
        names = sorted(path.relative_to(self.folder) for path in self.folder.glob("*/*.png"))
        return [f"http://127.0.0.1:{self.server_port}/{name}" for name in names]


class PhotoHandler(BaseHTTPRequestHandler):
    server: PhotoServer

    def do_GET(self) -> None:
        self.server.requests[self.path] += 1
        if self.path == BLOCKED:
            self.server.released.wait(PATIENCE)
        content = (self.server.folder / self.path[1:]).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        try:
            self.wfile.write(content)
        except OSError:
            self.close_connection = True  # The worker that asked is dead.

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(images) -> Iterator[PhotoServer]:
    with PhotoServer(images) as server:
        yield server
        server.released.set()
        server.shutdown()


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


def node_options() -> dict[str, Any]:
    """Options of a small node; Ray waits only 15 s for agents whose ports it does not know."""
    names = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port")
    ports = dict(zip((*names, "runtime_env_agent_port"), free_ports(4), strict=True))
    return {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False, **ports}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with warnings.catch_warnings(action="ignore"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")  # Else other tests on this machine come first.
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args=node_options())
        cluster.add_node(**node_options())
        yield cluster
        cluster.shutdown()


@pytest.fixture
def start(exported, server, cluster, tmp_path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts the command on the cluster; its output goes to files."""
    started, address = [], cluster.address

    def start() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "lgmnet", "predict", str(exported), "-"]
        command += ["--out", str(tmp_path / "scores"), "--part-size", str(PART_SIZE)]
        command += ["--engine-cluster", "ray", "--address", address]
        listed = tmp_path / "addresses"
        listed.write_text("\n".join(server.addresses))
        with (
            listed.open() as stdin,
            (tmp_path / "out").open("w") as out,
            (tmp_path / "err").open("w") as err,
        ):
            environment = os.environ | {"RAY_gcs_rpc_server_reconnect_timeout_s": "5"}
            process = subprocess.Popen(
                command, stdin=stdin, stdout=out, stderr=err, env=environment
            )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def wait_for(condition: Callable[[], object], what: str, tmp_path: Path) -> None:
    ends = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < ends, (what, (tmp_path / "err").read_text())
        time.sleep(0.05)


def count_parts(tmp_path: Path) -> int:
    return len(written_parts(tmp_path))


def wait_until_blocked(server: PhotoServer, tmp_path: Path) -> None:
    """Wait until one worker waits for the image that is kept back, and parts are written.

    One more part may be in the queue of that worker.
    """

    def is_blocked() -> bool:
        return server.requests[BLOCKED] == 1 and count_parts(tmp_path) >= N_PARTS - 2

    wait_for(is_blocked, "the other parts", tmp_path)


def written_parts(tmp_path: Path) -> dict[Path, int]:
    """Return the parts that are written, with what changes if one is written again."""
    return {path: path.stat().st_ino for path in (tmp_path / "scores").glob("part-*.parquet")}


def list_workers() -> list[int]:
    """List the processes of this machine that score parts for Ray."""
    workers = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"PartScorer" in (folder / "cmdline").read_bytes():
                workers.append(int(folder.name))
        except OSError:
            continue
    return workers


def score_here(exported: Path, server: PhotoServer, tmp_path: Path, folder: str) -> None:
    """Score without Ray."""
    server.released.set()
    listed = tmp_path / "addresses"
    listed.write_text("\n".join(server.addresses))
    with listed.open() as stdin, pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", stdin)
        words = ("-", "--out", tmp_path / folder, "--part-size", PART_SIZE)
        assert lgmnet("predict", exported, *words).code == 0


def check_scores(exported: Path, server: PhotoServer, tmp_path: Path) -> None:
    """Check that the scores are those of one run without Ray, file by file."""
    score_here(exported, server, tmp_path, "one")
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "scores" / path.name).read_bytes()
    assert len(list((tmp_path / "scores").iterdir())) == N_PARTS + 1


def test_the_part_of_a_killed_worker_is_scored_by_another(start, exported, server, tmp_path):
    process = start()
    wait_until_blocked(server, tmp_path)
    workers = list_workers()
    assert len(workers) == 2, "one on each node"
    before = written_parts(tmp_path)
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    wait_for(lambda: server.requests[BLOCKED] == 2, "the second try", tmp_path)
    server.released.set()
    assert process.wait(PATIENCE) == 0, (tmp_path / "err").read_text()
    out = (tmp_path / "out").read_text()
    assert f"{N_IMAGES} images in {N_PARTS} parts." in out
    after = written_parts(tmp_path)
    assert {path: after[path] for path in before} == before, "they are not scored again"
    check_scores(exported, server, tmp_path)


def test_a_killed_command_goes_on_where_it_stopped(start, exported, server, tmp_path):
    killed = start()
    wait_until_blocked(server, tmp_path)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    wait_for(lambda: not list_workers(), "the end of Ray's driver and its workers", tmp_path)
    before = written_parts(tmp_path)
    assert N_PARTS - 2 <= len(before) < N_PARTS
    server.released.set()
    process = start()
    assert process.wait(PATIENCE) == 0, (tmp_path / "err").read_text()
    out = (tmp_path / "out").read_text()
    assert f"{N_PARTS} parts, {len(before)} of them from an earlier run." in out
    after = written_parts(tmp_path)
    assert {path: after[path] for path in before} == before, "they are not scored again"
    check_scores(exported, server, tmp_path)


def test_a_cluster_that_is_gone_is_named_and_the_parts_stay(
    start, exported, server, tmp_path, cluster
):
    """The last test of this module: it ends the cluster."""
    process, address = start(), cluster.address
    wait_until_blocked(server, tmp_path)
    with warnings.catch_warnings(action="ignore"):
        cluster.shutdown()
    assert process.wait(PATIENCE) == 2
    assert "error: The Ray cluster" in (tmp_path / "err").read_text()
    assert "run the same command to go on" in (tmp_path / "err").read_text()
    before = written_parts(tmp_path)
    assert N_PARTS - 2 <= len(before) < N_PARTS
    again = start()
    assert again.wait(PATIENCE) == 2
    assert f"No Ray cluster answers at '{address}'" in (tmp_path / "err").read_text()
    assert written_parts(tmp_path) == before
    score_here(exported, server, tmp_path, "scores")
    after = written_parts(tmp_path)
    assert {path: after[path] for path in before} == before
    check_scores(exported, server, tmp_path)
