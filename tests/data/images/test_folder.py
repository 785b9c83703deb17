"""Class folders: listed once, and each image decoded once for all that is needed of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lgmnet.data.images import folder as folder_module
from lgmnet.data.images.folder import MIN_DECODED_SIDE, decode_image, scan_class_folder
from lgmnet.data.images.kind import detect_drawings
from lgmnet.data.images.read import list_class_images, read_folder
from lgmnet.errors import DataError, ImageError
from tests.cli.making import BAD_IMAGES, as_bytes, floats, symbols

DRAWING, PHOTO = (1, 28, 28), (3, 32, 32)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Number of times that each image file was opened."""
    counts: Counter[str] = Counter()
    open_image = Image.open

    def count(source: Any, *options: Any, **more: Any) -> Image.Image:
        if isinstance(source, Path):
            counts[f"{source.parent.name}/{source.name}"] += 1
        return open_image(source, *options, **more)

    monkeypatch.setattr(Image, "open", count)
    return counts


def photos(folder: Path, count: int) -> Path:
    """Two classes of coloured pictures of many tones."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            small = Image.fromarray(rng.integers(0, 256, (5, 5, 3), np.uint8))
            large = small.resize((64, 48), Image.Resampling.BICUBIC)
            large.save(folder / name / f"{i}.png")
    return folder


def test_a_folder_is_listed_once_and_each_file_opened_once(tmp_path, opened, monkeypatch):
    path = symbols(tmp_path / "shown", {"a": 30, "b": 25, "c": 1})
    (path / "a" / "cut.png").write_bytes(BAD_IMAGES["cut.png"]())
    listed: Counter[Path] = Counter()
    iterdir = Path.iterdir

    def count(folder: Path) -> Any:
        listed[folder] += 1
        return iterdir(folder)

    monkeypatch.setattr(Path, "iterdir", count)
    class_folder = scan_class_folder(path)
    assert class_folder.n_files == 57
    assert class_folder.detect_drawings()[0]
    assert 20 <= len(opened) <= 24, "a sample of the files"
    images = class_folder.read(DRAWING)
    assert len(images.images) == 56
    assert set(listed) == {path, path / "a", path / "b", path / "c"}
    assert set(listed.values()) == {1}
    assert len(opened) == 57
    assert set(opened.values()) == {1}


@pytest.mark.parametrize("shape", [DRAWING, PHOTO])
@pytest.mark.parametrize("sampled", [False, True])
def test_images_equal_those_of_read_folder(shape, sampled, tmp_path):
    """PNG files of many kinds, whether or not they were decoded for the decision."""
    path = photos(tmp_path / "shown", 3)
    picture = Image.open(path / "a" / "0.png")
    picture.convert("L").save(path / "a" / "gray.png")
    picture.convert("RGBA").rotate(30, fillcolor=(0, 0, 0, 0)).save(path / "a" / "clear.png")
    picture.quantize(8).save(path / "b" / "palette.png")
    rotated = Image.Exif()
    rotated[0x0112] = 6
    picture.save(path / "b" / "rotated.png", exif=rotated)
    Image.fromarray(np.arange(64 * 48, dtype=np.uint16).reshape(48, 64)).save(path / "b" / "16.png")
    for name, content in BAD_IMAGES.items():
        (path / "b" / name).write_bytes(content())
    expected = read_folder(path, shape)
    class_folder = scan_class_folder(path)
    if sampled:
        class_folder.detect_drawings()
    images = class_folder.read(shape)
    assert torch.equal(images.images, expected.images)
    assert (images.labels, images.classes) == (expected.labels, expected.classes)
    assert images.sources == expected.sources
    assert len(images.problems) == len(expected.problems) == len(BAD_IMAGES)
    for problem, name in zip(images.problems, sorted(BAD_IMAGES), strict=True):
        assert f"/{name}'" in str(problem)


def test_the_decision_is_that_of_detect_drawings(tmp_path):
    for path in (symbols(tmp_path / "s", {"a": 20, "b": 20}), photos(tmp_path / "p", 20)):
        paths = [file for files in list_class_images(path).values() for file in files]
        assert scan_class_folder(path).detect_drawings() == detect_drawings(paths)


def test_an_image_that_is_no_photo_may_be_a_drawing(tmp_path):
    path = symbols(tmp_path / "shown", {"a": 2, "b": 2})
    (path / "a" / "floats.tiff").write_bytes(floats(500.0))
    class_folder = scan_class_folder(path)
    assert class_folder.detect_drawings()[0]
    images = class_folder.read(DRAWING)
    assert images.problems == []
    assert torch.equal(images.images, read_folder(path, DRAWING).images)


def test_large_images_are_not_all_held_in_memory(tmp_path, opened, monkeypatch):
    path = photos(tmp_path / "shown", 3)
    monkeypatch.setattr(folder_module, "MAX_CACHED_PIXELS", 4 * 64 * 48)
    class_folder = scan_class_folder(path)
    class_folder.detect_drawings()
    class_folder.read(PHOTO)
    assert sorted(opened.values()) == [1, 1, 1, 1, 2, 2]


def test_jpegs_are_decoded_at_a_reduced_size(tmp_path):
    large = Image.new("RGB", (4000, 3000), "white")
    (tmp_path / "large.jpg").write_bytes(as_bytes(large, "JPEG"))
    assert decode_image(tmp_path / "large.jpg", MIN_DECODED_SIDE).size == (1000, 750)
    assert decode_image(tmp_path / "large.jpg", 1000).size == (2000, 1500)


def test_images_larger_than_the_sample_are_decoded_again(tmp_path, opened):
    """A JPEG that was reduced for the decision may be too small for a larger shape."""
    path = tmp_path / "shown"
    for name in ("a", "b"):
        (path / name).mkdir(parents=True)
        Image.linear_gradient("L").resize((2000, 2000)).save(path / name / "0.jpg")
    class_folder = scan_class_folder(path)
    class_folder.detect_drawings()
    images = class_folder.read((3, 600, 600))
    assert torch.equal(images.images, read_folder(path, (3, 600, 600)).images)
    assert set(opened.values()) == {3}, "the sample, the images, and those of read_folder"


def test_progress_counts_every_file(tmp_path):
    path = symbols(tmp_path / "shown", {"a": 2, "b": 1})
    (path / "a" / "zero.png").write_bytes(b"")
    steps: list[int] = []
    class_folder = scan_class_folder(path)
    class_folder.detect_drawings()
    class_folder.read(progress=steps.append)
    assert steps == [1] * class_folder.n_files == [1] * 4


@pytest.mark.parametrize(
    ("shots", "min_classes", "words"),
    [
        ({"only": 2}, 2, "at least two classes; it holds only one, 'only'"),
        ({}, 1, "at least one class; it holds none"),
    ],
)
def test_folders_with_too_few_classes(shots, min_classes, words, tmp_path):
    (tmp_path / "shown").mkdir()
    for name in shots:
        (tmp_path / "shown" / name).mkdir()
    with pytest.raises(DataError, match=words):
        scan_class_folder(tmp_path / "shown", min_classes)


def test_classes_without_readable_images(tmp_path):
    path = symbols(tmp_path / "shown", {"a": 1, "none": 0})
    with pytest.raises(DataError, match="The class 'none' has no image"):
        scan_class_folder(path).read()
    bad = tmp_path / "bad"
    for name in ("a", "b"):
        (bad / name).mkdir(parents=True)
        (bad / name / "zero.png").write_bytes(b"")
    class_folder = scan_class_folder(bad)
    with pytest.raises(DataError, match=r"None of 2 images could be read, the first is 'zero.png'"):
        class_folder.detect_drawings()
    with pytest.raises(DataError, match=r"The class 'a' has no image .*zero.png' cannot be read"):
        class_folder.read()
    empty = tmp_path / "empty"
    for name in ("a", "b"):
        (empty / name).mkdir(parents=True)
    with pytest.raises(DataError, match="None of 0 images could be read"):
        scan_class_folder(empty).detect_drawings()


def test_an_absent_file(tmp_path):
    with pytest.raises(ImageError, match="There is no image file"):
        decode_image(tmp_path / "absent.png", MIN_DECODED_SIDE)
