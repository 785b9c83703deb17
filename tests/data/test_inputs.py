"""What a person hands in: the same picture in any form gives the same sample, or a sentence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from lgmnet.data.images.read import read_photo
from lgmnet.data.inputs import to_samples
from lgmnet.errors import DataError, ImageError
from tests.cli.making import drawings

DRAWING, PHOTO = (1, 28, 28), (3, 16, 16)


@pytest.fixture
def inks() -> np.ndarray:
    """Four drawings, ink = 255."""
    return drawings(4, 1)[:, 0, 0].numpy()


@pytest.fixture
def scene() -> np.ndarray:
    """A photo without likeness to its mirror images."""
    rng = np.random.default_rng(0)
    return np.array(Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8)).resize((16, 16)))


@pytest.mark.parametrize(
    "form",
    [
        lambda x: x,
        lambda x: x / 255,
        lambda x: (x / 255).astype(np.float32),
        lambda x: x.astype(np.int64),
        lambda x: x.astype(np.uint16) * 257,
        lambda x: 255 - x,
        lambda x: x[..., None],
        torch.from_numpy,
        list,
        lambda x: [Image.fromarray(one) for one in x],
        lambda x: [x[0], Image.fromarray(x[1]), x[2] / 255, x[3].astype(np.int32)],
        lambda x: np.repeat(x[..., None], 3, 3),
        lambda x: np.repeat(x[..., None] / 255, 3, 3),
        lambda x: np.array([*x, None], dtype=object)[:4],
    ],
)
def test_a_drawing_in_any_form_is_the_same_drawing(form, inks):
    came = to_samples(form(inks), DRAWING)
    assert came.dtype == torch.uint8
    assert came.shape == (4, *DRAWING)
    expected = torch.from_numpy(inks)[:, None]
    assert (came.int() - expected.int()).abs().max() <= 1


def test_files_pictures_and_arrays_may_be_mixed(inks, tmp_path):
    Image.fromarray(255 - inks[0]).save(tmp_path / "0.png")
    came = to_samples([tmp_path / "0.png", str(tmp_path / "0.png"), inks[0]], DRAWING)
    assert torch.equal(came[0], came[1])
    assert torch.equal(came[0], came[2])


@pytest.mark.parametrize(
    "form",
    [
        lambda x: x,
        lambda x: x / 255,
        lambda x: np.concatenate([x, np.full_like(x[..., :1], 255)], -1),
        Image.fromarray,
    ],
)
def test_a_photo_in_any_form_is_the_same_photo(form, scene):
    came = to_samples([form(scene)], PHOTO)
    assert torch.equal(came, torch.from_numpy(scene).movedim(2, 0)[None])


@pytest.mark.parametrize("mode", ["L", "LA", "1", "I", "I;16", "F", "P", "CMYK", "RGBA", "YCbCr"])
def test_a_photo_of_any_mode(mode, tmp_path):
    """Bright stays bright and dark dark, whatever a picture's pixels are made of."""
    gray = np.zeros((16, 16), np.uint8)
    gray[:, 8:] = 255
    if mode in ("I", "I;16"):
        picture = Image.fromarray(gray.astype(np.uint16) * 257)
        picture = picture.convert("I") if mode == "I" else picture
    elif mode == "F":
        picture = Image.fromarray(gray.astype(np.float32) / 255)
    else:
        picture = Image.fromarray(gray).convert("RGB").convert(mode)
    assert picture.mode == mode
    came = to_samples([picture], PHOTO)[0].float()
    assert came[:, :, :6].max() < 10
    assert came[:, :, 10:].min() > 245
    if mode != "YCbCr":
        path = tmp_path / ("x.tiff" if mode in ("F", "I", "CMYK") else "x.png")
        picture.save(path)
        assert torch.equal(read_photo(path, 16, 16).float(), came)


def test_an_animation_and_a_turned_picture(scene, tmp_path):
    frames = [Image.fromarray(scene), Image.new("RGB", (16, 16))]
    frames[0].save(tmp_path / "a.webp", lossless=True, save_all=True, append_images=frames[1:])
    came = to_samples([tmp_path / "a.webp"], PHOTO)[0]
    assert (came.int() - torch.from_numpy(scene).movedim(2, 0).int()).abs().max() <= 1
    exif = Image.Exif()
    exif[0x0112] = 6  # The camera stood on its side.
    Image.fromarray(np.rot90(scene).copy()).save(tmp_path / "t.png", exif=exif)
    assert torch.equal(
        to_samples([tmp_path / "t.png"], PHOTO)[0], torch.from_numpy(scene).movedim(2, 0)
    )


def test_sizes_that_differ_are_said_once(inks):
    large = np.kron(inks[0], np.ones((2, 2), np.uint8))
    with pytest.warns(UserWarning, match="of 2 sizes, such as 28 x 28 and 56 x 56") as said:
        came = to_samples([inks[0], large, inks[1]], DRAWING)
    assert len(said) == 1
    assert came.shape == (3, *DRAWING)


def test_vectors():
    came = to_samples([[1, 2.5], [3, 4]], (2,))
    assert came.dtype == torch.float64
    assert came.tolist() == [[1, 2.5], [3, 4]]


def bad(*shape: int, at: float = 0.0) -> np.ndarray:
    array = np.zeros(shape)
    array.flat[-1:] = at
    return array


@pytest.mark.parametrize(
    ("given", "shape", "words"),
    [
        ("a.png", DRAWING, "put it into a list"),
        ([], DRAWING, "There are no images"),
        (bad(0, 28, 28), DRAWING, r"none of them empty, but it has the shape \[0, 28, 28\]"),
        (bad(3, 784), DRAWING, r"\[images, height, width\].* shape \[3, 784\]"),
        (bad(2, 9, 9, at=np.nan), DRAWING, "Image 1 holds pixels that are NaN"),
        ([bad(9, 9), bad(9, 9, at=np.inf)], DRAWING, "Image 1 .*NaN or infinite"),
        ([bad(9, 9, at=np.nan)], PHOTO, "Image 0 .*must lie in 0 to 1"),
        (bad(2, 9, 9, 2), PHOTO, "Image 0 .*2 channels"),
        (bad(2, 9, 9, 5), PHOTO, r"with 1, 3 or 4 channels, but its shape is \[9, 9, 5\]"),
        (bad(2, 3, 9, 9), PHOTO, "put the axis of channels last"),
        (bad(1, 9, 9, 3, at=255.0), PHOTO, "floats in 0 to 1, but this is float64 in 0 to 255"),
        ([bad(9, 9, at=700.0)], PHOTO, "must lie in 0 to 1, but lie in 0 to 700"),
        (np.array([["a"] * 9] * 9)[None], DRAWING, "Expected numbers"),
        ([object()], DRAWING, "Image 0 cannot be used: expected paths, PIL images"),
        ([None], PHOTO, "it is a NoneType"),
        ([Image.new("L", (10_000, 10_000))], DRAWING, "Image 0 .*10000 x 10000 pixels; at most"),
        (["absent.png"], PHOTO, "There is no image file 'absent.png'"),
        (bad(2, 3), (2,), r"Expected vectors \[samples, 2\], but they are of shape \[2, 3\]"),
        (bad(0, 2), (2,), r"of shape \[0, 2\]"),
        (bad(3, 2, at=np.nan), (2,), "Vector 2 holds NaN"),
        ([["a", "b"]], (2,), "Expected vectors of 2 numbers each"),
        ([[1, 2], [3]], (2,), "Expected vectors of 2 numbers each"),
    ],
)
def test_what_cannot_be_a_sample(given, shape, words):
    with pytest.raises(DataError, match=words) as caught:
        to_samples(given, shape)
    assert str(caught.value).endswith(".")
    assert isinstance(caught.value, ImageError) or "mage" not in words[:6]
