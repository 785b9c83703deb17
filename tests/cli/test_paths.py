"""Names of files and folders that are unusual: not UTF-8, with NUL, or too long."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lgmnet.errors import UserError
from tests.support.command_line import Ran, lgmnet
from tests.support.images import symbols, write_drawing
from tests.support.models import drawings, tiny_model

FOREIGN = os.fsdecode(b"caf\xe9")
"""Name in Latin-1."""
SHOWN = r"caf\udce9"


@pytest.fixture
def foreign_images(tmp_path: Path) -> Path:
    """Two classes, with image files and a parent folder whose names are not UTF-8."""
    folder = symbols(tmp_path / FOREIGN / "images", {"moon": 3, "star": 3})
    try:
        for name in ("moon", "star"):
            (folder / name / "0.png").rename(folder / name / f"{FOREIGN}.png")
    except OSError:
        pytest.skip("this file system stores names in UTF-8 only")
    return folder


def assert_sentence(ran: Ran, *parts: object) -> None:
    assert ran.code == 2, ran.out
    assert ran.err.startswith("error: "), ran.err
    assert "Traceback" not in ran.err
    for part in parts:
        assert str(part) in ran.err


def test_file_names_that_are_not_utf_8_work_in_every_command(tiny, foreign_images, tmp_path):
    file, page = tmp_path / "c.safetensors", foreign_images.parent / f"{FOREIGN}.html"
    ran = lgmnet("forge", foreign_images, "-o", file, "--model", tiny)
    assert (ran.code, ran.err) == (0, "")
    ran = lgmnet("predict", file, foreign_images)
    assert f"{SHOWN}/images/star/{SHOWN}.png" in ran.out
    swapped = shutil.copytree(foreign_images, tmp_path / "swapped")
    shutil.copy(foreign_images / "star" / f"{FOREIGN}.png", swapped / "moon")
    ran = lgmnet("report", file, swapped, "--model", tiny, "-o", page)
    assert (ran.code, ran.err) == (0, "")
    assert SHOWN in page.read_text(encoding="utf-8")
    assert lgmnet("edit", file, "--add", foreign_images, "--model", tiny).code == 0
    score = foreign_images.parent / f"{FOREIGN}.json"
    task = ["--way", 2, "--shot", 1, "--query", 1, "--episodes", 2]
    ran = lgmnet("evaluate", tiny, "--data", foreign_images, *task, "--save", score)
    assert (ran.code, ran.err) == (0, "")
    assert json.loads(score.read_text())["data"] == str(foreign_images)


def test_a_model_of_a_folder_that_is_not_utf_8_is_used_or_named(tiny, tmp_path, folder_of_symbols):
    try:
        model = shutil.copytree(tiny, tmp_path / FOREIGN)
    except OSError:
        pytest.skip("this file system stores names in UTF-8 only")
    file = tmp_path / "c.safetensors"
    ran = lgmnet("forge", folder_of_symbols, "-o", file, "--model", model)
    if ran.code:
        assert_sentence(ran, SHOWN)
    else:
        assert lgmnet("inspect", file).code == 0


@pytest.mark.parametrize("command", ["forge", "report", "edit", "evaluate"])
def test_a_class_folder_that_is_not_utf_8_is_named(
    command, tiny, classifier, foreign_images, tmp_path
):
    (foreign_images / "moon").rename(foreign_images / FOREIGN)
    words = {
        "forge": ["forge", foreign_images, "-o", tmp_path / "c.safetensors", "--model", tiny],
        "report": ["report", classifier, foreign_images, "--model", tiny],
        "edit": ["edit", classifier, "--add", foreign_images, "--model", tiny],
        "evaluate": ["evaluate", tiny, "--data", foreign_images],
    }
    before = classifier.read_bytes()
    ran = lgmnet(*words[command])
    assert_sentence(ran, f"class folder '{SHOWN}'", "not UTF-8; rename it")
    assert classifier.read_bytes() == before
    assert not (tmp_path / "c.safetensors").exists()


def test_a_list_of_files_with_nul_and_with_long_names(classifier, tmp_path, monkeypatch):
    image = write_drawing(tmp_path / "a.png", drawings(2, 1)[0, 0])
    lines = ["a\0b.png\n", f"{image}\n", "x" * 300 + "\n"]
    monkeypatch.setattr("sys.stdin", iter(lines))
    ran = lgmnet("predict", classifier, "-", "--json")
    assert ran.code == 2
    assert ["error" in row for row in ran.json["predictions"]] == [True, False, True]
    monkeypatch.setattr("sys.stdin", iter(lines))
    assert r"a\x00b.png" in lgmnet("predict", classifier, "-").out


LONG = "x" * 300


@pytest.mark.parametrize(
    "build_words",
    [
        lambda model, folder, file: ["evaluate", LONG],
        lambda model, folder, file: ["evaluate", model, "--data", LONG],
        lambda model, folder, file: ["forge", LONG, "-o", "c.safetensors"],
        lambda model, folder, file: ["forge", folder, "-o", LONG, "--model", model],
        lambda model, folder, file: ["predict", LONG, "a.png"],
        lambda model, folder, file: ["predict", file, LONG],
        lambda model, folder, file: ["report", file, LONG, "--model", model],
        lambda model, folder, file: ["publish", model, "-o", LONG],
    ],
)
def test_a_name_that_is_too_long_is_a_sentence(build_words, tiny, folder_of_symbols, classifier):
    assert_sentence(lgmnet(*build_words(tiny, folder_of_symbols, classifier)), LONG)


NUL = Path("a\0b")


@pytest.mark.parametrize(
    "act",
    [
        lambda fitted, model: fitted.save(NUL),
        lambda fitted, model: fitted.load(NUL),
        lambda fitted, model: model.save_pretrained(NUL),
        lambda fitted, model: model.from_pretrained(NUL),
        lambda fitted, model: model.from_pretrained(f"hub:{NUL}/c"),
    ],
    ids=["save", "load", "save_pretrained", "from_pretrained", "hub"],
)
def test_a_path_with_nul_is_a_sentence_in_python(act: Callable[..., object]):
    from lgmnet.classifier.fit import fit_classifier

    model = tiny_model()
    fitted = fit_classifier(model, drawings(2, 1)[:, 0], [0, 1], "ab")
    with pytest.raises(UserError, match=r"a.*b"):
        act(fitted, model)
