"""Detection of drawings and photos."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from lgmnet.data.datasets.caltech101 import caltech101
from lgmnet.data.images.files import ImageFiles
from lgmnet.data.images.kind import detect_certain_drawings, measure_tones
from lgmnet.errors import DataError
from tests.support.images import write_drawing
from tests.support.models import drawings


def scene(seed: int, side: int = 64) -> Image.Image:
    """Make an image that resembles a photo: coloured, with many tones."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (5, 5, 3), np.uint8))
    return small.resize((side, side), Image.Resampling.BICUBIC)


def test_two_tones_explain_a_drawing_and_not_a_photo():
    drawing = measure_tones(Image.fromarray(255 - drawings(1, 1)[0, 0, 0].numpy()))
    assert drawing.explained > 0.8
    assert drawing.paper > 0.6
    assert drawing.colour == 0
    photo = measure_tones(scene(0))
    assert photo.explained < 0.8
    assert photo.colour > 0.04
    blank = measure_tones(Image.new("RGB", (9, 9)))
    assert (blank.explained, blank.paper, blank.colour) == (1, 1, 0)


@pytest.mark.parametrize("negative", [False, True])
def test_drawings_in_dark_or_light_ink_are_detected(negative, tmp_path):
    paths = []
    for i, image in enumerate(drawings(6, 1)[:, 0]):
        path = write_drawing(tmp_path / f"{i}.png", 255 - image if negative else image)
        paths.append(path)
    is_drawing, reason = ImageFiles(paths).detect_drawings()
    assert is_drawing
    assert reason.startswith("ink on paper: two tones explain ")


def test_photos_are_detected_and_unreadable_images_are_skipped(tmp_path):
    paths = []
    for i in range(60):
        scene(i).save(tmp_path / f"{i:02}.png")
        paths.append(tmp_path / f"{i:02}.png")
    paths[0].write_bytes(b"no image")
    is_drawing, reason = ImageFiles(paths).detect_drawings()
    assert not is_drawing
    assert "coloured" in reason
    with pytest.raises(DataError, match="None of 1 images could be read"):
        ImageFiles(paths[:1]).detect_drawings()


@pytest.mark.pack("caltech101")
def test_photos_of_caltech(tmp_path):
    """None of ten sets of 12 random photos is taken for drawings."""
    dataset = caltech101("train")
    chosen = torch.randperm(len(dataset.images), generator=torch.Generator().manual_seed(0))[:120]
    paths = []
    for i in chosen.tolist():
        path = tmp_path / f"{i}.png"
        Image.fromarray(dataset.images[i].movedim(0, 2).numpy()).save(path)
        paths.append(path)
    sets = (ImageFiles(paths[start : start + 12]) for start in range(0, 120, 12))
    assert not any(files.detect_drawings()[0] for files in sets)


@pytest.mark.pack("caltech101")
def test_gray_photos_of_one_class_are_no_certain_drawings(tmp_path):
    """Not even those of things on white paper, eight at a time."""
    dataset = caltech101("train")
    starts = [*dataset.starts.tolist()]
    paths = []
    for start in starts:
        for i in range(8):
            path = tmp_path / f"{start}-{i}.png"
            pixels = dataset.images[start + i].movedim(0, 2).numpy()
            Image.fromarray(pixels).convert("L").save(path)
            paths.append(path)
    sets = [ImageFiles(paths[i : i + 8]) for i in range(0, len(paths), 8)]
    n_wrong = sum(detect_certain_drawings(files.measure())[0] for files in sets)
    assert n_wrong <= 0.05 * len(sets)
