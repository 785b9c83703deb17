"""Routes that create, list, read, edit and remove classifiers."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.studio.conftest import form, queries


def test_a_classifier_is_created_and_read(client, sky):
    assert sky["name"] == "sky"
    assert sky["model"] == "tiny"
    assert sky["kind"] == "drawings"
    assert sky["classes"] == {"moon": 1, "star": 2, "sun ☀": 3}
    assert [len(details["images"]) for details in sky["class_details"]] == [1, 2, 3]
    assert len(sky["map"]) == 6
    assert sky["milliseconds"] > 0
    response = client.get(f"/v1/classifiers/{sky['id']}")
    assert response.headers["etag"] == f'"{sky["etag"]}"'
    assert response.json() == {**sky, "milliseconds": None, "model_reason": None}


def test_an_edit_takes_effect_at_once(client, sky):
    url = f"/v1/classifiers/{sky['id']}"
    changes = form({"comet": 2, "moon": 1}, seed=5, rename=["star"], to=["Star <b>"])
    response = client.patch(url, **changes, headers={"If-Match": f'"{sky["etag"]}"'})
    assert response.status_code == 200, response.text
    edited = response.json()
    assert edited["classes"] == {"moon": 2, "Star <b>": 2, "sun ☀": 3, "comet": 2}
    assert edited["etag"] != sky["etag"]
    assert edited["id"] == sky["id"]
    assert image_keys(sky) < image_keys(edited)
    place = edited["class_details"][2]["images"][0]["place"]
    changes = {"remove": ["comet"], "drop": [place], "name": "night"}
    edited = client.patch(url, data=changes, headers={"If-Match": edited["etag"]}).json()
    assert edited["classes"] == {"moon": 2, "Star <b>": 2, "sun ☀": 2}
    assert edited["name"] == "night"
    assert client.get(url).json()["classes"] == edited["classes"]


def image_keys(classifier: dict[str, Any]) -> set[str]:
    return {image["key"] for details in classifier["class_details"] for image in details["images"]}


def test_an_edit_of_an_old_version_is_refused(client, sky):
    url = f"/v1/classifiers/{sky['id']}"
    assert client.patch(url, data={"name": "a"}).status_code == 428
    assert client.patch(url, data={"name": "a"}, headers={"If-Match": '"old"'}).status_code == 412
    etags = {"If-Match": f'W/"{sky["etag"]}", "x"'}
    assert client.patch(url, data={"name": "a"}, headers=etags).status_code == 200
    refused = client.patch(url, data={"name": "b"}, headers={"If-Match": f'"{sky["etag"]}"'})
    assert refused.status_code == 412
    assert "Read it again" in refused.json()["detail"]
    assert client.delete(url, headers={"If-Match": f'"{sky["etag"]}"'}).status_code == 412
    assert client.get(url).json()["name"] == "a"
    assert client.patch(url, data={"name": "c"}, headers={"If-Match": "*"}).status_code == 200
    assert client.delete(url).status_code == 204
    assert client.get(url).status_code == 404
    assert client.delete(url).status_code == 404


def test_editors_at_the_same_time_do_not_overwrite_each_other(client, sky):
    """Each reads, adds an image and tries again when refused; in the end all images are there."""
    url, refusals = f"/v1/classifiers/{sky['id']}", []

    def edit(number: int) -> None:
        while True:
            etag = client.get(url).json()["etag"]
            changes = form({"moon": 1}, seed=100 + number)
            response = client.patch(url, **changes, headers={"If-Match": etag})
            if response.status_code == 200:
                return
            assert response.status_code == 412
            refusals.append(number)

    threads = [threading.Thread(target=edit, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.get(url).json()["classes"]["moon"] == 7


def test_classifiers_are_listed_in_pages(client):
    created = [
        client.post("/v1/classifiers", **form({"a": 1, "b": 1}, seed=i, name=str(i), model="tiny"))
        for i in range(5)
    ]
    ids, after = [], None
    while True:
        params = {"limit": 2} | ({"after": after} if after else {})
        page = client.get("/v1/classifiers", params=params).json()
        ids += [item["id"] for item in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert ids == [response.json()["id"] for response in created][::-1]
    refused = client.get("/v1/classifiers", params={"after": "nonsense"})
    assert refused.status_code == 422
    assert "'next' of a page" in refused.json()["detail"]


def test_the_model_is_chosen_by_the_kind_of_the_images(client):
    response = client.post("/v1/classifiers", **form({"a": 2, "b": 2}))
    assert response.status_code == 201, response.text
    assert response.json()["model"] == "omniglot"
    assert response.json()["model_reason"].startswith("ink on paper")
    assert response.json()["detects_none_of_these"] is True
    url = f"/v1/classifiers/{response.json()['id']}/predict"
    prediction = client.post(url, files=queries()).json()["predictions"][0]
    assert prediction["none_of_these"] in (True, False)


def test_the_example_has_five_images_of_each_digit(client):
    response = client.post("/v1/examples/digits")
    assert response.status_code == 201, response.text
    assert list(response.json()["classes"].values()) == [5] * 10


@pytest.mark.parametrize(
    ("make_request", "status", "message"),
    [
        (lambda: {"data": {"labels": []}}, 422, "There are no images"),
        (lambda: form({"a": 2}, model="tiny"), 422, "only 'a'"),
        (lambda: form({"a": 1, "b": 1}, model="tinny"), 422, "Did you mean 'tiny'"),
        (lambda: form({"a": 1, "b": 1}, model="vectors"), 422, "takes vectors"),
        (lambda: form({"a": 1, " ": 1}, model="tiny"), 422, "not blank"),
        (lambda: form({"a": 1, "": 1}, model="tiny"), 422, "not blank"),
        (lambda: form({"a": 1, "\x1b[31mred": 1}, model="tiny"), 422, "control characters"),
        (lambda: form({"a": 1, "b\nc": 1}, model="tiny"), 422, "control characters"),
        (lambda: form({"a": 1, "b": 1}, name="\x1b[1m", model="tiny"), 422, "control characters"),
        (lambda: form({"a": 1, "b" * 41: 1}, model="tiny"), 422, "1 to 40 characters"),
        (lambda: form({"a": 13, "b": 1}, model="tiny"), 422, "'a' would have 13"),
        (lambda: form(dict.fromkeys("abcdefghijklm", 1), model="tiny"), 422, "would have 13"),
        (lambda: form(dict.fromkeys("abcdef", 11), model="tiny"), 413, "at most 60 images"),
        (lambda: {"files": queries(2), "data": {"labels": ["a"]}}, 422, "2 images and 1 labels"),
        (
            lambda: {
                "files": [("images", ("x.png", b"\x89PNG" + b"0" * 100_001, "image/png"))],
                "data": {"labels": ["a"]},
            },
            422,
            "an image has at most 100,000",
        ),
        (lambda: {"content": b"x" * 4_000_001}, 413, "at most 4,000,000 bytes"),
        (lambda: {"json": {"images": "a"}}, 422, "There are no images"),
        (lambda: {"data": {"images": ["a"]}}, 422, "'images.0': Value error, Expected UploadFile"),
    ],
)
def test_an_impossible_classifier_is_refused_with_a_message(make_request, status, message, client):
    response = client.post("/v1/classifiers", **make_request())
    assert response.status_code == status, response.text
    assert message in response.json()["detail"]
    assert client.get("/v1/classifiers").json()["items"] == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"remove": ["moon", "star"]}, "only 'sun ☀' would be left"),
        ({"remove": "mon"}, "Did you mean 'moon'"),
        ({"rename": "moon", "to": "star"}, "a class 'star' already"),
        ({"rename": "moon"}, "1 of 'rename' and 0 of 'to'"),
        ({"drop": "0"}, "'moon' would be left without"),
        ({"drop": "77"}, "There is no sample 77"),
        ({"name": " "}, "not blank"),
        ({"name": "a\x85b"}, "control characters"),
        ({"rename": "moon", "to": "\x1b[31m"}, "control characters"),
        ({"rename": "moon", "to": "x" * 41}, "1 to 40 characters"),
    ],
)
def test_an_impossible_edit_changes_nothing(changes, message, client, sky):
    url = f"/v1/classifiers/{sky['id']}"
    response = client.patch(url, data=changes, headers={"If-Match": sky["etag"]})
    assert response.status_code == 422, response.text
    assert message in response.json()["detail"]
    assert client.get(url).json()["etag"] == sky["etag"]


def test_images_of_a_class_with_control_characters_are_not_added(client, sky):
    request = form({"a\x07": 1}) | {"headers": {"If-Match": "*"}}
    response = client.patch(f"/v1/classifiers/{sky['id']}", **request)
    assert response.status_code == 422, response.text
    assert "control characters" in response.json()["detail"]
