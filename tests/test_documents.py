"""What the documents print is true: their commands and code run, their figures are the results'."""

from __future__ import annotations

import glob
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lgmnet import cli
from lgmnet.data.images.archives import data_folders
from lgmnet.data.synthetic.characters import SyntheticCharacters
from lgmnet.episode import EpisodeShape

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("README.md", "docs/tutorial.md")
FEWER = {
    "train": "--steps 2 --set validation.episodes=2 --set every=2 --set tasks=1 --set way=4",
    "evaluate": "--episodes 2",
    "compare": "--episodes 2",
    "audit": "--episodes 16",
    "forge": "",
    "predict": "",
    "edit": "",
    "inspect": "",
    "report": "",
    "export": "",
    "models": "",
}
"""What makes a documented command quick; the command itself is run as printed."""


def blocks(document: str, language: str) -> list[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def commands(document: str) -> list[str]:
    lines = [line for block in blocks(document, "console") for line in block.splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ lgmnet ")]


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder like a reader's: drawings of a few classes, and some more."""
    shape = EpisodeShape(4, 2, 2)
    pixels = torch.empty(shape.samples, 1, 28, 28, dtype=torch.uint8)
    SyntheticCharacters("test").draw(shape, torch.Generator().manual_seed(0), pixels)
    shown = [f"{name}/{i}.png" for name in ("star", "moon", "sun") for i in (1, 2)]
    places = [
        *(f"symbols/{place}" for place in shown),
        *("more/tree/1.png", "more/tree/2.png"),
        *(f"test/{place}" for place in shown),
        *("new/1.png", "scans/deep/1.png"),
    ]
    for place, image in zip(places, pixels, strict=True):
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.kron(255 - image[0].numpy(), np.ones((4, 4), np.uint8))).save(path)
    monkeypatch.setenv("LGMNET_DATA", str(next((f for f in data_folders() if f.is_dir()), "")))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.pack
@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_commands_run_as_printed(document, desk, monkeypatch, capsys):
    assert commands(document)
    for printed in commands(document):
        line = printed.split(" > ")[0]  # Where to write is the shell's affair.
        words = [name for word in shlex.split(line, comments=True) for name in expanded(word)]
        monkeypatch.setattr(sys, "argv", [*words, *FEWER[words[1]].split()])
        code: int | str | None = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code
        assert not code, (line, capsys.readouterr().err)


def expanded(word: str) -> list[str]:
    """What a shell makes of a word."""
    return sorted(glob.glob(word)) if "*" in word else [word]


@pytest.mark.parametrize("document", [*DOCUMENTS, "docs/leak.md"])
def test_the_python_runs_as_printed(document, desk):
    found = blocks(document, "python")
    assert found
    for code in found:
        exec(compile(code, document, "exec"), {})


def test_the_table_is_drawn_from_the_results():
    script = [sys.executable, str(ROOT / "scripts" / "table.py"), "--check"]
    assert subprocess.run(script, check=False).returncode == 0, "draw it: python scripts/table.py"


def test_links_lead_somewhere():
    for document in [
        *DOCUMENTS,
        "CONTRIBUTING.md",
        "docs/method.md",
        "docs/leak.md",
        "docs/dev/log.md",
    ]:
        text = (ROOT / document).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)]+)\)", text):
            if "://" not in target:
                assert ((ROOT / document).parent / target).exists(), (document, target)


def test_nothing_names_a_machine_or_a_registry():
    tracked = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files"], check=False, capture_output=True, text=True
    )
    if tracked.returncode:
        pytest.skip("not a git checkout: there is no list of the project's files")
    hosts = ("pypi" + ".org", "files.python" + "hosted", "download.py" + "torch")
    for name in tracked.stdout.splitlines():
        path = ROOT / name
        if path.suffix in (".safetensors", ".png") or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8")
        for host in hosts:
            assert host not in text, (name, host)
