"""Image files: every format gives the same drawing, and a bad file a clear error."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import EpsImagePlugin, Image, ImageFile
from torch import Tensor

from lgmnet.data.images import heif as heif_module
from lgmnet.data.images import pixels as read_module
from lgmnet.data.images.files import ImageFiles
from lgmnet.data.images.folder import LabelledImages, scan_class_folder
from lgmnet.data.images.read import (
    MAX_IMAGE_PIXELS,
    ImageBytes,
    convert_image,
    decode_image,
    decoding_cost,
    list_images,
    read_image,
    to_drawings,
    to_photo,
)
from lgmnet.errors import DataError, ImageError
from tests.support.images import BAD_IMAGES, as_bytes, png_claiming, symbols
from tests.support.models import drawings

Save = Callable[[Image.Image, Path], None]


def read_drawing(path: Path, side: int = 28) -> Tensor:
    return read_image(path, (1, side, side))


def read_folder(folder: Path) -> LabelledImages:
    return scan_class_folder(folder).read()


def letter(side: int = 60) -> Image.Image:
    """Draw an F in black on white, which differs from its rotations and mirror images."""
    pixels = np.full((side, side), 255, np.uint8)
    unit = side // 12
    pixels[2 * unit : 10 * unit, 3 * unit : 5 * unit] = 0
    pixels[2 * unit : 4 * unit, 3 * unit : 9 * unit] = 0
    pixels[5 * unit : 7 * unit, 3 * unit : 7 * unit] = 0
    return Image.fromarray(pixels)


@pytest.fixture
def expected(tmp_path) -> Tensor:
    """The letter as a drawing, read from a gray PNG file."""
    letter().save(tmp_path / "plain.png")
    return read_drawing(tmp_path / "plain.png")


def max_difference(a: Tensor, b: Tensor) -> int:
    """Return the largest difference of two drawings in any pixel, 0..255."""
    return int((a.int() - b.int()).abs().max())


def test_the_drawing_of_a_letter(expected):
    """Ink is bright, paper is exactly 0, and the F keeps its position, size and direction."""
    assert expected.shape == (1, 28, 28)
    assert expected.dtype == torch.uint8
    assert expected.max() == 255
    ink = expected[0] > 127
    assert not ink[:3].any()
    assert not ink[-3:].any()
    rows, columns = ink.any(1).nonzero(), ink.any(0).nonzero()
    top, bottom, left, right = rows.min(), rows.max(), columns.min(), columns.max()
    scale = 28 / 60
    assert abs(top - 10 * scale) <= 1
    assert abs(bottom + 1 - 50 * scale) <= 1
    assert abs(left - 15 * scale) <= 1
    assert abs(right + 1 - 45 * scale) <= 1
    assert ink[top, right], "the upper arm is the longer one"
    assert not ink[bottom, right]
    assert expected[0, 0, 0] == 0


def blank(mode: str, colour: Any) -> Image.Image:
    return Image.new(mode, (60, 60), colour)


def coloured(image: Image.Image, ink: Any, paper: Any, mode: str = "RGB") -> Image.Image:
    painted = Image.new(mode, image.size, paper)
    painted.paste(ink, (0, 0), Image.eval(image, lambda p: 255 - p))
    return painted


def palette_with_transparency(image: Image.Image, path: Path) -> None:
    """Save with paper as a transparent entry of the palette whose hidden colour is black."""
    indexed = Image.fromarray((np.asarray(image) > 127).astype(np.uint8), "P")
    indexed.putpalette([0, 0, 0, 0, 0, 0])
    indexed.save(path, transparency=1)


def sixteen_bits(image: Image.Image, path: Path) -> None:
    """Save with a narrow range of 16-bit values, which 8 bits could not resolve."""
    Image.fromarray(30_000 + np.asarray(image).astype(np.uint16)).save(path)


def animated(image: Image.Image, path: Path) -> None:
    others = [blank("L", 255), image.transpose(Image.Transpose.ROTATE_90)]
    image.save(path, save_all=True, append_images=others, duration=50)


def floating(image: Image.Image, path: Path) -> None:
    Image.fromarray(np.asarray(image).astype(np.float32) / 255 - 0.5).save(path)


FORMATS: dict[str, tuple[str, Save, int]] = {
    "light on dark": ("png", lambda i, p: Image.eval(i, lambda v: 255 - v).save(p), 0),
    "faint": ("png", lambda i, p: Image.eval(i, lambda v: 200 + v // 5).save(p), 1),
    "black and white": ("png", lambda i, p: i.convert("1").save(p), 0),
    "colour": ("png", lambda i, p: coloured(i, (20, 40, 150), (250, 240, 220)).save(p), 1),
    "red on black": ("bmp", lambda i, p: coloured(i, (255, 0, 0), (0, 0, 0)).save(p), 1),
    "CMYK": ("tif", lambda i, p: i.convert("CMYK").save(p), 0),
    "CMYK JPEG": ("jpg", lambda i, p: i.convert("CMYK").save(p, quality=95), 30),
    "JPEG": ("jpg", lambda i, p: i.save(p, quality=95), 30),
    "WebP": ("webp", lambda i, p: i.convert("RGB").save(p, lossless=True), 0),
    "16-bit gray PNG": ("png", sixteen_bits, 1),
    "16-bit gray TIFF": ("tiff", sixteen_bits, 1),
    "floats": ("tiff", floating, 1),
    "palette": ("png", lambda i, p: i.convert("P").save(p), 0),
    "palette with transparency": ("png", palette_with_transparency, 0),
    "GIF": ("gif", lambda i, p: i.save(p), 0),
    "animated GIF": ("gif", animated, 0),
    "transparent paper": (
        "png",
        lambda i, p: coloured(i, (0, 0, 0, 255), (0, 0, 0, 0), "RGBA").save(p),
        0,
    ),
    "gray with transparency": ("png", lambda i, p: coloured(i, (0, 255), (0, 0), "LA").save(p), 0),
    "opaque RGBA": ("png", lambda i, p: i.convert("RGBA").save(p), 0),
    "transparent colour": ("png", lambda i, p: i.convert("RGB").save(p, transparency=(9, 9, 9)), 0),
}


@pytest.mark.parametrize(("suffix", "save", "tolerance"), FORMATS.values(), ids=FORMATS)
def test_every_format_gives_the_same_drawing(suffix, save, tolerance, expected, tmp_path):
    path = tmp_path / f"letter.{suffix}"
    save(letter(), path)
    assert max_difference(read_drawing(path), expected) <= tolerance


TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""Transformation of an upright photo as a rotated camera stores it, by its EXIF number."""


@pytest.mark.parametrize(("number", "turn"), TURNS.items())
@pytest.mark.parametrize(("suffix", "tolerance"), [("jpg", 30), ("png", 0)])
def test_exif_rotation_is_applied(number, turn, suffix, tolerance, expected, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = number
    path = tmp_path / f"photo.{suffix}"
    letter().transpose(turn).save(path, exif=exif, quality=95)
    assert max_difference(read_drawing(path), expected) <= tolerance


@pytest.mark.parametrize("side", [300, 1200, 4800])
@pytest.mark.parametrize(("suffix", "mode"), [("png", "L"), ("png", "RGBA"), ("jpg", "RGB")])
def test_a_large_scan_gives_the_same_drawing(side, suffix, mode, expected, tmp_path):
    path = tmp_path / f"scan.{suffix}"
    letter(side).convert(mode).save(path)
    assert max_difference(read_drawing(path), expected) <= 40
    assert (read_drawing(path) > 127).eq(expected > 127).float().mean() > 0.99


def test_a_wide_image_keeps_its_proportions(tmp_path):
    """It is centred on paper and not stretched."""
    wide = Image.new("L", (120, 40), 255)
    wide.paste(0, (50, 10, 70, 30))
    wide.save(tmp_path / "wide.png")
    ink = read_drawing(tmp_path / "wide.png")[0] > 127
    rows, columns = ink.any(1).nonzero().flatten(), ink.any(0).nonzero().flatten()
    assert abs(len(rows) - len(columns)) <= 1, "a square stays a square"
    assert rows.float().mean().item() == pytest.approx(13.5, abs=0.6)
    assert columns.float().mean().item() == pytest.approx(13.5, abs=0.6)
    tall = wide.transpose(Image.Transpose.TRANSPOSE)
    tall.save(tmp_path / "tall.png")
    assert torch.equal(read_drawing(tmp_path / "tall.png")[0].T > 127, ink)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (2, 3), (28, 28), (100_000, 3)])
def test_any_size_gives_a_drawing(size, tmp_path):
    Image.new("L", size, 255).save(tmp_path / "blank.png")
    assert torch.equal(
        read_drawing(tmp_path / "blank.png"), torch.zeros(1, 28, 28, dtype=torch.uint8)
    )


def test_a_drawing_of_the_right_size_is_unchanged(tmp_path):
    pixels = torch.zeros(28, 28, dtype=torch.uint8)
    pixels[4:20, 7:9] = torch.arange(32, dtype=torch.uint8).view(16, 2) * 8
    pixels[9, 9] = 255
    Image.fromarray(pixels.numpy()).save(tmp_path / "as-is.png")
    assert torch.equal(read_drawing(tmp_path / "as-is.png")[0], pixels)


def test_a_drawing_of_another_side(tmp_path):
    letter().save(tmp_path / "letter.png")
    assert read_drawing(tmp_path / "letter.png", side=14).shape == (1, 14, 14)


grays = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).integers(0, 256, (20, 24)).astype(np.float64)
)


@given(grays, st.floats(1e-3, 1e3), st.booleans(), st.floats(-1e4, 1e4))
def test_scale_offset_and_sign_of_the_pixels_do_not_matter(gray, scale, negative, offset):
    other = (-scale if negative else scale) * gray + offset
    assert max_difference(to_drawings(other[None])[0], to_drawings(gray[None])[0]) <= 1


@pytest.mark.parametrize("value", [3e38, -3e38, 1e-45, 1e-30])
@pytest.mark.parametrize("paper", [0.0, -3e38])
def test_extreme_floats_do_not_overflow(value, paper):
    gray = np.full((40, 40), paper)
    gray[10:30, 18:22] = value
    image = to_drawings(gray[None])[0]
    assert image.max() == (255 if value != paper else 0)
    assert image[0, 0, 0] == 0


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_a_file_that_cannot_be_read_is_named(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(BAD_IMAGES[name]())
    with pytest.raises(ImageError) as caught:
        read_drawing(path)
    assert str(path) in str(caught.value)
    assert str(caught.value).endswith(".")


def test_the_error_names_the_fault_of_a_file(tmp_path):
    for name, message in (
        ("many-pixels.png", f"10000 x 10000 pixels; at most {MAX_IMAGE_PIXELS:,} can be read"),
        ("nan.tiff", "NaN or infinite"),
        ("infinite.tif", "NaN or infinite"),
        ("cut.png", "cannot be read as an image: "),
    ):
        (tmp_path / name).write_bytes(BAD_IMAGES[name]())
        with pytest.raises(ImageError, match=message):
            read_drawing(tmp_path / name)


@pytest.mark.parametrize(
    ("path", "message"),
    [("absent.png", "There is no image file"), (".", "must be an image file, but is a folder")],
)
def test_an_absent_file_is_named(path, message, tmp_path):
    with pytest.raises(ImageError, match=message) as caught:
        read_drawing(tmp_path / path)
    assert str(tmp_path / path) in str(caught.value)


FORMAT_NAMES = (
    "PNG",
    "JPEG",
    "GIF",
    "BMP",
    "TIFF",
    "WEBP",
    "AVIF",
    "JPEG2000",
    "PPM",
)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", FORMAT_NAMES)
def test_a_damaged_file_gives_a_drawing_or_an_error_that_names_it(kind, tmp_path):
    """Bits are flipped and ends cut off; Pillow's readers raise many kinds of exceptions."""
    image = letter(24)
    try:
        original = as_bytes(image.convert("RGB"), kind)
    except (KeyError, OSError):
        pytest.skip(f"this Pillow does not write {kind}")
    rng = np.random.default_rng(0)
    path = tmp_path / f"damaged.{kind.lower()}"
    path.write_bytes(original)
    read_drawing(path)
    messages = []
    for _ in range(60):
        damaged = bytearray(original)
        for index in rng.integers(0, min(len(original), 200), rng.integers(1, 4)):
            damaged[index] = rng.integers(0, 256)
        end = rng.integers(0, len(original)) if rng.random() < 0.3 else len(original)
        path.write_bytes(damaged[:end])
        try:
            assert read_drawing(path).shape == (1, 28, 28)
        except ImageError as error:
            messages.append(str(error))
    assert all(str(path) in message for message in messages)


EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 8 8
%%EndComments
0 0 8 8 rectfill
showpage
%%EOF
"""


def test_no_format_that_starts_another_program_is_read(tmp_path, monkeypatch):
    """Pillow would start Ghostscript, whatever the file is called."""
    started: list[object] = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *args, **more: started.append(args))
    monkeypatch.setattr(EpsImagePlugin, "has_ghostscript", lambda: True)
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **more: started.append(args))
    for file in (ImageBytes("a.png", EPS), tmp_path / "a.png", tmp_path / "a.eps"):
        if isinstance(file, Path):
            file.write_bytes(EPS)
        with pytest.raises(ImageError, match="it has no known format"):
            read_image(file, (1, 28, 28))
    assert not started
    assert [path.name for path in list_images(tmp_path)] == ["a.png"]


def test_an_icon_is_refused_because_its_header_hides_the_size(tmp_path):
    header = struct.pack("<HHH", 0, 1, 1)
    inner = png_claiming(9000, 9000)
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inner), 22)
    with pytest.raises(ImageError, match="it has no known format"):
        read_image(ImageBytes("a.ico", header + entry + inner), (1, 28, 28))


@pytest.mark.parametrize(
    ("size", "kind", "message"),
    [
        ((1, 1_000_000), "PNG", "height and width may be 500,000 at most"),
        ((8000, 8000), "PNG", f"at most {MAX_IMAGE_PIXELS:,} can be read"),
        ((60, 60), "WEBP", "at most 3,000 can be read"),
    ],
)
def test_the_size_is_checked_before_decoding(size, kind, message, monkeypatch):
    monkeypatch.setattr(read_module, "MAX_COSTLY_PIXELS", 3000)
    data = as_bytes(Image.new("1" if kind == "PNG" else "RGB", size, 1), kind)
    monkeypatch.setattr(ImageFile.ImageFile, "load", reject)
    with pytest.raises(ImageError, match=message):
        read_image(ImageBytes("large", data), (1, 28, 28))
    assert decoding_cost(ImageBytes("large", data)) == 0


def reject(*_: object) -> None:
    raise AssertionError("decoded")


def test_a_photo_of_a_phone_is_read_at_a_reduced_size():
    """50 megapixels are more than the limit of other formats."""
    data = as_bytes(Image.new("RGB", (8192, 6144), "white"), "JPEG", quality=50)
    assert decode_image(ImageBytes("photo", data), 448).size == (1024, 768)
    assert decoding_cost(ImageBytes("photo", data)) == 8192 * 6144 // 8
    assert read_image(ImageBytes("photo", data), (3, 224, 224)).eq(255).all()


def large_jpeg(width: int, height: int, **options: Any) -> bytes:
    """Encode a red photo with a blue right half."""
    image = Image.new("RGB", (width, height), "red")
    image.paste("blue", (width // 2, 0, width, height))
    return as_bytes(image, "JPEG", quality=30, **options)


@pytest.mark.slow
def test_the_largest_photos_of_phones_are_read():
    """200 megapixels, above the limit at which Pillow suspects an attack."""
    data = large_jpeg(16_320, 12_240)
    photo = read_image(ImageBytes("photo.jpg", data), (3, 64, 64))
    assert photo[0, :, :24].min() > 240
    assert photo[2, :, 40:].min() > 240
    with pytest.raises(ImageError, match="pixels"):
        read_image(ImageBytes("photo.png", BAD_IMAGES["claims-60000x60000.png"]()), (3, 64, 64))


def test_a_jpeg_that_is_decoded_in_full_has_a_lower_limit(monkeypatch):
    monkeypatch.setattr(read_module, "MAX_PHOTO_PIXELS", 3000)
    read_image(ImageBytes("a", large_jpeg(60, 60)), (3, 8, 8))
    with pytest.raises(ImageError, match="60 x 60 pixels; at most 3,000 can be read"):
        read_image(ImageBytes("a", large_jpeg(60, 60, progressive=True)), (3, 8, 8))


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 64, 64)])
def test_a_large_image_in_memory_is_shrunk(shape, monkeypatch):
    """It is what a smaller copy gives, upright like that."""
    image = Image.open(io.BytesIO(large_jpeg(640, 480)))
    image.getexif()[0x0112] = 6  # Rotated by 90 degrees.
    expected = convert_image(image, shape)
    monkeypatch.setattr(read_module, "MAX_IMAGE_PIXELS", 200_000)
    monkeypatch.setattr(read_module, "MAX_SHRUNK_PIXELS", 100_000)
    difference = (convert_image(image, shape).int() - expected.int()).abs()
    assert difference.float().mean() < 3
    if shape[0] == 3:
        assert expected[0, :24].min() > 200, "red is at the top"


def test_a_folder_of_unreadable_photos_names_the_reason(tmp_path):
    (tmp_path / "a.png").write_bytes(BAD_IMAGES["claims-12000x8000.png"]())
    with pytest.raises(DataError, match=r"None of 1 images .* 12000 x 8000 pixels; at most"):
        ImageFiles([tmp_path / "a.png"]).detect_drawings()


HEIC_HEAD = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


def test_heic_photos_that_cannot_be_read_are_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    heif_module.register_reader.cache_clear()
    folder = symbols(tmp_path / "images", {"a": 1, "b": 1})
    for i in range(3):
        (folder / "a" / f"IMG_{i}.HEIC").write_bytes(HEIC_HEAD)
    images = scan_class_folder(folder).read()
    assert len(images.problems) == 3
    for i, problem in enumerate(images.problems):
        assert f"IMG_{i}.HEIC' cannot be read as an image: it is a HEIC photo" in str(problem)
        assert "pip install 'lgmnet[heic]'" in str(problem)
    heif_module.register_reader.cache_clear()


def test_heic_photos_are_read_with_the_extra(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif", reason="needs the extra 'heic'")
    heif_module.register_reader.cache_clear()
    image = Image.open(io.BytesIO(large_jpeg(640, 480)))
    pillow_heif.from_pillow(image).save(tmp_path / "a.heic", quality=95)
    photo = read_image(tmp_path / "a.heic", (3, 64, 64))
    assert photo[0, :, :24].min() > 200
    assert photo[2, :, 40:].min() > 200
    assert [path.name for path in list_images(tmp_path)] == ["a.heic"]
    (tmp_path / "cut.heic").write_bytes((tmp_path / "a.heic").read_bytes()[:300])
    with pytest.raises(ImageError, match=r"cut.heic' cannot be read"):
        read_image(tmp_path / "cut.heic", (3, 64, 64))


def test_photos_of_many_bits_are_those_of_8_bits():
    gray = np.random.default_rng(0).integers(0, 256, (300, 300), np.uint8)
    expected = to_photo(Image.fromarray(gray), 64, 64)
    for pixels in (
        gray.astype(np.uint16) * 257,
        gray.astype(np.int32),
        gray.astype(np.int32) * 257,
        gray.astype(np.float32) / 255,
    ):
        assert torch.equal(to_photo(Image.fromarray(pixels), 64, 64), expected), pixels.dtype


def test_jpegs_are_decoded_at_a_reduced_size(tmp_path):
    large = as_bytes(Image.new("RGB", (4000, 3000), "white"), "JPEG")
    (tmp_path / "large.jpg").write_bytes(large)
    for file in (tmp_path / "large.jpg", ImageBytes("large", large)):
        assert decode_image(file, 448).size == (1000, 750)
        assert decode_image(file, 1000).size == (2000, 1500)


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_bytes_that_cannot_be_read_are_named(name):
    with pytest.raises(ImageError, match=r"^'upload\.png' cannot be read as an image: "):
        read_image(ImageBytes("upload.png", BAD_IMAGES[name]()), (1, 28, 28))


# Folders of classes.


def test_a_folder_is_read_class_by_class(tmp_path):
    shots = {"b": 2, "a": 1, "ç": 3}
    folder_images = read_folder(symbols(tmp_path / "photos", shots))
    assert isinstance(folder_images, LabelledImages)
    assert folder_images.classes == ["a", "b", "ç"]
    assert folder_images.labels == [0, 1, 1, 2, 2, 2]
    assert folder_images.problems == []
    drawings_of = dict(zip(shots, drawings(3, 3), strict=True))
    expected = torch.cat([drawings_of[name][: shots[name]] for name in folder_images.classes])
    assert torch.equal(folder_images.images, expected)


def test_files_of_a_class_are_read_in_order_of_their_names(tmp_path):
    for name in ("b.png", "a.PNG", "10.png", "2.jpeg", "x.txt", ".c.png", "README"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in list_images(tmp_path)] == ["10.png", "2.jpeg", "a.PNG", "b.png"]


def test_a_bad_file_is_reported_and_the_other_files_are_read(tmp_path):
    folder = symbols(tmp_path / "photos", {"a": 2, "b": 2})
    alone = read_folder(folder)
    for name, content in BAD_IMAGES.items():
        (folder / "a" / name).write_bytes(content())
    (folder / "b" / "zero.png").write_bytes(b"")
    folder_images = read_folder(folder)
    assert torch.equal(folder_images.images, alone.images)
    assert (folder_images.labels, folder_images.classes) == (alone.labels, alone.classes)
    assert len(folder_images.problems) == len(BAD_IMAGES) + 1
    for name in (*BAD_IMAGES, "zero.png"):
        assert sum(f"/{name}'" in str(problem) for problem in folder_images.problems) == 1


def test_symbolic_links_are_followed(tmp_path):
    folder = symbols(tmp_path / "photos", {"a": 1, "b": 1})
    (tmp_path / "elsewhere").mkdir()
    (folder / "b" / "0.png").rename(tmp_path / "elsewhere" / "0.png")
    (folder / "b" / "0.png").symlink_to(tmp_path / "elsewhere" / "0.png")
    (folder / "c").symlink_to(tmp_path / "elsewhere")
    assert read_folder(folder).classes == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ({}, "at least two classes, .*; it holds none"),
        ({"only": 2}, "at least two classes, .*; it holds only one, 'only'"),
        ({"a": 1, "none": 0}, "no images in 'none'"),
    ],
)
def test_a_folder_with_too_few_classes_or_images_is_refused(classes, message, tmp_path):
    (tmp_path / "photos").mkdir()
    images = drawings(2, 2)
    for name, count in classes.items():
        (tmp_path / "photos" / name).mkdir()
        for i in range(count):
            pixels = Image.fromarray(images[0, i, 0].numpy())
            (tmp_path / "photos" / name / f"{i}.png").write_bytes(as_bytes(pixels, "PNG"))
    with pytest.raises(DataError, match=message):
        read_folder(tmp_path / "photos")


def test_an_absent_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=r"There is no folder .* Expected .*/<class>/<image>"):
        read_folder(tmp_path / "absent")


def test_reading_leaves_no_file_open(tmp_path):
    """On some systems an open file cannot be moved or removed."""
    (tmp_path / "cut.png").write_bytes(BAD_IMAGES["cut.png"]())
    letter().save(tmp_path / "good.png")
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        pytest.skip("needs /proc")
    before = len(list(descriptors.iterdir()))
    for _ in range(3):
        read_drawing(tmp_path / "good.png")
        with pytest.raises(ImageError):
            read_drawing(tmp_path / "cut.png")
    assert len(list(descriptors.iterdir())) == before
