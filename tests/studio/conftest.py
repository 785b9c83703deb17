"""Application with a tiny model, and requests to it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra 'studio': pip install lgmnet[studio]")

import torch
from PIL import Image
from starlette.testclient import TestClient

from lgmnet.studio.app import Settings, create_app
from lgmnet.studio.classifiers import encode_image
from lgmnet.studio.service import Limits
from lgmnet.studio.store import Store, store_urls
from lgmnet.studio.worker import Worker
from tests.support.models import drawings

LIMITS = Limits(
    max_body_bytes=4_000_000,
    max_image_bytes=100_000,
    max_images=60,
    max_classes=12,
    max_images_per_class=12,
    max_name_length=40,
    max_in_flight=8,
)


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
    """Keep a worker busy until the event is set."""
    worker.start()
    has_begun, release = threading.Event(), threading.Event()

    def wait() -> None:
        has_begun.set()
        release.wait()

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
