"""Pixels of image files as arrays: drawings, ink = 255 on 0, or photos; without PyTorch."""

import io
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import Num, UInt8
from PIL import Image, ImageOps, JpegImagePlugin, UnidentifiedImageError

from lgmnet.data.images.heif import HEIF_FORMAT, HEIF_SUFFIXES, heif_formats, is_heif
from lgmnet.errors import ImageError
from lgmnet.input_spec import InputSpec
from lgmnet.warning_filter import ignore_warnings

Image.init()
IMAGE_FORMATS = tuple(
    kind
    for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM")
    if kind in Image.OPEN  # Earlier releases of Pillow read no AVIF.
)
"""Pillow's names of the formats that are read. Pillow knows others, but some of them start another
program (EPS starts Ghostscript), and some contain images of other sizes than their header says."""
MAX_IMAGE_PIXELS = 50_000_000
"""Limit for one image that is decoded in full, as most formats are."""
REDUCED_FORMATS = ("JPEG", "MPO")
"""Formats that are decoded at a reduced size. MPO is a JPEG with further images behind it."""
MAX_REDUCED_PIXELS = 300_000_000
"""Limit for one image of the `REDUCED_FORMATS`: the largest photos of phones have 200 million."""
MAX_PHOTO_PIXELS = 64_000_000
"""Limit for one progressive JPEG, whose decoder holds the whole image at full size, and for one
HEIC photo."""
MAX_GIVEN_PIXELS = 300_000_000
"""Limit for one image that is in memory already; above `MAX_IMAGE_PIXELS`, it is shrunk first."""
MAX_SHRUNK_PIXELS = 12_000_000
JPEG_MARK = b"\xff\xd8\xff"
HEAD_BYTES = 64
COSTLY_FORMATS = ("WEBP", "AVIF", "JPEG2000")
MAX_COSTLY_PIXELS = 25_000_000
"""Limit for one image of the `COSTLY_FORMATS`, whose decoders need about 20 bytes for a pixel."""
MAX_IMAGE_SIDE = 500_000
"""Limit for the height and width of one image: a row needs memory and time, however short it is."""
REDUCED_COST = 1 / 8
"""Cost of decoding a pixel of the `REDUCED_FORMATS`, where it is 1 for other formats."""
MIN_DECODED_SIDE = 448
"""Least height and width at which a JPEG is decoded before its use is known, or as a drawing."""
IMAGE_SUFFIXES = HEIF_SUFFIXES | frozenset(
    suffix
    for suffix, kind in Image.registered_extensions().items()
    if kind in (*IMAGE_FORMATS, *REDUCED_FORMATS)
)
"""Suffixes of image files. HEIC photos are among them even if they cannot be read here, because a
photo that is not read must be named."""
RAW_PHOTOS = (
    ".3fr .arw .cr2 .cr3 .dng .erf .iiq .kdc .mef .mos .mrw .nef .nrw .orf .pef .raf .raw .rw2 "
    ".rwl .sr2 .srf .srw .x3f"
)
OTHER_PICTURES = (
    ".ai .cdr .cur .dcm .dds .emf .eps .exr .fits .fts .hdr .icns .ico .jxl .pcx .psb .psd .sgi "
    ".svg .svgz .tga .wmf .xbm .xcf .xpm"
)
UNREAD_SUFFIXES = frozenset(f"{RAW_PHOTOS} {OTHER_PICTURES}".split()) - IMAGE_SUFFIXES
"""Suffixes of pictures that are not read, and are named where images were asked for."""


@dataclass(frozen=True)
class ImageBytes:
    """Image file in memory, such as an upload."""

    name: str
    """Name in error messages."""
    data: bytes

    def __str__(self) -> str:
        return self.name


ImageFile = Path | ImageBytes


def read_pixels(
    file: ImageFile, shape: Sequence[int], decoded: Image.Image | None = None
) -> UInt8[np.ndarray, "channels height width"]:
    """Read an image file as a drawing or a photo.

    Args:
        file: Image file.
        shape: [1, side, side] of a drawing, [3, height, width] of a photo.
        decoded: The file's image, if it is decoded already, at `decoded_side` of the shape.

    Raises:
        ImageError: naming the file, if it is absent, damaged, too large or holds NaN.
    """
    image = decode_image(file, decoded_side(shape)) if decoded is None else decoded
    with name_in_errors(file):
        return to_pixels(image, shape)


def decoded_side(shape: Sequence[int]) -> int:
    """Return the least height and width at which JPEGs are decoded for images of a shape."""
    side = max(shape[1:])
    is_photo = InputSpec(tuple(shape)).kind == "photo"
    return side if is_photo else max(MIN_DECODED_SIDE, 2 * side)


def decode_image(file: ImageFile, min_side: int) -> Image.Image:
    """Decode an image file, and rotate it as its EXIF data say; its ``format`` stays.

    Args:
        file: Image file.
        min_side: Least height and width of the result, if the file's image is larger. A JPEG is
            decoded at a reduced size, which saves most of the time; other formats are not.

    Raises:
        ImageError: naming the file, if it is absent, damaged or too large.
    """
    with open_image(file) as image, name_in_errors(file):
        image.draft("RGB", (min_side, min_side))
        upright = to_upright(image)
        upright.format = image.format  # A copy has none.
        return upright


@contextmanager
def open_image(file: ImageFile) -> Iterator[Image.Image]:
    """Open an image file and check its size, but do not decode it.

    Raises:
        ImageError: naming the file, if it is absent, of none of the `IMAGE_FORMATS` or too large.
    """
    # Unlike Path.is_file, os.path.isfile is False for a name that no file can have.
    if isinstance(file, Path) and not os.path.isfile(file):
        if os.path.isdir(file):
            raise ImageError(f"'{file}' must be an image file, but is a folder.")
        if os.path.islink(file):
            raise ImageError(f"'{file}' is a link to an image file that is not there.")
        raise ImageError(f"There is no image file '{file}'.")
    # Pillow warns of files that it can read all the same, and of large sizes, for which our own
    # limits raise errors that name the file.
    with ignore_warnings():
        with name_in_errors(file):
            image = identify_image(file)
        with image:
            with name_in_errors(file):
                check_size(image)
            yield image


def identify_image(file: ImageFile) -> Image.Image:
    """Open an image file by its content.

    Raises:
        UnidentifiedImageError: if it is of no known format.
        ImageError: if it is a HEIC photo, and the package that reads them is not installed.
    """

    def source() -> Path | io.BytesIO:
        return file if isinstance(file, Path) else io.BytesIO(file.data)

    try:
        return Image.open(source(), formats=IMAGE_FORMATS)
    except UnidentifiedImageError:
        if not is_heif(read_head(file)):
            raise
        return Image.open(source(), formats=heif_formats())
    except Image.DecompressionBombError:
        # Pillow's own limit is for images that are decoded in full; a JPEG is not.
        if not read_head(file).startswith(JPEG_MARK):
            raise
        return JpegImagePlugin.JpegImageFile(source())


def read_head(file: ImageFile) -> bytes:
    """Read the first bytes of a file."""
    if isinstance(file, ImageBytes):
        return file.data[:HEAD_BYTES]
    with file.open("rb") as stream:
        return stream.read(HEAD_BYTES)


def decoding_cost(file: ImageFile) -> int:
    """Estimate the cost of decoding an image file from its header, in pixels.

    A pixel of a JPEG counts `REDUCED_COST`. A file that will be refused costs nothing.
    """
    with suppress(ImageError), open_image(file) as image:
        is_reduced = image.format in REDUCED_FORMATS
        return round(image.width * image.height * (REDUCED_COST if is_reduced else 1))
    return 0


def check_size(image: Image.Image) -> None:
    """Check the size of an image before it is decoded.

    Raises:
        ImageError: if it has too many pixels for its format, or a side is too long.
    """
    max_pixels = MAX_IMAGE_PIXELS
    if image.format in REDUCED_FORMATS:
        is_progressive = bool(image.info.get("progressive"))
        max_pixels = MAX_PHOTO_PIXELS if is_progressive else MAX_REDUCED_PIXELS
    elif image.format == HEIF_FORMAT:
        max_pixels = MAX_PHOTO_PIXELS
    elif image.format in COSTLY_FORMATS:
        max_pixels = MAX_COSTLY_PIXELS
    size = f"it has {image.width} x {image.height} pixels"
    if image.width * image.height > max_pixels:
        raise ImageError(f"{size}; at most {max_pixels:,} can be read. Make it smaller")
    if max(image.size) > MAX_IMAGE_SIDE:
        raise ImageError(
            f"{size}; its height and width may be {MAX_IMAGE_SIDE:,} at most. Cut it into pieces"
        )


@contextmanager
def name_in_errors(file: ImageFile) -> Iterator[None]:
    """Turn any error of reading an image file into one that names the file.

    Raises:
        ImageError: naming the file.
    """
    try:
        yield
    except UnidentifiedImageError as error:
        raise ImageError(
            f"'{file}' cannot be read as an image: it has no known format, such as PNG or JPEG, "
            "or its beginning is damaged."
        ) from error
    except Exception as error:  # Pillow's readers raise any exception if a file is damaged.
        raise ImageError(f"'{file}' cannot be read as an image: {error}.") from error


def to_pixels(
    image: Image.Image, shape: Sequence[int]
) -> UInt8[np.ndarray, "channels height width"]:
    """Convert a PIL image to a drawing or a photo (see `drawing_pixels`, `photo_pixels`).

    Args:
        image: The image.
        shape: [1, side, side] of a drawing, [3, height, width] of a photo.

    Raises:
        ImageError: if the image is too large or holds NaN.
    """
    _, height, width = shape
    is_photo = InputSpec(tuple(shape)).kind == "photo"
    return photo_pixels(image, height, width) if is_photo else drawing_pixels(image, height)


def drawing_pixels(image: Image.Image, side: int = 28) -> UInt8[np.ndarray, "1 side side"]:
    """Convert a PIL image to a drawing: ink = 255 on 0, ``side`` x ``side`` pixels.

    Colour, transparency, 16-bit images and EXIF rotation are handled; the first frame of an
    animation is used. Dark ink on light paper gives the same drawing as light ink on dark paper.

    Raises:
        ImageError: if the image is too large or holds NaN.
    """
    gray = _to_gray(to_upright(image), 8 * side)
    if not np.isfinite(gray).all():
        raise ImageError("it holds pixels that are NaN or infinite")
    drawing: np.ndarray = drawings_pixels(gray[None], side)[0]
    return drawing


def photo_pixels(
    image: Image.Image, height: int, width: int
) -> UInt8[np.ndarray, "3 height width"]:
    """Convert a PIL image to a photo, cropped around its centre to the given proportions.

    Gray images become gray photos, transparent pixels become white, and more than 8 bits are
    reduced to 8. EXIF rotation is applied; the first frame of an animation is used.

    Raises:
        ImageError: if the image is too large or holds NaN.
    """
    image = to_8_bits(to_upright(image))
    if image.has_transparency_data:
        image = to_white_background(_shrink(image, 8 * max(height, width)))
    photo = ImageOps.fit(image.convert("RGB"), (width, height), Image.Resampling.BICUBIC)
    return np.array(np.asarray(photo).transpose(2, 0, 1), order="C")


def to_upright(image: Image.Image) -> Image.Image:
    """Apply the rotation that the EXIF data names, and shrink an image of very many pixels.

    Raises:
        ImageError: if the image has no pixels, is closed, or is too large even to be shrunk.
    """
    n_pixels = image.width * image.height
    if not n_pixels:
        raise ImageError(f"it has {image.width} x {image.height} pixels; at least one is needed")
    if n_pixels > MAX_GIVEN_PIXELS or max(image.size) > MAX_IMAGE_SIDE:
        raise ImageError(
            f"it has {image.width} x {image.height} pixels; at most {MAX_GIVEN_PIXELS:,}, and "
            f"{MAX_IMAGE_SIDE:,} for each side, can be read. Make it smaller"
        )
    try:
        image.load()
    except (AssertionError, ValueError) as error:
        if getattr(image, "fp", None) is not None:
            raise
        raise ImageError(
            "it was closed before it was read; open it without 'with', or call its load() first"
        ) from error
    if n_pixels > MAX_IMAGE_PIXELS:
        exif = image.getexif()
        image = image.reduce(math.ceil(math.sqrt(n_pixels / MAX_SHRUNK_PIXELS)))
        image.getexif().update(exif)
    return ImageOps.exif_transpose(image)


def to_white_background(image: Image.Image) -> Image.Image:
    """Put a transparent image on a white background."""
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def to_8_bits(image: Image.Image) -> Image.Image:
    """Convert an image of 16 or 32 bits per pixel to 8 bits.

    White is 65,535 for integers (255 for 32-bit integers if none is larger) and 1 for floats.

    Raises:
        ImageError: if it holds NaN, or numbers outside of that range.
    """
    if not (image.mode in ("I", "F") or image.mode.startswith("I;16")):
        return image
    is_32_bit = image.mode == "I"
    if image.mode == "F":
        pixels = np.asarray(image)
        low, high = float(pixels.min()), float(pixels.max())  # NaN, if there is one.
        white = 1
    else:
        image = image.convert("I")
        low, high = cast(tuple[float, float], image.getextrema())
        white = 255 if is_32_bit and high <= 255 else 65_535
    if not (low >= 0 and high <= white):
        raise ImageError(f"its pixels must lie in 0 to {white}, but lie in {low:g} to {high:g}")
    # Pillow scales in place of NumPy, which needs three times the memory; "L" cuts decimals off.
    return image.point(lambda value: value * (255 / white) + 0.5).convert("L")


def drawings_pixels(
    gray: Num[np.ndarray, "images height width"], side: int = 28
) -> UInt8[np.ndarray, "images 1 side side"]:
    """Convert gray images of any range to drawings: ink = 255 on 0, ``side`` x ``side`` pixels.

    The paper is the median of the border of an image. Ink is the difference from it, dark or light.
    """
    gray = gray.astype(np.float64)
    border = np.concatenate([gray[:, 0], gray[:, -1], gray[:, :, 0], gray[:, :, -1]], 1)
    border.sort(1)  # Several times as fast as np.median, which gives the same.
    middle = border.shape[1] // 2
    paper = (border[:, (border.shape[1] - 1) // 2] + border[:, middle]) / 2
    ink = _to_unit_range(np.abs(gray - paper[:, None, None]))
    if ink.shape[1:] != (side, side):
        ink = np.stack([_to_square(drawing, side) for drawing in ink.astype(np.float32)])
        ink = _to_unit_range(ink)
    pixels: np.ndarray = (255 * ink).round().astype(np.uint8)
    return pixels[:, None]


def _to_unit_range(ink: np.ndarray) -> np.ndarray:
    """Divide the ink of each drawing by its largest value, unless it is blank."""
    largest = ink.max((1, 2), keepdims=True)
    return ink / np.where(largest == 0, 1, largest)


def _to_square(ink: np.ndarray, side: int) -> np.ndarray:
    """Centre ink in a square and resize it."""
    image = Image.fromarray(ink)
    longest = max(image.size)
    square = Image.new("F", (longest, longest), 0.0)
    square.paste(image, ((longest - image.width) // 2, (longest - image.height) // 2))
    square = square.resize((side, side), Image.Resampling.BICUBIC, reducing_gap=None)
    return np.asarray(square).clip(0)


def _to_gray(image: Image.Image, min_side: int) -> np.ndarray:
    """Compute the luminance [height, width]; transparent pixels are white, large images shrunk."""
    if image.mode.startswith("I;16"):
        image = image.convert("I")
    elif image.mode not in ("I", "F") and image.has_transparency_data:
        image = image if image.mode in ("LA", "RGBA") else image.convert("RGBA")
        image = to_white_background(_shrink(image, min_side))
    if image.mode not in ("I", "F"):
        image = image.convert("L")
    return np.asarray(_shrink(image, min_side)).astype(np.float64)


def _shrink(image: Image.Image, min_side: int) -> Image.Image:
    """Average blocks of pixels of a large image, in 8 bits to save memory.

    The longer side is then between ``min_side`` and twice that.
    """
    factor = max(image.size) // min_side
    return image.reduce(factor) if factor > 1 else image
