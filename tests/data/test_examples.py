"""Example folders: complete, always the same, and good enough to learn from."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from lgmnet.data.examples import SHOT, TESTS_PER_CLASS, write_example
from lgmnet.errors import ConfigError, UserError
from tests.support.command_line import lgmnet, listing


@pytest.mark.parametrize(
    ("kind", "top", "added"), [("drawings", "symbols", "tree"), ("photos", "photos", "leaves")]
)
def test_an_example_can_be_forged_edited_and_reported_on(kind, top, added, tmp_path, monkeypatch):
    if kind == "photos":
        pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra 'photos'")
    monkeypatch.chdir(tmp_path)
    ran = lgmnet("example", kind, ".", "--json")
    assert ran.code == 0
    assert sorted(map(Path, ran.json["files"])) == sorted(map(Path, listing(tmp_path)))
    assert len(list(Path("new").iterdir())) == len(list(Path("scans").iterdir())) == 3
    ran = lgmnet("forge", top, "-o", "c.safetensors", "--json")
    assert ran.code == 0
    assert set(ran.json["classes"].values()) == {SHOT}
    assert ran.json["model"] == ("omniglot" if kind == "drawings" else "photos")
    assert (
        lgmnet("forge", "--labels", "labels.csv", "-o", "t.safetensors", "--json").json["classes"]
        == ran.json["classes"]
    )
    report = lgmnet("report", "c.safetensors", "test", "--json").json
    assert report["asked"] == 3 * TESTS_PER_CLASS
    assert report["accuracy"] > 90
    assert lgmnet("edit", "c.safetensors", "--add", "more", "--json").json["classes"][added] == 3


@pytest.mark.parametrize("kind", ["drawings", "photos"])
def test_an_example_is_always_the_same_and_replaces_nothing(kind, tmp_path):
    write_example(kind, tmp_path / "a")
    write_example(kind, str(tmp_path / "b"))
    assert listing(tmp_path / "a") == listing(tmp_path / "b")
    rows = list(csv.DictReader((tmp_path / "a" / "labels.csv").read_text().splitlines()))
    assert len(rows) == 3 * SHOT
    with pytest.raises(UserError, match="exists, so nothing is written"):
        write_example(kind, tmp_path / "a")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "labels.csv").write_text("mine")
    ran = lgmnet("example", kind, tmp_path / "c")
    assert ran.code == 2
    assert "--force" in ran.err
    assert listing(tmp_path / "c") == {"labels.csv": b"mine"}
    assert lgmnet("example", kind, tmp_path / "c", "--force").code == 0
    assert listing(tmp_path / "c") == listing(tmp_path / "a")


@pytest.mark.usefixtures("unchecked")
def test_an_unknown_example_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"no example 'drawing'. Did you mean"):
        write_example("drawing", tmp_path)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="Expected a path"):
        write_example("drawings", None)  # type: ignore[arg-type]
    assert not listing(tmp_path)
