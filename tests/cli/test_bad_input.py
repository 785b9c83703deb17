"""Bad input: exit code 2, a message that names the fault, and no incomplete files."""

from __future__ import annotations

import io
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
from lgmnet.nn.embedding import vector_embedding
from lgmnet.tensor_file import CHECKSUM, checksum
from tests.support.command_line import Ran, content, lgmnet, listing
from tests.support.configs import lgm_net_config
from tests.support.images import BAD_IMAGES, symbols, write_drawing
from tests.support.models import drawings, tiny_model


def assert_error(ran: Ran, *parts: object) -> None:
    """Check that a command failed with code 2 and one error message with these parts."""
    assert ran.code == 2, ran.err
    assert ran.out == ""
    assert ran.err.startswith("error: ")
    assert ran.err.count("error:") == 1
    for part in parts:
        assert str(part) in ran.err


def empty_folder(folder: Path) -> Path:
    folder.mkdir()
    return folder


def one_class(folder: Path) -> Path:
    return symbols(folder, {"lonely": 3})


def class_without_images(folder: Path) -> Path:
    symbols(folder, {"full": 2, "empty": 1})
    (folder / "empty" / "0.png").unlink()
    return folder


def mixed_layouts(folder: Path) -> Path:
    symbols(folder, {"beach": 2, "town": 2})
    symbols(folder / "day1", {"boat": 2})
    write_drawing(folder / "0.png", drawings(2, 1)[0, 0])
    return folder


def class_of_bad_images(folder: Path) -> Path:
    symbols(folder, {"full": 2, "broken": 2})
    (folder / "broken" / "0.png").write_bytes(b"")
    (folder / "broken" / "1.png").write_bytes(BAD_IMAGES["cut.png"]())
    return folder


def images_without_classes(folder: Path) -> Path:
    folder.mkdir()
    write_drawing(folder / "0.png", drawings(2, 1)[0, 0])
    return folder


def file_as_folder(folder: Path) -> Path:
    folder.write_text("a file")
    return folder


BAD_FOLDERS: dict[Callable[[Path], Path], tuple[str, ...]] = {
    lambda folder: folder: ("images", "<class>/<image>"),
    file_as_folder: ("images", "<class>/<image>"),
    empty_folder: ("images", "at least two classes", "none"),
    images_without_classes: ("images", "at least two classes", "none"),
    one_class: ("images", "at least two classes", "'lonely'"),
    class_without_images: ("at least two classes", "images in 'full'; no images in 'empty'"),
    mixed_layouts: ("at least two classes", "'beach', 'town'", "'day1/boat'", "'0.png'"),
    class_of_bad_images: ("'broken'", "0.png", "1.png"),
}


@pytest.mark.parametrize("old", [False, True], ids=["no file", "old file"])
@pytest.mark.parametrize(
    ("make", "names"),
    BAD_FOLDERS.items(),
    ids=["absent", "file", *(make.__name__ for make in list(BAD_FOLDERS)[2:])],
)
def test_forge_from_an_unusable_folder(make, names, old, tiny, classifier, tmp_path):
    folder = make(tmp_path / "images")
    output = tmp_path / "out" / "c.safetensors"
    output.parent.mkdir()
    if old:
        shutil.copy(classifier, output)
    before = listing(tmp_path)
    assert_error(lgmnet("forge", folder, "-o", output, "--model", tiny, "--json"), *names)
    assert listing(tmp_path) == before


def test_images_outside_class_folders_are_not_passed_over_in_silence(tiny, tmp_path):
    folder, file = symbols(tmp_path / "images", {"moon": 2, "star": 2}), tmp_path / "c.safetensors"
    write_drawing(folder / "0.png", drawings(2, 1)[0, 0])
    forged = lgmnet("forge", folder, "-o", file, "--model", tiny, "--json")
    edited = lgmnet("edit", file, "--add", folder, "--model", tiny, "--json")
    reported = lgmnet("report", file, folder, "--model", tiny, "--json")
    for ran in (forged, edited, reported):
        assert ran.code == 0, ran.err
        assert "1 image was left out, such as '" in ran.err
        assert [f"{folder}/0.png" in line for line in ran.json["unused"]] == [True]
    (folder / "0.png").unlink()
    ran = lgmnet("forge", folder, "-o", file, "--model", tiny, "--json")
    assert (ran.json["unused"], ran.err) == ([], "")


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_forge_leaves_out_a_bad_image_and_uses_the_others(name, tiny, tmp_path):
    folder = symbols(tmp_path / "images", {"moon": 2, "star": 1})
    clean, output = tmp_path / "clean.safetensors", tmp_path / "c.safetensors"
    assert lgmnet("forge", folder, "-o", clean, "--model", tiny).code == 0
    (folder / "moon" / name).write_bytes(BAD_IMAGES[name]())
    (folder / "star" / f"also-{name}").write_bytes(BAD_IMAGES[name]())

    ran = lgmnet("forge", folder, "-o", output, "--model", tiny, "--json")
    assert ran.code == 2
    assert ran.json["classes"] == {"moon": 2, "star": 1}
    assert [name in message for message in ran.json["unreadable"]] == [True, True]
    assert str(folder / "moon" / name) in ran.err
    assert str(folder / "star" / f"also-{name}") in ran.err
    assert ran.err.count("left out") == 2
    assert content(output) == content(clean)


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("name", [*BAD_IMAGES, "absent.png"])
def test_predict_classifies_all_but_the_bad_image(name, as_json, classifier, tmp_path):
    bad = tmp_path / name
    if name in BAD_IMAGES:
        bad.write_bytes(BAD_IMAGES[name]())
    good = [write_drawing(tmp_path / f"{i}.png", d[0]) for i, d in enumerate(drawings(2, 1, 4))]
    flags = ["--json"] if as_json else []
    expected = lgmnet("predict", classifier, *good, *flags)
    ran = lgmnet("predict", classifier, good[0], bad, good[1], *flags)
    assert (expected.code, ran.code) == (0, 2)
    if as_json:
        first, problem, last = ran.json["predictions"]
        assert [first, last] == expected.json["predictions"]
        assert problem.keys() == {"image", "error"}
        assert problem["image"] == str(bad)
        assert str(bad) in problem["error"]
    else:
        assert all(str(path) in ran.out for path in (*good, bad))


def test_predict_without_any_readable_image(classifier, tmp_path):
    ran = lgmnet("predict", classifier, tmp_path / "a.png", tmp_path / "b.png", "--json")
    assert ran.code == 2
    assert ["error" in prediction for prediction in ran.json["predictions"]] == [True, True]


def change_file(good: bytes, *, drop: str = "", **fields: str) -> bytes:
    """Remove a tensor or replace metadata, and make the checksum match."""
    header = json.loads(good[8 : 8 + int.from_bytes(good[:8], "little")])
    tensors = {k: t for k, t in safetensors.torch.load(good).items() if k != drop}
    metadata = header["__metadata__"] | fields
    del metadata[CHECKSUM]
    return safetensors.torch.save(tensors, metadata | {CHECKSUM: checksum(tensors, metadata)})


DAMAGED_FILES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda good: b"",
    "cut to 4 bytes": lambda good: good[:4],
    "cut in the header": lambda good: good[:300],
    "cut in half": lambda good: good[: len(good) // 2],
    "cut by a byte": lambda good: good[:-1],
    "version 1": lambda good: change_file(good, version="1"),
    "another kind": lambda good: change_file(good, format="lgmnet-model"),
    "unknown method": lambda good: change_file(good, method="proto-net"),
    "another config": lambda good: change_file(good, config='{"target_widths": [8, 16]}'),
    "invalid config": lambda good: change_file(good, config='{"context": -1}'),
    "one byte changed": lambda good: good[:-9] + bytes([good[-9] ^ 1]) + good[-8:],
    "one class too many": lambda good: change_file(good, classes='["a", "b", "c", "d"]'),
    "one class too few": lambda good: change_file(good, classes='["a", "b"]'),
    "one source too few": lambda good: change_file(good, sources='["a"]'),
    "no labels": lambda good: change_file(good, drop="support.labels"),
    "invalid threshold": lambda good: change_file(good, rejections='[{"shot": 1}]'),
    "classes are no list": lambda good: change_file(good, classes="3"),
    "a tensor is missing": lambda good: change_file(good, drop="weight_0"),
    "foreign safetensors": lambda good: safetensors.torch.save({"x": torch.zeros(3)}),
    "pickle": lambda good: pickle.dumps({"classes": ["a", "b"]}),
    "image": lambda good: BAD_IMAGES["many-pixels.png"](),
    "text": lambda good: "ⓒ not a classifier".encode(),
}


@pytest.mark.parametrize("damage", DAMAGED_FILES.values(), ids=DAMAGED_FILES)
def test_predict_with_a_damaged_classifier_file(damage, classifier, tmp_path):
    query = write_drawing(tmp_path / "query.png", drawings(2, 1)[0, 0])
    file = tmp_path / "c.safetensors"
    file.write_bytes(damage(classifier.read_bytes()))
    assert_error(lgmnet("predict", file, query, "--json"), file)


def test_the_message_names_the_fault_of_a_classifier_file(classifier, tmp_path):
    query = write_drawing(tmp_path / "query.png", drawings(2, 1)[0, 0])
    file = tmp_path / "c.safetensors"
    for damage, parts in (
        ("version 1", ("version 1", "version 3")),
        ("one byte changed", ("its checksum does not match", str(file))),
        ("another kind", (CLASSIFIER_KIND,)),
        ("foreign safetensors", (CLASSIFIER_KIND,)),
    ):
        file.write_bytes(DAMAGED_FILES[damage](classifier.read_bytes()))
        assert_error(lgmnet("predict", file, query), *parts)


def test_a_pickle_is_never_loaded(tmp_path):
    """A file that runs code when unpickled does not run it."""

    class CreatesFile:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
            return Path.touch, (tmp_path / "created",)

    torch.save(CreatesFile(), tmp_path / "c.safetensors")
    assert_error(lgmnet("predict", tmp_path / "c.safetensors", tmp_path / "x.png"), "c.safetensors")
    assert not (tmp_path / "created").exists()


def test_predict_without_a_classifier_file(tmp_path):
    query = write_drawing(tmp_path / "query.png", drawings(2, 1)[0, 0])
    assert_error(lgmnet("predict", tmp_path / "absent.safetensors", query), "absent.safetensors")
    assert_error(
        lgmnet("predict", tmp_path, query), f"'{tmp_path}' must be a file, but is a folder"
    )
    assert_error(lgmnet("inspect", query), f"'{query}' cannot be read as", "another kind of")


def test_an_image_file_that_is_a_folder(classifier, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{tmp_path}\n"))
    ran = lgmnet("predict", classifier, "-", "--json")
    (row,) = ran.json["predictions"]
    assert row["error"] == f"'{tmp_path}' must be an image file, but is a folder."


@pytest.mark.parametrize("model", ["omniglot", "tiny"])
@pytest.mark.parametrize("words", [["predict", "x"], ["inspect"], ["export", "-o", "x.onnx"]])
def test_a_model_in_place_of_a_classifier_and_the_other_way_round(
    words, model, tiny, classifier, folder_of_symbols, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    file = tiny if model == "tiny" else model
    parts = (f"'{file}' is a model", f"lgmnet forge IMAGES_DIR --model {file} -o FILE.safetensors")
    hint = "add --meta" if words[0] == "export" else ""
    assert_error(lgmnet(words[0], file, *words[1:]), *parts, hint)
    for command in (
        ("evaluate", classifier),
        ("forge", folder_of_symbols, "-o", "y", "--model", classifier),
    ):
        assert_error(lgmnet(*command), f"'{classifier}' is a file", "A classifier file is no model")
    assert listing(tmp_path) == {}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["predict", "{file}", "x", "--json", "--format", "csv"], "leave --format csv out"),
        (["predict", "{file}", "x", "--part-size", 5], "--part-size needs a folder for the scores"),
        (["forge", "x", "-o", "y.PNG"], "Name it 'y.safetensors'."),
        (["edit", "{file}", "--rename", "sun=sol", "-o", "y.onnx"], "'lgmnet export' makes an"),
    ],
)
def test_options_that_contradict_each_other(words, message, classifier, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_error(lgmnet(*(str(word).format(file=classifier) for word in words)), message)
    assert listing(tmp_path) == {}


def test_forge_to_a_path_that_cannot_be_written(tiny, folder_of_symbols, tmp_path):
    before = listing(tmp_path)
    for output, name in (
        (tmp_path / "no" / "such" / "c.safetensors", tmp_path / "no" / "such"),
        (tmp_path, tmp_path),
        (tmp_path / ("n" * 254), "nnnn"),
    ):
        assert_error(
            lgmnet("forge", folder_of_symbols, "-o", output, "--model", tiny, "--json"), name
        )
    assert listing(tmp_path) == before


def test_a_failed_write_keeps_the_old_file(
    tiny, classifier, folder_of_symbols, tmp_path, monkeypatch
):
    output = tmp_path / "c.safetensors"
    shutil.copy(classifier, output)

    def full_disk(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    ran = lgmnet("forge", folder_of_symbols, "-o", output, "--model", tiny)
    assert_error(ran, output, "No space left on device")
    assert listing(tmp_path) == {"c.safetensors": classifier.read_bytes()}


@pytest.mark.parametrize("command", ["evaluate", "publish", "forge", "quickstart"])
def test_an_unusable_model(command, tmp_path, folder_of_symbols):
    """An unknown name, a folder without a model, and a model folder without weights."""
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
        assert_error(lgmnet(command, *words[command], "--json"), *names)
        assert not output.exists()


def test_a_model_with_damaged_weights(tiny, tmp_path):
    model = shutil.copytree(tiny, tmp_path / "model")
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    assert_error(lgmnet("evaluate", model, "--data", "strokes"), weights)


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
def test_evaluate_with_impossible_tasks(words, names, tiny):
    assert_error(lgmnet("evaluate", tiny, "--data", "digits", *words, "--json"), *names)


def test_evaluate_checks_the_output_file_before_it_starts(tiny, tmp_path):
    words = ["--data", "strokes", "--episodes", 10**9, "--save", tmp_path / "no" / "score.json"]
    assert_error(lgmnet("evaluate", tiny, *words), tmp_path / "no")


def test_evaluate_lists_classes_with_too_few_images(tiny, folder_of_symbols):
    words = ["--data", folder_of_symbols, "--way", 2, "--shot", 1, "--query", 2]
    assert_error(
        lgmnet("evaluate", tiny, *words), "1 + 2 = 3", "fewer images: 'moon' (1), 'star' (2)."
    )


def test_the_nearest_name_is_suggested(tiny, tmp_path):
    out = ["--out", tmp_path / "out"]
    assert_error(lgmnet("train", "omniglt", *out), "recipe 'omniglt'", "'omniglot'?")
    assert_error(lgmnet("train", "omniglot", "--data", "stroke", *out), "'stroke'", "'strokes'?")
    assert_error(lgmnet("evaluate", tiny, "--data", "digit"), "'digit'", "'digits'?")
    assert_error(
        lgmnet("evaluate", tiny, "--data", "strokes", "--split", "tset"), "'tset'", "'test'?"
    )
    assert not (tmp_path / "out").exists()


def test_missing_omniglot(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("LGMNET_DATA", str(tmp_path))
    missing = lgmnet("evaluate", tiny, "--data", "omniglot")
    assert_error(missing, tmp_path, "LGMNET_DATA", "lgmnet download omniglot", "--data strokes")


@pytest.mark.parametrize(
    "content", [b"", b"not an archive", b"PK\x03\x04 half an archive"], ids=repr
)
def test_a_damaged_omniglot(content, tiny, tmp_path, monkeypatch):
    pack = tmp_path / "omniglot" / "omniglot28.npz"
    pack.parent.mkdir()
    pack.write_bytes(content)
    monkeypatch.setenv("LGMNET_DATA", str(tmp_path))
    assert_error(lgmnet("evaluate", tiny, "--data", "omniglot"), pack)


def test_an_archive_that_is_not_omniglot(tiny, tmp_path, monkeypatch):
    pack = tmp_path / "omniglot" / "omniglot28.npz"
    pack.parent.mkdir()
    np.savez(pack, allow_pickle=False, images=np.zeros((4, 28, 28), np.uint8))
    monkeypatch.setenv("LGMNET_DATA", str(tmp_path))
    assert_error(lgmnet("evaluate", tiny, "--data", "omniglot"), pack)


def test_a_model_with_another_feature_shape(tmp_path):
    from lgmnet.model.model import save_model

    points = lgm_net_config(vector_embedding(2, 8), target_widths=(8,))
    save_model(tiny_model(points), tmp_path / "points")
    ran = lgmnet("evaluate", tmp_path / "points", "--data", "strokes")
    assert_error(ran, "strokes", "(1, 28, 28)", "(2,)")


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
def test_a_usage_error(words):
    ran = lgmnet(*words)
    assert ran.code == 2
    assert ran.out == ""
    assert "Usage:" in ran.err
