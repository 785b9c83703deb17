"""User input: the same image in any form gives the same sample, and bad input a clear error."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lgmnet.data.images.read import read_image
from lgmnet.data.inputs import are_vectors, collect_inputs, measure_inputs, to_samples
from lgmnet.errors import DataError, ImageError
from tests.support.models import drawings

DRAWING, PHOTO_SHAPE = (1, 28, 28), (3, 16, 16)


@pytest.fixture
def ink_drawings() -> np.ndarray:
    """Four drawings, ink = 255."""
    return drawings(4, 1)[:, 0, 0].numpy()


@pytest.fixture
def scene() -> np.ndarray:
    """A photo that differs from its mirror images."""
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
        lambda x: [Image.fromarray(drawing) for drawing in x],
        lambda x: [x[0], Image.fromarray(x[1]), x[2] / 255, x[3].astype(np.int32)],
        lambda x: np.repeat(x[..., None], 3, 3),
        lambda x: np.repeat(x[..., None] / 255, 3, 3),
        lambda x: np.array([*x, None], dtype=object)[:4],
        lambda x: x.astype(np.int64) * 2**24,
        lambda x: list(x.astype(np.int64) * 2**24),
        lambda x: torch.from_numpy(x).float().requires_grad_(),
        lambda x: list(torch.from_numpy(x).float().requires_grad_()),
        lambda x: torch.from_numpy(x).bfloat16(),
        lambda x: torch.from_numpy(x).to_sparse(),
        lambda x: [drawing.to_sparse() for drawing in torch.from_numpy(x).bfloat16()],
    ],
)
def test_a_drawing_in_any_form_gives_the_same_sample(form, ink_drawings):
    samples = to_samples(form(ink_drawings), DRAWING)
    assert samples.dtype == torch.uint8
    assert samples.shape == (4, *DRAWING)
    expected = torch.from_numpy(ink_drawings)[:, None]
    assert (samples.int() - expected.int()).abs().max() <= 1


def test_files_and_arrays_may_be_mixed(ink_drawings, tmp_path):
    Image.fromarray(255 - ink_drawings[0]).save(tmp_path / "0.png")
    samples = to_samples([tmp_path / "0.png", str(tmp_path / "0.png"), ink_drawings[0]], DRAWING)
    assert torch.equal(samples[0], samples[1])
    assert torch.equal(samples[0], samples[2])


@pytest.mark.parametrize(
    "form",
    [
        lambda x: x,
        lambda x: x / 255,
        lambda x: np.concatenate([x, np.full_like(x[..., :1], 255)], -1),
        Image.fromarray,
    ],
)
def test_a_photo_in_any_form_gives_the_same_sample(form, scene):
    samples = to_samples([form(scene)], PHOTO_SHAPE)
    assert torch.equal(samples, torch.from_numpy(scene).movedim(2, 0)[None])


@pytest.mark.parametrize("mode", ["L", "LA", "1", "I", "I;16", "F", "P", "CMYK", "RGBA", "YCbCr"])
def test_a_photo_of_any_mode(mode, tmp_path):
    """Bright pixels stay bright and dark pixels dark in every mode of PIL."""
    gray = np.zeros((16, 16), np.uint8)
    gray[:, 8:] = 255
    if mode in ("I", "I;16"):
        image = Image.fromarray(gray.astype(np.uint16) * 257)
        image = image.convert("I") if mode == "I" else image
    elif mode == "F":
        image = Image.fromarray(gray.astype(np.float32) / 255)
    else:
        image = Image.fromarray(gray).convert("RGB").convert(mode)
    assert image.mode == mode
    samples = to_samples([image], PHOTO_SHAPE)[0].float()
    assert samples[:, :, :6].max() < 10
    assert samples[:, :, 10:].min() > 245
    if mode != "YCbCr":
        path = tmp_path / ("x.tiff" if mode in ("F", "I", "CMYK") else "x.png")
        image.save(path)
        assert torch.equal(read_image(path, PHOTO_SHAPE).float(), samples)


def test_an_animation_and_a_rotated_photo(scene, tmp_path):
    frames = [Image.fromarray(scene), Image.new("RGB", (16, 16))]
    frames[0].save(tmp_path / "a.webp", lossless=True, save_all=True, append_images=frames[1:])
    samples = to_samples([tmp_path / "a.webp"], PHOTO_SHAPE)[0]
    assert (samples.int() - torch.from_numpy(scene).movedim(2, 0).int()).abs().max() <= 1
    exif = Image.Exif()
    exif[0x0112] = 6  # The camera was rotated by 90 degrees.
    Image.fromarray(np.rot90(scene).copy()).save(tmp_path / "t.png", exif=exif)
    assert torch.equal(
        to_samples([tmp_path / "t.png"], PHOTO_SHAPE)[0], torch.from_numpy(scene).movedim(2, 0)
    )


def test_different_sizes_give_one_warning(ink_drawings):
    large = np.kron(ink_drawings[0], np.ones((2, 2), np.uint8))
    with pytest.warns(UserWarning, match="of 2 sizes, such as 28 x 28 and 56 x 56") as warned:
        samples = to_samples([ink_drawings[0], large, ink_drawings[1]], DRAWING)
    assert len(warned) == 1
    assert samples.shape == (3, *DRAWING)


class Table(dict[str, Any]):
    """Two-column table with the part of the interface of DataFrames that is used."""

    @property
    def columns(self):
        return list(self)

    def __array__(self, dtype=None, copy=None):
        return np.array(list(self.values()), dtype=object).T


@pytest.mark.parametrize(
    "form",
    [
        np.array,
        lambda paths: np.array(paths, dtype=object),
        lambda paths: np.array(paths)[:, None],
        lambda paths: (path for path in paths),
        tuple,
        lambda paths: [Path(path).read_bytes() for path in paths],
        lambda paths: [bytearray(Path(path).read_bytes()) for path in paths],
        lambda paths: [io.BytesIO(Path(path).read_bytes()) for path in paths],
        lambda paths: [io.BufferedReader(io.BytesIO(Path(path).read_bytes())) for path in paths],
        lambda paths: Table(file=paths, label=["a"] * len(paths)),
        lambda paths: Table(path=paths),
    ],
)
def test_files_in_any_form_give_the_same_samples(form, ink_drawings, tmp_path):
    paths = []
    for i, image in enumerate(ink_drawings):
        paths.append(str(tmp_path / f"{i}.png"))
        Image.fromarray(255 - image).save(paths[-1])
    expected = to_samples(paths, DRAWING)
    assert torch.equal(to_samples(form(paths), DRAWING), expected)
    inputs = collect_inputs(form(paths))
    assert torch.equal(to_samples(inputs, DRAWING), to_samples(inputs, DRAWING)), "read twice"
    assert not are_vectors(inputs)


@pytest.mark.parametrize(
    "form",
    [
        lambda x: np.moveaxis(x, 3, 1),
        lambda x: list(np.moveaxis(x, 3, 1)),
        lambda x: [np.moveaxis(x[0], 2, 0), x[1]],
        lambda x: torch.from_numpy(x).movedim(3, 1),
        lambda x: list(torch.from_numpy(x).movedim(3, 1)),
    ],
)
def test_channels_may_come_first(form, scene):
    """NumPy users get a hint, once; for tensors it is the usual order."""
    photos = np.stack([scene, scene[::-1]])
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        samples = to_samples(form(photos), PHOTO_SHAPE)
    assert torch.equal(samples, torch.from_numpy(photos.copy()).movedim(3, 1))
    hints = [str(warning.message) for warning in warned]
    assert len(hints) == (0 if isinstance(form(photos)[0], torch.Tensor) else 1)
    assert all("np.moveaxis(image, 0, -1)" in hint for hint in hints)


@pytest.mark.parametrize("nothing", [[], (), np.array([]), np.zeros((0, 28, 28)), iter(())])
def test_no_images_give_no_samples(nothing):
    assert to_samples(nothing, DRAWING).shape == (0, *DRAWING)


def test_vectors():
    samples = to_samples([[1, 2.5], [3, 4]], (2,))
    assert samples.dtype == torch.float64
    assert samples.tolist() == [[1, 2.5], [3, 4]]


def bad(*shape: int, at: float = 0.0) -> np.ndarray:
    array = np.zeros(shape)
    array.flat[-1:] = at
    return array


def closed(file: Any) -> Any:
    file.close()
    return file


@pytest.mark.parametrize(
    ("inputs", "shape", "message"),
    [
        ("a.png", DRAWING, "put it into a list"),
        (b"a.png", DRAWING, "put it into a list"),
        (io.BytesIO(), DRAWING, "put it into a list"),
        (None, DRAWING, "Expected a sequence of paths.*but got None"),
        (5, DRAWING, "Expected a sequence of paths.*but got 5"),
        (float("nan"), DRAWING, "Expected a sequence of paths.*but got nan"),
        ({"a.png"}, DRAWING, "Expected a sequence of paths.*but got {'a.png'}"),
        (len, DRAWING, "Expected a sequence of paths.*but got <built-in function len>"),
        (np.array(5.0), DRAWING, r"Expected a sequence of paths.*but got array\(5\."),
        (None, (2,), "Expected a sequence of paths.*but got None"),
        (
            np.zeros((96, 96, 3)),
            DRAWING,
            r"\[96, 96, 3\] is a single one with its channels; put it",
        ),
        (torch.zeros(96, 96, 4), PHOTO_SHAPE, r"\[96, 96, 4\] is a single one with its channels"),
        ([float("nan")], DRAWING, "Image 0 .*but it is the number nan"),
        (
            [Image.new("RGB", (0, 5))],
            PHOTO_SHAPE,
            "Image 0 .* 0 x 5 pixels; at least one is needed",
        ),
        ([Image.new("L", (0, 0))], DRAWING, "Image 0 .* 0 x 0 pixels; at least one is needed"),
        ([[[1, 2], [3]]], DRAWING, "Image 0 .*but its rows differ in length"),
        ([["a.png", "b.png"], ["c.png"]], DRAWING, "Image 0 .*expected paths.*but it is a list"),
        ([closed(Image.new("L", (9, 9)))], DRAWING, "Image 0 .*it was closed before it was read"),
        ([closed(io.BytesIO(b"x"))], DRAWING, "Image 0 must be a file that is open.*but is closed"),
        ([io.StringIO("x")], PHOTO_SHAPE, "Image 0 must be a file that is open.*opened as text"),
        ([b"a.png"], DRAWING, "'image 0' cannot be read as an image"),
        (bad(3, 0, 28), DRAWING, r"none of them empty, but it has the shape \[3, 0, 28\]"),
        (bad(3, 784), DRAWING, r"\[images, height, width\].* shape \[3, 784\]"),
        (bad(2, 9, 9, at=np.nan), DRAWING, "Image 1 holds pixels that are NaN"),
        ([bad(9, 9), bad(9, 9, at=np.inf)], DRAWING, "Image 1 .*NaN or infinite"),
        ([bad(9, 9, at=np.nan)], PHOTO_SHAPE, "Image 0 .*must lie in 0 to 1"),
        (bad(2, 9, 9, 2), PHOTO_SHAPE, "Image 0 .*2 channels"),
        (bad(2, 9, 9, 5), PHOTO_SHAPE, r"with 1, 3 or 4 channels, but its shape is \[9, 9, 5\]"),
        (
            bad(1, 9, 9, 3, at=255.0),
            PHOTO_SHAPE,
            "floats in 0 to 1, but this is float64 in 0 to 255",
        ),
        ([bad(9, 9, at=700.0)], PHOTO_SHAPE, "must lie in 0 to 1, but lie in 0 to 700"),
        (np.array([["a"] * 9] * 9)[None], DRAWING, "Image 0 .*expected paths"),
        ([object()], DRAWING, "Image 0 cannot be used: expected paths, PIL images"),
        ([None], PHOTO_SHAPE, "it is a NoneType"),
        ([Image.new("1", (1, 600_000))], DRAWING, "Image 0 .*1 x 600000 pixels; at most"),
        (["absent.png"], PHOTO_SHAPE, "There is no image file 'absent.png'"),
        (bad(2, 3), (2,), r"Expected vectors \[samples, 2\], but they are of shape \[2, 3\]"),
        (bad(0, 2), (2,), r"of shape \[0, 2\]"),
        (bad(3, 2, at=np.nan), (2,), "Vector 2 holds NaN"),
        ([["a", "b"]], (2,), "Expected vectors of 2 numbers each"),
        ([[1, 2], [3]], (2,), "Expected vectors of 2 numbers each"),
    ],
)
def test_bad_input_is_refused(inputs, shape, message):
    with pytest.raises(DataError, match=message) as caught:
        to_samples(inputs, shape)
    assert str(caught.value).endswith(".")
    assert isinstance(caught.value, ImageError) or "mage" not in message[:6]


def test_what_cannot_be_measured_is_left_to_the_conversion(tmp_path):
    """The model is chosen before images are converted, and must not fail in another way."""
    Image.new("L", (9, 9)).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        pass
    unusable: list[Any] = [
        image,
        Image.new("L", (0, 0)),
        np.zeros((0, 28)),
        [[1, 2], [3]],
        io.StringIO(),
    ]
    for inputs in (unusable, unusable[1:], unusable[3:], np.zeros((2, 0, 28))):
        assert not are_vectors(inputs)
        assert list(measure_inputs(inputs, 9)) == []
    with pytest.raises(
        ImageError, match="it was closed before it was read; open it without 'with'"
    ):
        to_samples([image], DRAWING)
