"""The studio as a person uses it: in a browser, with mouse and keys, mistakes included."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image, ImageDraw

from lgmnet.data.images.read import read_image
from tests.browser.conftest import Studio

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

RING = [(0.5 + 0.3 * math.cos(t / 8), 0.5 + 0.3 * math.sin(t / 8)) for t in range(52)]
CROSS = [[(0.2, 0.2), (0.8, 0.8)], [(0.8, 0.2), (0.2, 0.8)]]
STAIRS = [[(0.2, 0.2), (0.2, 0.5), (0.5, 0.5), (0.5, 0.8), (0.8, 0.8)]]


def draw(page: Any, pad: str, strokes: list[list[tuple[float, float]]], shift: float = 0.0) -> None:
    """Draw on a pad with the mouse."""
    page.locator(pad).scroll_into_view_if_needed()
    box = page.locator(pad).bounding_box()

    def at(point: tuple[float, float]) -> tuple[float, float]:
        x, y = point
        return box["x"] + (x + shift) * box["width"], box["y"] + (y - shift) * box["height"]

    for stroke in strokes:
        page.mouse.move(*at(stroke[0]))
        page.mouse.down()
        for point in stroke[1:]:
            page.mouse.move(*at(point), steps=3)
        page.mouse.up()


def card(number: int) -> str:
    return f".card:nth-child({number})"


def show(page: Any, number: int, strokes: list[list[tuple[float, float]]], images: int) -> None:
    """Draw for a class, add it, and wait until it is there."""
    draw(page, f"{card(number)} canvas", strokes)
    page.click(f"{card(number)} .tools >> text=Add")
    page.locator(f"{card(number)} .shown > *").nth(images - 1).wait_for()


def name_class(page: Any, number: int, name: str) -> None:
    page.fill(f"{card(number)} .label", name)
    page.press(f"{card(number)} .label", "Enter")


def wait_for_status(page: Any, words: str) -> str:
    status = page.locator("#status").filter(has_text=re.compile(words))
    status.wait_for(timeout=20_000)
    found: str = status.inner_text()
    return found


def idle(page: Any) -> None:
    """Wait until nothing is under way."""
    page.wait_for_timeout(150)
    page.locator('#board:not([aria-busy="true"])').wait_for(timeout=30_000)
    page.locator('#try:not([aria-busy="true"])').wait_for(timeout=30_000)


def wins(page: Any, name: str) -> bool:
    """Whether a class comes to be the most probable one of what is in the box."""
    page.locator("#answer", has_text=name).wait_for(timeout=20_000)
    idle(page)
    names = page.locator("#bars li > :first-child").all_inner_texts()
    values = page.locator("#bars li > :last-child").all_inner_texts()
    best = int(np.argmax([float(text.split()[0]) for text in values]))
    return bool(names[best] == name)


def forge_two(page: Any) -> None:
    name_class(page, 1, "ring")
    name_class(page, 2, "cross")
    draw(page, f"{card(1)} canvas", [RING])
    page.click(f"{card(1)} .tools >> text=Add")
    wait_for_status(page, "One more class")
    show(page, 2, CROSS, 1)
    wait_for_status(page, "2 classes, 2 images, model omniglot, forged in")


def test_two_characters_drawn_then_a_third_time_and_the_right_class_wins(page):
    forge_two(page)
    draw(page, "#ask canvas", [RING], shift=0.05)
    assert wins(page, "ring")
    page.click("#ask .tools >> text=Clear")
    draw(page, "#ask canvas", CROSS, shift=-0.04)
    assert wins(page, "cross")
    assert page.locator("#support_attention img").count() >= 1
    show(page, 1, [RING], 2)
    page.locator("#map circle").nth(2).wait_for()


def test_classes_are_renamed_and_removed_at_once(page):
    forge_two(page)
    page.click("#add-class")
    name_class(page, 3, "<b>stairs</b> & co")
    show(page, 3, STAIRS, 1)
    wait_for_status(page, "3 classes, 3 images")
    draw(page, "#ask canvas", STAIRS)
    assert wins(page, "<b>stairs</b> & co"), "a label is text, whatever is in it"
    name_class(page, 1, "moon")
    idle(page)
    page.locator("#bars li", has_text="moon").wait_for()
    page.click(f"{card(2)} .remove")
    wait_for_status(page, "2 classes, 2 images")
    idle(page)
    assert page.locator(".card").count() == 2
    assert page.locator("#bars li").count() == 2
    page.click(f"{card(1)} .remove")
    alert = page.locator("#alerts p", has_text="a classifier needs two classes")
    alert.wait_for()
    name_class(page, 1, "<b>stairs</b> & co")
    page.locator("#alerts p", has_text="There is a class").wait_for()
    assert page.input_value(f"{card(1)} .label") == "moon"


def test_saved_then_opened_again_after_a_restart_and_taken_away(browser, tmp_path):
    first = Studio(tmp_path / "store")
    context = browser.new_context()
    page = context.new_page()
    page.goto(first.address)
    forge_two(page)
    page.fill("#name", "signs")
    page.click("#save")
    wait_for_status(page, "Saved as 'signs'")
    context.close()
    assert first.end()[0] == 0
    again = Studio(tmp_path / "store")
    try:
        context = browser.new_context(accept_downloads=True)
        fresh = context.new_page()
        fresh.goto(again.address)
        fresh.click("#open")
        fresh.click("#kept >> text=signs")
        wait_for_status(fresh, "2 classes, 2 images")
        assert fresh.input_value("#name") == "signs"
        assert fresh.locator(".shown img").count() == 2
        fresh.click("#downloads")
        with fresh.expect_download(timeout=60_000) as got:
            fresh.click("#get-onnx")
        onnx = tmp_path / got.value.suggested_filename
        got.value.save_as(onnx)
        assert onnx.name == "signs.onnx"
        with fresh.expect_download() as got:
            fresh.click("#get-safetensors")
        file = tmp_path / got.value.suggested_filename
        got.value.save_as(file)
        fresh.click("#copy-snippet")
        fresh.locator("#snippet").wait_for()
        assert "onnxruntime" in fresh.input_value("#snippet")
        fresh.click("#use-dialog [data-close]")
        # The file is opened as a classifier of its own, and edited.
        fresh.click("#open")
        fresh.set_input_files("#open-file", file)
        idle(fresh)  # the status says the same before and after
        name_class(fresh, 1, "circle")
        idle(fresh)
        fresh.click("#open")
        fresh.locator("#kept li").nth(1).wait_for()
        assert fresh.locator("#kept li", has_text="circle, cross").count() == 1
        assert fresh.locator("#kept li", has_text="ring, cross").count() == 1
        context.close()
    finally:
        again.end()
    ring = Image.new("L", (280, 280), 255)
    ImageDraw.Draw(ring).ellipse((60, 60, 220, 220), outline=0, width=20)
    ring.save(tmp_path / "ring.png")
    session = onnxruntime.InferenceSession(onnx)
    image = read_image(tmp_path / "ring.png", (1, 28, 28))[None].numpy()
    (chances,) = session.run(None, {"images": image})
    assert chances[0].argmax() == 0


def test_what_cannot_be_read_is_said_in_a_sentence(page, tmp_path):
    forge_two(page)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"nonsense" * 20)
    (tmp_path / "notes.txt").write_text("no image")
    Image.new("L", (30, 30), 255).save(tmp_path / "good.png")
    with page.expect_file_chooser() as chosen:
        page.click(f"{card(1)} .tools >> text=Files")
    chosen.value.set_files([tmp_path / "broken.png", tmp_path / "notes.txt"])
    page.locator("#alerts p", has_text="'broken.png' cannot be read as an image").wait_for()
    page.locator("#alerts p", has_text="no images: notes.txt").wait_for()
    assert page.locator(f"{card(1)} .shown > *").count() == 1
    drop(page, "#ask", tmp_path / "broken.png")
    page.locator("#answer", has_text="cannot be read as an image").wait_for()
    assert "Traceback" not in page.inner_text("body")
    page.click("#open")
    page.set_input_files("#open-file", tmp_path / "notes.txt")
    page.locator("#alerts p", has_text="The file cannot be read").wait_for()


def drop(page: Any, where: str, path: Path) -> None:
    """Drop a file, as if dragged from a folder."""
    page.locator(where).evaluate(
        """(element, [name, bytes]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([Uint8Array.from(bytes)], name, { type: "image/png" }));
            const event = new DragEvent("drop", { dataTransfer: transfer, bubbles: true });
            Object.defineProperty(event, "dataTransfer", { value: transfer });
            element.dispatchEvent(event);
        }""",
        [path.name, list(path.read_bytes())],
    )


def test_images_dropped_on_a_class_and_taken_back(page, tmp_path):
    forge_two(page)
    picture = Image.new("L", (60, 60), 255)
    picture.paste(0, (10, 25, 50, 35))
    picture.save(tmp_path / "bar.png")
    drop(page, card(2), tmp_path / "bar.png")
    wait_for_status(page, "2 classes, 3 images")
    page.hover(f"{card(2)} .shown > :nth-child(2)")
    page.click(f"{card(2)} .shown > :nth-child(2) button")
    wait_for_status(page, "2 classes, 2 images")
    page.click("#new")
    page.locator("#welcome").wait_for()
    drop(page, "body", tmp_path / "bar.png")
    wait_for_status(page, "One more class")


def test_the_camera_gives_images_to_show_and_to_ask_about(page):
    """Chromium's make-believe camera."""
    for number in (1, 2):
        page.click(f"{card(number)} .tools >> text=Camera")
        page.locator(f"{card(number)} video").wait_for()
        page.wait_for_timeout(700)
        page.click(f"{card(number)} .tools >> text=Take")
    wait_for_status(page, "2 classes, 2 images")
    page.click(f"{card(1)} .tools >> text=Stop")
    assert page.locator(f"{card(1)} video").count() == 0
    page.click("#ask .tools >> text=Camera")
    page.locator("#bars li").nth(1).wait_for(timeout=20_000)
    page.click("#ask .tools >> text=Stop")


def test_an_image_is_pasted(page):
    forge_two(page)
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


def test_a_ready_example_in_one_click(page):
    page.click("#example")
    wait_for_status(page, "10 classes, 50 images")
    draw(page, "#ask canvas", [[(0.5, 0.15), (0.5, 0.85)]])
    assert wins(page, "1")
    assert page.locator(".shown img").count() == 50


def test_with_the_keyboard_alone(page):
    """Tab to a pad, draw with arrows and space, Enter adds."""
    for number, keys in ((1, ["ArrowDown"] * 8), (2, ["ArrowRight"] * 8)):
        page.focus(f"{card(number)} canvas")
        for key in ["Space", *keys, "Space", "Enter"]:
            page.keyboard.press(key)
    wait_for_status(page, "2 classes, 2 images")
    page.focus("#ask canvas")
    for key in ["ArrowLeft", "Space", *["ArrowDown"] * 7, "Space"]:
        page.keyboard.press(key)
    assert wins(page, "class 1")
    seen = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.add(page.locator("body").evaluate("() => document.activeElement.id"))
    assert {"name", "new", "open", "save", "downloads", "theme", "add-class", "ask"} <= seen


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_it_fits_a_phone_and_a_desk_in_dark_and_light(scheme, width, page):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    page.click("#example")
    wait_for_status(page, "10 classes")
    root = page.locator("html")
    assert root.evaluate("e => e.scrollWidth") <= width, "nothing sticks out at the side"
    paper = page.locator("body").evaluate("e => getComputedStyle(e).backgroundColor")
    bright = sum(map(int, re.findall(r"\d+", paper)[:3])) / 3
    assert (bright > 200) == (scheme == "light")
    page.click("#theme")
    other = page.locator("body").evaluate("e => getComputedStyle(e).backgroundColor")
    assert other != paper


def test_two_pages_on_one_classifier_do_not_overwrite_each_other(page, browser, studio):
    forge_two(page)
    context = browser.new_context()
    other = context.new_page()
    other.goto(page.url)
    wait_for_status(other, "2 classes, 2 images")
    name_class(other, 1, "theirs")
    idle(other)
    name_class(page, 2, "mine")
    page.locator("#alerts p", has_text="changed by somebody else").wait_for()
    idle(page)
    assert page.input_value(f"{card(1)} .label") == "theirs", "what is there now is shown"
    name_class(page, 2, "mine")
    idle(page)
    other.reload()
    wait_for_status(other, "2 classes, 2 images")
    assert {other.input_value(f"{card(i)} .label") for i in (1, 2)} == {"theirs", "mine"}
    context.close()


def test_the_token_is_asked_for(browser, tmp_path):
    running = Studio(tmp_path / "store", LGMNET_TOKEN="s3cret")
    try:
        context = browser.new_context()
        page = context.new_page()
        page.goto(running.address)
        page.locator("#token-dialog[open]").wait_for()
        page.fill("#token", "s3cret")
        page.press("#token", "Enter")
        page.click("#example")
        wait_for_status(page, "10 classes, 50 images")
        context.close()
    finally:
        running.end()
