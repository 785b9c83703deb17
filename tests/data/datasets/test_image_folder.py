"""Image folders: layouts, kinds of images, and errors that name the file at fault."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lgmnet.data.datasets.image_folder import image_folder
from lgmnet.data.images.read import read_image
from lgmnet.data.registry import default_splits, open_source
from lgmnet.episode import EpisodeShape
from lgmnet.errors import DataError, EpisodeError, ImageError


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LGMNET_CACHE", str(tmp_path / "cache"))


def paint(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (12, 9)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, quality=100)


def class_folders(top: Path, classes: dict[str, int]) -> Path:
    for c, (name, count) in enumerate(classes.items()):
        for i in range(count):
            paint(top / name / f"{i}.png", (10 * c, i, 200))
    return top


def test_class_folders_without_splits_are_for_testing(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "photos", {"cat": 3, "dog": 2})
    dataset = image_folder(folder, "test", (3, 8, 6))
    assert dataset.class_names == ("cat", "dog")
    assert dataset.counts.tolist() == [3, 2]
    assert dataset.images.shape == (5, 3, 8, 6)
    assert dataset.images[:, :, 4, 3].tolist() == [
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
    assert default_splits(str(tmp_path)) == ("train", "val")
    with pytest.raises(DataError, match="no split 'val', only train, test"):
        image_folder(tmp_path, "val")


def test_images_are_read_as_drawings_for_a_model_of_drawings(tmp_path: Path) -> None:
    paint(tmp_path / "a" / "0.png", (255, 255, 255), (28, 28))
    paint(tmp_path / "b" / "0.png", (255, 255, 255), (28, 28))
    with Image.open(tmp_path / "a" / "0.png") as image:
        image.putpixel((14, 14), (0, 0, 0))
        image.save(tmp_path / "a" / "0.png")
    dataset = open_source(str(tmp_path), "test", (1, 28, 28))
    assert isinstance(dataset.feature_shape, tuple)
    assert dataset.feature_shape == (1, 28, 28)
    assert dataset.images[0, 0, 14, 14] == 255  # type: ignore[attr-defined]
    assert dataset.images.sum() == 255  # type: ignore[attr-defined]


def test_all_classes_with_too_few_images_are_listed(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "photos", {"ant": 2, "bee": 5, "cow": 3})
    with pytest.raises(EpisodeError, match=r"1 \+ 3 = 4.*fewer images: 'ant' \(2\), 'cow' \(3\)\."):
        image_folder(folder).check(EpisodeShape(way=2, shot=1, query=3))


def test_a_damaged_image_is_named_and_nothing_is_cached(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "photos", {"cat": 2, "dog": 2})
    (folder / "dog" / "1.png").write_bytes(b"not an image")
    with pytest.raises(ImageError, match=r"dog/1\.png"):
        image_folder(folder)
    assert not list((tmp_path / "cache").glob("*.npy"))


def test_missing_folders_and_empty_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder"):
        image_folder(tmp_path / "absent")
    with pytest.raises(DataError, match="no class folders"):
        image_folder(tmp_path)
    (tmp_path / "cat").mkdir()
    with pytest.raises(DataError, match="no images in cat"):
        image_folder(tmp_path)


def test_photos_are_cropped_around_their_centre_and_may_be_gray_or_transparent(
    tmp_path: Path,
) -> None:
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 255
    Image.fromarray(wide).save(tmp_path / "wide.png")
    assert read_image(tmp_path / "wide.png", (3, 10, 10)).min() == 255
    Image.new("LA", (4, 4), (0, 0)).save(tmp_path / "clear.png")
    assert read_image(tmp_path / "clear.png", (3, 4, 4)).min() == 255
    Image.new("L", (4, 4), 7).save(tmp_path / "gray.png")
    assert read_image(tmp_path / "gray.png", (3, 4, 4)).unique().tolist() == [7]
    with pytest.raises(ImageError, match="no image file"):
        read_image(tmp_path / "absent.png", (3, 4, 4))
