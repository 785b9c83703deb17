"""Commands and code in the documents run, and their numbers are those of the result files."""

from __future__ import annotations

import contextvars
import glob
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from lgmnet import cli
from lgmnet.data.examples import write_example
from lgmnet.data.images.archives import data_folders

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("README.md", "docs/tutorials/first-model.md")
CONCEPTS = ("docs/concepts/leak.md", "docs/concepts/audit.md")
FEWER = {
    "train": "--steps 2 --set validation.episodes=2 --set every=2 --set tasks=1 --set way=4",
    "evaluate": "--episodes 2",
    "compare": "--episodes 2",
    "audit": "--episodes 16",
    "example": "",
    "forge": "",
    "predict": "",
    "edit": "",
    "inspect": "",
    "report": "",
    "export": "",
    "models": "",
}
"""Options that make each command quick; they are added to the command as it is printed."""


def find_blocks(document: str, language: str) -> list[str]:
    """Find the code blocks of a language in a document."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def find_commands(document: str) -> list[str]:
    """Find the ``lgmnet`` commands in the console blocks of a document."""
    lines = [line for block in find_blocks(document, "console") for line in block.splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ lgmnet ")]


@pytest.fixture
def reader_folder(tmp_path, monkeypatch):
    """Enter an empty folder, as a reader does; the documents say how to fill it."""
    monkeypatch.setenv("LGMNET_DATA", str(next((f for f in data_folders() if f.is_dir()), "")))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.pack
@pytest.mark.parametrize("document", DOCUMENTS)
@pytest.mark.usefixtures("reader_folder")
def test_the_commands_run_as_printed(document, monkeypatch, capsys):
    commands = find_commands(document)
    assert commands
    for command in commands:
        line = command.split(" > ")[0]  # The shell redirects the output, not the command.
        words = [name for word in shlex.split(line, comments=True) for name in expand(word)]
        monkeypatch.setattr(sys, "argv", [*words, *FEWER[words[1]].split()])
        code: int | str | None = 0
        try:
            contextvars.copy_context().run(cli.main)  # The progress display is not for other tests.
        except SystemExit as end:
            code = end.code
        assert not code, (line, capsys.readouterr().err)


def expand(word: str) -> list[str]:
    """Expand a pattern of file names, as a shell does."""
    return sorted(glob.glob(word)) if "*" in word else [word]


@pytest.mark.parametrize(
    "document", [*DOCUMENTS, "docs/concepts/leak.md", "docs/concepts/audit.md"]
)
def test_the_python_code_runs_as_printed(document, reader_folder):
    write_example("drawings", reader_folder)
    blocks = find_blocks(document, "python")
    assert blocks
    for code in blocks:
        exec(compile(code, document, "exec"), {})


def test_the_tables_are_those_of_the_result_files():
    script = [sys.executable, str(ROOT / "scripts" / "table.py"), "--check"]
    assert subprocess.run(script, check=False).returncode == 0, "update: python scripts/table.py"


def test_links_to_files_exist():
    n_links = 0
    for document in [
        *DOCUMENTS,
        "CONTRIBUTING.md",
        "docs/concepts/method.md",
        "docs/concepts/criteria.md",
        "docs/concepts/leak.md",
        "docs/concepts/audit.md",
        "docs/dev/log.md",
    ]:
        text = (ROOT / document).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)]+)\)", text):
            if "://" not in target:
                n_links += 1
                assert ((ROOT / document).parent / target).exists(), (document, target)
    assert n_links > 10


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
