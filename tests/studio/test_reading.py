"""Images of one request keep no other request waiting, and stop being read when its client left."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import torch
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from starlette.testclient import TestClient
from starlette.types import Message

from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.data.images.files import ImageFiles
from lgmnet.data.images.read import ImageBytes, read_image
from lgmnet.errors import DataError
from lgmnet.nn.classification import AuxiliaryConfig
from lgmnet.studio import reading
from lgmnet.studio.app import create_app
from lgmnet.studio.pictures import PICTURE_SIDE
from lgmnet.studio.reading import ImageReader, split_by_cost
from lgmnet.studio.worker import Worker
from tests.studio.conftest import block, form, queries
from tests.support.images import as_bytes, png_claiming

DRAWING = (1, 28, 28)


def bitmap(width: int, height: int) -> bytes:
    """Encode a black and white PNG, which takes a thousandth of its pixels."""
    return as_bytes(Image.new("1", (width, height), 1), "PNG")


def uploads(data: bytes, count: int) -> list[tuple[str, tuple[str, bytes, str]]]:
    return [("images", (f"{i}.png", data, "image/png")) for i in range(count)]


@pytest.fixture
def decoded(monkeypatch) -> list[int]:
    """Indices of the files that are read, in this order."""
    indices: list[int] = []
    read_at = ImageFiles.read_at

    def record(files: ImageFiles, index: int, shape: Any) -> Any:
        indices.append(index)
        return read_at(files, index, shape)

    monkeypatch.setattr(ImageFiles, "read_at", record)
    return indices


def test_the_pixels_of_a_request_are_limited(client, sky, decoded):
    """Twenty copies of a file of 5 kB would take 20 seconds."""
    data = bitmap(6000, 6000)
    assert len(data) < 20_000
    for path, fields in (
        (f"/v1/classifiers/{sky['id']}/predict", {}),
        ("/v1/classifiers", {"labels": ["a", "b"] * 10, "model": "tiny"}),
        ("/v1/classifiers", {"labels": ["a", "b"] * 10}),
    ):
        response = client.post(path, files=uploads(data, 20), data=fields)
        assert response.status_code == 413
        assert "as much as a PNG of 720,000,000 pixels" in response.json()["detail"]
    change = {"data": {"labels": ["moon"] * 20}, "headers": {"If-Match": sky["etag"]}}
    response = client.patch(f"/v1/classifiers/{sky['id']}", files=uploads(data, 20), **change)
    assert response.status_code == 413
    assert not decoded


def test_images_that_are_too_large_are_refused_one_by_one(client, sky):
    url = f"/v1/classifiers/{sky['id']}/predict"
    for data, message in (
        (png_claiming(8000, 8000), "at most 50,000,000 can be read"),
        (png_claiming(1, 49_000_000), "height and width may be 500,000 at most"),
    ):
        response = client.post(url, files=[*uploads(data, 20), *queries(1)])
        assert response.status_code == 200
        *refused, last = response.json()["predictions"]
        assert all(message in prediction["error"] for prediction in refused)
        assert last["label"]


def test_a_jpeg_is_decoded_once_for_its_sample_and_its_picture(monkeypatch):
    decoded = []
    draft = JpegImageFile.draft

    def count(self, *args: Any) -> Any:
        decoded.append(args)
        return draft(self, *args)

    monkeypatch.setattr(JpegImageFile, "draft", count)
    photo = as_bytes(Image.effect_noise((900, 700), 90).convert("RGB"), "JPEG")

    async def read(side: int) -> list[Any]:
        reader = ImageReader(anyio.CapacityLimiter(2), 10**8)
        opened = await reader.open([ImageBytes("a", photo), ImageBytes("b", photo)])
        return await reader.read_with_pictures(opened, (3, side, side))

    for side, n_times in ((224, 1), (256, 1), (64, 2)):
        decoded.clear()
        for sample, picture in anyio.run(read, side):
            assert sample.shape == (3, side, side)
            assert min(Image.open(io.BytesIO(picture)).size) == PICTURE_SIDE
        assert len(decoded) == 2 * n_times
    sample, _ = anyio.run(read, 224)[0]
    assert torch.equal(sample, read_image(ImageBytes("a", photo), (3, 224, 224)))


def test_jpegs_cost_an_eighth(settings):
    photo = as_bytes(Image.new("RGB", (4000, 3000)), "JPEG")

    async def open_images(max_cost: int) -> list[int]:
        reader = ImageReader(anyio.CapacityLimiter(1), max_cost)
        return list((await reader.open([ImageBytes("a", photo)] * 3)).costs)

    assert anyio.run(open_images, 5_000_000) == [1_500_000] * 3
    with pytest.raises(DataError, match="4,500,000 pixels, and at most 4,000,000"):
        anyio.run(open_images, 4_000_000)


def test_parts_keep_the_order_and_the_limit():
    costs = [1, 2, 3, 9, 0, 0, 4, 1]
    parts = split_by_cost(range(8), costs, 4)
    assert parts == [[0, 1], [2], [3], [4, 5, 6], [7]]
    assert split_by_cost([], costs, 4) == []


def test_small_images_do_not_wait_for_large_ones(monkeypatch):
    """One request has large images, which wait; another is served meanwhile."""
    release, has_begun = threading.Event(), threading.Event()
    read_at = ImageFiles.read_at

    def wait_if_large(files: ImageFiles, index: int, shape: Any) -> Any:
        if files.files[index].name == "large":
            has_begun.set()
            assert release.wait(60)
        return read_at(files, index, shape)

    monkeypatch.setattr(ImageFiles, "read_at", wait_if_large)
    monkeypatch.setattr(reading, "MAX_SMALL_COST", 1000)
    small, large = (ImageBytes("small", bitmap(20, 20)), ImageBytes("large", bitmap(60, 60)))

    async def serve() -> None:
        reader = ImageReader(anyio.CapacityLimiter(2), 10**8)

        async def read(*files: ImageBytes) -> None:
            await reader.read(await reader.open(files), DRAWING)

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(read, large, large)
            await anyio.to_thread.run_sync(has_begun.wait)
            try:
                with anyio.fail_after(60):
                    await read(small)
            finally:
                release.set()

    anyio.run(serve)


def test_small_images_are_read_between_those_of_a_long_request(monkeypatch):
    """Requests take turns: the second is done before the first, which has more images."""
    monkeypatch.setattr(reading, "MAX_SMALL_COST", 500)
    image, done = ImageBytes("a", bitmap(20, 20)), []

    async def serve() -> None:
        reader = ImageReader(anyio.CapacityLimiter(1), 10**8)

        async def read(count: int) -> None:
            await reader.read(await reader.open([image] * count), DRAWING)
            done.append(count)

        async with anyio.create_task_group() as group:
            group.start_soon(read, 50)
            group.start_soon(read, 1)

    anyio.run(serve)
    assert done == [1, 50]


class LeavingClient:
    """Client of an ASGI application that can leave before the response."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.leave = asyncio.Event()
        self.statuses: list[int] = []

    async def send(self, method: str, path: str, **options: Any) -> None:
        request = httpx.Request(method, f"http://testserver{path}", **options)
        scope = {
            "type": "http",
            "method": method,
            "path": request.url.path,
            "raw_path": request.url.raw_path,
            "query_string": request.url.query,
            "root_path": "",
            "scheme": "http",
            "http_version": "1.1",
            "headers": [(k.lower(), v) for k, v in request.headers.raw],
            "server": ("testserver", 80),
            "client": ("127.0.0.1", 1),
        }
        body = [request.read()]

        async def receive() -> Message:
            if body:
                return {"type": "http.request", "body": body.pop(), "more_body": False}
            await self.leave.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.statuses.append(message["status"])

        await self.app(scope, receive, send)


async def wait_until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(60):
        while not condition():
            await anyio.sleep(0.005)


def test_images_are_not_read_after_the_client_has_left(client, sky, decoded, monkeypatch):
    release = threading.Event()
    read_at = ImageFiles.read_at

    def wait_once(files: ImageFiles, index: int, shape: Any) -> Any:
        result = read_at(files, index, shape)
        assert release.wait(60)
        return result

    monkeypatch.setattr(ImageFiles, "read_at", wait_once)
    monkeypatch.setattr(reading, "MAX_SMALL_COST", 1000)

    async def run() -> list[int]:
        leaving = LeavingClient(client.app)
        path = f"/v1/classifiers/{sky['id']}/predict"
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: leaving.send("POST", path, files=queries(20)))
            await wait_until(lambda: len(decoded) > 0)
            leaving.leave.set()
            await anyio.sleep(0.05)
            release.set()
        return leaving.statuses

    assert anyio.run(run) == [499]
    assert decoded == [0]


def test_exports_that_wait_are_cancelled_when_the_client_has_left(client, sky, monkeypatch):
    is_exporting, release, n_exports = threading.Event(), threading.Event(), []

    def export(fitted: FittedClassifier, path: Path) -> None:
        n_exports.append(1)
        path.write_bytes(b"onnx")
        is_exporting.set()
        assert release.wait(60)

    monkeypatch.setattr("lgmnet.classifier.export.export", export)
    limiter = client.app.state.service._export_limiter

    async def run() -> list[int]:
        path = f"/v1/classifiers/{sky['id']}/export?format=onnx"
        staying, leaving = LeavingClient(client.app), LeavingClient(client.app)
        async with anyio.create_task_group() as group:
            group.start_soon(staying.send, "GET", path)
            await wait_until(is_exporting.is_set)
            group.start_soon(leaving.send, "GET", path)
            await wait_until(lambda: limiter.statistics().tasks_waiting == 1)
            leaving.leave.set()
            await wait_until(lambda: bool(leaving.statuses))
            release.set()
        return [*staying.statuses, *leaving.statuses]

    assert anyio.run(run) == [200, 499]
    assert n_exports == [1]


def test_jobs_that_wait_are_cancelled_when_the_client_has_left(client, sky):
    worker: Worker = client.app.state.service.worker
    before = client.get("/v1/classifiers").json()["items"]
    release = block(worker)

    async def run(path: str, options: dict[str, Any]) -> list[int]:
        leaving = LeavingClient(client.app)
        async with anyio.create_task_group() as group:
            n_waiting = worker.jobs.qsize()
            group.start_soon(lambda: leaving.send("POST", path, **options))
            await wait_until(lambda: worker.jobs.qsize() > n_waiting)
            leaving.leave.set()
        return leaving.statuses

    exported = client.get(f"/v1/classifiers/{sky['id']}/export").content
    for path, options in (
        (f"/v1/classifiers/{sky['id']}/predict", {"files": queries(2)}),
        ("/v1/classifiers", form({"a": 1, "b": 2}, model="tiny")),
        ("/v1/classifiers", {"files": {"file": ("sky.safetensors", exported)}}),
    ):
        assert anyio.run(run, path, options) == [499]
    release.set()
    done = worker.submit(lambda: True)
    assert done.result(60)
    assert client.get("/v1/classifiers").json()["items"] == before
    assert 'status="499"' in client.get("/metrics").text


def test_an_error_is_reported_as_if_the_client_was_not_watched(client):
    response = client.post("/v1/classifiers", **form({"a": 1}, model="tiny"))
    assert response.status_code == 422
    assert "at least two classes" in response.json()["detail"]


def test_uploads_are_tried_in_the_worker(client, sky, monkeypatch):
    exported = client.get(f"/v1/classifiers/{sky['id']}/export").content
    threads: list[str] = []

    def record(fitted: Any, path: Any) -> None:
        threads.append(threading.current_thread().name)

    monkeypatch.setattr("lgmnet.studio.service.try_classifier", record)
    response = client.post("/v1/classifiers", files={"file": ("f", exported)})
    assert response.status_code == 201
    assert threads == ["networks"]


@pytest.mark.usefixtures("unchecked")
def test_a_hostile_file_is_never_a_server_error(settings, tmp_path):
    """What made the server fail, or was accepted and made predictions fail later."""
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        created = client.post("/v1/classifiers", **form({"a": 1, "b": 2}, model="tiny")).json()
        fitted = client.app.state.service.get(created["id"]).fitted  # type: ignore[attr-defined]
        state = fitted.classifier.state_dict()
        support = fitted.support
        config = fitted.config

        def with_config(**parts: Any) -> Any:
            return dataclasses.replace(fitted, config=dataclasses.replace(config, **parts))

        def with_support(**parts: Any) -> Any:
            return dataclasses.replace(fitted, support=dataclasses.replace(support, **parts))

        def with_tensor(name: str, tensor: torch.Tensor) -> Any:
            classifier = type("Altered", (), {"state_dict": lambda self: {**state, name: tensor}})
            return dataclasses.replace(fitted, classifier=classifier())

        altered = [
            with_tensor("weight_0", torch.full_like(state["weight_0"], torch.nan)),
            with_tensor("keys", state["keys"][..., :10].contiguous()),
            with_tensor("scale", torch.ones(3)),
            with_support(labels=support.labels.float()),
            with_support(samples=support.samples[:, :, :0]),
            with_support(sources=("\ud800",) * 3),
            dataclasses.replace(fitted, classes=("\ud800", "b")),
            with_config(embedding=dataclasses.replace(config.embedding, widths=(6000, 6000))),
            with_config(target=dataclasses.replace(config.target, widths=(10**9, 10**9))),
            with_config(auxiliary=AuxiliaryConfig(0.5)),
            dataclasses.replace(fitted, backbone="timm:resnet18"),
        ]
        for i, classifier in enumerate(altered):
            path = tmp_path / f"{i}.safetensors"
            classifier.save(path)
            response = client.post("/v1/classifiers", files={"file": ("f", path.read_bytes())})
            assert response.status_code == 422, (i, response.text)
            assert "/tmp" not in response.text
        assert len(client.get("/v1/classifiers").json()["items"]) == 1
