"""Ink on paper or photos: what looking at images says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from lgmnet.data.datasets.caltech101 import caltech101
from lgmnet.data.images.kind import detect_drawings, measure_tones
from lgmnet.errors import DataError
from tests.cli.making import drawings, write_drawing


def scene(seed: int, side: int = 64) -> Image.Image:
    """Something like a photo: coloured, of many tones."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (5, 5, 3), np.uint8))
    return small.resize((side, side), Image.Resampling.BICUBIC)


def test_two_tones_make_up_a_drawing_and_not_a_photo():
    drawn = measure_tones(255 - drawings(1, 1)[0, 0, 0].numpy()[..., None].repeat(3, 2))
    assert drawn.explained > 0.8
    assert drawn.paper > 0.6
    assert drawn.colour == 0
    photo = measure_tones(np.asarray(scene(0)))
    assert photo.explained < 0.8
    assert photo.colour > 0.04
    blank = measure_tones(np.zeros((9, 9, 3), np.uint8))
    assert (blank.explained, blank.paper, blank.colour) == (1, 1, 0)


@pytest.mark.parametrize("negative", [False, True])
def test_drawings_dark_or_light(negative, tmp_path):
    paths = []
    for i, image in enumerate(drawings(6, 1)[:, 0]):
        path = write_drawing(tmp_path / f"{i}.png", 255 - image if negative else image)
        paths.append(path)
    drawn, why = detect_drawings(paths)
    assert drawn
    assert why.startswith("ink on paper: two tones make up ")


def test_photos_and_what_cannot_be_read(tmp_path):
    paths = []
    for i in range(60):
        scene(i).save(tmp_path / f"{i:02}.png")
        paths.append(tmp_path / f"{i:02}.png")
    paths[0].write_bytes(b"no image")
    drawn, why = detect_drawings(paths)
    assert not drawn
    assert "coloured" in why
    with pytest.raises(DataError, match="None of 1 images could be read"):
        detect_drawings(paths[:1])


@pytest.mark.pack("caltech101")
def test_photos_of_caltech(tmp_path):
    """Folders of 12 photos of six classes each; no class of them looks drawn on the whole."""
    store = caltech101("train")
    picked = torch.randperm(len(store.images), generator=torch.Generator().manual_seed(0))[:120]
    paths = []
    for i in picked.tolist():
        path = tmp_path / f"{i}.png"
        Image.fromarray(store.images[i].movedim(0, 2).numpy()).save(path)
        paths.append(path)
    assert not any(detect_drawings(paths[start : start + 12])[0] for start in range(0, 120, 12))
