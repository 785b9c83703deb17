"""Image folders: three layouts, decoded as asked, and complaints that name the file at fault."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lgmnet.data.datasets.image_folder import (
    find_row_file,
    image_folder,
    list_numbered_files,
    miniimagenet,
)
from lgmnet.data.registry import open_source, splits_for
from lgmnet.episode import EpisodeShape
from lgmnet.errors import DataError, EpisodeError, ImageError


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LGMNET_CACHE", str(tmp_path / "cache"))
    list_numbered_files.cache_clear()


def paint(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (12, 9)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, quality=100)


def class_folders(top: Path, classes: dict[str, int]) -> Path:
    for c, (name, count) in enumerate(classes.items()):
        for i in range(count):
            paint(top / name / f"{i}.png", (10 * c, i, 200))
    return top


def test_class_folders_are_classes_for_testing(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "photos", {"cat": 3, "dog": 2})
    store = image_folder(folder, "test", (3, 8, 6))
    assert store.class_names == ("cat", "dog")
    assert store.counts.tolist() == [3, 2]
    assert store.images.shape == (5, 3, 8, 6)
    assert store.images[:, :, 4, 3].tolist() == [
        [0, 0, 200],
        [0, 1, 200],
        [0, 2, 200],
        [10, 0, 200],
        [10, 1, 200],
    ]
    with pytest.raises(DataError, match="for testing only"):
        image_folder(folder, "train")


def test_folders_of_splits_are_splits(tmp_path: Path) -> None:
    class_folders(tmp_path / "train", {"cat": 2, "dog": 2})
    class_folders(tmp_path / "test", {"owl": 2, "bee": 2})
    assert image_folder(tmp_path, "train").class_names == ("cat", "dog")
    assert image_folder(tmp_path, "test").class_names == ("bee", "owl")
    assert splits_for(str(tmp_path)) == ("train", "val")
    with pytest.raises(DataError, match="no split 'val', only train, test"):
        image_folder(tmp_path, "val")


def test_drawings_are_read_where_the_model_takes_drawings(tmp_path: Path) -> None:
    paint(tmp_path / "a" / "0.png", (255, 255, 255), (28, 28))
    paint(tmp_path / "b" / "0.png", (255, 255, 255), (28, 28))
    with Image.open(tmp_path / "a" / "0.png") as image:
        image.putpixel((14, 14), (0, 0, 0))
        image.save(tmp_path / "a" / "0.png")
    store = open_source(str(tmp_path), "test", (1, 28, 28))
    assert isinstance(store.feature_shape, tuple)
    assert store.feature_shape == (1, 28, 28)
    assert store.images[0, 0, 14, 14] == 255  # type: ignore[attr-defined]
    assert store.images.sum() == 255  # type: ignore[attr-defined]


def test_classes_too_small_are_all_listed(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "photos", {"ant": 2, "bee": 5, "cow": 3})
    with pytest.raises(EpisodeError, match=r"1 \+ 3 = 4.*fewer images: 'ant' \(2\), 'cow' \(3\)\."):
        image_folder(folder).check(EpisodeShape(way=2, shot=1, query=3))


@pytest.mark.parametrize("layout", ["images/{file}", "images/{label}/{file}", "{label}/{file}"])
def test_ravis_csv_finds_images_in_each_layout(tmp_path: Path, layout: str) -> None:
    rows = [("n02.jpg", "b"), ("n01.jpg", "a"), ("n03.jpg", "b")]
    for i, (file, label) in enumerate(rows):
        paint(tmp_path / layout.format(file=file, label=label), (0, 0, 60 * i), (20, 20))
    lines = ["filename,label", *(",".join(row) for row in rows)]
    (tmp_path / "val.csv").write_text("\n".join(lines) + "\n")
    store = image_folder(tmp_path, "val", (3, 5, 5))
    assert store.class_names == ("a", "b")
    assert store.counts.tolist() == [1, 2]
    blue = store.images[:, 2, 2, 2].float()
    torch.testing.assert_close(blue, torch.tensor([60.0, 0.0, 120.0]), atol=4, rtol=0)


def test_miniimagenet_from_imagenets_own_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``n0153282900000002.jpg`` is the second image of its class by number, not by name."""
    monkeypatch.setenv("LGMNET_DATA", str(tmp_path))
    home = tmp_path / "miniimagenet"
    for synset in ("n01532829", "n01558993"):
        for order, number in enumerate((7, 42, 103)):
            paint(home / synset / f"{synset}_{number}.JPEG", (0, 0, 80 * order), (100, 90))
    for split, synset in (("train", "n01532829"), ("val", "n01558993"), ("test", "n01558993")):
        rows = [f"{synset}0000000{k},{synset}".replace(",", ".jpg,") for k in (3, 1, 2)]
        (home / f"{split}.csv").write_text("\n".join(["filename,label", *rows]) + "\n")
    store = miniimagenet("train")
    assert store.name == "miniimagenet"
    assert store.images.shape == (3, 3, 84, 84)
    blue = store.images[:, 2, 40, 40].float()
    torch.testing.assert_close(blue, torch.tensor([160.0, 0.0, 80.0]), atol=4, rtol=0)
    with pytest.raises(DataError, match=r"No image 'n0153282900000004\.jpg'"):
        find_row_file(home, "n0153282900000004.jpg", "n01532829")


def test_absent_miniimagenet_says_what_to_put_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LGMNET_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"looked for .*train\.csv.*put the CSV files"):
        miniimagenet("train")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("file,class\na.jpg,a\n", "must begin with the line 'filename,label'"),
        ("", "must begin with the line"),
        ("filename,label\n", "names no files"),
        ("filename,label\na.jpg\n", "Line 2 .* has 1 values"),
        ("filename,label\na.jpg,a\n", r"No image 'a\.jpg' of the class 'a'"),
    ],
)
def test_a_wrong_csv_is_complained_about(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "test.csv").write_text(text)
    with pytest.raises(DataError, match=complaint):
        image_folder(tmp_path, "test")


def test_a_damaged_image_is_named_and_nothing_is_kept(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "photos", {"cat": 2, "dog": 2})
    (folder / "dog" / "1.png").write_bytes(b"not an image")
    with pytest.raises(ImageError, match=r"dog/1\.png"):
        image_folder(folder)
    assert not list((tmp_path / "cache").glob("*.npy"))


def test_missing_folders_and_empty_classes_are_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder"):
        image_folder(tmp_path / "absent")
    with pytest.raises(DataError, match="no class folders"):
        image_folder(tmp_path)
    (tmp_path / "cat").mkdir()
    with pytest.raises(DataError, match="no images in cat"):
        image_folder(tmp_path)


def test_photos_are_cropped_about_their_middle_and_gray_and_clear_ones_read(
    tmp_path: Path,
) -> None:
    from lgmnet.data.images.read import read_photo

    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 255
    Image.fromarray(wide).save(tmp_path / "wide.png")
    assert read_photo(tmp_path / "wide.png", 10, 10).min() == 255
    Image.new("LA", (4, 4), (0, 0)).save(tmp_path / "clear.png")
    assert read_photo(tmp_path / "clear.png", 4, 4).min() == 255
    Image.new("L", (4, 4), 7).save(tmp_path / "gray.png")
    assert read_photo(tmp_path / "gray.png", 4, 4).unique().tolist() == [7]
    with pytest.raises(ImageError, match="no image file"):
        read_photo(tmp_path / "absent.png", 4, 4)
