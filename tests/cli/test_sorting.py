"""``predict`` sorts images, doubts and counts; ``report --against`` says what changed."""

from __future__ import annotations

import csv
import io
import shutil
from collections import Counter
from pathlib import Path

import pytest

from lgmnet.cli.sorting import check_reserved_labels, folder_name
from lgmnet.errors import ConfigError
from tests.support.command_line import lgmnet, listing
from tests.support.images import symbols, write_drawing
from tests.support.models import drawings


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Nine drawings in two folders, some of the same name, and a file that cannot be read."""
    for i, drawing in enumerate(drawings(3, 3).flatten(0, 1)):
        path = tmp_path / "scans" / "ab"[i % 2] / f"{i // 2}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_drawing(path, drawing)
    (tmp_path / "scans" / "a" / "bad.png").write_bytes(b"")
    return tmp_path / "scans"


@pytest.mark.parametrize("link", [False, True])
def test_images_are_sorted_into_folders_by_answer(link, classifier, scans, tmp_path):
    before = listing(scans)
    target = tmp_path / "sorted"
    words = ("predict", classifier, scans, "--sort-into", target, "--json")
    ran = lgmnet(*words, *(["--link"] if link else []))
    assert ran.code == 2, "one file cannot be read"
    rows = [row for row in ran.json["predictions"] if "label" in row]
    assert len(rows) == 9
    for row in rows:
        place = Path(row["sorted_into"])
        assert place.parent == target / row["label"]
        assert place.is_symlink() == link
        assert place.read_bytes() == Path(row["image"]).read_bytes()
    assert len({row["sorted_into"] for row in rows}) == 9, "equal names get a number"
    assert len(listing(target)) == 9
    assert listing(scans) == before
    again = lgmnet(*words)
    assert again.code == 2
    assert "is not empty" in again.err


def test_no_label_leads_out_of_the_folder():
    assert [folder_name(label) for label in ("a", "a/b", "..", "../x")] == [
        "a",
        "a_b",
        "__",
        ".._x",
    ]


@pytest.mark.parametrize(
    ("names", "words", "message"),
    [
        (["uncertain"], ["--min-probability", 0.9], "leave --min-probability out, or rename"),
        (["a/b", "a_b"], ["--sort-into", "{tmp}/sorted"], "mix the classes 'a/b' and 'a_b' in one"),
    ],
)
def test_labels_that_would_be_mistaken_for_others_are_refused(
    names, words, message, classifier, scans, tmp_path
):
    file = tmp_path / "c.safetensors"
    shutil.copy(classifier, file)
    for old, new in zip(("moon", "star"), names, strict=False):
        assert lgmnet("edit", file, "--rename", f"{old}={new}").code == 0
    assert lgmnet("predict", file, scans / "b").code == 0
    ran = lgmnet("predict", file, scans, *(str(word).format(tmp=tmp_path) for word in words))
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err
    assert not (tmp_path / "sorted").exists()


def test_a_class_named_like_the_label_of_no_class_is_refused_with_that_label_only():
    classes = ("moon", "none of these", "uncertain")
    check_reserved_labels(classes, allow_none=False, min_probability=0.0)
    with pytest.raises(ConfigError, match=r"'none of these' is a class .* leave --none out"):
        check_reserved_labels(classes, allow_none=True, min_probability=0.0)


def test_answers_below_a_probability_are_uncertain(classifier, scans, tmp_path):
    rows = lgmnet("predict", classifier, scans, "--json").json["predictions"]
    best = sorted(max(row["probabilities"].values()) for row in rows if "label" in row)
    limit = (best[4] + best[5]) / 2
    words = ("predict", classifier, scans, "--min-probability", limit)
    marked = lgmnet(*words, "--json").json["predictions"]
    assert Counter(row.get("label") for row in marked)["uncertain"] == 5
    assert all("probabilities" in row for row in marked if "label" in row)
    ran = lgmnet(*words, "--sort-into", tmp_path / "sorted")
    assert len(list((tmp_path / "sorted" / "uncertain").iterdir())) == 5
    summary = ran.err.splitlines()[-1]
    assert summary.startswith("10 images: uncertain 5, ")
    assert summary.endswith("; 1 could not be read.")
    assert ran.out.count("uncertain") == 5
    assert lgmnet("predict", classifier, scans, "--format", "jsonl").err == ""


def test_only_the_most_probable_classes_are_shown(classifier, scans):
    full = lgmnet("predict", classifier, scans / "b", "--json").json["predictions"]
    short = lgmnet("predict", classifier, scans / "b", "--top", 2, "--json").json["predictions"]
    for row, top in zip(full, short, strict=True):
        expected = sorted(row["probabilities"].items(), key=lambda item: -item[1])[:2]
        assert list(top["probabilities"].items()) == expected
    text = lgmnet("predict", classifier, scans / "b", "--top", 2, "--format", "csv").out
    table = list(csv.DictReader(io.StringIO(text)))
    for row, cells in zip(short, table, strict=True):
        (first, p), (second, q) = row["probabilities"].items()
        assert (cells["label"], cells["class 1"], cells["class 2"]) == (first, first, second)
        assert (float(cells["probability 1"]), float(cells["probability 2"])) == (p, q)
    assert (
        "moon" not in lgmnet("predict", classifier, scans, "--top", 3, "--format", "csv").out[:90]
    )
    everything = lgmnet("predict", classifier, scans / "b", "--top", 99, "--format", "csv").out
    assert everything.splitlines()[0].endswith(",class 3,probability 3")
    line = lgmnet("predict", classifier, scans / "b", "--top", 1).out.splitlines()[1]
    assert line.endswith("()")


def test_link_needs_a_folder(classifier, scans):
    ran = lgmnet("predict", classifier, scans, "--link")
    assert ran.code == 2
    assert "give --sort-into DIR" in ran.err


def test_report_says_what_a_second_classifier_answers_otherwise(
    classifier, folder_of_symbols, tiny, tmp_path
):
    """The second one has two classes exchanged, so it is wrong where the first one is right."""
    other = tmp_path / "other.safetensors"
    shutil.copy(classifier, other)
    for pair in ("moon=x", "star=moon", "x=star"):
        assert lgmnet("edit", other, "--rename", pair).code == 0
    words = ("report", classifier, folder_of_symbols, "--model", tiny, "--against")
    same = lgmnet(*words, classifier, "--json").json["changes"]
    assert same["improved"] == same["worsened"] == same["other"] == []
    assert same["improved_share"] is None
    ran = lgmnet(*words, other, "--json").json
    changes, right = ran["changes"], ran["confusion"]
    n_right = [right[i][i] for i in range(3)]
    assert changes["asked"] == 7
    assert changes["right"][0] == sum(n_right)
    assert len(changes["worsened"]) == n_right[0] + n_right[1]
    assert {change["source"].split("/")[0] for change in changes["worsened"]} <= {"moon", "star"}
    text = lgmnet(*words, other).out
    assert f"against {other}: {sum(n_right)} of 7 images are classified correctly here" in text
    assert f"only this one is right: {n_right[0] + n_right[1]}" in text
    bigger = symbols(tmp_path / "bigger", {"moon": 1, "star": 1, "sun": 1})
    assert lgmnet(*words[:2], bigger, "--model", tiny, "--against", tmp_path / "no").code == 2
