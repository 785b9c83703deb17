"""``lgmnet forge`` and ``lgmnet predict``."""

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

from lgmnet.classifier.classifier import BATCH_SIZE, FittedClassifier
from lgmnet.classifier.fit import fit_classifier
from lgmnet.cli.options import complete_options
from lgmnet.cli.predict import predict
from lgmnet.data.images.folder import scan_class_folder
from lgmnet.data.images.read import read_image
from lgmnet.model.model import load_model
from tests.support.command_line import content, lgmnet, listing
from tests.support.images import symbols, write_drawing
from tests.support.models import drawings

SPECIAL_NAMES = (
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


def test_forge_reports_the_classifier(tiny, folder_of_symbols, tmp_path):
    output = tmp_path / "symbols.safetensors"
    ran = lgmnet("forge", folder_of_symbols, "-o", output, "--model", tiny, "--json")
    assert ran.code == 0
    assert ran.json.pop("milliseconds") > 0
    assert {k: v for k, v in ran.json.items() if k != "milliseconds"} == {
        "classifier": str(output),
        "model": "tiny",
        "classes": {"moon": 1, "star": 2, "sun": 4},
        "unreadable": [],
        "unused": [],
        "judged_by": {},
        "leave_one_out": ran.json["leave_one_out"],
        "with_twice_the_images": ran.json["with_twice_the_images"],
    }
    assert ran.json["leave_one_out"]["asked"] == 6, "the only moon cannot be left out"
    assert listing(tmp_path).keys() == {"symbols.safetensors"}

    printed = lgmnet("forge", folder_of_symbols, "-o", output, "--model", tiny)
    assert printed.code == 0
    assert printed.err == ""
    for words in (str(output), "3 classes", "7 images", "moon (1), star (2), sun (4)", "tiny"):
        assert words in printed.out


def test_forge_is_deterministic(tiny, folder_of_symbols, classifier, tmp_path):
    output = tmp_path / "c.safetensors"
    output.write_bytes(b"an older file")
    assert lgmnet("forge", folder_of_symbols, "-o", output, "--model", tiny, "--force").code == 0
    assert content(output) == content(classifier)


def test_predict_equals_python(tiny, folder_of_symbols, classifier, tmp_path):
    paths = [write_drawing(tmp_path / f"{i}.png", d[0]) for i, d in enumerate(drawings(6, 1, 7))]
    result = lgmnet("predict", classifier, *paths, "--json").json
    assert result["classifier"] == str(classifier)
    assert result["classes"] == ["moon", "star", "sun"]

    support = scan_class_folder(folder_of_symbols).read()
    fitted = fit_classifier(load_model(tiny), support.images, support.labels, support.classes)
    images = torch.stack([read_image(path, (1, 28, 28)) for path in paths])
    expected = fitted.predict_proba(images).tolist()
    assert [p["image"] for p in result["predictions"]] == [str(path) for path in paths]
    assert [list(p["probabilities"].values()) for p in result["predictions"]] == expected
    assert [p["label"] for p in result["predictions"]] == fitted.predict(images)
    assert len({p["label"] for p in result["predictions"]}) > 1, "equal labels would prove nothing"


def test_support_drawings_get_their_own_label(tiny, tmp_path):
    names = [f"class {i}" for i in range(8)]
    folder = symbols(tmp_path / "support", dict.fromkeys(names, 1))
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


def test_predict_needs_neither_the_model_nor_the_support_images(tiny, tmp_path):
    model = shutil.copytree(tiny, tmp_path / "model")
    folder = symbols(tmp_path / "support", {"a": 1, "b": 3})
    output = tmp_path / "c.safetensors"
    assert lgmnet("forge", folder, "-o", output, "--model", model).code == 0
    query = write_drawing(tmp_path / "query.png", drawings(2, 1, 3)[0, 0])
    before = lgmnet("predict", output, query, "--json")
    shutil.rmtree(model)
    shutil.rmtree(folder)
    assert lgmnet("predict", output, query, "--json") == before
    assert before.code == 0


def test_predict_prints_a_table(classifier, tmp_path):
    query = write_drawing(tmp_path / "query.png", drawings(2, 1, 3)[0, 0])
    label = lgmnet("predict", classifier, query, "--json").json["predictions"][0]["label"]
    ran = lgmnet("predict", classifier, query)
    assert ran.code == 0
    head, row = ran.out.splitlines()
    assert head.split() == ["label", "probability", "image"]
    assert row.split()[0] == label
    assert str(query) in row
    assert all(name in row for name in ("moon", "star", "sun"))
    assert row.count("%") == 3


def test_long_names_are_not_cut_on_a_narrow_terminal(tiny, tmp_path):
    folder = symbols(tmp_path / "support", {"long" * 30: 1, "b": 1})
    output = tmp_path / f"{'wide ' * 20}.safetensors"
    forged = lgmnet("forge", folder, "-o", output, "--model", tiny, columns=80)
    assert str(output) in forged.out
    assert "long" * 30 in forged.out
    absent = tmp_path / f"{'gone' * 30}.png"
    predicted = lgmnet("predict", output, folder / "b" / "0.png", absent, columns=80)
    assert "…" not in predicted.out
    assert len(predicted.out.splitlines()) == 3
    assert f"{'gone' * 30}.png" in predicted.out


def test_several_batches_are_classified_in_order(classifier, tmp_path):
    images = drawings(20, 15, seed=2).flatten(0, 1)
    paths = [write_drawing(tmp_path / f"{i}.png", image) for i, image in enumerate(images)]
    ran = lgmnet("predict", classifier, *paths, "--json")
    assert ran.code == 0
    rows = [list(p["probabilities"].values()) for p in ran.json["predictions"]]
    fitted = FittedClassifier.load(classifier)
    expected = torch.cat([fitted.predict_proba(image[None]) for image in images])
    torch.testing.assert_close(torch.tensor(rows), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("as_json", [True, False])
def test_class_names_may_contain_markup_and_other_special_characters(tiny, tmp_path, as_json):
    folder = symbols(tmp_path / "support", dict.fromkeys(SPECIAL_NAMES, 1))
    output = tmp_path / "[bold] c.safetensors"
    flags = ["--json"] if as_json else []
    forged = lgmnet("forge", folder, "-o", output, "--model", tiny, *flags)
    queries = [folder / name / "0.png" for name in SPECIAL_NAMES]
    predicted = lgmnet("predict", *flags, "--", output, *queries)
    assert (forged.code, predicted.code) == (0, 0), forged.err + predicted.err
    if as_json:
        assert forged.json["classes"] == dict.fromkeys(sorted(SPECIAL_NAMES), 1)
        assert [p["label"] for p in predicted.json["predictions"]] == list(SPECIAL_NAMES)
    else:
        assert str(output) in forged.out
        assert all(f"{name} (1)" in forged.out for name in SPECIAL_NAMES)
        for name, path in zip(SPECIAL_NAMES, queries, strict=True):
            row = next(line for line in predicted.out.splitlines() if str(path) in line)
            assert row.startswith(f"{name}  ")


def test_files_that_are_no_images_are_ignored(tiny, tmp_path):
    folder = symbols(tmp_path / "support", {"a": 2, "b": 1})
    (folder / "a" / "notes.txt").write_text("not an image")
    (folder / "a" / ".hidden.png").write_text("not an image")
    (folder / ".cache").mkdir()
    (folder / "readme.md").write_text("not a class")
    (folder / "b" / "deeper").mkdir()
    output = tmp_path / "c.safetensors"
    ran = lgmnet("forge", folder, "-o", output, "--model", tiny, "--json")
    assert ran.code == 0
    assert ran.json["classes"] == {"a": 2, "b": 1}


def test_forge_reads_several_image_formats(tiny, tmp_path):
    """One class each of a PNG, a JPEG with a name in capitals, a bitmap, a WebP and a GIF."""
    kinds = ("one.png", "TWO.JPG", "three.bmp", "four.webp", "five.gif")
    for name, drawn in zip(kinds, drawings(len(kinds), 1, 5), strict=True):
        paper = Image.new("RGB", (60, 90), (250, 240, 220))
        paper.paste((10, 20, 90), (15, 30), Image.fromarray(drawn[0, 0].numpy()))
        (tmp_path / "support" / name.split(".")[0]).mkdir(parents=True)
        paper.save(tmp_path / "support" / name.split(".")[0] / name)
    output = tmp_path / "c.safetensors"
    ran = lgmnet("forge", tmp_path / "support", "-o", output, "--model", tiny, "--json")
    assert ran.code == 0
    assert ran.json["classes"] == dict.fromkeys(["TWO", "five", "four", "one", "three"], 1)


def run_process(*words: object) -> subprocess.CompletedProcess[str]:
    """Run ``lgmnet WORDS...`` in a new process."""
    line = [sys.executable, "-m", "lgmnet", *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_forge_and_predict_in_new_processes(tiny, folder_of_symbols, tmp_path):
    output = tmp_path / "c.safetensors"
    forged = run_process("forge", folder_of_symbols, "-o", output, "--model", tiny, "--json")
    assert forged.returncode == 0, forged.stderr
    assert json.loads(forged.stdout)["classes"] == {"moon": 1, "star": 2, "sun": 4}
    query = folder_of_symbols / "moon" / "0.png"
    predicted = run_process("predict", output, query, tmp_path / "absent.png", "--json")
    assert predicted.returncode == 2
    answer, missing = json.loads(predicted.stdout)["predictions"]
    assert set(answer["probabilities"]) == {"moon", "star", "sun"}
    assert "absent.png" in missing["error"]
    assert "Traceback" not in forged.stderr + predicted.stderr


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is in /proc")
def test_predict_reads_a_huge_scan_in_little_memory(classifier, tmp_path):
    """49 megapixels, just under the limit; the whole process may use 700 MB."""
    Image.new("L", (7000, 7000), 255).save(tmp_path / "scan.png", compress_level=1)
    Image.new("L", (400_000, 40), 255).save(tmp_path / "ribbon.png", compress_level=1)
    program = (  # getrusage would also count the process from which this one was forked.
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


def test_files_folders_patterns_and_stdin_give_the_same_predictions(
    classifier, tmp_path, monkeypatch
):
    subfolder = tmp_path / "scans" / "page 2"
    subfolder.mkdir(parents=True)
    images = drawings(4, 1, 7)[:, 0]
    paths = [write_drawing(tmp_path / "scans" / f"{i}.png", images[i]) for i in range(3)]
    paths.append(write_drawing(subfolder / "3.png", images[3]))
    (tmp_path / "scans" / "notes.txt").write_text("not an image")
    (tmp_path / "scans" / ".hidden").mkdir()
    write_drawing(tmp_path / "scans" / ".hidden" / "x.png", images[0])
    expected = lgmnet("predict", classifier, *paths, "--json")
    assert lgmnet("predict", classifier, tmp_path / "scans", "--json") == expected
    pattern = tmp_path / "scans" / "**" / "*.png"
    matched = lgmnet("predict", classifier, pattern, "--json").json["predictions"]
    assert sorted(matched, key=str) == sorted(expected.json["predictions"], key=str)
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(map(str, paths)) + "\n\n"))
    assert lgmnet("predict", classifier, "-", "--json") == expected


def test_predictions_as_csv_and_as_lines_of_json(classifier, tmp_path):
    query = write_drawing(tmp_path / 'a "quoted", name.png', drawings(2, 1, 3)[0, 0])
    absent = tmp_path / "absent.png"
    (readable, unreadable) = lgmnet("predict", classifier, query, absent, "--json").json[
        "predictions"
    ]
    lines = lgmnet("predict", classifier, query, absent, "--format", "jsonl")
    assert lines.code == 2
    assert [json.loads(line) for line in lines.out.splitlines()] == [readable, unreadable]
    table = lgmnet("predict", classifier, query, absent, "--format", "csv")
    assert table.code == 2
    first, second = csv.DictReader(io.StringIO(table.out))
    assert first.keys() == {"image", "label", "probability", "error", "moon", "star", "sun"}
    assert (first["image"], first["label"], first["error"]) == (str(query), readable["label"], "")
    for name, probability in readable["probabilities"].items():
        assert float(first[name]) == probability
    assert float(first["probability"]) == readable["probabilities"][readable["label"]]
    assert (second["image"], second["label"]) == (str(absent), "")
    assert second["error"] == unreadable["error"] == f"There is no image file '{absent}'."


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-", "a.png"], "Give - alone"),
        (["-"], "No images were named: - expects file names on stdin, one per line."),
        ([""], "The argument after '{classifier}' is empty; expected a name, a path"),
        (["x.png", "--sort-into="], "The value of '--sort-into' is empty"),
        (["{folder}"], "There are no images in"),
        (["{folder}/raw"], "in it. 1 picture was left out, such as '{folder}/raw/a.dng'"),
        (["{folder}/*.png"], "No file matches"),
        (["{folder}/[r]*"], "No file matches"),
        (["a.png", "--format", "xml"], "'xml' is not one of"),
    ],
)
@pytest.mark.parametrize("command", ["predict", "suggest"])
def test_paths_that_name_no_images(words, message, command, classifier, tmp_path, monkeypatch):
    if command == "suggest" and words[-1] in ("xml", "--sort-into="):
        pytest.skip("an option of predict")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.dng").touch()
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    ran = lgmnet(command, classifier, *(word.format(folder=tmp_path) for word in words))
    assert ran.code == 2
    assert ran.out == ""
    names = {"folder": tmp_path, "classifier": classifier}
    assert message.format(**names) in " ".join(ran.err.split())


def test_folders_that_a_link_or_a_pattern_names_are_searched_once(classifier, tmp_path):
    scans = symbols(tmp_path / "scans", {"a": 1, "b": 2})
    (scans / "a" / "x.dng").touch()
    (scans / "a" / "back").symlink_to(scans)
    other = symbols(tmp_path / "other", {"c": 1})
    (scans / "b" / "linked").symlink_to(other)
    (scans / "b" / "absent.png").symlink_to(tmp_path / "nowhere.png")
    found = ["a/0.png", "b/0.png", "b/1.png", "b/absent.png", "b/linked/c/0.png"]
    for name in (scans, scans / "*", scans / "**" / "[ab]", scans / "**" / "*.png"):
        ran = lgmnet("predict", classifier, name, "--json")
        rows = {row["image"]: row for row in ran.json["predictions"]}
        assert list(rows) == [f"{scans}/{path}" for path in found]
        assert "is a link to an image file" in rows[f"{scans}/b/absent.png"]["error"]
        warning = f"warning: 1 picture was left out, such as '{scans}/a/x.dng'"
        assert (warning in ran.err) == (name.suffix != ".png")


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["--none", "0,05"], ["--none", "0,05"]),
        (["--none", "5%"], ["--none", "5%"]),
        (["--none", "-1"], ["--none", "-1"]),
        (["--none", ".05", "a"], ["--none", ".05", "a"]),
        (["--none", "--top", "1"], ["--none", "default", "--top", "1"]),
        (["--none", "--", "--none"], ["--none", "default", "--", "--none"]),
    ],
)
def test_what_looks_like_a_rate_is_the_value_of_none(words, completed):
    assert complete_options(words) == completed


def test_a_rate_that_is_no_number_is_refused(classifier):
    ran = lgmnet("predict", classifier, "--none", "5%", "x.png")
    assert (ran.code, ran.out) == (2, "")
    assert "'--none 5%' must be a rate such as 0.05" in ran.err


def test_predictions_are_written_batch_by_batch(classifier, tmp_path, monkeypatch):
    """Of endless input, at most two batches are read before the first rows are written."""
    path = write_drawing(tmp_path / "a.png", drawings(2, 1, 3)[0, 0])
    n_read = 0

    def endless() -> Iterator[str]:
        nonlocal n_read
        while True:
            n_read += 1
            yield f"{path}\n"

    class StreamFull(Exception):
        pass

    class SmallStream(io.StringIO):
        def write(self, text: str) -> int:
            if self.tell() > 1000:
                raise StreamFull
            return super().write(text)

    monkeypatch.setattr(sys, "stdin", endless())
    monkeypatch.setattr(sys, "stdout", SmallStream())
    with pytest.raises(StreamFull):
        predict(classifier, ["-"], row_format="jsonl")
    assert n_read <= 2 * BATCH_SIZE


def test_forge_from_a_table(folder_of_symbols, classifier, tiny, tmp_path):
    """The same images, named by a table, make the same classifier."""
    table = tmp_path / "labels.csv"
    files = sorted(folder_of_symbols.glob("*/*"))
    rows = [f"{path.relative_to(folder_of_symbols)},{path.parent.name}" for path in files]
    table.write_text("\n".join(["file,label", *rows]))
    out = tmp_path / "c.safetensors"
    words = ("forge", folder_of_symbols, "--labels", table, "-o", out, "--model", tiny)
    assert lgmnet(*words).code == 0
    assert content(out) == content(classifier)
    absolute = [f"{path},{path.parent.name}" for path in files] + ["absent.png,moon"]
    table.write_text("\n".join(["file,label", *absolute]))
    ran = lgmnet("forge", "--labels", table, "-o", out, "--model", tiny, "--json")
    assert ran.code == 2
    assert "absent.png" in ran.json["unreadable"][0]
    ran = lgmnet("forge", "-o", out)
    assert ran.code == 2
    assert "IMAGES_DIR, or a table with --labels" in ran.err


def test_forge_and_edit_find_copies_and_give_an_interval(tiny, tmp_path):
    folder = symbols(tmp_path / "images", {"moon": 3, "star": 3})
    for name in ("moon", "star"):
        shutil.copy(folder / name / "0.png", folder / name / "copy.png")
    shutil.copy(folder / "moon" / "1.png", folder / "star" / "other.png")
    out = tmp_path / "c.safetensors"
    ran = lgmnet("forge", folder, "-o", out, "--model", tiny)
    assert ran.code == 0
    named = "'moon/1.png' in 'moon' and 'star/other.png' in 'star'"
    assert f"warning: the same image is in 2 classes: {named}." in ran.err
    assert re.search(r"estimate: \d of 7 images .* 95 % interval \d+ to \d+ %", ran.out)
    assert "Copies of other images, which count once: 2." in ran.out
    more = symbols(tmp_path / "more", {"sun": 1}, seed=3)
    ran = lgmnet("edit", out, "--add", more, "--model", tiny, "--json")
    estimate = ran.json["leave_one_out"]
    assert (estimate["asked"], estimate["copies"], estimate["not_asked"]) == (7, 2, 1)
    assert estimate["in_several_classes"] == [["moon/1.png", "star/other.png"]]
    low, high = estimate["interval"]
    assert 0 <= low <= estimate["accuracy"] <= high <= 100
    ran = lgmnet("edit", out, "--rename", "sun=sol", "--json")
    assert "leave_one_out" not in ran.json, "nothing that was tested has changed"
