"""Application with a tiny model, and requests to it."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra 'studio': pip install lgmnet[studio]")

import torch
from PIL import Image
from starlette.testclient import TestClient

from lgmnet.classifier.thumbnails import encode_image
from lgmnet.io import atomic_write
from lgmnet.studio.app import Settings, create_app
from lgmnet.studio.index import Metadata
from lgmnet.studio.limits import Limits
from lgmnet.studio.store import Store, store_urls
from lgmnet.studio.worker import Worker
from tests.support.models import drawings

SKY = Metadata("sky", "tiny", ("moon", "star"), (1, 2))
LIMITS = Limits(
    max_body_bytes=4_000_000,
    max_image_bytes=100_000,
    max_images=60,
    max_classes=12,
    max_images_per_class=12,
    max_name_length=40,
    max_in_flight=8,
)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory) -> Iterator[str]:
    """Start a PostgreSQL server from the machine's binaries, and give its URL."""
    paths = [shutil.which("initdb"), *map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb"))]
    bin_folders = [Path(path).resolve().parent for path in paths if path]
    bin_folders = [folder for folder in bin_folders if (folder / "pg_ctl").exists()]
    if not bin_folders:
        pytest.skip("no PostgreSQL to start (Debian: apt-get install postgresql)")
    user = None
    if os.getuid() == 0:  # PostgreSQL refuses to run as root.
        try:
            user = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("PostgreSQL refuses to run as root, and there is no user 'postgres'")
    folder = Path("/tmp") / f"lgmnet-postgres-{os.getpid()}"  # A socket's path must be short.
    folder.mkdir(mode=0o700)
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def run(name: str, *args: str) -> None:
        command = [str(bin_folders[0] / name), "-D", str(folder / "data"), *args]
        account: dict[str, Any] = {}
        if user is not None:
            account = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        done = subprocess.run(
            command, capture_output=True, text=True, cwd="/", timeout=120, check=False, **account
        )
        assert done.returncode == 0, done.stdout + done.stderr

    try:
        run("initdb", "--auth=trust", "--username=lgmnet", "--no-sync")
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        run("pg_ctl", "start", "-w", "-o", options, "-l", str(folder / "log"))
        yield f"postgresql+psycopg://lgmnet@127.0.0.1:{port}/postgres"
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            run("pg_ctl", "stop", "-m", "immediate")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def store(tmp_path) -> Iterator[Store]:
    store = Store(*store_urls(tmp_path / "store"))
    yield store
    store.close()


@pytest.fixture
def settings(tmp_path, tiny) -> Settings:
    return Settings(*store_urls(tmp_path / "store"), [str(tiny)], LIMITS)


@pytest.fixture
def client(settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings), raise_server_exceptions=True) as client:
        yield client


def writer(data: bytes):
    def write(path: Path) -> None:
        with atomic_write(path) as draft:
            draft.write_bytes(data)

    return write


def png(drawing: torch.Tensor) -> bytes:
    """Encode a drawing as a file, dark ink on white paper."""
    return encode_image(Image.fromarray(255 - drawing[0].numpy()), "PNG")


def form(classes: dict[str, int], seed: int = 0, **fields: Any) -> dict[str, Any]:
    """Make the arguments of a request of httpx with this number of drawings of each class."""
    images = drawings(len(classes), max(classes.values()), seed)
    files, labels = [], []
    for class_images, (name, shot) in zip(images, classes.items(), strict=True):
        for i in range(shot):
            files.append(("images", (f"{i}.png", png(class_images[i]), "image/png")))
            labels.append(name)
    return {"files": files, "data": {"labels": labels, **fields}}


def queries(count: int = 1, seed: int = 9) -> list[tuple[str, tuple[str, bytes, str]]]:
    """Make the files of a request that predicts drawings."""
    return [
        ("images", (f"query{i}.png", png(image), "image/png"))
        for i, image in enumerate(drawings(count, 1, seed)[:, 0])
    ]


def block(worker: Worker) -> threading.Event:
    """Keep a worker busy until the event is set, a minute at most."""
    worker.start()
    has_begun, release = threading.Event(), threading.Event()

    def wait() -> None:
        has_begun.set()
        release.wait(60)  # Not for ever, if the test fails before it sets the event.

    worker.submit(wait)
    has_begun.wait()
    return release


@pytest.fixture
def sky(client) -> dict[str, Any]:
    """Classifier of three classes, as the API returns it."""
    response = client.post(
        "/v1/classifiers", **form({"moon": 1, "star": 2, "sun ☀": 3}, name="sky", model="tiny")
    )
    assert response.status_code == 201, response.text
    classifier: dict[str, Any] = response.json()
    return classifier
