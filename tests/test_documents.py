"""Code in the documents runs, links lead somewhere, and numbers are those of the result files.

The README's blocks run in `test_newcomer`, the tutorials' when the site is built.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from lgmnet.cli import main  # noqa: F401  # Importing it registers the commands.
from lgmnet.cli.console import app
from lgmnet.data.examples import write_example

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path for path in (ROOT / "docs").rglob("*.md") if not {"_build", "generated"} & {*path.parts}
)
EXAMPLE = re.compile(r"^ *```(?!{(?:toctree|include)})|^\||^!\[", flags=re.MULTILINE)
"""Beginning of code, of what it prints, of a table or of a picture."""
SCREEN = 2_000
"""Characters of text that fit on a screen of 1280 x 800 pixels, below the title."""
RECORDS = ("log.md", "changelog.md", "contributing.md")
"""Pages that are no guides, two of them files of the project's root."""


def find_blocks(document: Path, language: str) -> list[str]:
    """Find the code blocks of a language in a document."""
    text = document.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def name_of(page: Path) -> str:
    """Return the name of a page within the site."""
    return str(page.relative_to(ROOT / "docs"))


LONG_PAGES = ("concepts/audit.md", "concepts/leak.md")
"""Pages whose code trains or evaluates for half a minute."""


@pytest.fixture
def reader_folder(tmp_path, monkeypatch):
    """Enter a folder with the example's drawings, as a reader has it."""
    monkeypatch.chdir(tmp_path)
    write_example("drawings", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=pytest.mark.long if name_of(page) in LONG_PAGES else ())
        for page in PAGES
        if find_blocks(page, "python")
    ],
    ids=name_of,
)
@pytest.mark.usefixtures("reader_folder")
def test_the_python_code_runs_as_printed(page):
    code = "\n".join(find_blocks(page, "python"))
    exec(compile(code, name_of(page), "exec"), {})


def test_commands_of_the_pages_exist():
    commands = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    n_named = 0
    for page in PAGES:
        for block in find_blocks(page, "console"):
            for name in re.findall(r"^\$ (?:\w+=\S+ )*lgmnet ([a-z]\S*)", block, flags=re.M):
                n_named += 1
                assert name in commands, (name_of(page), name)
    assert n_named > 20


def test_a_page_has_its_first_example_on_the_first_screen():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        text = re.sub(r"\A---\n.*?^---\n", "", text, flags=re.DOTALL | re.MULTILINE)
        if page.name not in RECORDS:
            assert EXAMPLE.search(text[:SCREEN]), name_of(page)


def test_the_tables_are_those_of_the_result_files():
    script = [sys.executable, str(ROOT / "scripts" / "table.py"), "--check"]
    assert subprocess.run(script, check=False).returncode == 0, "update: python scripts/table.py"


def test_links_to_files_exist():
    n_links = 0
    for document in [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]:
        text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            name = target.partition("#")[0]
            if "://" not in target and name:
                n_links += 1
                assert (document.parent / name).exists(), (str(document), target)
    assert n_links > 80


def test_no_file_names_a_package_registry():
    tracked = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files"], check=False, capture_output=True, text=True
    )
    if tracked.returncode:
        pytest.skip("this is not a git checkout, so there is no list of the project's files")
    hosts = ("pypi" + ".org", "files.python" + "hosted", "download.py" + "torch")
    for name in tracked.stdout.splitlines():
        path = ROOT / name
        if path.suffix in (".safetensors", ".png") or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8")
        for host in hosts:
            assert host not in text, (name, host)
