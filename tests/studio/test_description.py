"""Description of a classifier: what it judges by, and the estimate of its accuracy."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter

import anyio
import pytest
from starlette.testclient import TestClient

from lgmnet.classifier import cross_validation
from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.data.images.read import ImageBytes
from lgmnet.model.model import save_model
from lgmnet.studio.app import Settings, create_app
from lgmnet.studio.classifiers import LabelledFile
from lgmnet.studio.service import Service
from lgmnet.studio.store import Store, store_urls
from tests.studio.conftest import LIMITS, form, png, queries
from tests.support.models import ASPECTS, drawings, model_of_aspects


@pytest.fixture(scope="module")
def aspects(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "aspects"
    save_model(model_of_aspects(), folder)
    return folder


@pytest.fixture
def client(tmp_path, tiny, aspects):
    settings = Settings(*store_urls(tmp_path / "store"), [str(tiny), str(aspects)], LIMITS)
    with TestClient(create_app(settings)) as client:
        yield client


def make(client, model, **classes):
    response = client.post("/v1/classifiers", **form(classes, model=model))
    assert response.status_code == 201, response.text
    return response.json()


def test_the_description_says_what_the_classifier_judges_by(client, tmp_path):
    made = make(client, "aspects", moon=3, star=2)
    shares = made["judged_by"]
    assert set(shares) == set(ASPECTS)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert sum(shares.values()) == pytest.approx(1)
    url = f"/v1/classifiers/{made['id']}"
    assert client.get(url).json()["judged_by"] == shares
    (tmp_path / "c.lgmnet").write_bytes(client.get(f"{url}/export").content)
    assert FittedClassifier.load(tmp_path / "c.lgmnet").judged_by() == pytest.approx(shares)
    # Every edit gives the shares of the new version.
    sun = [("images", ("0.png", png(drawings(3, 1)[2, 0]), "image/png"))]
    edited = client.patch(
        url, headers={"If-Match": made["etag"]}, files=sun, data={"labels": ["sun"]}
    ).json()
    assert edited["judged_by"] != shares
    assert sum(edited["judged_by"].values()) == pytest.approx(1)


def test_a_model_that_cannot_tell_says_nothing(client):
    assert make(client, "tiny", moon=1, star=1)["judged_by"] == {}


def test_openapi_describes_the_shares_and_the_confusions(client):
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    field = schemas["Classifier"]["properties"]["judged_by"]
    assert field["additionalProperties"] == {"type": "number"}
    assert "sum to 1" in field["description"]
    confusions = schemas["Estimate"]["properties"]["confusions"]
    assert confusions["items"] == {"$ref": "#/components/schemas/Confusion"}


def test_the_estimate_names_what_was_confused(client):
    made = make(client, "tiny", moon=4, star=4, sun=4)
    estimate = client.get(f"/v1/classifiers/{made['id']}/estimate").json()
    confusions = estimate["confusions"]
    assert confusions, "random weights confuse classes"
    assert estimate["asked"] - estimate["right"] == sum(pair["images"] for pair in confusions)
    assert all(pair["label"] != pair["predicted"] for pair in confusions)
    assert {pair[side] for pair in confusions for side in ("label", "predicted")} <= {
        "moon",
        "star",
        "sun",
    }
    counts = [pair["images"] for pair in confusions]
    assert counts == sorted(counts, reverse=True)
    pairs = Counter((pair["label"], pair["predicted"]) for pair in confusions)
    assert max(pairs.values()) == 1, "each pair once"


@pytest.fixture
def held(monkeypatch):
    """Hold each fold of leave-one-out until it is released; count those that began."""
    begun, release, folds = threading.Event(), threading.Event(), []
    draw_folds = cross_validation.draw_folds

    def draw_slowly(*args):
        for fold in draw_folds(*args):
            folds.append(fold)
            begun.set()
            assert release.wait(30)
            yield fold

    monkeypatch.setattr(cross_validation, "draw_folds", draw_slowly)
    yield begun, release, folds
    release.set()


def test_predictions_do_not_wait_for_an_estimate(client, held):
    begun, release, _ = held
    made = make(client, "tiny", moon=3, star=3)
    url = f"/v1/classifiers/{made['id']}"
    estimates = []
    thread = threading.Thread(target=lambda: estimates.append(client.get(f"{url}/estimate")))
    thread.start()
    try:
        assert begun.wait(30)
        assert client.post(f"{url}/predict", files=queries()).status_code == 200
        assert not estimates
    finally:
        release.set()
        thread.join(30)
    assert estimates[0].json()["asked"] == 6


def test_an_estimate_stops_when_its_client_leaves(tmp_path, tiny, held):
    begun, release, folds = held
    service = Service(Store(*store_urls(tmp_path / "store")), [str(tiny)], LIMITS)
    service.start()

    async def leave() -> None:
        request = form({"moon": 8, "star": 8})
        images = [
            LabelledFile(label, ImageBytes(name, data))
            for label, (_, (name, data, _)) in zip(
                request["data"]["labels"], request["files"], strict=True
            )
        ]
        stored = (await service.fit("sky", "tiny", images)).stored
        async with anyio.create_task_group() as group:
            group.start_soon(service.estimate, stored.record.id)
            await anyio.to_thread.run_sync(begun.wait, 30)
            group.cancel_scope.cancel()
            asyncio.get_running_loop().call_soon(release.set)

    try:
        asyncio.run(leave())
    finally:
        service.close()
    assert len(folds) == 1
