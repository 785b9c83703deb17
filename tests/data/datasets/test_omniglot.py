"""Omniglot: splits are disjoint, the archive equals the originals, and errors are clear."""

from __future__ import annotations

import hashlib
import io
import sys
import zipfile
from collections import defaultdict
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lgmnet.data.datasets import omniglot as module
from lgmnet.data.datasets.omniglot import (
    CLASSES,
    DRAWINGS_PER_CLASS,
    OMNIGLOT_ARCHIVE,
    OMNIGLOT_SIDE,
    OMNIGLOT_SPLITS,
    VINYALS_SPLIT_FILE,
    assign_splits,
    convert_originals,
    load_omniglot_arrays,
    omniglot,
)
from lgmnet.data.fetch import unpack
from lgmnet.data.images.archives import data_folders
from lgmnet.data.task_source import STANDARD_SPLITS, shares_classes
from lgmnet.errors import ConfigError, DataError
from tests.support.progress import record_progress

# Of the 964 background characters, 787 and 177 are for training and validation.
CHARACTERS = {
    "vinyals/train": 1028,
    "vinyals/val": 172,
    "vinyals/test": 423,
    "lake/train": 787,
    "lake/val": 177,
    "lake/test": 659,
}

# Saved models record their training classes by these hashes, so they must never change.
HASHES = {
    "vinyals/train": "565983e28eb6",
    "vinyals/val": "2e89f706dba4",
    "vinyals/test": "3a47d3426f28",
    "lake/train": "4241fe518ba1",
    "lake/val": "49bf9a3ae76f",
    "lake/test": "a505b1b2080c",
}


@pytest.fixture(scope="module")
def arrays():
    return load_omniglot_arrays()


@pytest.fixture(scope="module")
def datasets():
    """Data sets of all splits, loaded once."""
    return {split: omniglot(split) for split in CHARACTERS}


@pytest.mark.pack
@pytest.mark.parametrize("split", CHARACTERS)
def test_a_split_has_its_published_size_and_hash(datasets, split):
    dataset = datasets[split]
    assert dataset.classes == 4 * CHARACTERS[split]
    assert dataset.images.shape == (80 * CHARACTERS[split], 1, OMNIGLOT_SIDE, OMNIGLOT_SIDE)
    assert set(dataset.counts.tolist()) == {DRAWINGS_PER_CLASS}
    assert (dataset.name, dataset.split) == ("omniglot", split)
    assert dataset.split_hash == HASHES[split]


@pytest.mark.pack
@pytest.mark.parametrize("scheme", ["vinyals", "lake"])
def test_no_class_and_no_image_is_in_two_splits(datasets, arrays, scheme):
    """All images in all four rotations are compared."""
    splits = [datasets[f"{scheme}/{name}"] for name in STANDARD_SPLITS]
    for a, b in combinations(splits, 2):
        assert not shares_classes(a, b)
        assert image_set(a).isdisjoint(image_set(b))
    characters = [c for classes in assign_splits(arrays, scheme).values() for c in classes]
    assert sorted(characters) == list(range(CLASSES))


def image_set(dataset):
    return {image.tobytes() for image in dataset.images.numpy()}


@pytest.mark.pack
def test_only_one_drawing_appears_twice(arrays):
    """Drawers 3 and 19 drew the same Braille dot; the original has both, in one class."""
    rows = defaultdict(list)
    for row, image in enumerate(arrays["images"]):
        rows[image.tobytes()].append(row)
    (twins,) = (equal_rows for equal_rows in rows.values() if len(equal_rows) > 1)
    assert [row % DRAWINGS_PER_CLASS + 1 for row in twins] == [3, 19]
    assert set(arrays["class_name"][arrays["label"][twins]]) == {
        "images_background/Braille/character01"
    }


@pytest.mark.pack
def test_splits_of_lake_share_no_alphabet(arrays):
    alphabets = [
        set(arrays["class_alphabet"][classes]) for classes in assign_splits(arrays, "lake").values()
    ]
    assert [len(names) for names in alphabets] == [25, 5, 20]
    assert len(set.union(*alphabets)) == 50


@pytest.mark.pack
def test_the_package_and_the_archive_have_the_published_lists(arrays):
    lists = VINYALS_SPLIT_FILE.read_text().replace("\n", "")
    assert [int(number) for number in lists] == arrays["vinyals_split"].tolist()


@pytest.mark.pack
def test_a_rotated_character_is_a_class_of_its_own(datasets):
    rotated, plain = datasets["vinyals/val"], omniglot("vinyals/val", rotations=False)
    assert plain.classes == 172
    by_name = dict(zip(rotated.class_names, rotated.images.split(DRAWINGS_PER_CLASS), strict=True))
    for i, name in enumerate(plain.class_names):
        drawings = plain.images[i * DRAWINGS_PER_CLASS : (i + 1) * DRAWINGS_PER_CLASS].numpy()
        character = name.removesuffix("@0")
        for turns in range(4):
            rotated_drawings = by_name[f"{character}@{90 * turns}"].numpy()
            assert np.array_equal(rotated_drawings, np.rot90(drawings, turns, (2, 3)))


@pytest.mark.pack
def test_images_match_the_names_of_their_classes(datasets, arrays):
    dataset = datasets["lake/test"]
    for label in (0, 100, 658):
        name = dataset.class_names[label].removesuffix("@0")
        rows = np.flatnonzero(arrays["class_name"][arrays["label"]] == name)
        images = dataset.images[
            label * DRAWINGS_PER_CLASS : (label + 1) * DRAWINGS_PER_CLASS, 0
        ].numpy()
        assert np.array_equal(images, arrays["images"][rows])


@pytest.mark.pack
def test_a_group_has_one_alphabet_and_one_rotation(datasets):
    dataset = datasets["vinyals/val"]
    group_of = dict(zip(dataset.class_names, dataset.groups.tolist(), strict=True))
    by_group = defaultdict(set)
    for name, group in group_of.items():
        _, alphabet, character = name.split("/")
        by_group[group].add((alphabet, character.partition("@")[2]))
    assert all(len(members) == 1 for members in by_group.values())
    assert len(by_group) == len(set.union(*by_group.values()))


def test_an_unknown_split_is_refused():
    with pytest.raises(ConfigError, match="Did you mean 'vinyals/test'"):
        omniglot("vinyals/tset")


@pytest.mark.pack
def test_the_archive_equals_the_converted_original_drawings(tmp_path, monkeypatch, arrays):
    """The originals of some characters are written as published and converted again."""
    folder = next(f for f in data_folders() if (f / OMNIGLOT_ARCHIVE).is_file())
    originals = folder / OMNIGLOT_ARCHIVE.with_name("omniglot105_bits.npz")
    if not originals.is_file():
        pytest.skip(f"no originals: {originals}")
    with np.load(originals) as file:
        bits, label, drawer = file["bits"], file["label"], file["drawer"]
    chosen = [0, 1, 400, 963, 964, 1622]
    for row in np.flatnonzero(np.isin(label, chosen)):
        ink = np.unpackbits(bits[row])[: 105 * 105].reshape(105, 105)
        character = tmp_path / arrays["class_name"][label[row]]
        character.mkdir(parents=True, exist_ok=True)
        black_on_white = Image.fromarray(255 * (1 - ink)).convert("1")
        black_on_white.save(character / f"{label[row]:04}_{drawer[row]:02}.png")
    monkeypatch.setattr(module, "CLASSES", len(chosen))
    converted: dict[str, np.ndarray] = {}
    (task,) = record_progress(lambda: converted.update(convert_originals(tmp_path)))
    assert (task.description, task.total, sum(task.advances)) == ("characters", 6, 6)
    assert np.array_equal(converted["images"], arrays["images"][np.isin(arrays["label"], chosen)])
    assert converted["label"].tolist() == sorted(list(range(len(chosen))) * DRAWINGS_PER_CLASS)
    for table in ("class_name", "class_alphabet", "class_split"):
        assert converted[table].tolist() == arrays[table][chosen].tolist()
    assert np.array_equal(converted["vinyals_split"], arrays["vinyals_split"])


def test_missing_drawings_are_counted(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="holds 0 characters; Omniglot has 1623"):
        convert_originals(tmp_path)
    character = tmp_path / "images_background" / "Latin" / "character01"
    character.mkdir(parents=True)
    Image.new("1", (105, 105), 1).save(character / "0001_01.png")
    monkeypatch.setattr(module, "CLASSES", 1)
    with pytest.raises(DataError, match="character01' holds 1 drawings; expected 20"):
        convert_originals(tmp_path)
    for drawer in range(2, DRAWINGS_PER_CLASS + 1):
        Image.new("1", (105, 105), 1).save(character / f"0001_{drawer:02}.png")
    (task,) = record_progress(lambda: convert_originals(tmp_path))
    assert (task.description, task.total, task.advances) == ("characters", 1, [1])


def test_the_error_for_a_missing_archive_names_the_folder_and_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("LGMNET_DATA", str(tmp_path))
    with pytest.raises(DataError) as caught:
        omniglot()
    path = str(tmp_path / OMNIGLOT_ARCHIVE)
    for words in (path, "Set LGMNET_DATA", "lgmnet download", "--data strokes"):
        assert words in str(caught.value)


def test_shared_data_is_searched_if_no_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("LGMNET_DATA", raising=False)
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    assert data_folders() == [project / "shared" / "data", tmp_path / "shared" / "data"]


def blank_arrays(**changes):
    """Make the arrays of an archive without ink; a change of None leaves an array out."""
    tables = {
        "images": np.zeros((CLASSES * DRAWINGS_PER_CLASS, OMNIGLOT_SIDE, OMNIGLOT_SIDE), np.uint8),
        "label": np.repeat(np.arange(CLASSES), DRAWINGS_PER_CLASS),
        "class_name": np.array([f"images_background/A/{i}" for i in range(CLASSES)]),
        "class_alphabet": np.array(["A"] * CLASSES),
        "class_split": np.zeros(CLASSES, np.uint8),
        "vinyals_split": np.arange(CLASSES) % 3,
    }
    return {name: table for name, table in (tables | changes).items() if table is not None}


@pytest.fixture
def archive_file(tmp_path, monkeypatch):
    """Path at which the archive is searched."""
    path = tmp_path / OMNIGLOT_ARCHIVE
    path.parent.mkdir()
    monkeypatch.setenv("LGMNET_DATA", str(tmp_path))
    return path


def test_a_valid_archive_is_read(archive_file):
    np.savez_compressed(archive_file, allow_pickle=False, **blank_arrays())
    assert omniglot("vinyals/val").classes == 4 * CLASSES // 3


def test_an_archive_whose_classes_overlap_is_refused(archive_file):
    names = blank_arrays()["class_name"]
    names[1] = names[0]
    np.savez_compressed(archive_file, allow_pickle=False, **blank_arrays(class_name=names))
    with pytest.raises(DataError, match=r"A/0' is in the split 'vinyals/train' and in"):
        omniglot()


@pytest.mark.parametrize(
    "changes",
    [
        {"images": None},
        {"label": None},
        {"vinyals_split": None},
        {"class_name": None},
        {"images": np.zeros((3, OMNIGLOT_SIDE, OMNIGLOT_SIDE), np.uint8)},
    ],
    ids="-".join,
)
def test_the_error_for_an_incomplete_archive_names_it(archive_file, changes):
    np.savez_compressed(archive_file, allow_pickle=False, **blank_arrays(**changes))
    with pytest.raises(DataError, match=str(archive_file)):
        omniglot()


def empty(original: bytes) -> bytes:
    return b""


def cut_short(original: bytes) -> bytes:
    return original[: len(original) // 2]


def overwritten(original: bytes) -> bytes:
    """Overwrite some bytes of the images."""
    return original[:10_000] + b"\xff" * 100 + original[10_100:]


def something_else(original: bytes) -> bytes:
    return b"404: Not Found\n"


@pytest.mark.parametrize("damage", [empty, cut_short, overwritten, something_else])
def test_the_error_for_a_damaged_archive_says_to_download_it_again(archive_file, damage):
    noise = np.random.default_rng(0).integers(
        0, 2, (CLASSES * DRAWINGS_PER_CLASS, OMNIGLOT_SIDE, OMNIGLOT_SIDE), np.uint8
    )
    noise[1000:] = 0
    np.savez_compressed(archive_file, allow_pickle=False, **blank_arrays(images=noise))
    archive_file.write_bytes(damage(archive_file.read_bytes()))
    with pytest.raises(DataError, match=r"is damaged .*; download it again"):
        omniglot()


@pytest.mark.pack
def test_mirror_images_are_additional_classes_for_training_only():
    plain, mirrored = omniglot("lake/train"), omniglot("lake/train-mirrored")
    assert mirrored.classes == 2 * plain.classes
    assert mirrored.class_names[: plain.classes] == plain.class_names
    assert torch.equal(mirrored.images[: len(plain.images)], plain.images)
    assert torch.equal(mirrored.images[len(plain.images)], plain.images[0].flip(2))
    assert shares_classes(plain, mirrored)
    assert set(OMNIGLOT_SPLITS) - set(CHARACTERS) == {
        f"{scheme}/{name}-mirrored"
        for scheme in ("vinyals", "lake")
        for name in ("train", "trainval")
    }
    for name in ("val", "test"):
        assert not shares_classes(omniglot(f"lake/{name}"), mirrored)


@pytest.mark.pack
@pytest.mark.parametrize("scheme", ["vinyals", "lake"])
def test_the_split_for_the_final_training_has_validation_classes_and_no_test_class(scheme):
    both = omniglot(f"{scheme}/trainval-mirrored")
    assert both.classes == 8 * sum(CHARACTERS[f"{scheme}/{name}"] for name in ("train", "val"))
    assert shares_classes(both, omniglot(f"{scheme}/train"))
    assert shares_classes(both, omniglot(f"{scheme}/val"))
    assert not shares_classes(both, omniglot(f"{scheme}/test"))
    assert image_set(both).isdisjoint(image_set(omniglot(f"{scheme}/test")))


@pytest.fixture
def originals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder that serves, as the authors' server does, two archives with one character each."""
    server = tmp_path / "server"
    server.mkdir()
    monkeypatch.setattr(module, "CLASSES", 2)
    monkeypatch.setattr(module, "ORIGINALS_URL", server.as_uri())
    hashes = {}
    for part in ("images_background", "images_evaluation"):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            for drawer in range(1, DRAWINGS_PER_CLASS + 1):
                drawing = io.BytesIO()
                Image.new("1", (105, 105), drawer % 2).save(drawing, "PNG")
                name = f"{part}/Latin/character01/0001_{drawer:02}.png"
                archive.writestr(name, drawing.getvalue())
        (server / f"{part}.zip").write_bytes(stream.getvalue())
        hashes[f"{part}.zip"] = hashlib.md5(stream.getvalue()).hexdigest()
    monkeypatch.setattr(module, "ORIGINALS", hashes)
    return server


def test_download_needs_the_standard_library_only(originals, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    archive = module.download(tmp_path / "data")
    assert archive == tmp_path / "data" / OMNIGLOT_ARCHIVE
    with np.load(archive) as arrays:
        assert arrays["images"].shape == (2 * DRAWINGS_PER_CLASS, OMNIGLOT_SIDE, OMNIGLOT_SIDE)
        assert arrays["class_split"].tolist() == [0, 1]
    for file in originals.iterdir():
        file.unlink()  # What was fetched is not fetched again.
    archive.unlink()
    assert module.download(tmp_path / "data") == archive


def test_a_failed_download_is_explained_and_leaves_no_archive(originals, tmp_path):
    (originals / "images_evaluation.zip").write_bytes(b"<html>Please log in</html>")
    with pytest.raises(DataError, match="another content than expected"):
        module.download(tmp_path / "data")
    (originals / "images_evaluation.zip").unlink()
    with pytest.raises(DataError, match=r"could not be fetched: .*Check the network"):
        module.download(tmp_path / "data")
    assert [path.name for path in (tmp_path / "data").rglob("*.npz")] == []
    assert not list((tmp_path / "data").rglob("*evaluation.zip"))


def test_an_archive_cannot_write_elsewhere(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("../outside.txt", "x")
    with pytest.raises(DataError, match="names a file outside"):
        unpack(tmp_path / "a.zip", tmp_path / "folder")
    (tmp_path / "b.zip").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"b.zip' is damaged"):
        unpack(tmp_path / "b.zip", tmp_path / "folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "b.zip"]
