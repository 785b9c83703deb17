"""axe-core finds nothing; texts can be read and targets be hit, in light and dark, at any width."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.conftest import drop_files, make, open_classifier
from tests.browser.test_studio import RING, card, draw, wait_until_idle
from tests.studio.conftest import form

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
MIN_TARGET = 24


def findings(page: Any) -> list[str]:
    """Return what axe-core finds on the page, and targets that are too small."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-core")
    options = {"runOnly": {"type": "tag", "values": TAGS}}
    response = axe.Axe().run(page, options=options).response
    assert len(response["passes"]) > 20, "axe-core has run"
    problems = [
        f"{rule['id']}: {node['html'][:200]}: {node.get('failureSummary', '')[:300]}"
        for rule in response["violations"]
        for node in rule["nodes"]
    ]
    small: list[str] = page.locator("button, select, input, textarea, summary, a").evaluate_all(
        """(elements, min) => elements
            .map((e) => [e.outerHTML.slice(0, 100), e.getBoundingClientRect()])
            .filter(([, box]) => box.width > 1 && box.x >= 0)
            .filter(([, box]) => box.width < min || box.height < min)
            .map(([html, box]) => `${box.width} x ${box.height}: ${html}`)""",
        MIN_TARGET,
    )
    return problems + small


@pytest.fixture(scope="module")
def classifiers(studio) -> list[Any]:
    """A small classifier, and one of many classes."""
    small = make(studio, **form({"moon": 4, "star": 4}, model="omniglot"))
    many = make(studio, **form({f"class of signs {i}": 2 for i in range(14)}, model="omniglot"))
    return [small, many]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing_in_any_state(scheme, width, page, studio, classifiers, tmp_path):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    is_phone = width < 800
    assert findings(page) == [], "empty"
    (tmp_path / "broken.png").write_bytes(b"nonsense")
    small, many = classifiers
    open_classifier(page, studio, small)
    page.locator('#estimate[aria-busy="false"]').wait_for(timeout=60_000)
    drop_files(page, card(1), tmp_path / "broken.png")
    page.locator("#alerts p").wait_for()
    page.click(f"{card(1)} .tools >> text=Draw")
    assert findings(page) == [], "with an alert and a pad"
    page.locator(f"{card(2)} .picture").first.click()
    assert findings(page) == [], "the dialog of an image"
    page.click("#image-dialog [data-close]")
    if is_phone:
        page.click("#views >> text=Try it")
    draw(page, "#query canvas", [RING])
    page.locator("#bars li").first.wait_for()
    wait_until_idle(page)
    assert findings(page) == [], "with a prediction"
    page.click("#use")
    assert findings(page) == [], "the dialog for export"
    page.click("#use-dialog [data-close]")
    page.click("#open")
    page.locator("#saved li").first.wait_for()
    assert findings(page) == [], "the dialog of all classifiers"
    open_classifier(page, studio, many)
    page.locator(".tile img[src]").first.wait_for()
    assert findings(page) == [], "many classes"
    assert page.locator("html").evaluate("e => e.scrollWidth") <= width
