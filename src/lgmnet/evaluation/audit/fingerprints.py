"""Fingerprints of images: exact digests, and similarity under turns, shifts and tone.

A perceptual fingerprint has two stages. The first is the sorted low-frequency spectrum, which no
shift, turn, mirror image, brightness, contrast or inversion changes much; it proposes candidates.
The second aligns two images: the largest correlation over eight turns and mirror images and small
shifts. Correlation ignores brightness and contrast, and its absolute value ignores inversion.
"""

import math
from collections.abc import Iterator
from functools import cache
from hashlib import blake2b

import torch
from jaxtyping import Complex, Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

SIDE = 32
"""Side, in pixels, of the grey images that are compared."""
MAX_FREQUENCY = 8
"""Largest frequency that is compared, in periods per image; JPEG and resizing change higher ones
more."""
ROBUST_FREQUENCY = 5
"""Largest frequency of a second search for candidates, which blur changes less."""
MAX_SHIFT = 2
"""Largest shift in either direction, in pixels, that alignment tries."""
MIN_CONTRAST = 0.5 / 255
"""Standard deviation of the grey values below which an image counts as blank."""
BATCH_SIZE = 2048


def is_image_data(images: Tensor) -> bool:
    """Return True for images [images, channels, height, width] of more than a few pixels."""
    return images.ndim == 4 and images.shape[1] in (1, 3) and min(images.shape[2:]) >= 8


def to_bytes(images: Tensor) -> UInt8[Tensor, "images *feature"] | Tensor:
    """Bring equal pictures to equal bytes: grey levels 0..255, one channel if all are equal.

    Features that are no pictures stay as they are.
    """
    if images.is_floating_point() and is_image_data(images):
        low, high = images.aminmax()
        if low >= 0 and high <= 1:
            images = (images * 255).round().to(torch.uint8)
        elif low >= 0 and high <= 255 and bool((images == images.round()).all()):
            images = images.to(torch.uint8)
    if is_image_data(images) and images.shape[1] == 3:
        parts = images.split(BATCH_SIZE)  # The first batch of a coloured photo set answers.
        if all(bool((part == part[:, :1]).all()) for part in parts):
            return images[:, :1]
    return images


def digest(images: Tensor) -> list[bytes]:
    """Hash each sample to 16 bytes, so that the hashes of millions of images fit into memory."""
    return [blake2b(row.tobytes(), digest_size=16).digest() for row in images.numpy()]


def is_blank(images: Tensor) -> Tensor:
    """Return a mask of the samples whose values are all the same."""
    flat = images.flatten(1)
    return (flat == flat[:, :1]).all(1)


def to_grey(images: Tensor, side: int | None = SIDE) -> Float[Tensor, "images height width"]:
    """Convert images to grey values in 0..1, resized to ``side`` if it is not None."""
    if len(images) > BATCH_SIZE:
        return torch.cat([to_grey(part, side) for part in images.split(BATCH_SIZE)])
    grey = images.float().mean(1, keepdim=True)
    if images.dtype == torch.uint8:
        grey = grey / 255
    if side is not None and grey.shape[-2:] != (side, side):
        is_larger = min(grey.shape[-2:]) >= 2 * side
        grey = (
            F.interpolate(grey, (side, side), mode="area")
            if is_larger
            else F.interpolate(grey, (side, side), mode="bilinear", antialias=True)
        )
    return grey[:, 0]


@cache
def low_frequency_basis() -> Complex[Tensor, "side frequencies"]:
    """Complex exponentials of the frequencies ``-MAX_FREQUENCY..MAX_FREQUENCY``."""
    frequencies = torch.arange(-MAX_FREQUENCY, MAX_FREQUENCY + 1)
    phase = -2 * math.pi / SIDE * torch.arange(SIDE)[:, None] * frequencies
    return torch.polar(torch.ones_like(phase), phase)


@cache
def frequency_orbits(max_frequency: int) -> list[Int[Tensor, " orbit"]]:
    """Group frequencies whose magnitudes turns and mirror images exchange, as flat indices."""
    n, top = 2 * MAX_FREQUENCY + 1, MAX_FREQUENCY
    orbits = []
    for u in range(1, max_frequency + 1):
        for v in range(u + 1):
            if u * u + v * v <= max_frequency**2:
                turned = {(u, v), (u, -v), (v, u), (v, -u)}
                # Opposite frequencies have the same magnitude; one of them counts.
                members = sorted({max((a, b), (-a, -b)) for a, b in turned})
                orbits.append(torch.tensor([(a + top) * n + b + top for a, b in members]))
    return orbits


def spectra(
    grey: Float[Tensor, "images side side"], max_frequency: int
) -> Float[Tensor, "images features"]:
    """Compute the unit-length fingerprint of each image that proposes candidates."""
    basis = low_frequency_basis()
    rows = []
    for part in grey.split(BATCH_SIZE):
        centred = part - part.mean((1, 2), keepdim=True)
        spectrum = (basis.T @ centred.to(basis.dtype) @ basis).abs().flatten(1)
        magnitudes = [spectrum[:, i].sort(1).values for i in frequency_orbits(max_frequency)]
        rows.append(F.normalize(torch.cat(magnitudes, 1), dim=1))
    return torch.cat(rows)


def low_pass(grey: Float[Tensor, "images side side"]) -> Float[Tensor, "images side side"]:
    """Remove the frequencies above `MAX_FREQUENCY`."""
    size = grey.shape[-2:]
    frequencies = [torch.fft.fftfreq(n) * n for n in size]
    radius = frequencies[0][:, None].square() + frequencies[1].square()
    spectrum = torch.fft.fft2(grey) * (radius <= MAX_FREQUENCY**2)
    smooth: Tensor = torch.fft.ifft2(spectrum).real
    return smooth


def turns(images: Tensor) -> Iterator[Tensor]:
    """Yield the eight turns and mirror images of square images, the unchanged ones first."""
    for mirrored in (images, images.flip(-1)):
        for quarters in range(4):
            yield mirrored.rot90(quarters, (-2, -1))


def similarity(
    a: Float[Tensor, "pairs height width"], b: Float[Tensor, "pairs height width"]
) -> Float[Tensor, " pairs"]:
    """Compute the largest correlation of each pair over turns, mirror images and small shifts.

    The middle of ``a`` is compared with equally large windows of ``b``, so that what a shift moves
    out of the picture does not count.
    """
    pairs_at_once = max(1, 2**20 // (a.shape[1] * a.shape[2]))
    parts = zip(a.split(pairs_at_once), b.split(pairs_at_once), strict=True)
    return torch.cat([align(*part) for part in parts])


def align(a: Tensor, b: Tensor) -> Tensor:
    """Compute `similarity` for one batch of pairs, all shifts at once by Fourier transforms."""
    height, width = a.shape[1:]
    window = (height - 2 * MAX_SHIFT, width - 2 * MAX_SHIFT)
    mean, square = (F.avg_pool2d(x[:, None], window, 1)[:, 0] for x in (b, b.square()))
    spread = ((square - mean.square()).clamp_min(0) * window[0] * window[1]).sqrt()
    spectrum = torch.fft.rfft2(b)
    inner = a[:, MAX_SHIFT : MAX_SHIFT + window[0], MAX_SHIFT : MAX_SHIFT + window[1]]
    inner = inner - inner.mean((1, 2), keepdim=True)
    length = inner.square().sum((1, 2)).sqrt()
    scale = (spread * length[:, None, None]).clamp_min(1e-4)
    best = a.new_zeros(len(a))
    for turned in turns(inner) if height == width else (inner, inner.flip(-1)):
        template = torch.fft.rfft2(turned, s=(height, width))
        products = torch.fft.irfft2(spectrum * template.conj(), s=(height, width))
        shifts = products[:, : 2 * MAX_SHIFT + 1, : 2 * MAX_SHIFT + 1]
        best = torch.maximum(best, (shifts / scale).abs().amax((1, 2)))
    return best


def one_of_each_turn(images: UInt8[Tensor, "images channels height width"]) -> Tensor:
    """Return the index of one image for each set of images with the same grey values.

    Turned and mirrored copies, which some splits contain as classes of their own, have the same
    values in another order.
    """
    flat = images.flatten(1)
    sums = []
    for part in flat.split(BATCH_SIZE):
        values = part.int()
        sums.append(torch.stack([values.sum(1), (values * values).sum(1)], 1))
    _, numbers = torch.cat(sums).unique(dim=0, return_inverse=True)
    first = torch.full((int(numbers.max()) + 1,), len(flat))
    return first.scatter_reduce(0, numbers, torch.arange(len(flat)), "amin").sort().values
