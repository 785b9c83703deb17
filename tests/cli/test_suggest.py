"""``lgmnet suggest``."""

from __future__ import annotations

import shutil

from lgmnet.classifier import suggest
from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.data.images.folder import scan_class_folder
from tests.support.command_line import lgmnet
from tests.support.images import symbols


def test_the_command_ranks_images_as_python_does(classifier, folder_of_symbols, tmp_path):
    pool = symbols(tmp_path / "pool", {"a": 3, "b": 3}, seed=5)
    shutil.copy(folder_of_symbols / "sun" / "0.png", pool / "a" / "copy.png")
    shutil.copy(pool / "a" / "0.png", pool / "b" / "again.png")
    found = lgmnet("suggest", classifier, pool, "--json").json
    assert found["classifier"] == str(classifier)
    images = scan_class_folder(pool).read()
    expected = suggest(FittedClassifier.load(classifier), images.images)
    assert [row["image"] for row in found["suggestions"]] == [
        str(pool / images.sources[s.index]) for s in expected
    ]
    assert len(expected) == 6, "both copies are left out"
    assert [row["worth"] for row in found["suggestions"]] == [s.worth for s in expected]
    assert [row["label"] for row in found["suggestions"]] == [s.label for s in expected]
    assert set(found["suggestions"][0]) == {"image", "label", "probability", "worth"}
    ran = lgmnet("suggest", classifier, pool, "--number", 2)
    assert (ran.code, ran.err) == (0, "")
    header, *lines = ran.out.splitlines()
    assert header.split() == ["worth", "probability", "label?", "image"]
    assert [line.split()[-1] for line in lines] == [r["image"] for r in found["suggestions"][:2]]


def test_what_cannot_be_suggested_is_said(classifier, folder_of_symbols, tmp_path):
    ran = lgmnet("suggest", classifier, folder_of_symbols)
    assert (ran.code, ran.out) == (0, "All images are copies of labelled ones.\n")
    pool = symbols(tmp_path / "pool", {"a": 2}, seed=5)
    (pool / "a" / "bad.png").write_bytes(b"")
    ran = lgmnet("suggest", classifier, pool, "--json")
    assert (ran.code, len(ran.json["suggestions"]), len(ran.json["unreadable"])) == (2, 2, 1)
    assert "left out:" in ran.err
    ran = lgmnet("suggest", classifier, pool / "a" / "bad.png")
    assert ran.code == 2
    assert "None of the images could be read" in ran.err
    bare = tmp_path / "bare.safetensors"
    FittedClassifier.load(classifier).save(bare, support=False)
    ran = lgmnet("suggest", bare, pool)
    assert (ran.code, ran.out) == (2, "")
    assert "saved without its support set" in ran.err
