"""The board of classes: many of them, folders and zips, images that move, alerts that go."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import drop_files, make, open_classifier
from tests.browser.test_studio import card, name_class, wait_for_status, wait_until_idle
from tests.studio.conftest import form, png
from tests.support.models import drawings

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
SCREEN = 800
LONG = "a class with a name that is far too long for one line of its card, and is shown in full"


def files_of(way: int, shot: int) -> list[list[bytes]]:
    return [[png(image) for image in images] for images in drawings(way, shot)]


def tiles(page: Any, name: str) -> Any:
    return page.get_by_role("article", name=f"Class {name}", exact=True).locator(".tile")


def test_thirty_classes_fit_on_three_screens_and_are_searched(page, studio):
    page.set_viewport_size({"width": 1280, "height": SCREEN})
    names = [f"kind of sign {i}" for i in range(29)] + [LONG]
    made = make(studio, **form(dict.fromkeys(names, 5), model="omniglot"))
    open_classifier(page, studio, made)
    page.locator('#estimate[aria-busy="false"]').wait_for(timeout=60_000)
    assert page.locator(".card").count() == 30
    assert page.locator("html").evaluate("e => e.scrollHeight") <= 3 * SCREEN
    overflowing = page.locator(".card .label").evaluate_all(
        "(es) => es.filter((e) => e.scrollHeight > e.clientHeight || e.scrollWidth > e.clientWidth)"
        ".map((e) => e.value)"
    )
    assert overflowing == [], "names are shown in full"
    page.get_by_label("Find a class").fill("SIGN 2")
    assert page.locator(".card:visible").count() == 10
    page.get_by_label("Find a class").fill("far too long")
    assert page.locator("#found").inner_text() == "1 of 30 classes"
    long = page.locator(".card:visible")
    assert long.locator(".tile").count() == 4, "three images, and the number of others"
    assert long.locator(".rest").inner_text() == "+2"
    long.locator(".expand").click()
    assert long.locator(".tile").count() == 5
    assert long.locator(".tools").is_visible()
    assert long.locator(".expand").get_attribute("aria-expanded") == "true"


def test_on_a_phone_both_views_are_one_tap_away(page):
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.locator("#board").is_visible()
    assert not page.locator("#try").is_visible()
    page.click("#views >> text=Try it")
    assert page.locator("#query canvas").is_visible()
    assert not page.locator("#board").is_visible()
    page.click("#views >> text=Classes")
    assert page.locator("#board").is_visible()
    page.set_viewport_size({"width": 1280, "height": SCREEN})
    assert page.locator("#try").is_visible(), "on a large screen both are there"


def test_folders_become_classes(page, tmp_path):
    for name, images in zip(("star", "moon"), files_of(2, 2), strict=True):
        (tmp_path / "signs" / name).mkdir(parents=True)
        for i, data in enumerate(images):
            (tmp_path / "signs" / name / f"{i}.png").write_bytes(data)
        (tmp_path / "signs" / name / ".hidden").write_bytes(b"x")
    page.set_input_files("#folder", tmp_path / "signs")
    wait_for_status(page, "2 classes, 4 images")
    assert page.locator(".label").evaluate_all("(es) => es.map((e) => e.value)") == ["moon", "star"]
    assert not page.locator("#alerts p").count()


def make_zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_a_zip_dropped_anywhere_becomes_classes(method, page, tmp_path):
    files = {
        f"signs/{name}/{i}.png": data
        for name, images in zip(("möwe", "star"), files_of(2, 2), strict=True)
        for i, data in enumerate(images)
    }
    others = {"__MACOSX/signs/._0.png": b"x", "signs/notes.txt": b"x", "signs/star/": b""}
    path = make_zip(tmp_path / "signs.zip", files | others, method)
    drop_files(page, "#status", path)
    wait_for_status(page, "2 classes, 4 images")
    assert page.locator(".label").evaluate_all("(es) => es.map((e) => e.value)") == ["möwe", "star"]


def patched(data: bytes, signature: bytes, offset: int, value: int) -> bytes:
    """Write a number into the header of a zip with this signature."""
    at = data.index(signature) + offset
    return data[:at] + value.to_bytes(4, "little") + data[at + 4 :]


def bombs(folder: Path) -> list[tuple[bytes, str]]:
    """Make zips that must not be unpacked, each with what the page says of it."""
    large = make_zip(folder / "x.zip", {"a/bomb.png": bytes(30_000_000)}).read_bytes()
    image = make_zip(folder / "x.zip", {"a/b.png": bytes(1000)}).read_bytes()
    many = io.BytesIO()
    with zipfile.ZipFile(many, "w") as archive:
        for i in range(5001):
            archive.writestr(f"a/{i}.png", b"")
    text = make_zip(folder / "x.zip", {"notes.txt": b"x"}).read_bytes()
    return [
        (large, "'a/bomb.png' has 30 MB; an image has at most 20 MB"),
        (patched(large, b"PK\1\2", 24, 1000), "'a/bomb.png' has another size than it says"),
        (patched(image, b"PK\1\2", 24, 2_000_000_000), "would take 2.0 GB; at most 1 GB is read"),
        (many.getvalue(), "holds 5001 images; at most 5000 are read"),
        (image[: len(image) // 2], "its directory is missing, so it may be cut off"),
        (patched(image, b"PK\1\2", 8, 1), "it needs a password"),
        (patched(image, b"PK\1\2", 10, 99), "is packed by the unknown method 99"),
        (text, "There are no images in 'bomb.zip'"),
    ]


def test_zip_bombs_and_damaged_zips_are_refused_by_name(page, tmp_path):
    path = tmp_path / "bomb.zip"
    for data, message in bombs(tmp_path):
        path.write_bytes(data)
        drop_files(page, card(1), path)
        alert = page.locator("#alerts p", has_text=message)
        alert.wait_for()
        assert "'bomb.zip'" in alert.inner_text()
        assert page.locator("#alerts p").count() == 1, "the alert before is gone"
    assert page.locator(".tile").count() == 0


def test_images_move_between_classes_by_dragging_and_by_the_menu(page, studio):
    open_classifier(page, studio, make(studio, **form({"a": 3, "b": 2, "c": 1}, model="omniglot")))
    tiles(page, "a").nth(0).drag_to(page.get_by_role("article", name="Class b", exact=True))
    tiles(page, "b").nth(2).wait_for()
    wait_until_idle(page)
    tiles(page, "a").nth(0).locator(".picture").click()
    dialog = page.locator("#image-dialog")
    assert dialog.locator("h2").inner_text() == "Image 1 of a"
    assert dialog.locator(".file").inner_text() == "1.png"
    dialog.get_by_label("Move to").select_option("c")
    dialog.get_by_role("button", name="Move", exact=True).click()
    tiles(page, "c").nth(1).wait_for()
    wait_for_status(page, "3 classes, 6 images")
    # The last image of a class takes the class with it.
    tiles(page, "a").nth(0).drag_to(page.get_by_role("article", name="Class b", exact=True))
    wait_for_status(page, "2 classes, 6 images")
    assert page.locator(".card").count() == 2


def test_images_that_wait_for_a_second_class_are_shown_moved_and_removed(page, tmp_path):
    paths = []
    for i, data in enumerate(files_of(1, 3)[0]):
        paths.append(tmp_path / f"{i}.png")
        paths[-1].write_bytes(data)
    drop_files(page, card(1), *paths)
    page.locator(f"{card(1)} .waiting img[src]").nth(2).wait_for()
    assert page.url.endswith("/"), "there is no classifier yet"
    page.hover(f"{card(1)} .tile:nth-child(3)")
    page.click(f"{card(1)} .tile:nth-child(3) .drop")
    assert page.locator(f"{card(1)} .tile").count() == 2
    page.locator(f"{card(1)} .tile").nth(1).drag_to(page.locator(card(2)))
    wait_for_status(page, "2 classes, 2 images")
    assert page.locator(".waiting").count() == 0


def test_alerts_go_when_their_cause_goes(page, studio, tmp_path):
    open_classifier(page, studio, make(studio, **form({"a": 1, "b": 1}, model="omniglot")))
    alerts = page.locator("#alerts p")
    (tmp_path / "broken.png").write_bytes(b"nonsense")
    (tmp_path / "right.png").write_bytes(files_of(1, 1)[0][0])
    drop_files(page, card(1), tmp_path / "broken.png")
    page.locator("#alerts p", has_text="Left out of 'a': 'broken.png'").wait_for()
    drop_files(page, card(2), tmp_path / "broken.png")
    page.locator("#alerts p", has_text="Left out of 'b': 'broken.png'").wait_for()
    drop_files(page, card(1), tmp_path / "right.png")
    wait_for_status(page, "2 classes, 3 images")
    assert alerts.count() == 1, "that of the other class stays"
    name_class(page, 1, "b")
    page.locator("#alerts p", has_text="There is already a class 'b'.").wait_for()
    name_class(page, 1, "other")
    wait_until_idle(page)
    assert alerts.all_inner_texts()[0].startswith("Left out of 'b'")
    page.evaluate(
        "() => { window.old = window.fetch; window.fetch = async () => { throw TypeError(); }; }"
    )
    page.click(f"{card(2)} .remove")
    page.locator("#alerts p", has_text="cannot be reached").wait_for()
    page.evaluate("() => { window.fetch = window.old; }")
    name_class(page, 1, "again")
    wait_until_idle(page)
    assert not page.locator("#alerts p", has_text="cannot be reached").count()


def test_a_request_that_is_too_large_is_divided(page, studio, tmp_path):
    """The server refuses requests of too many images or pixels with status 413."""
    paths = []
    for i, data in enumerate(files_of(1, 6)[0]):
        paths.append(tmp_path / f"{i}.png")
        paths[-1].write_bytes(data)
    made = make(studio, **form({"a": 1, "b": 1}, model="omniglot"))
    open_classifier(page, studio, made)
    sizes = []

    def refuse_large(route: Any) -> None:
        body = route.request.post_data_buffer or b""
        sizes.append(len(re.findall(rb'name="images"', body)))
        if sizes[-1] > 2:
            route.fulfill(status=413, json={"detail": "Send them in several requests."})
        else:
            route.continue_()

    page.route(re.compile(rf"/{made['id']}$"), refuse_large)
    drop_files(page, card(1), *paths)
    wait_for_status(page, "2 classes, 8 images")
    assert sizes == [6, 3, 2, 2, 2]
    assert not page.locator("#alerts p").count()
