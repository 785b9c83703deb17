"""Factors of photos: mirror, turn, zoom, place, blur, brightness, colour cast, frame and so on.

Photos are rendered at 128x128 pixels. A photo in which nothing varies stays as it is, apart from
its size. The changes are made in the order in which `render_photos` lists them.
"""

import io
import math

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from lgmnet.data.synthetic.criteria import Factor, factor_column

PHOTO_SIDE = 128
"""Side of a rendered photo in pixels."""
GROUND = 0.5
"""Gray of the ground around a photo that does not fill the picture, 0 to 1."""

MIRROR = Factor("mirror", ("as it is", "mirrored"), aspect="turn")
TURN = Factor("turn", ("upright", "quarter turn", "half turn", "three quarter turn"), aspect="turn")
TURN_DEGREES = (0.0, 90.0, 180.0, 270.0)
ZOOM = Factor(
    "zoom", ("whole", "near", "nearer", "nearest"), is_held_out=True, aspect="place and size"
)
ZOOMS = (1.0, 1.5, 2.25, 3.4)
"""Magnification of the middle of the photo."""
PLACE = Factor(
    "place",
    ("centre", "top left", "top right", "bottom left", "bottom right"),
    aspect="place and size",
)
PLACES = ((0.0, 0.0), (-0.2, -0.2), (0.2, -0.2), (-0.2, 0.2), (0.2, 0.2))
"""Shift to the right and down, as a fraction of the picture."""
PLACED_SIZE = 0.6
"""Side of a photo that has a place, as a fraction of the picture."""
BLUR = Factor("blur", ("sharp", "soft", "blurred", "very blurred"), aspect="texture")
BLUR_DEVIATIONS = (0.0, 2.0, 4.0, 8.0)
"""Standard deviation of the blur in pixels."""
BRIGHTNESS = Factor(
    "brightness",
    ("very dark", "dark", "as it is", "bright", "very bright"),
    aspect="colour and brightness",
)
BRIGHTNESSES = (-0.6, -0.33, 0.0, 0.33, 0.6)
"""Mixture with black (negative) or white (positive)."""
CAST = Factor(
    "colour-cast",
    ("none", "red", "green", "blue", "yellow"),
    is_held_out=True,
    aspect="colour and brightness",
)
CASTS = (
    (1.0, 1.0, 1.0),
    (1.35, 0.8, 0.8),
    (0.8, 1.25, 0.8),
    (0.8, 0.9, 1.45),
    (1.2, 1.1, 0.5),
)
"""Factors of red, green and blue."""
FRAME = Factor(
    "frame",
    ("none", "black", "gold", "red", "blue"),
    is_held_out=True,
    aspect="colour and brightness",
)
FRAMES = ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.9, 0.7, 0.1), (0.75, 0.1, 0.1), (0.1, 0.2, 0.7))
FRAME_WIDTH = 8
"""Width of a frame in pixels."""
COMPRESSION = Factor("compression", ("none", "little", "strong", "extreme"), aspect="texture")
QUALITIES = (0, 14, 7, 3)
"""Quality of the JPEG file, 0 for no compression."""
NOISE = Factor("noise", ("none", "little", "some", "much"), aspect="texture")
NOISE_DEVIATIONS = (0.0, 0.06, 0.13, 0.27)
"""Standard deviation of the noise."""

RENDERED_FACTORS = (
    MIRROR,
    TURN,
    ZOOM,
    PLACE,
    BLUR,
    BRIGHTNESS,
    CAST,
    FRAME,
    COMPRESSION,
    NOISE,
)
"""Factors that rendering decides; class and superclass are those of the photo."""


def render_photos(
    photos: UInt8[Tensor, "photos 3 height width"],
    factors: tuple[Factor, ...],
    values: Int[Tensor, "photos factors"],
    generator: torch.Generator,
) -> UInt8[Tensor, "photos 3 128 128"]:
    """Render photos with given values of the factors.

    Args:
        photos: Square photos, which are first brought to 128x128 pixels.
        factors: Factors of the columns, among them all of `RENDERED_FACTORS`.
        values: Value of each factor; a negative one leaves the photo as it is.
        generator: CPU generator of the noise.
    """

    def column(factor: Factor) -> Tensor:
        return values[:, factor_column(factors, factor.name)].long()

    def look_up(factor: Factor, parameters: tuple[float, ...], neutral: float) -> Tensor:
        return torch.tensor((*parameters, neutral))[column(factor)]  # The last is that of -1.

    pictures = photos.float() / 255
    if pictures.shape[2] != PHOTO_SIDE:
        size = [PHOTO_SIDE, PHOTO_SIDE]
        pictures = F.interpolate(pictures, size, mode="bicubic", antialias=True).clamp_(0, 1)
    pictures = move(
        pictures,
        is_mirrored=column(MIRROR) == 1,
        turn=look_up(TURN, TURN_DEGREES, 0.0),
        zoom=look_up(ZOOM, ZOOMS, 1.0),
        size=torch.where(column(PLACE) >= 0, PLACED_SIZE, 1.0),
        right=look_up(PLACE, tuple(x for x, _ in PLACES), 0.0),
        down=look_up(PLACE, tuple(y for _, y in PLACES), 0.0),
    )
    for value, deviation in enumerate(BLUR_DEVIATIONS):
        if deviation and len(chosen := (column(BLUR) == value).nonzero().flatten()):
            pictures[chosen] = blur(pictures[chosen], deviation)
    amount = look_up(BRIGHTNESS, BRIGHTNESSES, 0.0)[:, None, None, None]
    pictures = torch.where(amount == 0, pictures, pictures.lerp((amount > 0).float(), amount.abs()))
    casts = torch.tensor([*CASTS, CASTS[0]])[column(CAST)]
    pictures = (pictures * casts[:, :, None, None]).clamp_(0, 1)
    framed = (column(FRAME) > 0).nonzero().flatten()
    colours = torch.tensor(FRAMES)[column(FRAME)[framed]][:, :, None, None]
    inner = pictures[framed][:, :, FRAME_WIDTH:-FRAME_WIDTH, FRAME_WIDTH:-FRAME_WIDTH]
    pictures[framed] = colours.expand(-1, -1, PHOTO_SIDE, PHOTO_SIDE)
    pictures[framed, :, FRAME_WIDTH:-FRAME_WIDTH, FRAME_WIDTH:-FRAME_WIDTH] = inner
    qualities = look_up(COMPRESSION, tuple(map(float, QUALITIES)), 0.0).int()
    for i in (qualities > 0).nonzero().flatten().tolist():
        pictures[i] = compress(pictures[i], int(qualities[i]))
    deviations = look_up(NOISE, NOISE_DEVIATIONS, 0.0)
    noisy = (deviations > 0).nonzero().flatten()
    noise = torch.randn(len(noisy), *pictures.shape[1:], generator=generator)
    pictures[noisy] += deviations[noisy, None, None, None] * noise
    return pictures.clamp_(0, 1).mul_(255).round_().to(torch.uint8)


def move(
    pictures: Float[Tensor, "photos 3 side side"],
    *,
    is_mirrored: Tensor,
    turn: Tensor,
    zoom: Tensor,
    size: Tensor,
    right: Tensor,
    down: Tensor,
) -> Float[Tensor, "photos 3 side side"]:
    """Mirror pictures, turn and zoom them, shrink them to a size and put them in a place.

    All arguments have one number for each picture: angles in degrees, sizes and shifts as fractions
    of the picture. The ground around a picture that does not fill the whole is gray.
    """
    is_moved = is_mirrored | (turn != 0) | (zoom != 1) | (size != 1)
    moved = is_moved.nonzero().flatten()
    if not len(moved):
        return pictures
    angle, mirror = turn[moved] * (math.pi / 180), 1 - 2 * is_mirrored[moved].float()
    # Of the picture on the ground, then of what it shows.
    scale, shift = 1 / size[moved], torch.stack([2 * right[moved], 2 * down[moved]], 1)
    zero, one = torch.zeros_like(scale), torch.ones_like(scale)
    place = torch.stack([scale, zero, -scale * shift[:, 0], zero, scale, -scale * shift[:, 1]], 1)
    shape = [len(moved), *pictures.shape[1:]]
    on_ground = F.affine_grid(place.view(-1, 2, 3), shape, align_corners=False)
    cos, sin = angle.cos() / zoom[moved], angle.sin() / zoom[moved]
    turned = torch.stack([mirror * cos, mirror * sin, -sin, cos], 1).view(-1, 1, 2, 2)
    shown = (on_ground.flatten(1, 2)[:, :, None] * turned).sum(-1).view(on_ground.shape)
    content = F.grid_sample(pictures[moved], shown, padding_mode="border", align_corners=False)
    is_ground = (on_ground.abs() > one.view(-1, 1, 1, 1)).any(-1)[:, None]
    pictures = pictures.clone()
    pictures[moved] = torch.where(is_ground, GROUND, content)
    return pictures


def blur(
    pictures: Float[Tensor, "photos 3 side side"], deviation: float
) -> Float[Tensor, "photos 3 side side"]:
    """Blur pictures with a Gaussian, first along the rows and then along the columns."""
    radius = math.ceil(3 * deviation)
    kernel = (-0.5 * (torch.arange(-radius, radius + 1) / deviation) ** 2).exp()
    kernel = (kernel / kernel.sum()).expand(3, 1, 1, -1)
    pictures = F.pad(pictures, (radius,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(pictures, kernel, groups=3), kernel.mT, groups=3)


def compress(picture: Float[Tensor, "3 side side"], quality: int) -> Float[Tensor, "3 side side"]:
    """Write a picture as a JPEG file of a quality and read it."""
    pixels = (picture.movedim(0, 2) * 255).round().to(torch.uint8).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    with Image.open(file) as image:
        return torch.from_numpy(np.array(image)).movedim(2, 0) / 255
