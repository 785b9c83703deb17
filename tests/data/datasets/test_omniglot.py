"""Omniglot: splits that never meet, a pack that is what its makers drew, and plain complaints."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations

import numpy as np
import pytest
import torch
from PIL import Image

from lgmnet.data.datasets import omniglot as room
from lgmnet.data.datasets.omniglot import (
    CLASSES,
    DRAWINGS,
    PACK,
    PARTS,
    SIDE,
    SPLITS,
    VINYALS,
    assign_splits,
    convert,
    load_pack,
    omniglot,
)
from lgmnet.data.images.archives import data_folders
from lgmnet.data.task_source import shares_classes
from lgmnet.errors import ConfigError, DataError

# Of the 964 background characters, 787 and 177 are for training and validation.
CHARACTERS = {
    "vinyals/train": 1028,
    "vinyals/val": 172,
    "vinyals/test": 423,
    "lake/train": 787,
    "lake/val": 177,
    "lake/test": 659,
}

# Models name the classes they saw by these: a change makes every record of a split worthless.
HASHES = {
    "vinyals/train": "565983e28eb6",
    "vinyals/val": "2e89f706dba4",
    "vinyals/test": "3a47d3426f28",
    "lake/train": "4241fe518ba1",
    "lake/val": "49bf9a3ae76f",
    "lake/test": "a505b1b2080c",
}


@pytest.fixture(scope="module")
def pack():
    return load_pack()


@pytest.fixture(scope="module")
def stores():
    """All splits; what they share in memory they share nowhere else."""
    return {split: omniglot(split) for split in CHARACTERS}


@pytest.mark.pack
@pytest.mark.parametrize("split", CHARACTERS)
def test_a_split_has_its_published_size_and_hash(stores, split):
    store = stores[split]
    assert store.classes == 4 * CHARACTERS[split]
    assert store.images.shape == (80 * CHARACTERS[split], 1, SIDE, SIDE)
    assert set(store.counts.tolist()) == {DRAWINGS}
    assert (store.name, store.split) == ("omniglot", split)
    assert store.split_hash == HASHES[split]


@pytest.mark.pack
@pytest.mark.parametrize("scheme", ["vinyals", "lake"])
def test_no_class_and_no_image_is_in_two_splits(stores, pack, scheme):
    """All images are compared, at all four turns: no two of different classes are identical."""
    parts = [stores[f"{scheme}/{part}"] for part in PARTS]
    for one, other in combinations(parts, 2):
        assert not shares_classes(one, other)
        assert set(images(one)).isdisjoint(images(other))
    characters = [c for chosen in assign_splits(pack, scheme).values() for c in chosen]
    assert sorted(characters) == list(range(CLASSES))


def images(store):
    return [image.tobytes() for image in store.images.numpy()]


@pytest.mark.pack
def test_only_one_drawing_is_there_twice(pack):
    """Drawers 3 and 19 made the same dot of Braille; it is in the original, and in one class."""
    rows = defaultdict(list)
    for row, image in enumerate(pack["images"]):
        rows[image.tobytes()].append(row)
    (twins,) = (same for same in rows.values() if len(same) > 1)
    assert [row % DRAWINGS + 1 for row in twins] == [3, 19]
    assert set(pack["class_name"][pack["label"][twins]]) == {
        "images_background/Braille/character01"
    }


@pytest.mark.pack
def test_lake_holds_out_whole_alphabets(pack):
    alphabets = [
        set(pack["class_alphabet"][chosen]) for chosen in assign_splits(pack, "lake").values()
    ]
    assert [len(part) for part in alphabets] == [25, 5, 20]
    assert len(set.union(*alphabets)) == 50


@pytest.mark.pack
def test_the_published_lists_are_in_the_package_and_in_the_pack(pack):
    assert [int(c) for c in VINYALS.read_text().replace("\n", "")] == pack["vinyals_split"].tolist()


@pytest.mark.pack
def test_a_turned_character_is_a_class_of_its_own(stores):
    turned, plain = stores["vinyals/val"], omniglot("vinyals/val", rotations=False)
    assert plain.classes == 172
    by_name = dict(zip(turned.class_names, turned.images.split(DRAWINGS), strict=True))
    for i, name in enumerate(plain.class_names):
        drawings = plain.images[i * DRAWINGS : (i + 1) * DRAWINGS].numpy()
        character = name.removesuffix("@0")
        for turn in range(4):
            its = by_name[f"{character}@{90 * turn}"].numpy()
            assert np.array_equal(its, np.rot90(drawings, turn, (2, 3)))


@pytest.mark.pack
def test_images_stand_under_the_names_of_their_classes(stores, pack):
    store = stores["lake/test"]
    for label in (0, 100, 658):
        name = store.class_names[label].removesuffix("@0")
        rows = np.flatnonzero(pack["class_name"][pack["label"]] == name)
        mine = store.images[label * DRAWINGS : (label + 1) * DRAWINGS, 0].numpy()
        assert np.array_equal(mine, pack["images"][rows])


@pytest.mark.pack
def test_kindred_characters_are_of_one_alphabet_and_turned_alike(stores):
    store = stores["vinyals/val"]
    group_of = dict(zip(store.class_names, store.groups.tolist(), strict=True))
    by_group = defaultdict(set)
    for name, group in group_of.items():
        _, alphabet, character = name.split("/")
        by_group[group].add((alphabet, character.partition("@")[2]))
    assert all(len(kin) == 1 for kin in by_group.values())
    assert len(by_group) == len(set.union(*by_group.values()))


def test_an_unknown_split_is_refused():
    with pytest.raises(ConfigError, match="Did you mean 'vinyals/test'"):
        omniglot("vinyals/tset")


@pytest.mark.pack
def test_the_pack_is_what_the_original_drawings_give(tmp_path, monkeypatch, pack):
    """The originals of some characters, written out as published, are converted again."""
    folder = next(f for f in data_folders() if (f / PACK).is_file())
    originals = folder / PACK.with_name("omniglot105_bits.npz")
    if not originals.is_file():
        pytest.skip(f"no originals: {originals}")
    with np.load(originals) as file:
        bits, label, drawer = file["bits"], file["label"], file["drawer"]
    chosen = [0, 1, 400, 963, 964, 1622]
    for row in np.flatnonzero(np.isin(label, chosen)):
        ink = np.unpackbits(bits[row])[: 105 * 105].reshape(105, 105)
        place = tmp_path / pack["class_name"][label[row]]
        place.mkdir(parents=True, exist_ok=True)
        black_on_white = Image.fromarray(255 * (1 - ink)).convert("1")
        black_on_white.save(place / f"{label[row]:04}_{drawer[row]:02}.png")
    monkeypatch.setattr(room, "CLASSES", len(chosen))
    done: list[int] = []
    again = convert(tmp_path, done.append)
    assert sum(done) == len(chosen)
    assert np.array_equal(again["images"], pack["images"][np.isin(pack["label"], chosen)])
    assert again["label"].tolist() == sorted(list(range(len(chosen))) * DRAWINGS)
    for table in ("class_name", "class_alphabet", "class_split"):
        assert again[table].tolist() == pack[table][chosen].tolist()
    assert np.array_equal(again["vinyals_split"], pack["vinyals_split"])


def test_drawings_that_are_not_all_there_are_counted(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="holds 0 characters; Omniglot has 1623"):
        convert(tmp_path)
    character = tmp_path / "images_background" / "Latin" / "character01"
    character.mkdir(parents=True)
    Image.new("1", (105, 105), 1).save(character / "0001_01.png")
    monkeypatch.setattr(room, "CLASSES", 1)
    with pytest.raises(DataError, match="character01' holds 1 drawings; expected 20"):
        convert(tmp_path)


def test_a_missing_pack_says_where_it_was_looked_for_and_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("LGMNET_DATA", str(tmp_path))
    with pytest.raises(DataError) as caught:
        omniglot()
    for part in (str(tmp_path / PACK), "Set LGMNET_DATA", "lgmnet download", "--data strokes"):
        assert part in str(caught.value)


def test_without_a_named_folder_shared_data_is_looked_into(tmp_path, monkeypatch):
    monkeypatch.delenv("LGMNET_DATA", raising=False)
    here = tmp_path / "project"
    here.mkdir()
    monkeypatch.chdir(here)
    assert data_folders() == [here / "shared" / "data", tmp_path / "shared" / "data"]


def blank_pack(**changes):
    """The arrays of a pack without ink, except where changed; None leaves one out."""
    tables = {
        "images": np.zeros((CLASSES * DRAWINGS, SIDE, SIDE), np.uint8),
        "label": np.repeat(np.arange(CLASSES), DRAWINGS),
        "class_name": np.array([f"images_background/A/{i}" for i in range(CLASSES)]),
        "class_alphabet": np.array(["A"] * CLASSES),
        "class_split": np.zeros(CLASSES, np.uint8),
        "vinyals_split": np.arange(CLASSES) % 3,
    }
    return {name: table for name, table in (tables | changes).items() if table is not None}


@pytest.fixture
def pack_file(tmp_path, monkeypatch):
    """Where the pack will be looked for."""
    path = tmp_path / PACK
    path.parent.mkdir()
    monkeypatch.setenv("LGMNET_DATA", str(tmp_path))
    return path


def test_a_sound_pack_is_read(pack_file):
    np.savez_compressed(pack_file, allow_pickle=False, **blank_pack())
    assert omniglot("vinyals/val").classes == 4 * CLASSES // 3


def test_a_pack_whose_classes_overlap_is_refused(pack_file):
    names = blank_pack()["class_name"]
    names[1] = names[0]
    np.savez_compressed(pack_file, allow_pickle=False, **blank_pack(class_name=names))
    with pytest.raises(DataError, match=r"A/0' is in the split 'vinyals/train' and in"):
        omniglot()


@pytest.mark.parametrize(
    "changes",
    [
        {"images": None},
        {"label": None},
        {"vinyals_split": None},
        {"class_name": None},
        {"images": np.zeros((3, SIDE, SIDE), np.uint8)},
    ],
    ids="-".join,
)
def test_a_pack_without_all_its_arrays_is_refused_by_name(pack_file, changes):
    np.savez_compressed(pack_file, allow_pickle=False, **blank_pack(**changes))
    with pytest.raises(DataError, match=str(pack_file)):
        omniglot()


def empty(sound: bytes) -> bytes:
    return b""


def cut_short(sound: bytes) -> bytes:
    return sound[: len(sound) // 2]


def scratched(sound: bytes) -> bytes:
    """Some bytes inside of the images are others."""
    return sound[:10_000] + b"\xff" * 100 + sound[10_100:]


def something_else(sound: bytes) -> bytes:
    return b"404: Not Found\n"


@pytest.mark.parametrize("damage", [empty, cut_short, scratched, something_else])
def test_a_damaged_pack_is_to_be_fetched_again(pack_file, damage):
    noise = np.random.default_rng(0).integers(0, 2, (CLASSES * DRAWINGS, SIDE, SIDE), np.uint8)
    noise[1000:] = 0
    np.savez_compressed(pack_file, allow_pickle=False, **blank_pack(images=noise))
    pack_file.write_bytes(damage(pack_file.read_bytes()))
    with pytest.raises(DataError, match=r"is damaged .*; fetch it again"):
        omniglot()


@pytest.mark.pack
def test_mirror_images_are_classes_of_their_own_in_training_only():
    plain, mirrored = omniglot("lake/train"), omniglot("lake/train-mirrored")
    assert mirrored.classes == 2 * plain.classes
    assert mirrored.class_names[: plain.classes] == plain.class_names
    assert torch.equal(mirrored.images[: len(plain.images)], plain.images)
    assert torch.equal(mirrored.images[len(plain.images)], plain.images[0].flip(2))
    assert shares_classes(plain, mirrored)
    assert set(SPLITS) - set(CHARACTERS) == {
        f"{scheme}/{part}-mirrored"
        for scheme in ("vinyals", "lake")
        for part in ("train", "trainval")
    }
    for part in ("val", "test"):
        assert not shares_classes(omniglot(f"lake/{part}"), mirrored)


@pytest.mark.pack
@pytest.mark.parametrize("scheme", ["vinyals", "lake"])
def test_a_last_course_trains_on_validation_classes_too_and_on_no_test_class(scheme):
    both = omniglot(f"{scheme}/trainval-mirrored")
    assert both.classes == 8 * sum(CHARACTERS[f"{scheme}/{part}"] for part in ("train", "val"))
    assert shares_classes(both, omniglot(f"{scheme}/train"))
    assert shares_classes(both, omniglot(f"{scheme}/val"))
    assert not shares_classes(both, omniglot(f"{scheme}/test"))
    drawings = {image.tobytes() for image in both.images.numpy()}
    assert drawings.isdisjoint(images(omniglot(f"{scheme}/test")))
