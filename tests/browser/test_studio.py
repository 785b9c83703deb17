"""The studio as a user sees it: in a browser, with mouse and keys, mistakes included."""

from __future__ import annotations

import contextlib
import json
import math
import re
import sqlite3
import urllib.request
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image, ImageDraw

from lgmnet.data.images.read import read_image
from tests.browser.conftest import Studio, drop_files

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

Stroke = list[tuple[float, float]]
RING: Stroke = [(0.5 + 0.3 * math.cos(t / 8), 0.5 + 0.3 * math.sin(t / 8)) for t in range(52)]
CROSS: list[Stroke] = [[(0.2, 0.2), (0.8, 0.8)], [(0.8, 0.2), (0.2, 0.8)]]
STAIRS: list[Stroke] = [[(0.2, 0.2), (0.2, 0.5), (0.5, 0.5), (0.5, 0.8), (0.8, 0.8)]]


def draw(page: Any, pad: str, strokes: list[Stroke], shift: float = 0.0) -> None:
    """Draw on a pad with the mouse."""
    page.locator(pad).scroll_into_view_if_needed()
    box = page.locator(pad).bounding_box()

    def to_pixels(point: tuple[float, float]) -> tuple[float, float]:
        x, y = point
        return box["x"] + (x + shift) * box["width"], box["y"] + (y - shift) * box["height"]

    for stroke in strokes:
        page.mouse.move(*to_pixels(stroke[0]))
        page.mouse.down()
        for point in stroke[1:]:
            page.mouse.move(*to_pixels(point), steps=3)
        page.mouse.up()


def card(number: int) -> str:
    return f".card:nth-child({number})"


def send_drawing(page: Any, number: int, strokes: list[Stroke]) -> None:
    """Open the pad of a class, and add a drawing."""
    if not page.locator(f"{card(number)} canvas").is_visible():
        page.click(f"{card(number)} .tools >> text=Draw")
    draw(page, f"{card(number)} canvas", strokes)
    page.click(f"{card(number)} .tools >> text=Add")


def add_drawing(page: Any, number: int, strokes: list[Stroke], n_images: int) -> None:
    """Add a drawing to a class, and wait until the class has this number of images."""
    send_drawing(page, number, strokes)
    page.locator(f"{card(number)} .images > *").nth(n_images - 1).wait_for()


def name_class(page: Any, number: int, name: str) -> None:
    page.fill(f"{card(number)} .label", name)
    page.press(f"{card(number)} .label", "Enter")


def wait_for_status(page: Any, pattern: str) -> None:
    page.locator("#status").filter(has_text=re.compile(pattern)).wait_for(timeout=60_000)


def wait_until_idle(page: Any) -> None:
    page.wait_for_timeout(150)
    page.locator('#board:not([aria-busy="true"])').wait_for(state="attached", timeout=30_000)
    page.locator('#try:not([aria-busy="true"])').wait_for(state="attached", timeout=30_000)


def is_predicted(page: Any, name: str) -> bool:
    """Wait for a prediction, and return True if the class has the largest bar."""
    page.locator("#prediction", has_text=name).wait_for(timeout=60_000)
    wait_until_idle(page)
    names = page.locator("#bars li > :first-child").all_inner_texts()
    values = page.locator("#bars li > :last-child").all_inner_texts()
    best = int(np.argmax([float(text.split()[0]) for text in values]))
    return bool(names[best] == name)


def fit_ring_and_cross(page: Any) -> None:
    name_class(page, 1, "ring")
    name_class(page, 2, "cross")
    send_drawing(page, 1, [RING])
    wait_for_status(page, "one more class")
    page.locator(f"{card(1)} .waiting img[src]").wait_for()  # It is shown at once.
    add_drawing(page, 2, CROSS, 1)
    wait_for_status(
        page, "2 classes, 2 images, model 'omniglot', chosen because the images are draw"
    )


def test_a_new_drawing_of_a_class_is_predicted(page):
    fit_ring_and_cross(page)
    draw(page, "#query canvas", [RING], shift=0.05)
    assert is_predicted(page, "ring")
    page.click("#query .tools >> text=Clear")
    draw(page, "#query canvas", CROSS, shift=-0.04)
    assert is_predicted(page, "cross")
    assert page.locator("#attention img").count() >= 1
    add_drawing(page, 1, [RING], 2)
    page.locator("#map circle").nth(2).wait_for()


def test_classes_are_renamed_and_removed_at_once(page):
    fit_ring_and_cross(page)
    page.click("#add-class")
    name_class(page, 3, "<b>stairs</b> & co")
    add_drawing(page, 3, STAIRS, 1)
    wait_for_status(page, "3 classes, 3 images")
    draw(page, "#query canvas", STAIRS)
    assert is_predicted(page, "<b>stairs</b> & co"), "a label is shown as text"
    name_class(page, 1, "moon")
    wait_until_idle(page)
    page.locator("#bars li", has_text="moon").wait_for()
    page.click(f"{card(2)} .remove")
    wait_for_status(page, "2 classes, 2 images")
    wait_until_idle(page)
    assert page.locator(".card").count() == 2
    assert page.locator("#bars li").count() == 2
    page.click(f"{card(1)} .remove")
    page.locator("#alerts p", has_text="a classifier needs two classes").wait_for()
    name_class(page, 1, "<b>stairs</b> & co")
    page.locator("#alerts p", has_text="There is already a class").wait_for()
    assert page.input_value(f"{card(1)} .label") == "moon"


def test_a_classifier_is_saved_opened_after_a_restart_and_exported(browser, tmp_path):
    first = Studio(tmp_path / "store")
    context = browser.new_context()
    page = context.new_page()
    page.goto(first.address)
    fit_ring_and_cross(page)
    page.fill("#name", "signs")
    page.click("#save")
    wait_for_status(page, "Saved as 'signs'")
    context.close()
    assert first.stop()[0] == 0
    second = Studio(tmp_path / "store")
    try:
        context = browser.new_context(accept_downloads=True)
        page = context.new_page()
        page.goto(second.address)
        page.click("#open")
        page.click("#saved >> text=signs")
        wait_for_status(page, "2 classes, 2 images")
        assert page.input_value("#name") == "signs"
        page.locator(".images img[src]").nth(1).wait_for()
        assert page.locator(".images img[src]").count() == 2
        page.click("#use")
        with page.expect_download(timeout=60_000) as download:
            page.click("#get-onnx")
        onnx = tmp_path / download.value.suggested_filename
        download.value.save_as(onnx)
        assert onnx.name == "signs.onnx"
        with page.expect_download() as download:
            page.click("#get-safetensors")
        file = tmp_path / download.value.suggested_filename
        download.value.save_as(file)
        page.click("#copy-snippet")
        page.locator("#snippet").wait_for()
        assert "onnxruntime" in page.input_value("#snippet")
        page.click("#use-dialog [data-close]")
        # The file is opened as a new classifier, and edited.
        held: list[Any] = []  # The server's list comes after what is done next.
        page.route(
            "**/v1/classifiers?*",
            lambda route: held.append(route) if not held else route.continue_(),
        )
        page.click("#open")
        old = page.url
        page.set_input_files("#open-file", file)
        page.wait_for_url(lambda url: "#" in url and url != old)
        wait_until_idle(page)
        assert len(held) == 1
        held[0].continue_()
        page.wait_for_timeout(500)
        name_class(page, 1, "circle")
        wait_until_idle(page)
        page.click("#open")
        page.locator("#saved li").nth(1).wait_for()
        assert page.locator("#saved li", has_text="circle, cross").count() == 1
        assert page.locator("#saved li", has_text="ring, cross").count() == 1
        context.close()
    finally:
        second.stop()
    ring = Image.new("L", (280, 280), 255)
    ImageDraw.Draw(ring).ellipse((60, 60, 220, 220), outline=0, width=20)
    ring.save(tmp_path / "ring.png")
    session = onnxruntime.InferenceSession(onnx)
    image = read_image(tmp_path / "ring.png", (1, 28, 28))[None].numpy()
    probabilities, none = session.run(None, {"images": image})
    assert probabilities[0].argmax() == 0
    assert 0 <= none[0] <= 1


def test_files_that_cannot_be_read_are_reported(page, tmp_path):
    fit_ring_and_cross(page)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"nonsense" * 20)
    (tmp_path / "notes.txt").write_text("no image")
    page.click(f"{card(1)} .tools >> text=Done")
    with page.expect_file_chooser() as chooser:
        page.click(f"{card(1)} .tools >> text=Files")
    chooser.value.set_files([tmp_path / "broken.png", tmp_path / "notes.txt"])
    page.locator(
        "#alerts p", has_text="Left out of 'ring': 'broken.png' cannot be read as an image"
    ).wait_for()
    page.locator(
        "#alerts p", has_text="Left out of 'ring': 'notes.txt' is not an image."
    ).wait_for()
    assert page.locator(f"{card(1)} .images > *").count() == 1
    drop_files(page, "#query", tmp_path / "broken.png")
    page.locator("#prediction", has_text="cannot be read as an image").wait_for()
    assert "Traceback" not in page.inner_text("body")
    page.click("#open")
    page.set_input_files("#open-file", tmp_path / "notes.txt")
    page.locator("#alerts p", has_text="The file cannot be read").wait_for()


def test_images_are_dropped_on_a_class_and_removed(page, tmp_path):
    fit_ring_and_cross(page)
    picture = Image.new("L", (60, 60), 255)
    picture.paste(0, (10, 25, 50, 35))
    picture.save(tmp_path / "bar.png")
    drop_files(page, card(2), tmp_path / "bar.png")
    wait_for_status(page, "2 classes, 3 images")
    page.hover(f"{card(2)} .images > :nth-child(2)")
    page.click(f"{card(2)} .images > :nth-child(2) .drop")
    wait_for_status(page, "2 classes, 2 images")
    page.click("#new")
    page.locator("#welcome").wait_for()
    drop_files(page, "body", tmp_path / "bar.png")
    wait_for_status(page, "one more class")


def test_the_camera_takes_images_and_queries(page):
    """Chromium has a simulated camera for tests."""
    for number in (1, 2):
        page.click(f"{card(number)} .tools >> text=Camera")
        page.locator(f"{card(number)} video").wait_for()
        page.wait_for_timeout(700)
        page.click(f"{card(number)} .tools >> text=Hold to record")
    wait_for_status(page, "2 classes, 2 images")
    # Held, the button records images until it is released, by mouse or by key.
    page.locator(f"{card(2)} .record").scroll_into_view_if_needed()
    page.hover(f"{card(2)} .record")
    page.mouse.down()
    page.locator(f"{card(2)} .record", has_text=re.compile("Recording… [3-9]")).wait_for()
    page.mouse.up()
    wait_for_status(page, r"2 classes, ([5-9]|1\d) images")
    page.focus(f"{card(1)} .record")
    page.keyboard.press("Space")
    page.locator(f"{card(1)} .images > *").nth(1).wait_for()
    wait_until_idle(page)
    page.click(f"{card(1)} .tools >> text=Stop")
    assert page.locator(f"{card(1)} video").count() == 0
    assert page.locator(f"{card(1)} .tools >> text=Files…").is_visible()
    page.click("#query .tools >> text=Camera")
    page.locator("#bars li").nth(1).wait_for(timeout=60_000)
    page.click("#query .tools >> text=Stop")


def test_an_image_is_pasted(page):
    fit_ring_and_cross(page)
    page.locator(card(1)).evaluate(
        """async (element) => {
            const canvas = document.createElement("canvas");
            canvas.getContext("2d").fillRect(20, 20, 60, 10);
            const blob = await new Promise((resolve) => canvas.toBlob(resolve));
            const transfer = new DataTransfer();
            transfer.items.add(new File([blob], "pasted.png", { type: "image/png" }));
            const event = new ClipboardEvent("paste", { bubbles: true, cancelable: true });
            Object.defineProperty(event, "clipboardData", { value: transfer });
            element.dispatchEvent(event);
        }"""
    )
    wait_for_status(page, "2 classes, 3 images")


def test_the_example_needs_one_click(page):
    page.click("#example")
    wait_for_status(page, "10 classes, 50 images")
    draw(page, "#query canvas", [[(0.5, 0.15), (0.5, 0.85)]])
    assert is_predicted(page, "1")
    assert page.locator(".images .tile").count() == 50


def test_the_keyboard_is_enough(page):
    """Enter opens a pad, arrows and space draw, Enter adds the drawing."""
    for number, keys in ((1, ["ArrowDown"] * 8), (2, ["ArrowRight"] * 8)):
        page.focus(f"{card(number)} .tools >> text=Draw")
        page.keyboard.press("Enter")
        for key in ["Space", *keys, "Space", "Enter"]:
            page.keyboard.press(key)
    wait_for_status(page, "2 classes, 2 images")
    page.focus("#query canvas")
    for key in ["ArrowLeft", "Space", *["ArrowDown"] * 7, "Space"]:
        page.keyboard.press(key)
    assert is_predicted(page, "class 1")
    ids = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        ids.add(page.locator("body").evaluate("() => document.activeElement.id"))
    assert {"name", "new", "open", "save", "use", "theme", "add-class", "query"} <= ids


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_fits_phones_and_desktops_in_light_and_dark(scheme, width, page):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    page.click("#example")
    wait_for_status(page, "10 classes")
    assert page.locator("html").evaluate("e => e.scrollWidth") <= width, "no horizontal scrolling"
    background = page.locator("body").evaluate("e => getComputedStyle(e).backgroundColor")
    brightness = sum(map(int, re.findall(r"\d+", background)[:3])) / 3
    assert (brightness > 200) == (scheme == "light")
    page.click("#theme")
    other = page.locator("body").evaluate("e => getComputedStyle(e).backgroundColor")
    assert other != background


def test_two_pages_do_not_overwrite_each_other(page, browser):
    fit_ring_and_cross(page)
    context = browser.new_context()
    other = context.new_page()
    other.goto(page.url)
    wait_for_status(other, "2 classes, 2 images")
    name_class(other, 1, "theirs")
    wait_until_idle(other)
    name_class(page, 2, "mine")
    page.locator("#alerts p", has_text="changed by somebody else").wait_for()
    wait_until_idle(page)
    assert page.input_value(f"{card(1)} .label") == "theirs", "the current version is shown"
    name_class(page, 2, "mine")
    wait_until_idle(page)
    other.reload()
    wait_for_status(other, "2 classes, 2 images")
    assert {other.input_value(f"{card(i)} .label") for i in (1, 2)} == {"theirs", "mine"}
    context.close()


def test_the_page_asks_for_the_token(browser, tmp_path):
    studio = Studio(tmp_path / "store", LGMNET_TOKEN="s3cret")
    try:
        context = browser.new_context()
        page = context.new_page()
        page.goto(studio.address)
        page.locator("#token-dialog[open]").wait_for()
        page.fill("#token", "s3cret")
        page.press("#token", "Enter")
        page.click("#example")
        wait_for_status(page, "10 classes, 50 images")
        context.close()
    finally:
        studio.stop()


def test_a_damaged_classifier_is_listed_and_can_be_deleted(browser, tmp_path):
    studio = Studio(tmp_path / "store")
    try:
        with urllib.request.urlopen(f"{studio.address}/v1/examples/digits", b"") as response:
            id = json.load(response)["id"]
        with contextlib.closing(sqlite3.connect(tmp_path / "store" / "index.sqlite")) as index:
            index.execute("update classifiers set shots = 'x'")
            index.commit()
        context = browser.new_context()
        page = context.new_page()
        page.goto(studio.address)
        page.click("#open")
        page.locator("#saved li", has_text=f"A damaged classifier: {id}").wait_for()
        page.click("#saved li >> text=Delete")
        page.locator("#saved li", has_text="Deleted").wait_for()
        context.close()
    finally:
        assert studio.stop()[0] == 0
