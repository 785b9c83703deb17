"""The lab diary: one heading a question, the answer first, and links to the chapters that hold."""

from __future__ import annotations

import re
from pathlib import Path

DIARY = Path(__file__).parents[1] / "docs" / "dev" / "log.md"
OVERTURNED = "> **Overturned.**"


def read_entries() -> dict[str, list[str]]:
    """Return the paragraphs of each entry by its heading."""
    text = DIARY.read_text(encoding="utf-8")
    parts = re.split(r"^### (.*)$", text, flags=re.M)[1:]
    return {
        heading: [p.strip() for p in body.split("\n\n") if p.strip()]
        for heading, body in zip(parts[::2], parts[1::2], strict=True)
    }


def test_each_heading_is_a_question_and_its_answer_comes_first() -> None:
    entries = read_entries()
    assert len(entries) >= 58
    for heading, paragraphs in entries.items():
        assert heading.endswith("?"), heading
        first = paragraphs[1] if paragraphs[0].startswith(OVERTURNED) else paragraphs[0]
        assert first.startswith("**"), heading


def test_a_chapter_that_was_overturned_names_the_chapter_that_holds() -> None:
    overturned = [p[0] for p in read_entries().values() if p[0].startswith(OVERTURNED)]
    assert len(overturned) >= 12
    assert all("](#" in paragraph for paragraph in overturned)
