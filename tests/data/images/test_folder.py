"""Class folders: listed once, and each image decoded once for all that is needed of it."""

from __future__ import annotations

import contextvars
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lgmnet.data.images.files import ImageFiles
from lgmnet.data.images.folder import LabelledImages, scan_class_folder
from lgmnet.data.images.read import (
    ImageBytes,
    decode_image,
    list_class_images,
    read_image,
    to_drawing,
)
from lgmnet.errors import DataError, ImageError
from lgmnet.progress import set_progress_display
from tests.support.images import BAD_IMAGES, float_tiff, symbols
from tests.support.models import drawings

DRAWING, PHOTO = (1, 28, 28), (3, 224, 224)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Number of times that each image file was opened; those in memory count together."""
    counts: Counter[str] = Counter()
    open_image = Image.open

    def count(source: Any, *options: Any, **more: Any) -> Image.Image:
        is_path = isinstance(source, Path)
        counts[f"{source.parent.name}/{source.name}" if is_path else "in memory"] += 1
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


def read_separately(folder: Path, shape: Sequence[int]) -> LabelledImages:
    """Read a class folder file by file."""
    images, labels, sources, problems = [], [], [], []
    classes = sorted(path.name for path in folder.iterdir())
    for path in sorted(folder.glob("*/*")):
        try:
            images.append(read_image(path, shape))
            labels.append(classes.index(path.parent.name))
            sources.append(f"{path.parent.name}/{path.name}")
        except ImageError as problem:
            problems.append(problem)
    return LabelledImages(torch.stack(images), labels, classes, sources, problems)


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
def test_images_equal_those_read_separately(shape, sampled, tmp_path):
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
    expected = read_separately(path, shape)
    class_folder = scan_class_folder(path)
    if sampled:
        class_folder.detect_drawings()
    images = class_folder.read(shape)
    assert torch.equal(images.images, expected.images)
    assert (images.labels, images.classes) == (expected.labels, expected.classes)
    assert images.sources == expected.sources
    assert len(images.problems) == len(expected.problems) == len(BAD_IMAGES)
    assert list(map(str, images.problems)) == list(map(str, expected.problems))
    for problem, name in zip(images.problems, sorted(BAD_IMAGES), strict=True):
        assert f"/{name}'" in str(problem)


def test_files_in_memory_give_the_same_decision(tmp_path):
    for path in (symbols(tmp_path / "s", {"a": 20, "b": 20}), photos(tmp_path / "p", 20)):
        paths = [file for files in list_class_images(path).values() for file in files]
        uploads = ImageFiles([ImageBytes(file.name, file.read_bytes()) for file in paths])
        assert scan_class_folder(path).detect_drawings() == uploads.detect_drawings()


def test_files_in_memory_are_decoded_once(tmp_path, opened):
    paths = sorted(symbols(tmp_path, {"a": 20, "b": 20}).glob("*/*.png"))
    uploads = ImageFiles([ImageBytes(path.name, path.read_bytes()) for path in paths])
    uploads.detect_drawings()
    assert opened == {"in memory": 24}
    images = [image for image in uploads.read(DRAWING) if not isinstance(image, ImageError)]
    assert opened == {"in memory": 40}
    assert torch.equal(torch.stack(images), scan_class_folder(tmp_path).read(DRAWING).images)


def test_an_image_that_is_no_photo_may_be_a_drawing(tmp_path):
    path = symbols(tmp_path / "images", {"a": 2, "b": 2})
    (path / "a" / "floats.tiff").write_bytes(float_tiff(500.0))
    class_folder = scan_class_folder(path)
    assert class_folder.detect_drawings()[0]
    images = class_folder.read(DRAWING)
    assert images.problems == []
    assert torch.equal(images.images, read_separately(path, DRAWING).images)


def test_large_images_are_not_all_held_in_memory(tmp_path, opened, monkeypatch):
    path = photos(tmp_path / "images", 3)
    paths = sorted(path.glob("*/*.png"))
    files = ImageFiles(paths, max_cached_pixels=4 * 64 * 48)
    files.detect_drawings()
    assert len(list(files.read(PHOTO))) == 6
    assert sorted(opened.values()) == [1, 1, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("shape", "opens"),
    [
        ((3, 84, 84), 2),
        (PHOTO, 2),
        ((3, 448, 448), 1),
        ((3, 600, 600), 2),
        (DRAWING, 1),
        ((1, 64, 64), 1),
        ((1, 300, 300), 2),
    ],
)
def test_jpegs_equal_those_read_separately(shape, opens, tmp_path, opened):
    """Sampled files are decoded again if images of this shape are decoded at another size."""
    path = jpegs(tmp_path / "images")
    class_folder = scan_class_folder(path)
    class_folder.detect_drawings()
    images = class_folder.read(shape)
    assert set(opened.values()) == {opens}
    assert torch.equal(images.images, read_separately(path, shape).images)
    assert torch.equal(images.images, scan_class_folder(path).read(shape).images)


def test_jpeg_drawings_are_close_to_those_of_the_unreduced_image(tmp_path):
    images = scan_class_folder(jpegs(tmp_path)).read(DRAWING).images
    for name, image in zip(("a", "b"), images, strict=True):
        with Image.open(tmp_path / name / "0.jpg") as unreduced:
            difference = (image.float() - to_drawing(unreduced).float()).abs()
        assert difference.mean() < 2
        assert difference.max() < 25


def test_progress_counts_every_file(tmp_path):
    path = symbols(tmp_path / "images", {"a": 2, "b": 1})
    (path / "a" / "zero.png").write_bytes(b"")
    reports: list[tuple[str, int | None, int]] = []

    @contextmanager
    def display(description: str, total: int | None) -> Iterator[Any]:
        steps: list[int] = []
        yield SimpleNamespace(advance=lambda n=1: steps.append(n))
        reports.append((description, total, sum(steps)))

    class_folder = scan_class_folder(path)
    class_folder.detect_drawings()
    context = contextvars.copy_context()
    context.run(set_progress_display, display)
    context.run(class_folder.read)
    assert reports == [("images", 4, 4)]
    assert class_folder.n_files == 4


@pytest.mark.parametrize(
    ("shots", "min_classes", "words"),
    [
        ({"only": 2}, 2, "at least two classes, .*; it holds only one, 'only'"),
        ({}, 1, "at least one class, .*; it holds none. It has no folders and no images"),
    ],
)
def test_folders_with_too_few_classes(shots, min_classes, words, tmp_path):
    (tmp_path / "images").mkdir()
    if shots:
        symbols(tmp_path / "images", shots)
    with pytest.raises(DataError, match=words):
        scan_class_folder(tmp_path / "images", min_classes)


def test_classes_without_readable_images(tmp_path):
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
    with pytest.raises(DataError, match="Folders without images were found: 'a', 'b'"):
        scan_class_folder(empty)


def test_an_absent_file(tmp_path):
    with pytest.raises(ImageError, match="There is no image file"):
        decode_image(tmp_path / "absent.png", 448)
