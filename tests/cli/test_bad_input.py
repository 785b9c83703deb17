"""Bad input: exit code 2, a sentence that names what is at fault, and nothing half-written."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from lgmnet.classifier.file import CLASSIFIER_KIND
from lgmnet.io import CHECKSUM, checksum
from tests.cli.making import (
    BAD_IMAGES,
    Ran,
    content,
    drawings,
    lgmnet,
    listing,
    symbols,
    tiny_model,
    write_drawing,
)

OLD = b"a classifier that took an afternoon to draw"


def refused(ran: Ran, *names: object) -> None:
    """Check that a command ended as bad input must: one sentence that names these things."""
    assert ran.code == 2, ran.err
    assert ran.out == ""
    assert ran.err.startswith("error: ")
    assert ran.err.count("error:") == 1
    for name in names:
        assert str(name) in ran.err


def empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


def one_class(folder: Path) -> Path:
    return symbols(folder, {"lonely": 3})


def class_without_images(folder: Path) -> Path:
    symbols(folder, {"full": 2, "void": 1})
    (folder / "void" / "0.png").unlink()
    return folder


def class_of_bad_images(folder: Path) -> Path:
    symbols(folder, {"full": 2, "spoilt": 2})
    (folder / "spoilt" / "0.png").write_bytes(b"")
    (folder / "spoilt" / "1.png").write_bytes(BAD_IMAGES["cut.png"]())
    return folder


def images_without_classes(folder: Path) -> Path:
    folder.mkdir()
    write_drawing(folder / "0.png", drawings(2, 1)[0, 0])
    return folder


def a_file(folder: Path) -> Path:
    folder.write_text("no folder")
    return folder


BAD_FOLDERS: dict[Callable[[Path], Path], tuple[str, ...]] = {
    lambda folder: folder: ("images", "<class>/<image>"),
    a_file: ("images", "<class>/<image>"),
    empty: ("images", "at least two classes", "none"),
    images_without_classes: ("images", "at least two classes", "none"),
    one_class: ("images", "at least two classes", "'lonely'"),
    class_without_images: ("'void'",),
    class_of_bad_images: ("'spoilt'", "0.png", "1.png"),
}


@pytest.mark.parametrize("old", [None, OLD], ids=["no file", "old file"])
@pytest.mark.parametrize(
    ("make", "names"),
    BAD_FOLDERS.items(),
    ids=["absent", "a file", *(make.__name__ for make in list(BAD_FOLDERS)[2:])],
)
def test_forge_from_a_folder_that_cannot_serve(make, names, old, tiny, tmp_path):
    folder = make(tmp_path / "images")
    output = tmp_path / "out" / "c.safetensors"
    output.parent.mkdir()
    if old:
        output.write_bytes(old)
    before = listing(tmp_path)
    refused(lgmnet("forge", folder, "-o", output, "--model", tiny, "--json"), *names)
    assert listing(tmp_path) == before


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_forge_leaves_a_bad_image_out_and_keeps_the_others(name, tiny, tmp_path):
    folder = symbols(tmp_path / "images", {"moon": 2, "star": 1})
    clean, output = tmp_path / "clean.safetensors", tmp_path / "c.safetensors"
    assert lgmnet("forge", folder, "-o", clean, "--model", tiny).code == 0
    (folder / "moon" / name).write_bytes(BAD_IMAGES[name]())
    (folder / "star" / f"also-{name}").write_bytes(BAD_IMAGES[name]())

    ran = lgmnet("forge", folder, "-o", output, "--model", tiny, "--json")
    assert ran.code == 2
    assert ran.json["classes"] == {"moon": 2, "star": 1}
    assert [name in sentence for sentence in ran.json["unreadable"]] == [True, True]
    assert str(folder / "moon" / name) in ran.err
    assert str(folder / "star" / f"also-{name}") in ran.err
    assert ran.err.count("left out") == 2
    assert content(output) == content(clean)


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("name", [*BAD_IMAGES, "absent.png"])
def test_predict_answers_all_but_the_bad_image(name, as_json, classifier, tmp_path):
    bad = tmp_path / name
    if name in BAD_IMAGES:
        bad.write_bytes(BAD_IMAGES[name]())
    good = [write_drawing(tmp_path / f"{i}.png", d[0]) for i, d in enumerate(drawings(2, 1, 4))]
    flags = ["--json"] if as_json else []
    alone = lgmnet("predict", classifier, *good, *flags)
    ran = lgmnet("predict", classifier, good[0], bad, good[1], *flags)
    assert (alone.code, ran.code) == (0, 2)
    if as_json:
        first, problem, last = ran.json["predictions"]
        assert [first, last] == alone.json["predictions"]
        assert problem.keys() == {"image", "error"}
        assert problem["image"] == str(bad)
        assert str(bad) in problem["error"]
    else:
        assert all(str(path) in ran.out for path in (*good, bad))


def test_predict_when_no_image_can_be_read(classifier, tmp_path):
    ran = lgmnet("predict", classifier, tmp_path / "a.png", tmp_path / "b.png", "--json")
    assert ran.code == 2
    assert ["error" in prediction for prediction in ran.json["predictions"]] == [True, True]


def changed(good: bytes, *, drop: str = "", **about: str) -> bytes:
    """The file without one tensor, or with something else said in it, but with a true checksum."""
    header = json.loads(good[8 : 8 + int.from_bytes(good[:8], "little")])
    tensors = {k: t for k, t in safetensors.torch.load(good).items() if k != drop}
    said = header["__metadata__"] | about
    del said[CHECKSUM]
    return safetensors.torch.save(tensors, said | {CHECKSUM: checksum(tensors, said)})


FOREIGN: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda good: b"",
    "cut to 4 bytes": lambda good: good[:4],
    "cut in the header": lambda good: good[:300],
    "cut in half": lambda good: good[: len(good) // 2],
    "cut by a byte": lambda good: good[:-1],
    "of version 1": lambda good: changed(good, version="1"),
    "of another kind": lambda good: changed(good, format="lgmnet-model"),
    "of an unknown method": lambda good: changed(good, method="proto-net"),
    "of another config": lambda good: changed(good, config='{"target_widths": [8, 16]}'),
    "of a config with a fault": lambda good: changed(good, config='{"context": -1}'),
    "altered in a byte": lambda good: good[:-9] + bytes([good[-9] ^ 1]) + good[-8:],
    "with a class too many": lambda good: changed(good, classes='["a", "b", "c", "d"]'),
    "with a class too few": lambda good: changed(good, classes='["a", "b"]'),
    "with a source too few": lambda good: changed(good, sources='["a"]'),
    "without its labels": lambda good: changed(good, drop="support.labels"),
    "of an unknown threshold": lambda good: changed(good, rejections='[{"shot": 1}]'),
    "with classes that are no list": lambda good: changed(good, classes="3"),
    "without a tensor": lambda good: changed(good, drop="weight_0"),
    "foreign safetensors": lambda good: safetensors.torch.save({"x": torch.zeros(3)}),
    "a pickle": lambda good: pickle.dumps({"classes": ["a", "b"]}),
    "an image": lambda good: BAD_IMAGES["many-pixels.png"](),
    "a text": lambda good: "ⓒ not a classifier".encode(),
}


@pytest.mark.parametrize("damage", FOREIGN.values(), ids=FOREIGN)
def test_predict_with_a_classifier_file_that_is_none(damage, classifier, tmp_path):
    asked = write_drawing(tmp_path / "asked.png", drawings(2, 1)[0, 0])
    file = tmp_path / "c.safetensors"
    file.write_bytes(damage(classifier.read_bytes()))
    refused(lgmnet("predict", file, asked, "--json"), file)


def test_what_is_wrong_with_a_classifier_file_is_said(classifier, tmp_path):
    asked = write_drawing(tmp_path / "asked.png", drawings(2, 1)[0, 0])
    file = tmp_path / "c.safetensors"
    for damage, words in (
        ("of version 1", ("version 1", "version 3")),
        ("altered in a byte", ("its checksum is another", str(file))),
        ("of another kind", (CLASSIFIER_KIND,)),
        ("foreign safetensors", (CLASSIFIER_KIND,)),
    ):
        file.write_bytes(FOREIGN[damage](classifier.read_bytes()))
        refused(lgmnet("predict", file, asked), *words)


def test_a_pickle_is_never_opened(tmp_path):
    """A file that would act when unpickled does not get to act."""

    class Trap:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
            return Path.touch, (tmp_path / "sprung",)

    torch.save(Trap(), tmp_path / "c.safetensors")
    refused(lgmnet("predict", tmp_path / "c.safetensors", tmp_path / "x.png"), "c.safetensors")
    assert not (tmp_path / "sprung").exists()


def test_predict_without_a_classifier(tmp_path):
    asked = write_drawing(tmp_path / "asked.png", drawings(2, 1)[0, 0])
    refused(lgmnet("predict", tmp_path / "absent.safetensors", asked), "absent.safetensors")
    refused(lgmnet("predict", tmp_path, asked), tmp_path)


def test_forge_where_no_file_can_be_written(tiny, folder_of_symbols, tmp_path):
    before = listing(tmp_path)
    for output, name in (
        (tmp_path / "no" / "such" / "c.safetensors", tmp_path / "no" / "such"),
        (tmp_path, tmp_path),
        (tmp_path / ("n" * 254), "nnnn"),
    ):
        refused(lgmnet("forge", folder_of_symbols, "-o", output, "--model", tiny, "--json"), name)
    assert listing(tmp_path) == before


def test_a_failure_while_writing_leaves_the_old_file(
    tiny, folder_of_symbols, tmp_path, monkeypatch
):
    output = tmp_path / "c.safetensors"
    output.write_bytes(OLD)

    def full_disk(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    ran = lgmnet("forge", folder_of_symbols, "-o", output, "--model", tiny)
    refused(ran, output, "No space left on device")
    assert listing(tmp_path) == {"c.safetensors": OLD}


@pytest.mark.parametrize("command", ["evaluate", "publish", "forge", "quickstart"])
def test_a_model_that_is_none(command, tmp_path, folder_of_symbols):
    """No such name, a folder without a model, and a model folder that lost its weights."""
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{}")
    for model, names in (
        ("omniglit", ("omniglit", "model")),
        (folder_of_symbols, (folder_of_symbols, "config.json")),
        (broken, (broken, "model.safetensors")),
    ):
        output = tmp_path / "out"
        words = {
            "evaluate": [model, "--data", "strokes"],
            "publish": [model, "-o", output],
            "forge": [folder_of_symbols, "-o", output, "--model", model],
            "quickstart": ["--model", model, "-o", output],
        }
        refused(lgmnet(command, *words[command], "--json"), *names)
        assert not output.exists()


def test_a_model_with_damaged_weights(tiny, tmp_path):
    model = shutil.copytree(tiny, tmp_path / "model")
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    refused(lgmnet("evaluate", model, "--data", "strokes"), weights)


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--way", 11], ("way is 11", "10 classes")),
        (["--shot", 100, "--query", 100], ("100 + 100 = 200", "'8' (174)")),
        (["--way", 1], ("'way'", "at least 2")),
        (["--shot", 0], ("'shot'", "at least 1")),
        (["--query", 0], ("'query'", "at least 1")),
        (["--episodes", 1], ("'episodes'", "at least 2")),
        (["--split", "train"], ("'train'", "Known: test")),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_evaluate_asked_for_more_than_there_is(words, names, tiny):
    refused(lgmnet("evaluate", tiny, "--data", "digits", *words, "--json"), *names)


def test_evaluate_saves_nothing_where_it_cannot(tiny, tmp_path):
    """Said before the work, not after it."""
    words = ["--data", "strokes", "--episodes", 10**9, "--save", tmp_path / "no" / "score.json"]
    refused(lgmnet("evaluate", tiny, *words), tmp_path / "no")


def test_evaluate_lists_the_classes_of_a_folder_that_are_too_small(tiny, folder_of_symbols):
    words = ["--data", folder_of_symbols, "--way", 2, "--shot", 1, "--query", 2]
    refused(lgmnet("evaluate", tiny, *words), "1 + 2 = 3", "fewer images: 'moon' (1), 'star' (2).")


def test_a_name_that_is_nearly_right_is_suggested(tiny, tmp_path):
    out = ["--out", tmp_path / "out"]
    refused(lgmnet("train", "omniglt", *out), "recipe 'omniglt'", "'omniglot'?")
    refused(lgmnet("train", "omniglot", "--data", "stroke", *out), "'stroke'", "'strokes'?")
    refused(lgmnet("evaluate", tiny, "--data", "digit"), "'digit'", "'digits'?")
    refused(lgmnet("evaluate", tiny, "--data", "strokes", "--split", "tset"), "'tset'", "'test'?")
    assert not (tmp_path / "out").exists()


def test_no_omniglot(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("LGMNET_DATA", str(tmp_path))
    missing = lgmnet("evaluate", tiny, "--data", "omniglot")
    refused(missing, tmp_path, "LGMNET_DATA", "lgmnet download omniglot", "--data strokes")


@pytest.mark.parametrize(
    "content", [b"", b"not an archive", b"PK\x03\x04 half an archive"], ids=repr
)
def test_a_damaged_omniglot(content, tiny, tmp_path, monkeypatch):
    pack = tmp_path / "omniglot" / "omniglot28.npz"
    pack.parent.mkdir()
    pack.write_bytes(content)
    monkeypatch.setenv("LGMNET_DATA", str(tmp_path))
    refused(lgmnet("evaluate", tiny, "--data", "omniglot"), pack)


def test_another_archive_than_omniglot(tiny, tmp_path, monkeypatch):
    pack = tmp_path / "omniglot" / "omniglot28.npz"
    pack.parent.mkdir()
    np.savez(pack, allow_pickle=False, images=np.zeros((4, 28, 28), np.uint8))
    monkeypatch.setenv("LGMNET_DATA", str(tmp_path))
    refused(lgmnet("evaluate", tiny, "--data", "omniglot"), pack)


def test_a_model_of_other_samples(tmp_path):
    from lgmnet.methods.lgm_net import LGMNetConfig
    from lgmnet.model.model import save_model

    points = LGMNetConfig(
        feature_shape=(2,), target="linear", embedding_widths=(8,), target_widths=(8,)
    )
    save_model(tiny_model(points), tmp_path / "points")
    ran = lgmnet("evaluate", tmp_path / "points", "--data", "strokes")
    refused(ran, "strokes", "(1, 28, 28)", "(2,)")


@pytest.mark.parametrize(
    "words",
    [
        ["predict"],
        ["forge", "."],
        ["evaluate", "x", "--way", "many"],
        ["nonsense"],
        ["models", "x"],
    ],
    ids=" ".join,
)
def test_a_line_that_cannot_be_understood(words):
    ran = lgmnet(*words)
    assert ran.code == 2
    assert ran.out == ""
    assert "Usage:" in ran.err
