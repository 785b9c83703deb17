"""Folders of another layout: the message shows the one expected and what was found."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lgmnet.data.images.folder import scan_class_folder
from lgmnet.data.images.label_table import read_label_table
from lgmnet.errors import DataError
from tests.support.images import symbols, write_drawing
from tests.support.models import drawings

CLASSES = {"moon": 1, "star": 1, "sun": 1}


def flat(folder: Path) -> Path:
    folder.mkdir()
    for i, drawing in enumerate(drawings(5, 1)[:, 0]):
        write_drawing(folder / f"{i}.png", drawing)
    return folder


def parent(folder: Path) -> Path:
    symbols(folder / "symbols", CLASSES)
    (folder / "notes").mkdir()
    return folder


def grandparent(folder: Path) -> Path:
    symbols(folder / "2024" / "symbols", CLASSES)
    return folder


def splits(folder: Path) -> Path:
    for name in ("train", "Test"):
        symbols(folder / name, CLASSES)
    return folder


def flat_splits(folder: Path) -> Path:
    return symbols(folder, {"train": 2, "test": 2})


def empty_classes(folder: Path) -> Path:
    for name in "abcde":
        (folder / name).mkdir(parents=True)
    return folder


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (flat, "5 images were found directly in it: '0.png', '1.png', '2.png' and 2 others. Sort"),
        (parent, "found deeper, in 'top/symbols': 'moon', 'star', 'sun'. Give that folder."),
        (grandparent, "found deeper, in 'top/2024/symbols': 'moon', 'star', 'sun'. Give that"),
        (splits, "The splits 'Test', 'train' were found, which hold class folders. Give one of "
         "them, such as 'top/Test'"),
        (flat_splits, "The splits 'test', 'train' were found, which hold images directly. Sort"),
        (empty_classes, "Folders without images were found: 'a', 'b', 'c' and 2 others."),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)  # fmt: skip
def test_the_message_names_what_was_found(make, found, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "top")
    with pytest.raises(DataError) as caught:
        scan_class_folder(Path("top"))
    message = str(caught.value)
    assert message.startswith("'top' must hold a folder of images for each of at least two classes")
    assert "such as top/star/1.png and top/moon/1.png; it holds none." in message
    assert found in message


@pytest.mark.parametrize(
    ("extra", "found"),
    [
        (["day1/boat/1.png", "a.png", "b.png"], "Found: images in 'moon', 'star', 'sun'; images "
         "only in further folders of 'day1', such as 'day1/boat'; 2 directly in it, such as "
         "'a.png'. Put the images of each class directly into one folder"),
        (["empty/notes.txt"], "Found: images in 'moon', 'star', 'sun'; no images in 'empty'. Put"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("min_classes", [1, 2])
def test_a_mixture_of_layouts_is_described(extra, found, min_classes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    symbols(Path("trip"), CLASSES)
    for name in extra:
        (tmp_path / "trip" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "trip" / name).touch()
    with pytest.raises(DataError) as caught:
        scan_class_folder(Path("trip"), min_classes)
    message = str(caught.value)
    assert message.startswith("'trip' must hold a folder of images for each of at least")
    assert "such as trip/star/1.png and trip/moon/1.png; it holds other folders too." in message
    assert found in message
    assert ("lgmnet forge --labels labels.csv" in message) == (min_classes > 1)


def test_images_that_are_not_used_are_counted(tmp_path):
    folder = symbols(tmp_path / "top", CLASSES)
    assert scan_class_folder(folder).unused is None
    symbols(folder / "moon", {"more": 2})
    assert scan_class_folder(folder).unused == (
        f"2 images were left out, such as '{folder}/moon/more/0.png': only images directly in a "
        "class folder are used."
    )
    write_drawing(folder / "cover.png", drawings(2, 1)[0, 0])
    unused = scan_class_folder(folder).unused
    assert unused is not None
    assert unused.startswith(f"3 images were left out, such as '{folder}/cover.png'")


def test_pictures_that_are_not_read_are_named(tmp_path):
    folder = symbols(tmp_path / "top", CLASSES)
    for name in ("notes.txt", "Thumbs.db", ".DS_Store", "README", "labels.csv"):
        (folder / "moon" / name).write_text("no picture")
    assert scan_class_folder(folder).unused is None
    shutil.copy(folder / "moon" / "0.png", folder / "sun" / "IMG_0007")
    assert scan_class_folder(folder).unused == (
        f"1 picture was left out, such as '{folder}/sun/IMG_0007': expected a format that is read, "
        "and a name that tells it; convert to PNG or JPEG, or add the suffix that is missing."
    )
    for name in ("a.dng", "b.CR2", "c.svg", "d.psd", "f.ico", "g.tga"):
        (folder / "moon" / name).touch()
    (folder / "moon" / "dead.png").symlink_to("absent.png")
    scanned = scan_class_folder(folder)
    assert scanned.unused is not None
    assert scanned.unused.startswith(f"7 pictures were left out, such as '{folder}/moon/a.dng'")
    assert [str(problem) for problem in scanned.read().problems] == [
        f"'{folder}/moon/dead.png' is a link to an image file that is not there."
    ]
    (folder / "moon" / "dead.png").unlink()
    (folder / "moon" / "0.png").unlink()
    with pytest.raises(DataError, match=r"no images in 'moon'\. .* 7 pictures were left out"):
        scan_class_folder(folder)


def test_a_class_folder_in_place_of_its_parent_is_recognized(tmp_path):
    folder = symbols(tmp_path / "top", CLASSES)
    with pytest.raises(DataError, match=f"or give '{folder}' if '{folder}/moon' is itself a class"):
        scan_class_folder(folder / "moon", min_classes=1)


def test_a_class_may_be_named_like_a_split(tmp_path):
    folder = symbols(tmp_path / "top", {"test": 1, "star": 1})
    assert list(scan_class_folder(folder).files) == ["star", "test"]


@pytest.mark.parametrize(
    "text", ["file,label\n{}", "\ufefflabel;note;file\n{}\n;;", "label, file\n{}"]
)
def test_a_table_names_the_images_of_each_class(text, tmp_path):
    """Columns may come in any order, and from a spreadsheet; files may have equal names."""
    symbols(tmp_path / "a", CLASSES)
    symbols(tmp_path / "b", CLASSES, seed=1)
    rows = [(f"{top}/{name}/0.png", name) for name in ("sun", "moon") for top in "ab"]
    layout = {"f": "{0},{1}", "\ufeff": "{1};;{0} ;", "l": "{1}, {0}"}[text[0]]
    (tmp_path / "t.csv").write_text(text.format("\n".join(layout.format(*row) for row in rows)))
    read = read_label_table(tmp_path / "t.csv").read()
    assert read.classes == ["moon", "sun"]
    assert read.labels == [0, 0, 1, 1]
    assert read.sources == [f"{top}/{name}/0.png" for name in ("moon", "sun") for top in "ab"]
    elsewhere = tmp_path / "else.csv"
    elsewhere.write_text("file,label\nsun/0.png,s\nmoon/0.png,m\n")
    assert read_label_table(elsewhere, tmp_path / "b").read().sources == ["moon/0.png", "sun/0.png"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must begin with a line that names the columns 'file' and 'label'"),
        ("file,class\na.png,b\n", "but it lacks label: it begins with 'file,class'"),
        ("file,label\na.png,b\n,c\n", "Line 3 of .* names no file and c"),
        ("file,label\na.png\n", "Line 2 of .* names a.png and no label"),
        ("file,label,label\na.png,b,c\n", "must have one column 'label', but has 2"),
        ("file,label\n\na.png,b,c\n", "Line 3 of .* has 3 cells, but the table has 2 columns: 'a"),
        ("file,label\na.png,b\nc.png, b\n", "names only 'b'"),
        ("file,label\na.png,b\n", "at least two classes, but names only 'b'"),
        ("file,label\n", "at least two classes, but names none"),
    ],
)
def test_a_bad_table_is_named(text, message, tmp_path):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_label_table(tmp_path / "t.csv")
    assert "t.csv'" in str(caught.value)


def test_an_absent_table_and_one_in_another_encoding(tmp_path):
    with pytest.raises(DataError, match="There is no table"):
        read_label_table(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_bytes("file,label\n\u00fc.png,b".encode("latin-1"))
    with pytest.raises(DataError, match="as a CSV file in UTF-8"):
        read_label_table(tmp_path / "t.csv")
