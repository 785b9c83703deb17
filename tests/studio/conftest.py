"""A service with a tiny model, and what is sent to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra 'studio': pip install lgmnet[studio]")

import torch
from PIL import Image
from starlette.testclient import TestClient

from lgmnet.model.model import save_model
from lgmnet.studio.app import Settings, create_app
from lgmnet.studio.service import Limits, encoded
from lgmnet.studio.store import Store, urls_in
from tests.cli.making import drawings, tiny_model

LIMITS = Limits(
    body=4_000_000, image=100_000, images=60, classes=12, images_per_class=12, label=40, in_flight=8
)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Path:
    """A model that forges in a millisecond."""
    folder: Path = tmp_path_factory.mktemp("models") / "tiny"
    save_model(tiny_model(), folder)
    return folder


@pytest.fixture
def store(tmp_path) -> Iterator[Store]:
    kept = Store.in_folder(tmp_path / "store")
    yield kept
    kept.close()


@pytest.fixture
def settings(tmp_path, tiny_folder) -> Settings:
    return Settings(*urls_in(tmp_path / "store"), [str(tiny_folder)], LIMITS)


@pytest.fixture
def client(settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings), raise_server_exceptions=True) as made:
        yield made


def png(drawing: torch.Tensor) -> bytes:
    """A drawing as a file: dark ink on white paper."""
    return encoded(Image.fromarray(255 - drawing[0].numpy()), "PNG")


def form(classes: dict[str, int], seed: int = 0, **fields: Any) -> dict[str, Any]:
    """A request with so many drawings of each class, as httpx takes it."""
    drawn = drawings(len(classes), max(classes.values()), seed)
    files, labels = [], []
    for of_class, (name, shot) in zip(drawn, classes.items(), strict=True):
        for i in range(shot):
            files.append(("images", (f"{i}.png", png(of_class[i]), "image/png")))
            labels.append(name)
    return {"files": files, "data": {"labels": labels, **fields}}


def asked(count: int = 1, seed: int = 9) -> list[tuple[str, tuple[str, bytes, str]]]:
    """Drawings to ask about."""
    return [
        ("images", (f"asked{i}.png", png(image), "image/png"))
        for i, image in enumerate(drawings(count, 1, seed)[:, 0])
    ]


@pytest.fixture
def made(client) -> dict[str, Any]:
    """A classifier of three classes."""
    answer = client.post(
        "/v1/classifiers", **form({"moon": 1, "star": 2, "sun ☀": 3}, name="sky", model="tiny")
    )
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found
