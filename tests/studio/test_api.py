"""The API as a program uses it: forge, read, edit, ask, export, remove."""

from __future__ import annotations

import dataclasses
import errno
import io
import json
import re
import threading
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

from lgmnet.methods.base import QueryAnalysis
from lgmnet.studio.app import create_app
from lgmnet.studio.service import encoded
from lgmnet.studio.worker import Worker
from tests.cli.making import drawings, lgmnet
from tests.studio.conftest import asked, form, png


def test_a_classifier_is_forged_and_read_again(client, made):
    assert made["name"] == "sky"
    assert made["model"] == "tiny"
    assert made["kind"] == "drawings"
    assert made["classes"] == {"moon": 1, "star": 2, "sun ☀": 3}
    assert [len(one["images"]) for one in made["shown"]] == [1, 2, 3]
    assert len(made["map"]) == 6
    assert made["milliseconds"] > 0
    answer = client.get(f"/v1/classifiers/{made['id']}")
    assert answer.headers["etag"] == f'"{made["etag"]}"'
    assert answer.json() == {**made, "milliseconds": None, "why": None}


def test_answers_are_those_of_the_classifier(client, made, tmp_path):
    sent = asked(5)
    answer = client.post(f"/v1/classifiers/{made['id']}/predict", files=sent).json()
    file = tmp_path / "sky.safetensors"
    file.write_bytes(client.get(f"/v1/classifiers/{made['id']}/export").content)
    paths = []
    for _, (name, data, _) in sent:
        paths.append(tmp_path / name)
        paths[-1].write_bytes(data)
    expected = lgmnet("predict", file, *paths, "--json").json["predictions"]
    assert answer["etag"] == made["etag"]
    for one, other in zip(answer["predictions"], expected, strict=True):
        assert one["label"] == other["label"]
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)
        assert one["error"] is None
        assert sum(c["weight"] for c in one["support_attention"]) == pytest.approx(1, abs=1e-4)
        assert len(one["map"]) == 2
        assert one["none_of_these"] is None, "the tiny model has no threshold"


def test_an_image_that_cannot_be_read_has_an_error_and_the_others_an_answer(client, made):
    sent = [*asked(1), ("images", ("broken.png", b"no image", "image/png")), *asked(1, seed=3)]
    answer = client.post(f"/v1/classifiers/{made['id']}/predict", files=sent)
    assert answer.status_code == 200
    first, broken, last = answer.json()["predictions"]
    assert first["label"]
    assert last["label"]
    assert broken["label"] is None
    assert "'broken.png' cannot be read as an image" in broken["error"]
    only = client.post(f"/v1/classifiers/{made['id']}/predict", files=sent[1:2])
    assert "cannot be read" in only.json()["predictions"][0]["error"]


def test_whatever_is_edited_takes_effect_at_once(client, made):
    url = f"/v1/classifiers/{made['id']}"
    more = form({"comet": 2, "moon": 1}, seed=5, rename=["star"], to=["Star <b>"])
    answer = client.patch(url, **more, headers={"If-Match": f'"{made["etag"]}"'})
    assert answer.status_code == 200, answer.text
    now = answer.json()
    assert now["classes"] == {"moon": 2, "Star <b>": 2, "sun ☀": 3, "comet": 2}
    assert now["etag"] != made["etag"]
    assert now["id"] == made["id"]
    keys = {i["key"] for one in made["shown"] for i in one["images"]}
    assert keys < {i["key"] for one in now["shown"] for i in one["images"]}
    first = now["shown"][2]["images"][0]["place"]
    wanted = {"remove": ["comet"], "drop": [first], "name": "night"}
    now = client.patch(url, data=wanted, headers={"If-Match": now["etag"]}).json()
    assert now["classes"] == {"moon": 2, "Star <b>": 2, "sun ☀": 2}
    assert now["name"] == "night"
    assert client.get(url).json()["classes"] == now["classes"]


def test_an_edit_of_what_somebody_else_has_changed_is_refused(client, made):
    url = f"/v1/classifiers/{made['id']}"
    assert client.patch(url, data={"name": "a"}).status_code == 428
    assert client.patch(url, data={"name": "a"}, headers={"If-Match": '"old"'}).status_code == 412
    done = client.patch(url, data={"name": "a"}, headers={"If-Match": f'W/"{made["etag"]}", "x"'})
    assert done.status_code == 200
    refused = client.patch(url, data={"name": "b"}, headers={"If-Match": f'"{made["etag"]}"'})
    assert refused.status_code == 412
    assert "read it again" in refused.json()["detail"]
    assert client.delete(url, headers={"If-Match": f'"{made["etag"]}"'}).status_code == 412
    assert client.get(url).json()["name"] == "a"
    assert client.patch(url, data={"name": "c"}, headers={"If-Match": "*"}).status_code == 200
    assert client.delete(url).status_code == 204
    assert client.get(url).status_code == 404
    assert client.delete(url).status_code == 404


def test_of_many_editors_at_once_none_overwrites_another(client, made):
    """Each reads, adds an image of its own and tries again when refused; in the end all are in."""
    url, refusals = f"/v1/classifiers/{made['id']}", []

    def edit(number: int) -> None:
        while True:
            etag = client.get(url).json()["etag"]
            sent = form({"moon": 1}, seed=100 + number)
            answer = client.patch(url, **sent, headers={"If-Match": etag})
            if answer.status_code == 200:
                return
            assert answer.status_code == 412
            refusals.append(number)

    threads = [threading.Thread(target=edit, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.get(url).json()["classes"]["moon"] == 7


def test_pages_of_classifiers(client):
    made = [
        client.post("/v1/classifiers", **form({"a": 1, "b": 1}, seed=i, name=str(i), model="tiny"))
        for i in range(5)
    ]
    ids, after = [], None
    while True:
        params = {"limit": 2} | ({"after": after} if after else {})
        page = client.get("/v1/classifiers", params=params).json()
        ids += [one["id"] for one in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert ids == [one.json()["id"] for one in made][::-1]
    wrong = client.get("/v1/classifiers", params={"after": "nonsense"})
    assert wrong.status_code == 422
    assert "'next' of a page" in wrong.json()["detail"]


def test_the_model_is_chosen_by_looking_at_the_images(client):
    answer = client.post("/v1/classifiers", **form({"a": 2, "b": 2}))
    assert answer.status_code == 201, answer.text
    assert answer.json()["model"] == "omniglot"
    assert answer.json()["why"].startswith("ink on paper")
    assert answer.json()["knows_none"] is True
    id = answer.json()["id"]
    one = client.post(f"/v1/classifiers/{id}/predict", files=asked()).json()["predictions"][0]
    assert one["none_of_these"] in (True, False)


def test_a_file_is_opened_again_and_edited(client, made):
    data = client.get(f"/v1/classifiers/{made['id']}/export").content
    opened = client.post("/v1/classifiers", files={"file": ("sky.safetensors", data)})
    assert opened.status_code == 201, opened.text
    again = opened.json()
    assert again["id"] != made["id"]
    assert again["name"] == "sky"
    assert again["shown"] == made["shown"]
    url = f"/v1/classifiers/{again['id']}"
    edited = client.patch(url, data={"remove": "moon"}, headers={"If-Match": again["etag"]})
    assert list(edited.json()["classes"]) == ["star", "sun ☀"]
    altered = bytearray(data)
    altered[-5] ^= 1
    for damaged in (bytes(altered), data[:-100], b"", b"\x80\x04pickle"):
        refused = client.post("/v1/classifiers", files={"file": ("x.safetensors", damaged)})
        assert refused.status_code == 422
        assert refused.json()["detail"].startswith("The file")
        assert "/tmp" not in refused.text


def test_the_exported_file_answers_as_the_service_does(client, made, tmp_path):
    answer = client.get(f"/v1/classifiers/{made['id']}/export", params={"format": "onnx"})
    assert answer.status_code == 200
    assert answer.headers["content-disposition"].endswith("''sky.onnx")
    (tmp_path / "m.onnx").write_bytes(answer.content)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == list(
        made["classes"]
    )
    lines = client.get(f"/v1/classifiers/{made['id']}/snippet", params={"language": "python"})
    assert "onnxruntime" in lines.json()["lines"]


def test_images_come_back_as_they_were_shown(client):
    sent = form({"a": 1, "b": 1}, model="tiny")
    made = client.post("/v1/classifiers", **sent).json()
    place = made["shown"][0]["images"][0]["place"]
    answer = client.get(f"/v1/classifiers/{made['id']}/images/{place}")
    assert answer.headers["content-type"] == "image/png"
    shown = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert shown.shape == (28, 28)
    assert (shown < 128).any()
    assert shown[0, 0] == 255
    assert client.get(f"/v1/classifiers/{made['id']}/images/99").status_code == 404


def test_photos_keep_small_pictures_of_themselves(client, monkeypatch):
    pytest.importorskip(
        "efficientnet_lite_pytorch", reason="needs the extra 'photos': pip install lgmnet[photos]"
    )
    random = np.random.default_rng(0)

    def photo(red: int) -> bytes:
        pixels = random.integers(0, 90, (60, 80, 3)) + np.array([red, 60, 150 - red])
        return encoded(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), "PNG")

    files = [("images", (f"{i}.png", photo(150 * (i % 2)), "image/png")) for i in range(4)]
    sent = {"files": files, "data": {"labels": ["a", "b"] * 2, "model": "photos"}}
    made = client.post("/v1/classifiers", **sent)
    assert made.status_code == 201, made.text
    about = made.json()
    assert about["kind"] == "photos"
    url = f"/v1/classifiers/{about['id']}"
    place = about["shown"][1]["images"][0]["place"]
    picture = client.get(f"{url}/images/{place}")
    assert picture.headers["content-type"] == "image/webp"
    answer = client.post(f"{url}/predict", files=files[:2]).json()["predictions"]
    assert [one["label"] for one in answer] == ["a", "b"]
    # They go with the file, and go when their image goes.
    data = client.get(f"{url}/export").content
    again = client.post("/v1/classifiers", files={"file": ("f.safetensors", data)}).json()
    assert client.get(f"/v1/classifiers/{again['id']}/images/{place}").content == picture.content
    dropped = client.patch(url, data={"drop": [place]}, headers={"If-Match": about["etag"]})
    assert dropped.json()["classes"] == {"a": 2, "b": 1}


def test_a_ready_example(client):
    made = client.post("/v1/examples/digits")
    assert made.status_code == 201, made.text
    assert list(made.json()["classes"].values()) == [5] * 10


@pytest.mark.parametrize(
    ("sent", "status", "names"),
    [
        (lambda: {"data": {"labels": []}}, 422, "There are no images"),
        (lambda: form({"a": 2}, model="tiny"), 422, "only 'a'"),
        (lambda: form({"a": 1, "b": 1}, model="tinny"), 422, "Did you mean 'tiny'"),
        (lambda: form({"a": 1, "b": 1}, model="vectors"), 422, "takes vectors"),
        (lambda: form({"a": 1, " ": 1}, model="tiny"), 422, "not only blanks"),
        (lambda: form({"a": 1, "b" * 41: 1}, model="tiny"), 422, "1 to 40 characters"),
        (lambda: form({"a": 13, "b": 1}, model="tiny"), 422, "'a' would have 13"),
        (lambda: form(dict.fromkeys("abcdefghijklm", 1), model="tiny"), 422, "would have 13"),
        (lambda: form(dict.fromkeys("abcdef", 11), model="tiny"), 422, "At most 60 images"),
        (lambda: {"files": asked(2), "data": {"labels": ["a"]}}, 422, "2 images and 1 labels"),
        (
            lambda: {
                "files": [("images", ("x.png", b"\x89PNG" + b"0" * 100_001, "image/png"))],
                "data": {"labels": ["a"]},
            },
            422,
            "an image has at most 100,000",
        ),
        (lambda: {"content": b"x" * 4_000_001}, 413, "at most 4,000,000 bytes"),
        (lambda: {"json": {"images": "a"}}, 422, ""),
    ],
)
def test_what_cannot_be_forged_is_refused_with_a_sentence(sent, status, names, client):
    answer = client.post("/v1/classifiers", **sent())
    assert answer.status_code == status, answer.text
    assert names in answer.json()["detail"]
    assert client.get("/v1/classifiers").json()["items"] == []


@pytest.mark.parametrize(
    ("edit", "names"),
    [
        ({"remove": ["moon", "star"]}, "only 'sun ☀' would be left"),
        ({"remove": "mon"}, "Did you mean 'moon'"),
        ({"rename": "moon", "to": "star"}, "a class 'star' already"),
        ({"rename": "moon"}, "1 of 'rename' and 0 of 'to'"),
        ({"drop": "0"}, "'moon' would be left without"),
        ({"drop": "77"}, "There is no sample 77"),
        ({"name": " "}, "not only blanks"),
        ({"rename": "moon", "to": "x" * 41}, "1 to 40 characters"),
    ],
)
def test_an_edit_that_cannot_be_changes_nothing(edit, names, client, made):
    url = f"/v1/classifiers/{made['id']}"
    answer = client.patch(url, data=edit, headers={"If-Match": made["etag"]})
    assert answer.status_code == 422, answer.text
    assert names in answer.json()["detail"]
    assert client.get(url).json()["etag"] == made["etag"]


def test_names_are_data_and_never_paths(client, store, tmp_path):
    nasty = ["../../etc/passwd", "<script>alert(1)</script>", "a/b", "..", "con", "x\n\r: y", "%2e"]
    sent = form(dict.fromkeys(nasty[:6], 1), name="../../../evil", model="tiny")
    made = client.post("/v1/classifiers", **sent)
    assert made.status_code == 201, made.text
    assert set(made.json()["classes"]) == {name.replace("\n\r", "\n\r") for name in nasty[:6]}
    answer = client.get(f"/v1/classifiers/{made.json()['id']}/export")
    assert "/" not in answer.headers["content-disposition"]
    inside = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*")}
    assert inside == {"store"}
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py"):
        assert client.get(path).status_code == 404
    for id in ("..", "../index.sqlite", "%2e%2e%2findex.sqlite", "a" * 31, "A" * 32):
        assert client.get(f"/v1/classifiers/{id}").status_code in (404, 405, 422)


def test_a_full_disk_is_507_and_the_old_state_stays(client, made, monkeypatch):
    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    url = f"/v1/classifiers/{made['id']}"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        for answer in (
            client.post("/v1/classifiers", **form({"a": 1, "b": 1}, model="tiny")),
            client.patch(url, data={"remove": "moon"}, headers={"If-Match": made["etag"]}),
        ):
            assert answer.status_code == 507, answer.text
            assert "is full" in answer.json()["detail"]
    assert client.get(url).json()["etag"] == made["etag"]
    assert len(client.get("/v1/classifiers").json()["items"]) == 1
    edited = client.patch(url, data={"remove": "moon"}, headers={"If-Match": made["etag"]})
    assert edited.status_code == 200


def test_a_changed_file_on_the_disk_is_refused_not_answered(settings, made, client, store):
    path = next(Path(store.top).iterdir())
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with TestClient(create_app(settings), raise_server_exceptions=False) as fresh:
        answer = fresh.get(f"/v1/classifiers/{made['id']}")
    assert answer.status_code == 422
    assert "damaged or altered" in answer.json()["detail"]


def test_what_was_made_is_there_after_a_restart(settings, client, made):
    with TestClient(create_app(settings)) as fresh:
        again = fresh.get(f"/v1/classifiers/{made['id']}").json()
    assert again["shown"] == made["shown"]
    assert again["map"] == made["map"]


def held(worker: Worker) -> threading.Event:
    """Keep a worker busy until the event is set."""
    worker.start()
    begun, hold = threading.Event(), threading.Event()

    def act() -> None:
        begun.set()
        hold.wait()

    worker.run(act)
    begun.wait()
    return hold


def test_questions_that_wait_together_are_answered_together(client, made):
    fitted = client.app.state.service.get(made["id"]).fitted
    passes: list[tuple[int, int]] = []
    worker = Worker(lambda samples, asked: passes.append((samples, asked)))
    images = drawings(12, 1, seed=2)[:, 0]
    expected = fitted.analyze(images)
    found: dict[int, QueryAnalysis] = {}
    hold = held(worker)

    def ask(i: int) -> None:
        found[i] = worker.ask(fitted, images[i : i + 1]).result()

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(12)]
    for thread in threads:
        thread.start()
    while worker.waiting.qsize() < 12:
        time.sleep(0.001)
    hold.set()
    for thread in threads:
        thread.join()
    worker.stop()
    assert passes == [(12, 12)]
    for i, answers in found.items():
        assert isinstance(answers, QueryAnalysis)
        torch.testing.assert_close(answers.log_p, expected.log_p[i : i + 1])
        torch.testing.assert_close(answers.support_attention, expected.support_attention[i : i + 1])


def test_who_has_gone_away_spoils_nothing(client, made):
    fitted = client.app.state.service.get(made["id"]).fitted
    worker = Worker()
    hold = held(worker)
    images = drawings(1, 1)[:, 0]
    gone, task = worker.ask(fitted, images), worker.run(lambda: 1)
    stays = worker.ask(fitted, images)
    assert gone.cancel()
    assert task.cancel()
    hold.set()
    assert isinstance(stays.result(30), QueryAnalysis)
    worker.stop()


@pytest.mark.usefixtures("unchecked")
def test_a_file_made_to_mislead_is_refused_or_harmless(client, made, tmp_path):
    """With a right checksum, but names and pictures that are none."""
    fitted = client.app.state.service.get(made["id"]).fitted
    for changes, status in (
        ({"classes": ("a", 5, None)}, 422),
        ({"classes": ("a", "b", "x" * 41)}, 422),
        ({"notes": {"name": 7, "thumbnails": "[]"}}, 201),
        ({"notes": {"name": ["x"] * 100}}, 422),
        ({"fingerprint": "000000000000"}, 422),
        ({"model": "../../omniglot"}, 422),
    ):
        path = tmp_path / "f.safetensors"
        dataclasses.replace(fitted, **changes).save(path)
        sent = {"file": ("f.safetensors", path.read_bytes())}
        answer = client.post("/v1/classifiers", files=sent)
        assert answer.status_code == status, (changes, answer.text)
        if status == 201:
            assert client.get(f"/v1/classifiers/{answer.json()['id']}").status_code == 200


def test_a_question_that_cannot_be_answered_spoils_no_other(client, made):
    fitted = client.app.state.service.get(made["id"]).fitted
    worker = Worker()
    hold = held(worker)
    outcomes: dict[str, object] = {}

    def ask(name: str, samples: torch.Tensor) -> None:
        try:
            outcomes[name] = worker.ask(fitted, samples).result()
        except ValueError as error:
            outcomes[name] = error

    good, bad = drawings(1, 1)[:, 0], torch.zeros(1, 1, 5, 5, dtype=torch.uint8)
    threads = [threading.Thread(target=ask, args=pair) for pair in (("good", good), ("bad", bad))]
    for thread in threads:
        thread.start()
    while worker.waiting.qsize() < 2:
        time.sleep(0.001)
    hold.set()
    for thread in threads:
        thread.join()
    worker.stop()
    assert isinstance(outcomes["good"], QueryAnalysis)
    assert isinstance(outcomes["bad"], ValueError)
    assert png(good[0])


def test_what_it_is_and_how_it_is(client, made):
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}
    models = {one["name"]: one for one in client.get("/v1/models").json()}
    assert models["tiny"]["available"] is True
    assert models["omniglot"]["kind"] == "drawings"
    assert "vectors" not in models
    client.post(f"/v1/classifiers/{made['id']}/predict", files=asked(3))
    counted = client.get("/metrics").text
    route = 'method="POST",route="/v1/classifiers/{id}/predict",status="200"'
    assert f"lgmnet_requests_total{{{route}}} 1.0" in counted
    assert "lgmnet_images_answered_total 3.0" in counted
    docs = client.get("/docs").text
    assert "//" not in re.sub(r"(src|href)=\"/[^/]", "", docs).replace("// ", "")
    assert client.get("/openapi.json").json()["paths"]["/v1/classifiers/{id}"].keys() == {
        "get",
        "patch",
        "delete",
    }
