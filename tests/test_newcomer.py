"""A newcomer's walk: the README's blocks run in order, in a clean folder."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from scripts.walk import Step, environment_of, read_steps, walk

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"


def is_for_the_installed(step: Step) -> bool:
    """Return True for steps that other rows of CI run, such as the installation."""
    return step.text.startswith(("pip install", "make "))


@pytest.mark.long
def test_the_blocks_of_the_readme_run_in_order(tmp_path: Path) -> None:
    environment = environment_of(Path(sys.executable), PYTHONPATH=str(ROOT / "src"))
    done = [step for step, _ in walk(README, tmp_path, environment, skip=is_for_the_installed)]
    assert sum(step.language == "console" for step in done) == 10
    assert sum(step.language == "python" for step in done) == 1
    assert (tmp_path / "symbols.onnx").is_file()
    assert (tmp_path / "answers.csv").read_text().count("\n") > 3
    assert [*(tmp_path / "sorted").rglob("*.png")]


def test_a_step_that_fails_ends_the_walk_with_its_output(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```console\n$ echo said >&2; false\n```\n")
    with pytest.raises(AssertionError, match="said"):
        list(walk(page, tmp_path, environment_of(Path(sys.executable))))


def test_the_readme_can_be_scanned() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    without_blocks = re.sub(r"```.*?```", "", text, flags=re.S)
    without_blocks = re.sub(r"^[|<#].*$", "", without_blocks, flags=re.M)
    paragraphs = re.split(r"\n\s*\n|\n(?=- )", without_blocks)
    assert max(len(paragraph.strip().splitlines()) for paragraph in paragraphs) <= 5
    assert len([*read_steps(README)]) >= 11
