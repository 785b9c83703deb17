"""Check the built site: links inside lead somewhere, and no page loads anything from elsewhere.

Usage: python scripts/check_site.py docs/_build/html. Exits with code 1 and lists what is wrong.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

LOADING = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
"""Attribute by which an element loads a file."""
HARMLESS_LINKS = {"canonical", "author", "license"}
"""Values of ``rel`` of <link> elements that load nothing."""


@dataclass
class Page:
    """Targets of one page: anchors, links, and files that it loads."""

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)


class PageParser(HTMLParser):
    """Parser that collects the targets of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.page = Page()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect anchors and targets of one element."""
        values = {name: value for name, value in attrs if value is not None}
        self.page.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.page.links.append(values["href"])
        if tag in LOADING and values.get("rel") not in HARMLESS_LINKS:
            self.page.loaded += [values[LOADING[tag]]] if LOADING[tag] in values else []


@cache
def read_page(path: Path) -> Page:
    """Read a page of the site."""
    parser = PageParser()
    parser.feed(path.read_text(encoding="utf-8"))
    return parser.page


def is_elsewhere(target: str) -> bool:
    """Return True if a target is an address on another machine."""
    return re.match(r"([a-z][a-z+.-]*:)?//", target) is not None


def find_faults(site: Path) -> Iterator[str]:
    """Yield a sentence for each dead link, and for each file that is loaded from elsewhere."""
    for path in sorted(site.rglob("*.html")):
        page = read_page(path)
        for target in page.loaded:
            if is_elsewhere(target):
                yield f"{path}: loads {target}"
        for target in [*page.links, *page.loaded]:
            if is_elsewhere(target) or target.startswith(("mailto:", "data:", "javascript:")):
                continue
            name, _, anchor = unquote(target).partition("#")
            goal = path if not name else (path.parent / name.partition("?")[0]).resolve()
            if goal.is_dir():
                goal /= "index.html"
            if not goal.is_file():
                yield f"{path}: the link to {target} is dead"
            elif goal.suffix == ".html" and anchor not in ("", *read_page(goal).anchors):
                yield f"{path}: the link to {target} names no place of that page"
    for path in sorted(site.rglob("*.css")):
        text = path.read_text(encoding="utf-8")
        for target in re.findall(r"(?:url\(|@import\s+)\s*['\"]?([^'\")\s]+)", text):
            if is_elsewhere(target):
                yield f"{path}: loads {target}"


def main() -> int:
    """Print the faults of the site in the folder of the first argument."""
    site = Path(sys.argv[1])
    pages = len(list(site.rglob("*.html")))
    faults = [*find_faults(site)]
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"{pages} pages, {len(faults)} faults")
    return int(bool(faults) or not pages)


if __name__ == "__main__":
    sys.exit(main())
