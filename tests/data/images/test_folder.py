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
from lgmnet.data.images.folder import SAMPLED_MIN_SIDE, decode_image, scan_class_folder
from lgmnet.data.images.kind import detect_drawings
from lgmnet.data.images.read import list_class_images, read_folder
from lgmnet.errors import DataError, ImageError
from tests.cli.making import BAD_IMAGES, as_bytes, float_tiff, symbols
from tests.support.models import drawings

DRAWING, PHOTO = (1, 28, 28), (3, 224, 224)


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


def jpegs(folder: Path) -> Path:
    """Two classes of one drawing each, on coloured paper of 3,000 x 2,500 pixels."""
    for name, drawing in zip(("a", "b"), drawings(2, 1)[:, 0, 0], strict=True):
        (folder / name).mkdir(parents=True)
        paper = Image.new("RGB", (3000, 2500), (250, 240, 220))
        ink = Image.fromarray(drawing.numpy()).resize((2000, 2000), Image.Resampling.BICUBIC)
        paper.paste((10, 20, 90), (300, 100), ink)
        paper.save(folder / name / "0.jpg")
    return folder


def test_a_folder_is_listed_once_and_each_file_opened_once(tmp_path, opened, monkeypatch):
    path = symbols(tmp_path / "images", {"a": 30, "b": 25, "c": 1})
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
    path = photos(tmp_path / "images", 3)
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
    path = symbols(tmp_path / "images", {"a": 2, "b": 2})
    (path / "a" / "floats.tiff").write_bytes(float_tiff(500.0))
    class_folder = scan_class_folder(path)
    assert class_folder.detect_drawings()[0]
    images = class_folder.read(DRAWING)
    assert images.problems == []
    assert torch.equal(images.images, read_folder(path, DRAWING).images)


def test_large_images_are_not_all_held_in_memory(tmp_path, opened, monkeypatch):
    path = photos(tmp_path / "images", 3)
    monkeypatch.setattr(folder_module, "MAX_CACHED_PIXELS", 4 * 64 * 48)
    class_folder = scan_class_folder(path)
    class_folder.detect_drawings()
    class_folder.read(PHOTO)
    assert sorted(opened.values()) == [1, 1, 1, 1, 2, 2]


def test_jpegs_are_decoded_at_a_reduced_size(tmp_path):
    large = Image.new("RGB", (4000, 3000), "white")
    (tmp_path / "large.jpg").write_bytes(as_bytes(large, "JPEG"))
    assert decode_image(tmp_path / "large.jpg", SAMPLED_MIN_SIDE).size == (1000, 750)
    assert decode_image(tmp_path / "large.jpg", 1000).size == (2000, 1500)


@pytest.mark.parametrize(("side", "opens"), [(84, 2), (224, 1), (600, 2)])
def test_jpeg_photos_equal_those_of_read_photo(side, opens, tmp_path, opened):
    """Sampled files are decoded again if photos of this size are decoded at another size."""
    path = jpegs(tmp_path / "images")
    class_folder = scan_class_folder(path)
    class_folder.detect_drawings()
    images = class_folder.read((3, side, side))
    assert set(opened.values()) == {opens}
    assert torch.equal(images.images, read_folder(path, (3, side, side)).images)


def test_jpeg_drawings_are_close_to_those_of_read_drawing(tmp_path):
    """They are decoded in colour and at a larger size."""
    path = jpegs(tmp_path / "images")
    for sampled in (False, True):
        class_folder = scan_class_folder(path)
        if sampled:
            class_folder.detect_drawings()
        images, expected = class_folder.read(DRAWING).images, read_folder(path, DRAWING).images
        assert (images.float() - expected.float()).abs().mean() < 2
        assert (images.float() - expected.float()).abs().max() < 25


def test_progress_counts_every_file(tmp_path):
    path = symbols(tmp_path / "images", {"a": 2, "b": 1})
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
    (tmp_path / "images").mkdir()
    for name in shots:
        (tmp_path / "images" / name).mkdir()
    with pytest.raises(DataError, match=words):
        scan_class_folder(tmp_path / "images", min_classes)


def test_classes_without_readable_images(tmp_path):
    path = symbols(tmp_path / "images", {"a": 1, "none": 0})
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
        decode_image(tmp_path / "absent.png", SAMPLED_MIN_SIDE)
