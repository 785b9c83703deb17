"""``lgmnet edit``, ``inspect`` and ``report``."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.classifier.edit import add_samples, remove_class, rename_class
from lgmnet.errors import FileFormatError
from lgmnet.estimator import FewShotClassifier
from lgmnet.model.model import load_model
from tests.support.command_line import lgmnet, listing
from tests.support.images import BAD_IMAGES, symbols, write_drawing
from tests.support.models import drawings


@pytest.fixture
def editable(classifier, tmp_path):
    """Copy of the classifier file."""
    return Path(shutil.copy(classifier, tmp_path / "copy.safetensors"))


def test_edit_gives_the_same_classifier_as_python(editable, tiny, tmp_path):
    more = symbols(tmp_path / "more", {"star": 2, "tree": 3}, seed=4)
    before = FittedClassifier.load(editable)
    ran = lgmnet(
        *("edit", editable, "--add", more, "--remove", "moon", "--rename", "sun=sol"),
        *("--model", tiny, "--json"),
    )
    assert ran.code == 0, ran.err
    assert ran.json["classes"] == {"star": 4, "sol": 4, "tree": 3}
    after, model = FittedClassifier.load(editable), load_model(tiny)
    images = drawings(2, 3, seed=4)
    expected = add_samples(
        before,
        model,
        torch.cat([images[0, :2], images[1]]),
        ["star"] * 2 + ["tree"] * 3,
        [f"star/{i}.png" for i in range(2)] + [f"tree/{i}.png" for i in range(3)],
    )
    expected = rename_class(remove_class(expected, model, "moon"), "sun", "sol")
    assert after.classes == expected.classes
    assert after.support.sources == expected.support.sources
    queries = drawings(5, 1, seed=9)[:, 0]
    torch.testing.assert_close(after.predict_proba(queries), expected.predict_proba(queries))


def test_edit_can_write_another_file(editable, tmp_path):
    before = editable.read_bytes()
    other = tmp_path / "other.safetensors"
    ran = lgmnet("edit", editable, "--rename", "sun=sol", "-o", other)
    assert ran.code == 0, "renaming needs no model"
    assert "moon (1), star (2), sol (4)" in ran.out
    assert editable.read_bytes() == before
    assert FittedClassifier.load(other).classes == ("moon", "star", "sol")


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ([], "Nothing to do"),
        (["--rename", "sun"], "'--rename sun' must be OLD=NEW"),
        (["--rename", "sun=moon"], "a class 'moon' already"),
        (["--rename", "sn=x"], "There is no class 'sn'. Did you mean 'sun'?"),
        (["--remove", "tree", "--model", "{tiny}"], "There is no class 'tree'"),
        (["--remove", "moon", "--remove", "sun", "--model", "{tiny}"], "would be left"),
        (["--remove", "moon"], "Give the folder of the model that forged it with --model"),
        (["--remove", "moon", "--model", "omniglot"], "was forged by 'tiny' with the weights"),
        (["--add", "{tmp}/absent", "--model", "{tiny}"], "There is no folder"),
        (["--rename", "sun=sol", "--remove", "nothing", "--model", "{tiny}"], "no class 'nothing'"),
        (["--rename", "sun=sol", "-o", "{tmp}/absent/c.safetensors"], "does not exist"),
    ],
)
def test_a_failed_edit_does_not_change_the_file(words, names, editable, tiny, tmp_path):
    before = listing(tmp_path)
    ran = lgmnet("edit", editable, *(word.format(tiny=tiny, tmp=tmp_path) for word in words))
    assert ran.code == 2
    assert names in " ".join(ran.err.split())
    assert listing(tmp_path) == before


@pytest.mark.parametrize(
    ("pairs", "classes"),
    [
        (["sun= sol", "moon =luna "], ["luna", "star", "sol"]),
        (["sun=a=b", "a=b=c=d", "moon==x"], ["=x", "star", "c=d"]),
    ],
)
def test_names_in_a_renaming_may_hold_equals_signs_and_have_spaces_around(pairs, classes, editable):
    for pair in pairs:
        ran = lgmnet("edit", editable, "--rename", pair, "--json")
    assert list(ran.json["classes"]) == classes


@pytest.mark.parametrize("out", [True, False])
def test_edit_names_every_unreadable_image_and_writes_nothing(out, editable, tiny, tmp_path):
    more = symbols(tmp_path / "more", {"tree": 1, "leaf": 1})
    others = symbols(tmp_path / "others", {"sea": 1})
    (more / "tree" / "cut.png").write_bytes(BAD_IMAGES["cut.png"]())
    (others / "sea" / "empty.png").write_bytes(b"")
    before = listing(tmp_path)
    ran = lgmnet(
        *("edit", editable, "--add", more, "--add", others, "--model", tiny, "--json"),
        *(["-o", tmp_path / "other.safetensors"] if out else []),
    )
    assert (ran.code, ran.out) == (2, "")
    assert "Nothing was written, because 2 of the images to add cannot be read" in ran.err
    assert str(more / "tree" / "cut.png") in ran.err
    assert str(others / "sea" / "empty.png") in ran.err
    assert listing(tmp_path) == before


def test_inspect_shows_the_content_of_the_file(classifier, tiny):
    ran = lgmnet("inspect", classifier, "--json")
    model = load_model(tiny)
    assert ran.json == {
        "classifier": str(classifier),
        "bytes": classifier.stat().st_size,
        "classes": {"moon": 1, "star": 2, "sun": 4},
        "samples": [1, 28, 28],
        "model": "tiny",
        "fingerprint": model.fingerprint,
        "method": "lgm-net",
        "notes": ran.json["notes"],
        "by": "auto",
        "has_support": True,
        "judged_by": {},
        "leave_one_out": None,
        "with_twice_the_images": None,
    }
    printed = lgmnet("inspect", classifier).out
    for words in ("moon", "3 classes, 7 samples", "tiny", model.fingerprint, "lgmnet forge"):
        assert words in printed


@pytest.fixture
def labelled(tmp_path):
    """Test images of three classes; two of the moons are suns."""
    folder = tmp_path / "labelled"
    drawn = drawings(3, 12)[:, 4:]
    for name, images in zip(("moon", "star", "sun"), drawn, strict=True):
        (folder / name).mkdir(parents=True)
        for i, image in enumerate(images[:5]):
            write_drawing(folder / name / f"{i}.png", image)
    for i in (6, 7):
        write_drawing(folder / "moon" / f"{i}.png", drawn[2, i])
    return folder


def test_report_counts_the_labels_that_predict_gives(classifier, tiny, labelled):
    paths = sorted(labelled.glob("*/*.png"))
    predictions = lgmnet("predict", classifier, *paths, "--json").json["predictions"]
    result = lgmnet("report", classifier, labelled, "--model", tiny, "--json").json
    names = ["moon", "star", "sun"]
    expected = [[0] * 3 for _ in names]
    for path, prediction in zip(paths, predictions, strict=True):
        expected[names.index(path.parent.name)][names.index(prediction["label"])] += 1
    assert result["classes"] == names
    assert result["confusion"] == expected
    n_correct = sum(expected[i][i] for i in range(3))
    assert result["asked"] == len(paths) == 17
    assert result["accuracy"] == pytest.approx(100 * n_correct / 17)
    low, high = result["interval"]
    assert 0 <= low < result["accuracy"] < high <= 100
    assert len(result["wrong"]) == 17 - n_correct
    probabilities = [answer["probability"] for answer in result["wrong"]]
    assert probabilities == sorted(probabilities, reverse=True)
    printed = lgmnet("report", classifier, labelled, "--model", tiny).out
    assert f"{result['accuracy']:.1f} %" in printed
    assert "most confused" in printed


def test_the_report_page_contains_its_pictures(classifier, tiny, labelled, tmp_path):
    page = tmp_path / "report.html"
    ran = lgmnet("report", classifier, labelled, "--model", tiny, "-o", page)
    assert ran.code == 0, ran.err
    text = page.read_text(encoding="utf-8")
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    wrong = lgmnet("report", classifier, labelled, "--model", tiny, "--json").json["wrong"]
    assert len(pictures) >= 1 + len(wrong)
    for picture in pictures:
        Image.open(io.BytesIO(base64.b64decode(picture))).verify()
    assert 'src="/' not in text
    assert "http" not in text
    assert all(answer["source"] in text for answer in wrong)


def test_report_without_the_model_prints_a_notice(classifier, labelled):
    ran = lgmnet("report", classifier, labelled, "--json")
    assert ran.code == 0
    assert ran.json["suspects"] is None
    assert "The support images are not checked" in ran.err


def test_report_on_unknown_classes_is_an_error(classifier, tiny, labelled):
    shutil.copytree(labelled / "sun", labelled / "comet")
    ran = lgmnet("report", classifier, labelled, "--model", tiny)
    assert ran.code == 2
    assert "no classes of this classifier: comet. Its classes: moon, star, sun" in ran.err


def test_report_finds_a_mislabelled_support_image(tmp_path):
    """With the shipped model: a drawing of one class in the folder of another."""
    drawn = drawings(4, 6)
    folder = tmp_path / "support"
    for number, images in enumerate(drawn):
        (folder / f"class {number}").mkdir(parents=True)
        for i, image in enumerate(images[:5]):
            write_drawing(folder / f"class {number}" / f"{i}.png", image)
    write_drawing(folder / "class 1" / "strange.png", drawn[3, 5])
    file = tmp_path / "c.safetensors"
    assert lgmnet("forge", folder, "-o", file).code == 0
    suspects = lgmnet("report", file, folder, "--json").json["suspects"]
    assert suspects[0]["source"] == "class 1/strange.png"
    assert suspects[0]["label"] == "class 1"
    assert suspects[0]["answered"] == "class 3"


def test_a_file_that_names_a_model_of_the_hub_starts_no_download(
    classifier, tiny, tmp_path, monkeypatch
):
    def refuse_download(*arguments: object, **options: object) -> None:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse_download)
    file = tmp_path / "c.safetensors"
    fitted = FittedClassifier.load(classifier)
    dataclasses.replace(fitted, model="hub:someone/else").save(file)
    ran = lgmnet("edit", file, "--remove", "moon")
    assert ran.code == 2
    assert "'hub:someone/else'" in ran.err
    assert "--model" in ran.err
    with pytest.raises(FileFormatError, match="must not start a download"):
        FewShotClassifier.load(file)
    assert FewShotClassifier.load(file, model=tiny).classes_.tolist() == list(fitted.classes)
