"""The panel "Try it": wrong answers, many files; and classifiers that come from the shell."""

from __future__ import annotations

import csv
import dataclasses
import io

import pytest

from lgmnet.classifier.classifier import FittedClassifier
from tests.browser.conftest import drop_files, make, open_classifier
from tests.browser.test_studio import RING, card, draw, wait_for_status, wait_until_idle
from tests.studio.conftest import form, png
from tests.support.command_line import lgmnet
from tests.support.models import drawings

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def test_a_wrong_answer_adds_the_image_to_the_class_named(page, studio):
    open_classifier(page, studio, make(studio, **form({"a": 1, "b": 1}, model="omniglot")))
    assert not page.locator("#wrong").is_visible()
    draw(page, "#query canvas", [RING])
    page.locator("#wrong").wait_for()
    wait_until_idle(page)
    right = page.locator("#right-class option").first.inner_text()
    page.get_by_label("Wrong? It is").select_option(right)
    page.click("#wrong button")
    wait_for_status(page, "2 classes, 3 images")
    page.locator("#prediction", has_text=f"{right},").wait_for()
    page.get_by_label("Wrong? It is").select_option("a new class")
    page.click("#wrong button")
    wait_for_status(page, "3 classes, 4 images")
    assert page.locator(f"{card(3)} .label").input_value() == "class 1"
    page.click("#undo")
    wait_for_status(page, "2 classes, 3 images")


def test_many_files_are_listed_with_pictures_and_as_csv(page, studio, tmp_path):
    open_classifier(page, studio, make(studio, **form({'a "b"': 2, "c": 2}, model="omniglot")))
    paths = []
    for i, image in enumerate(drawings(1, 5, seed=4)[0]):
        paths.append(tmp_path / f"query, {i}.png")
        paths[-1].write_bytes(png(image))
    (tmp_path / "broken.png").write_bytes(b"nonsense")
    drop_files(page, "#query", *paths, tmp_path / "broken.png")
    rows = page.locator("#all-predictions li")
    rows.nth(5).wait_for(timeout=20_000)
    for i in range(6):
        rows.nth(i).scroll_into_view_if_needed()
        rows.nth(i).locator("img[src], .missing").wait_for()
    page.locator("#all-predictions .missing").wait_for()
    assert page.locator("#all-predictions summary").inner_text() == "All 6 predictions"
    with page.expect_download() as download:
        page.click("#csv")
    text = download.value.path().read_text("utf-8")
    table = list(csv.DictReader(io.StringIO(text)))
    assert [row["file"] for row in table] == [path.name for path in paths] + ["broken.png"]
    shown = rows.locator("b").all_inner_texts()
    for row, line in zip(table[:5], shown, strict=False):
        assert line.startswith(row["answer"])
        assert float(row['a "b"']) + float(row["c"]) == pytest.approx(1, abs=1e-4)
    assert "cannot be read as an image" in table[5]["error"]
    rows.nth(3).locator("button").click()
    assert "query, 3.png" in page.inner_text("#prediction")
    assert page.locator("#query img").get_attribute("alt") == "query, 3.png"


@pytest.fixture(scope="module")
def shell_file(tmp_path_factory):
    """Classifier of photos, made in the shell."""
    pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra 'photos'")
    folder = tmp_path_factory.mktemp("shell")
    assert lgmnet("example", "photos", folder).code == 0
    file = folder / "Garden views.safetensors"
    assert lgmnet("forge", folder / "photos", "-o", file).code == 0
    return file


def test_a_classifier_from_the_shell_opens_with_its_pictures_and_name(
    page, studio, shell_file, tmp_path
):
    page.set_input_files("#open-file", shell_file)
    opened = page.locator("#status", has_text="3 classes, 15 images, model 'photos'")
    opened.wait_for(timeout=90_000)
    page.locator(".tile img[src]").nth(14).wait_for()
    assert page.input_value("#name") == "Garden views"
    page.locator(".tile .picture").first.click()
    assert page.locator("#image-dialog .file").inner_text().endswith(".jpg")
    page.click("#image-dialog [data-close]")
    # Without pictures in the file, the page says so, and shows no broken images.
    fitted = FittedClassifier.load(shell_file)
    bare = tmp_path / "bare.safetensors"
    dataclasses.replace(fitted, notes={}).save(bare)
    page.goto("about:blank")  # The page remembers pictures.
    page.goto(studio.address)
    page.set_input_files("#open-file", bare)
    page.locator(".missing").nth(14).wait_for()
    assert page.input_value("#name") == "bare"
    assert page.locator(".tile img").count() == 0
    # For photos the panel asks for an image, and the pad opens on demand.
    assert page.locator("#query .choose").is_visible()
    assert not page.locator("#query canvas").is_visible()
    page.click("#query .tools >> text=Draw")
    assert page.locator("#query canvas").is_visible()


def test_the_model_is_switched_and_the_status_is_in_plain_words(page, studio):
    made = make(studio, **form({"a": 2, "b": 2}))
    open_classifier(page, studio, made)
    assert "two tones" in made["model_reason"], "what the server's log says"
    page.select_option("#model", "auto")
    wait_for_status(page, "model 'omniglot', chosen because the images are drawings")
    assert "tones" not in page.inner_text("#status")
    assert "%" not in page.inner_text("#status")
    page.select_option("#model", "photos")
    wait_for_status(page, "model 'photos'")
    page.click("#undo")
    wait_for_status(page, "model 'omniglot'")
