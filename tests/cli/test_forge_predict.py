"""``lgmnet forge`` and ``lgmnet predict``: from folders of images to answers."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

from lgmnet.classifier.classifier import BATCH_SIZE, FittedClassifier, fit_classifier
from lgmnet.cli.asking import predict
from lgmnet.data.images.read import read_drawing, read_folder
from lgmnet.model.model import load_model
from tests.cli.making import content, drawings, lgmnet, listing, symbols, write_drawing

ODD_NAMES = (
    "two words",
    "[red]",
    "[bold",
    ":star:",
    "-o",
    "日本語",
    "naïve ☾",
    "100%",
    "back\\slash",
    "'\"",
)


def test_forge_tells_what_it_made(tiny, folder_of_symbols, tmp_path):
    output = tmp_path / "symbols.safetensors"
    ran = lgmnet("forge", folder_of_symbols, "-o", output, "--model", tiny, "--json")
    assert ran.code == 0
    assert ran.json.pop("milliseconds") > 0
    assert {k: v for k, v in ran.json.items() if k != "milliseconds"} == {
        "classifier": str(output),
        "model": "tiny",
        "classes": {"moon": 1, "star": 2, "sun": 4},
        "unreadable": [],
        "leave_one_out": ran.json["leave_one_out"],
    }
    assert ran.json["leave_one_out"]["asked"] == 6, "the only moon cannot be left out"
    assert listing(tmp_path).keys() == {"symbols.safetensors"}

    said = lgmnet("forge", folder_of_symbols, "-o", output, "--model", tiny)
    assert said.code == 0
    assert said.err == ""
    for words in (str(output), "3 classes", "7 images", "moon (1), star (2), sun (4)", "tiny"):
        assert words in said.out


def test_forging_again_gives_the_same_classifier(tiny, folder_of_symbols, classifier, tmp_path):
    output = tmp_path / "c.safetensors"
    output.write_bytes(b"an older file, which is replaced")
    assert lgmnet("forge", folder_of_symbols, "-o", output, "--model", tiny).code == 0
    assert content(output) == content(classifier)


def test_predict_answers_as_python_does(tiny, folder_of_symbols, classifier, tmp_path):
    paths = [write_drawing(tmp_path / f"{i}.png", d[0]) for i, d in enumerate(drawings(6, 1, 7))]
    answers = lgmnet("predict", classifier, *paths, "--json").json
    assert answers["classifier"] == str(classifier)
    assert answers["classes"] == ["moon", "star", "sun"]

    found = read_folder(folder_of_symbols)
    fitted = fit_classifier(load_model(tiny), found.images, found.labels, found.classes)
    images = torch.stack([read_drawing(path) for path in paths])
    expected = fitted.predict_proba(images).tolist()
    assert [p["image"] for p in answers["predictions"]] == [str(path) for path in paths]
    assert [list(p["probabilities"].values()) for p in answers["predictions"]] == expected
    assert [p["label"] for p in answers["predictions"]] == fitted.predict(images)
    assert len({p["label"] for p in answers["predictions"]}) > 1, "all answers alike show nothing"


def test_a_drawing_that_was_shown_is_recognised(tiny, tmp_path):
    names = [f"class {i}" for i in range(8)]
    folder = symbols(tmp_path / "shown", dict.fromkeys(names, 1))
    output = tmp_path / "c.safetensors"
    assert lgmnet("forge", folder, "-o", output, "--model", tiny).code == 0
    ran = lgmnet("predict", output, *(folder / name / "0.png" for name in names), "--json")
    assert [p["label"] for p in ran.json["predictions"]] == names
    for prediction in ran.json["predictions"]:
        assert sum(prediction["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert (
            max(prediction["probabilities"], key=prediction["probabilities"].get)
            == (prediction["label"])
        )


def test_a_classifier_needs_neither_its_model_nor_its_images(tiny, tmp_path):
    model = shutil.copytree(tiny, tmp_path / "model")
    folder = symbols(tmp_path / "shown", {"a": 1, "b": 3})
    output = tmp_path / "c.safetensors"
    assert lgmnet("forge", folder, "-o", output, "--model", model).code == 0
    asked = write_drawing(tmp_path / "asked.png", drawings(2, 1, 3)[0, 0])
    before = lgmnet("predict", output, asked, "--json")
    shutil.rmtree(model)
    shutil.rmtree(folder)
    assert lgmnet("predict", output, asked, "--json") == before
    assert before.code == 0


def test_predict_prints_a_table(classifier, tmp_path):
    asked = write_drawing(tmp_path / "asked.png", drawings(2, 1, 3)[0, 0])
    label = lgmnet("predict", classifier, asked, "--json").json["predictions"][0]["label"]
    ran = lgmnet("predict", classifier, asked)
    assert ran.code == 0
    head, row = ran.out.splitlines()
    assert head.split() == ["label", "probability", "image"]
    assert row.split()[0] == label
    assert str(asked) in row
    assert all(name in row for name in ("moon", "star", "sun"))
    assert row.count("%") == 3


def test_long_names_stay_whole_on_a_narrow_terminal(tiny, tmp_path):
    folder = symbols(tmp_path / "shown", {"long" * 30: 1, "b": 1})
    output = tmp_path / f"{'wide ' * 20}.safetensors"
    said = lgmnet("forge", folder, "-o", output, "--model", tiny, columns=80)
    assert str(output) in said.out
    assert "long" * 30 in said.out
    absent = tmp_path / f"{'gone' * 30}.png"
    answered = lgmnet("predict", output, folder / "b" / "0.png", absent, columns=80)
    assert "…" not in answered.out
    assert len(answered.out.splitlines()) == 3
    assert f"{'gone' * 30}.png" in answered.out


def test_three_hundred_images_are_answered_in_order(classifier, tmp_path):
    images = drawings(20, 15, seed=2).flatten(0, 1)
    paths = [write_drawing(tmp_path / f"{i}.png", image) for i, image in enumerate(images)]
    ran = lgmnet("predict", classifier, *paths, "--json")
    assert ran.code == 0
    rows = [list(p["probabilities"].values()) for p in ran.json["predictions"]]
    fitted = FittedClassifier.load(classifier)
    singly = torch.cat([fitted.predict_proba(image[None]) for image in images])
    torch.testing.assert_close(torch.tensor(rows), singly, rtol=0, atol=1e-6)


@pytest.mark.parametrize("as_json", [True, False])
def test_names_of_classes_may_be_odd(tiny, tmp_path, as_json):
    folder = symbols(tmp_path / "shown", dict.fromkeys(ODD_NAMES, 1))
    output = tmp_path / "[bold] c.safetensors"
    flags = ["--json"] if as_json else []
    fitted = lgmnet("forge", folder, "-o", output, "--model", tiny, *flags)
    asked = [folder / name / "0.png" for name in ODD_NAMES]
    answered = lgmnet("predict", *flags, "--", output, *asked)
    assert (fitted.code, answered.code) == (0, 0), fitted.err + answered.err
    if as_json:
        assert fitted.json["classes"] == dict.fromkeys(sorted(ODD_NAMES), 1)
        assert [p["label"] for p in answered.json["predictions"]] == list(ODD_NAMES)
    else:
        assert str(output) in fitted.out
        assert all(f"{name} (1)" in fitted.out for name in ODD_NAMES)
        for name, path in zip(ODD_NAMES, asked, strict=True):
            row = next(line for line in answered.out.splitlines() if str(path) in line)
            assert row.startswith(f"{name}  ")


def test_what_is_no_image_is_passed_over(tiny, tmp_path):
    folder = symbols(tmp_path / "shown", {"a": 2, "b": 1})
    (folder / "a" / "notes.txt").write_text("not an image, and not said to be one")
    (folder / "a" / ".hidden.png").write_text("left behind by some editor")
    (folder / ".cache").mkdir()
    (folder / "readme.md").write_text("beside the classes")
    (folder / "b" / "deeper").mkdir()
    output = tmp_path / "c.safetensors"
    ran = lgmnet("forge", folder, "-o", output, "--model", tiny, "--json")
    assert ran.code == 0
    assert ran.json["classes"] == {"a": 2, "b": 1}


def test_files_of_many_kinds_in_one_folder(tiny, tmp_path):
    """A PNG, a JPEG in capitals, a bitmap, a colour photo and a tall one: one class each."""
    kinds = ("one.png", "TWO.JPG", "three.bmp", "four.webp", "five.gif")
    for name, drawn in zip(kinds, drawings(len(kinds), 1, 5), strict=True):
        paper = Image.new("RGB", (60, 90), (250, 240, 220))
        paper.paste((10, 20, 90), (15, 30), Image.fromarray(drawn[0, 0].numpy()))
        (tmp_path / "shown" / name.split(".")[0]).mkdir(parents=True)
        paper.save(tmp_path / "shown" / name.split(".")[0] / name)
    output = tmp_path / "c.safetensors"
    ran = lgmnet("forge", tmp_path / "shown", "-o", output, "--model", tiny, "--json")
    assert ran.code == 0
    assert ran.json["classes"] == dict.fromkeys(["TWO", "five", "four", "one", "three"], 1)


def shell(*words: object) -> subprocess.CompletedProcess[str]:
    """A command as a user types it, in a process of its own."""
    line = [sys.executable, "-m", "lgmnet.cli", *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_from_a_real_shell(tiny, folder_of_symbols, tmp_path):
    output = tmp_path / "c.safetensors"
    fitted = shell("forge", folder_of_symbols, "-o", output, "--model", tiny, "--json")
    assert fitted.returncode == 0, fitted.stderr
    assert json.loads(fitted.stdout)["classes"] == {"moon": 1, "star": 2, "sun": 4}
    asked = folder_of_symbols / "moon" / "0.png"
    predicted = shell("predict", output, asked, tmp_path / "absent.png", "--json")
    assert predicted.returncode == 2
    answer, missing = json.loads(predicted.stdout)["predictions"]
    assert set(answer["probabilities"]) == {"moon", "star", "sun"}
    assert "absent.png" in missing["error"]
    assert "Traceback" not in fitted.stderr + predicted.stderr


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is in /proc")
def test_a_huge_scan_fits_in_memory(classifier, tmp_path):
    """49 megapixels, just under the limit; the promise is 700 MB for the whole process."""
    Image.new("L", (7000, 7000), 255).save(tmp_path / "scan.png", compress_level=1)
    Image.new("L", (400_000, 40), 255).save(tmp_path / "ribbon.png", compress_level=1)
    program = (  # getrusage would count the process that this one was forked from, too.
        "import sys\n"
        "from lgmnet.cli import main\n"
        "try: main()\n"
        "finally: sys.stderr.write(open('/proc/self/status').read())"
    )
    words = ["predict", classifier, tmp_path / "scan.png", tmp_path / "ribbon.png", "--json"]
    ran = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    peak = re.search(r"VmHWM:\s+(\d+) kB", ran.stderr)
    assert peak is not None
    assert int(peak[1]) < 700_000


def test_every_way_to_name_images(classifier, tmp_path, monkeypatch):
    """Files, folders with all below them, patterns, and a list on stdin: the same answers."""
    below = tmp_path / "scans" / "page 2"
    below.mkdir(parents=True)
    images = drawings(4, 1, 7)[:, 0]
    paths = [write_drawing(tmp_path / "scans" / f"{i}.png", images[i]) for i in range(3)]
    paths.append(write_drawing(below / "3.png", images[3]))
    (tmp_path / "scans" / "notes.txt").write_text("no image")
    (tmp_path / "scans" / ".hidden").mkdir()
    write_drawing(tmp_path / "scans" / ".hidden" / "x.png", images[0])
    listed = lgmnet("predict", classifier, *paths, "--json")
    assert lgmnet("predict", classifier, tmp_path / "scans", "--json") == listed
    pattern = tmp_path / "scans" / "**" / "*.png"
    found = lgmnet("predict", classifier, pattern, "--json").json["predictions"]
    assert sorted(found, key=str) == sorted(listed.json["predictions"], key=str)
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(map(str, paths)) + "\n\n"))
    assert lgmnet("predict", classifier, "-", "--json") == listed


def test_answers_as_csv_and_as_lines_of_json(classifier, tmp_path):
    asked = write_drawing(tmp_path / 'a "quoted", name.png', drawings(2, 1, 3)[0, 0])
    absent = tmp_path / "absent.png"
    (right, wrong) = lgmnet("predict", classifier, asked, absent, "--json").json["predictions"]
    lines = lgmnet("predict", classifier, asked, absent, "--format", "jsonl")
    assert lines.code == 2
    assert [json.loads(line) for line in lines.out.splitlines()] == [right, wrong]
    table = lgmnet("predict", classifier, asked, absent, "--format", "csv")
    assert table.code == 2
    first, second = csv.DictReader(io.StringIO(table.out))
    assert first.keys() == {"image", "label", "probability", "error", "moon", "star", "sun"}
    assert (first["image"], first["label"], first["error"]) == (str(asked), right["label"], "")
    for name, probability in right["probabilities"].items():
        assert float(first[name]) == probability
    assert float(first["probability"]) == right["probabilities"][right["label"]]
    assert (second["image"], second["label"]) == (str(absent), "")
    assert second["error"] == wrong["error"] == f"There is no image file '{absent}'."


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["-", "a.png"], "Give - alone"),
        (["{folder}"], "There are no images in"),
        (["{folder}/*.png"], "No file fits"),
        (["a.png", "--format", "xml"], "'xml' is not one of"),
    ],
)
def test_images_that_cannot_be_meant(words, names, classifier, tmp_path):
    ran = lgmnet("predict", classifier, *(word.format(folder=tmp_path) for word in words))
    assert ran.code == 2
    assert ran.out == ""
    assert names in " ".join(ran.err.split())


def test_answers_come_as_they_are_made(classifier, tmp_path, monkeypatch):
    """However many images there are, some hundred are in memory, and their answers go out first."""
    path = write_drawing(tmp_path / "a.png", drawings(2, 1, 3)[0, 0])
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield f"{path}\n"

    class Full(Exception):
        pass

    class Narrow(io.StringIO):
        def write(self, words: str) -> int:
            if self.tell() > 1000:
                raise Full
            return super().write(words)

    monkeypatch.setattr(sys, "stdin", endless())
    monkeypatch.setattr(sys, "stdout", Narrow())
    with pytest.raises(Full):
        predict(classifier, ["-"], layout="jsonl")
    assert read <= 2 * BATCH_SIZE
