"""Everything can be undone and redone, also after a reload; deleting asks nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.conftest import drop_files, make, open_classifier
from tests.browser.test_studio import CROSS, RING, card, draw, name_class, wait_for_status
from tests.studio.conftest import form, png
from tests.support.models import drawings

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def classes_of(page: Any) -> dict[str, int]:
    """Return the number of images of each class that the page shows."""
    page.wait_for_timeout(100)
    page.locator('#board:not([aria-busy="true"])').wait_for(state="attached")
    pairs = page.locator(".card").evaluate_all(
        "(cards) => cards.map((e) => [e.querySelector('.label').value, "
        "e.querySelectorAll('.tile').length])"
    )
    return dict(pairs)


def undo(page: Any, key: str = "Control+z") -> dict[str, int]:
    """Undo by the keyboard, with the focus on no text."""
    page.locator("#status").evaluate("(e) => (e.textContent = '')")
    page.locator("#board").evaluate("(e) => e.focus()")
    page.keyboard.press(key)
    wait_for_status(page, "Undone|Redone|classes")
    return classes_of(page)


def test_every_change_is_undone_and_redone(page, studio):
    made = make(studio, **form({"a": 3, "b": 2, "c": 2}, model="omniglot"))
    open_classifier(page, studio, made)
    states = [classes_of(page)]

    def change(action: Any) -> None:
        action()
        states.append(classes_of(page))
        assert states[-1] != states[-2]

    change(lambda: page.click(f"{card(1)} .remove"))
    change(lambda: name_class(page, 1, "bee"))
    page.hover(f"{card(2)} .tile")
    change(lambda: page.click(f"{card(2)} .tile:nth-child(1) .drop"))
    change(lambda: page.locator(f"{card(1)} .tile").first.drag_to(page.locator(card(2))))
    change(lambda: page.click("#add-class"))
    assert states[-1] == {"bee": 1, "c": 2, "class 1": 0}
    for expected in states[-2::-1]:
        assert undo(page) == expected
    assert states[0] == {"a": 3, "b": 2, "c": 2}
    for expected in states[1:]:
        assert undo(page, "Control+y") == expected
    page.click("#undo")
    page.click("#undo")
    assert classes_of(page) == states[-3]
    # The server keeps the versions over a reload.
    page.reload()
    wait_for_status(page, "2 classes")
    page.click("#undo")
    assert classes_of(page) == states[-4]
    page.click("#redo")
    assert classes_of(page) == states[-3]
    for _ in range(3):
        page.click("#undo")
        classes_of(page)
    assert classes_of(page) == states[0]
    page.click("#undo")
    wait_for_status(page, "There is nothing to undo.")
    assert page.locator("#undo").is_disabled()
    assert not page.locator("#alerts p").count()


def test_the_images_of_the_first_classifier_can_be_taken_back(page, tmp_path):
    for i, image in enumerate(drawings(2, 1)[:, 0]):
        (tmp_path / f"{i}.png").write_bytes(png(image))
        drop_files(page, card(i + 1), tmp_path / f"{i}.png")
    wait_for_status(page, "2 classes, 2 images")
    address = page.url
    assert undo(page) == {"class 1": 1, "class 2": 0}
    assert page.locator(".waiting").count() == 1
    assert undo(page) == {"class 1": 0, "class 2": 0}
    assert page.locator("#undo").is_disabled()
    undo(page, "Control+Shift+z")
    assert undo(page, "Control+Shift+z") == {"class 1": 1, "class 2": 1}
    assert page.url == address


def test_new_and_the_example_are_undone(page):
    page.click("#example")
    wait_for_status(page, "10 classes")
    example = page.url
    page.click("#new")
    page.locator("#welcome").wait_for()
    undo(page)
    wait_for_status(page, "10 classes")
    assert page.url == example
    undo(page)
    page.locator("#welcome").wait_for()


def test_a_deleted_classifier_comes_back(page, studio):
    made = make(studio, **form({"a": 1, "b": 1}, name="precious", model="omniglot"))
    other = make(studio, **form({"c": 1, "d": 1}, name="second", model="omniglot"))
    open_classifier(page, studio, other)
    page.on("dialog", lambda dialog: pytest.fail("deleting asks"))
    page.click("#open")
    row = page.locator("#saved li", has_text="precious")
    row.get_by_text("Delete").click()
    row.get_by_text("Undo").click()
    row.get_by_text("Delete").click()
    row.get_by_text("Undo").wait_for()
    page.click("#open-dialog [data-close]")
    undo(page)
    assert page.request.get(f"{studio.address}/v1/classifiers/{made['id']}").ok
    # Also the one that is open.
    page.click("#open")
    page.locator("#saved li", has_text="second").get_by_text("Delete").click()
    page.click("#open-dialog [data-close]")
    page.locator("#welcome").wait_for()
    assert undo(page) == {"c": 1, "d": 1}


def test_strokes_are_undone_on_the_pad_and_text_by_the_browser(page, studio):
    made = make(studio, **form({"a": 1, "b": 1}, model="omniglot"))
    open_classifier(page, studio, made)
    draw(page, "#query canvas", [RING])
    page.locator("#bars li").first.wait_for()
    draw(page, "#query canvas", CROSS)
    ink = "e => e.getContext('2d').getImageData(0, 0, 280, 280).data.filter((v) => v < 99).length"
    with_cross = page.locator("#query canvas").evaluate(ink)
    for _ in CROSS:
        page.keyboard.press("Control+z")
    ring = page.locator("#query canvas").evaluate(ink)
    assert 0 < ring < with_cross
    page.keyboard.press("Control+z")
    assert page.locator("#query canvas").evaluate(ink) == 0
    page.locator(f"{card(1)} .label").press_sequentially("xyz")
    page.keyboard.press("Control+z")
    assert len(classes_of(page)) == 2
    assert page.request.get(f"{studio.address}/v1/classifiers/{made['id']}").json() == (
        made | {"milliseconds": None}
    )


def test_another_page_is_not_undone_unawares(page, browser, studio):
    """After a conflict only the latest change can be undone, whoever made it."""
    made = make(studio, **form({"a": 2, "b": 2}, model="omniglot"))
    open_classifier(page, studio, made)
    name_class(page, 1, "mine")
    classes_of(page)
    current = page.request.get(f"{studio.address}/v1/classifiers/{made['id']}").json()
    theirs = page.request.patch(
        f"{studio.address}/v1/classifiers/{made['id']}",
        headers={"If-Match": current["etag"]},
        multipart={"rename": "b", "to": "theirs"},
    )
    assert theirs.ok
    undo(page)
    page.locator("#alerts p", has_text="changed by somebody else").wait_for()
    assert classes_of(page) == {"mine": 2, "theirs": 2}
    assert undo(page) == {"mine": 2, "b": 2}
    assert undo(page) == {"a": 2, "b": 2}
