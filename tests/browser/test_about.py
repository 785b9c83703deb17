"""The page says what a classifier judges by, and how accurate it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import pytest

from lgmnet.model.model import save_model
from tests.browser.conftest import Studio, open_classifier, open_page
from tests.browser.conftest import make as make_classifier
from tests.studio.conftest import form
from tests.support.models import ASPECTS, model_of_aspects

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
CLASSES = {"moon": 4, "star": 4, "sun": 4}
MIN_CONTRAST = 4.5


@pytest.fixture(scope="module")
def judging_studio(tmp_path_factory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("aspects")
    save_model(model_of_aspects(), folder / "aspects")
    studio = Studio(folder / "store", "--model", str(folder / "aspects"))
    yield studio
    studio.stop()


@pytest.fixture
def judging_page(browser, judging_studio) -> Iterator[Any]:
    with open_page(browser, judging_studio) as page:
        yield page


def make(studio: Studio, model: str, **classes: int) -> Any:
    return make_classifier(studio, **form(classes, model=model))


def estimate_of(page: Any) -> str:
    page.locator('#estimate[aria-busy="false"]').wait_for()
    text: str = page.inner_text("#estimate .result")
    return text


def contrast(one: str, other: str) -> float:
    """Compute the contrast of two CSS colors (WCAG 2.2)."""

    def luminance(color: str) -> float:
        values = [int(v) / 255 for v in re.findall(r"\d+", color)[:3]]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def answer_with(value: Any, route: Any) -> None:
    """Answer a request of the page without the server."""
    route.fulfill(json=value)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_bar_says_in_words_what_the_classifier_judges_by(
    scheme, width, judging_page, judging_studio
):
    page = judging_page
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    made = make(judging_studio, "aspects", **CLASSES)
    open_classifier(page, judging_studio, made)
    shares = made["judged_by"]
    region = page.get_by_role("region", name="Judges by")
    items = region.get_by_role("list", name="Judges by").get_by_role("listitem")
    expected = [f"{name} {100 * s:.0f} %" for name, s in shares.items() if s >= 0.005]
    assert len(expected) > 1
    assert items.all_inner_texts() == expected
    bars = page.locator("#aspects rect")
    widths = [float(bar.get_attribute("width")) for bar in bars.all()]
    assert widths == pytest.approx([100 * s for s in shares.values() if s >= 0.005], abs=1)
    assert page.locator("#aspects svg").get_attribute("aria-hidden") == "true"
    assert page.locator("html").evaluate("e => e.scrollWidth") <= width

    def color(selector: str, property: str) -> list[str]:
        found: list[str] = page.locator(selector).evaluate_all(
            "(elements, property) => elements.map((e) => getComputedStyle(e)[property])", property
        )
        return found

    estimate_of(page)
    (background,) = color("body", "backgroundColor")
    texts = color("#about h2, #about li, #about .result, #about summary, #about .progress", "color")
    fills = color("#aspects rect", "fill")
    assert len(set(fills)) == len(expected), "each word has its color"
    assert color("#aspects .dot", "backgroundColor") == fills
    for one in texts + fills:
        assert contrast(one, background) >= MIN_CONTRAST


def test_every_color_of_a_share_can_be_told_from_the_page(judging_page):
    page = judging_page
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        colors = page.evaluate(
            """() => [1, 2, 3, 4, 5, 6].map((i) => {
                const probe = document.body.appendChild(document.createElement("i"));
                probe.style.color = `var(--share-${i})`;
                return getComputedStyle(probe).color;
            })"""
        )
        background = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        assert len(set(colors)) == 6
        assert min(contrast(color, background) for color in colors) >= MIN_CONTRAST


def test_a_word_keeps_its_color_when_the_order_changes(judging_page, judging_studio):
    page = judging_page
    made = make(judging_studio, "aspects", **CLASSES)

    def colors() -> dict[str, str]:
        page.locator("#aspects li").first.wait_for()
        pairs = page.locator("#aspects li").evaluate_all(
            "(items) => items.map((e) => [e.textContent, e.firstChild.style.background])"
        )
        return {re.sub(r" \d+ %$", "", text): color for text, color in pairs}

    found = []
    shares = (0.4, 0.3, 0.2, 0.1)
    for order in (ASPECTS, ASPECTS[::-1]):
        described = made | {"judged_by": dict(zip(order, shares, strict=True))}
        url = f"**/v1/classifiers/{made['id']}"
        page.route(url, partial(answer_with, described))
        open_classifier(page, judging_studio, made)
        found.append(colors())
        assert list(found[-1]) == list(order)
        page.unroute(url)
    assert found[0] == found[1]


def test_without_words_there_is_no_bar(judging_page, judging_studio):
    page = judging_page
    open_classifier(page, judging_studio, make(judging_studio, "aspects", **CLASSES))
    page.locator("#aspects").wait_for()
    open_classifier(page, judging_studio, make(judging_studio, "omniglot", moon=1, star=1))
    assert estimate_of(page) == "Add a second image to a class to estimate it."
    assert not page.locator("#aspects").is_visible()
    page.click("#new")
    page.locator("#about").wait_for(state="hidden")


def test_the_page_shows_the_estimate_with_its_interval_and_what_is_confused(
    judging_page, judging_studio
):
    page = judging_page
    made = make(judging_studio, "aspects", **CLASSES)
    url = f"{judging_studio.address}/v1/classifiers/{made['id']}"
    estimate = httpx.get(f"{url}/estimate", timeout=60).json()
    assert estimate["confusions"], "random weights confuse classes"
    open_classifier(page, judging_studio, made)
    low, high = (f"{value:.0f}" for value in estimate["interval"])
    assert estimate_of(page) == (
        f"About {estimate['accuracy']:.0f} % (95 % interval {low} to {high} %): "
        f"{estimate['right']} of 12 images are recognised when left out."
    )
    first = estimate["confusions"][0]
    images = "1 image" if first["images"] == 1 else f"{first['images']} images"
    texts = [page.inner_text("#facts summary")]
    page.click("#facts summary")
    texts += page.locator("#facts li").all_inner_texts()
    assert texts[0].removesuffix(f", and {len(texts) - 1} more") == (
        f"{first['label']} taken for {first['predicted']}: {images}"
    )
    assert len(texts) == len(estimate["confusions"])
    # A change of the classifier gives a new estimate.
    page.hover(".card:nth-child(1) .images > :nth-child(1)")
    page.click(".card:nth-child(1) .images > :nth-child(1) .drop")
    page.locator("#estimate .result", has_text="of 11 images").wait_for()


def test_the_estimate_names_the_classes_that_share_an_image(judging_page, judging_studio):
    request = form({"moon": 2, "star": 2})
    request["files"][3] = request["files"][0]
    response = httpx.post(
        f"{judging_studio.address}/v1/classifiers",
        files=request["files"],
        data=request["data"] | {"model": "aspects"},
        timeout=60,
    )
    open_classifier(judging_page, judging_studio, response.json())
    judging_page.locator(
        "#estimate summary", has_text="the same image is in moon and star"
    ).wait_for()


def test_many_images_are_estimated_on_demand(judging_page, judging_studio):
    """A large estimate takes a while, so the page does not start it by itself."""
    page = judging_page
    made = make(judging_studio, "aspects", moon=101, star=100)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    open_classifier(page, judging_studio, made)
    page.wait_for_timeout(1200)
    assert not [url for url in asked if url.endswith("/estimate")]
    page.click("#run-estimate")
    assert "of 201 images" in estimate_of(page)
    assert not page.locator("#run-estimate").is_visible()


def test_an_image_in_the_wrong_class_is_shown_and_moved(page, studio):
    request = form({"moon": 5, "star": 5}, model="omniglot")
    request["data"]["labels"][9] = "moon"
    made = make_classifier(studio, **request)
    estimate = httpx.get(
        f"{studio.address}/v1/classifiers/{made['id']}/estimate", timeout=60
    ).json()
    assert [(s["image"], s["label"], s["predicted"]) for s in estimate["suspects"]] == [
        (9, "moon", "star")
    ]
    open_classifier(page, studio, made)
    summary = page.locator("#suspects summary", has_text="Check 1 image: the class may be wrong")
    summary.click(timeout=60_000)
    page.locator("#suspects img[src]").wait_for()
    assert "In moon, looks like star, 100 % (4.png)" in page.inner_text("#suspects li")
    page.click("#suspects >> text=Move to star")
    page.locator("#estimate .result", has_text="10 of 10 images").wait_for(timeout=60_000)
    assert not page.locator("#suspects").is_visible()
    # With twice the images: one line, where the server says so, and never less than now.
    expected = {"with_twice_the_images": {"accuracy": 97.2, "interval": [90.1, 99.4]}}
    etag = httpx.get(f"{studio.address}/v1/classifiers/{made['id']}").json()["etag"]
    for accuracy, text in ((90.0, "about 97 %"), (100.0, "about as accurate as now")):
        now = {"accuracy": accuracy, "etag": etag}
        page.unroute("**/estimate")
        page.route("**/estimate", partial(answer_with, estimate | expected | now))
        page.reload()
        line = f"With twice the images: {text} (95 % interval 90 to 99 %)."
        page.locator("#more-images", has_text=line).wait_for(timeout=60_000)
