"""Factors of drawings: turn, size, place, thickness, slant, ink, noise and polarity.

A drawing is kept as its signed distance field (Green, "Improved Alpha-Tested Magnification", 2007):
the distance of every point to the edge of the ink. So a drawing can be drawn at any size and with a
pen of any width, without jagged lines.
"""

import math

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from lgmnet.data.synthetic.criteria import Factor, factor_column

DRAWING_SIDE = 28
"""Side of a rendered drawing in pixels."""
FIELD_STEP = 2
"""Pixels of the original drawing for each pixel of its distance field."""
MAX_DISTANCE = 26
"""Largest distance in a field, in pixels of the original drawing."""
PEN_RADIUS = 1.5
"""Half of the width of the strokes of the original drawings, in pixels."""
DISTANCE_UNIT = 8
"""Steps of a pixel in a stored field."""
FIELD_OFFSET = 32
"""Value of a stored field on the edge of the ink."""
MIN_EXTENT = 40.0
"""Smallest extent of a drawing in pixels, so that a dot does not become a disc."""

TURN = Factor("turn", ("upright", "quarter turn", "half turn", "three quarter turn"), aspect="turn")
TURN_DEGREES = (0.0, 90.0, 180.0, 270.0)
SIZE = Factor("size", ("tiny", "small", "medium", "large"), aspect="place and size")
SIZES = (0.32, 0.45, 0.64, 0.90)
"""Larger side of the drawing, as a fraction of the picture."""
NEUTRAL_SIZE = 0.64
PLACE = Factor(
    "place",
    ("centre", "top left", "top right", "bottom left", "bottom right"),
    aspect="place and size",
)
PLACES = ((0.0, 0.0), (-0.19, -0.19), (0.19, -0.19), (-0.19, 0.19), (0.19, 0.19))
"""Shift to the right and down, as a fraction of the picture."""
THICKNESS = Factor(
    "thickness", ("hairline", "thin", "thick", "very thick"), is_held_out=True, aspect="strokes"
)
PEN_WIDTHS = (0.6, 1.3, 2.2, 3.4)
"""Width of the pen in pixels."""
NEUTRAL_PEN_WIDTH = 1.5
SLANT = Factor(
    "slant", ("to the left", "upright", "to the right"), is_held_out=True, aspect="strokes"
)
SHEARS = (-0.7, 0.0, 0.7)
"""Shift to the right for each unit of height."""
INK = Factor("ink", ("faint", "pale", "strong", "full"), aspect="brightness")
INKS = (0.3, 0.5, 0.75, 1.0)
"""Brightness of the ink on a dark ground."""
NOISE = Factor("noise", ("none", "little", "some", "much"), aspect="texture")
NOISE_DEVIATIONS = (0.0, 0.07, 0.15, 0.30)
"""Standard deviation of the noise."""
POLARITY = Factor("polarity", ("bright on dark", "dark on bright"), aspect="brightness")

RENDERED_FACTORS = (TURN, SIZE, PLACE, THICKNESS, SLANT, INK, NOISE, POLARITY)
"""Factors that rendering decides; character and alphabet are those of the drawing."""


def signed_distance(
    ink: Bool[Tensor, "drawings height width"],
) -> UInt8[Tensor, "drawings 1 field_height field_width"]:
    """Compute the signed distance fields of drawings, at every second pixel.

    The distance is negative in the ink. It is exact between -3 and `MAX_DISTANCE` pixels, and
    stored as ``FIELD_OFFSET + DISTANCE_UNIT * distance``.
    """
    outside = distance_to(ink, MAX_DISTANCE)
    inside = distance_to(~ink, 3)
    # Half a pixel for each of the two, because the edge lies between two pixels.
    distance = outside - inside - torch.where(outside > 0, 0.5, -0.5)
    stored = FIELD_OFFSET + DISTANCE_UNIT * distance
    return stored.round_().clamp_(0, 255).to(torch.uint8)[:, None]


def distance_to(
    marked: Bool[Tensor, "drawings height width"], limit: int
) -> Float[Tensor, "drawings field_height field_width"]:
    """Compute the distance to the nearest marked pixel, at every second pixel, up to a limit."""
    height, width = marked.shape[1:]
    at = torch.arange(width, dtype=torch.int16)
    far = torch.tensor(4 * width, dtype=torch.int16)
    left = torch.where(marked, at, -far).cummax(2).values
    right = torch.where(marked, at, far).flip(2).cummin(2).values.flip(2)
    along = torch.minimum(at - left, right - at)[:, :, ::FIELD_STEP].clamp_(max=limit)
    # The squares are at most twice the square of the limit, so 16 bits hold them.
    squares = F.pad(along.square_(), (0, 0, limit, limit), value=limit**2)
    nearest = torch.full_like(along[:, ::FIELD_STEP], limit**2)
    for offset in range(-limit, limit + 1):
        first = limit + offset
        window = squares[:, first : first + height : FIELD_STEP]
        nearest = torch.minimum(nearest, window + offset**2)
    return nearest.float().sqrt_()


def measure_extent(
    fields: UInt8[Tensor, "drawings 1 height width"],
) -> tuple[Float[Tensor, "drawings 2"], Float[Tensor, " drawings"]]:
    """Measure the centre (x, y) and the larger side of the ink, in pixels of the field."""
    is_ink = fields[:, 0] <= FIELD_OFFSET
    bounds = []
    for dim in (1, 2):
        on_axis = is_ink.any(dim)
        at = torch.arange(on_axis.shape[1])
        low = torch.where(on_axis, at, on_axis.shape[1]).amin(1)
        bounds.append(torch.stack([low, torch.where(on_axis, at, -1).amax(1)], 1).float())
    x, y = bounds
    side = torch.maximum(x[:, 1] - x[:, 0], y[:, 1] - y[:, 0]) + 1
    return torch.stack([x.mean(1), y.mean(1)], 1), side.clamp(min=MIN_EXTENT / FIELD_STEP)


def render_drawings(
    fields: UInt8[Tensor, "drawings 1 height width"],
    factors: tuple[Factor, ...],
    values: Int[Tensor, "drawings factors"],
    generator: torch.Generator,
) -> UInt8[Tensor, "drawings 1 28 28"]:
    """Render drawings with given values of the factors.

    Args:
        fields: Signed distance fields of the drawings.
        factors: Factors of the columns, among them all of `RENDERED_FACTORS`.
        values: Value of each factor; a negative one stands for the neutral look.
        generator: CPU generator of the noise.
    """

    def look_up(factor: Factor, parameters: tuple[float, ...], neutral: float) -> Tensor:
        column = values[:, factor_column(factors, factor.name)].long()
        return torch.tensor((*parameters, neutral))[column]  # The last one is that of -1.

    turn = look_up(TURN, TURN_DEGREES, 0.0) * (math.pi / 180)
    shear = look_up(SLANT, SHEARS, 0.0)
    pen = look_up(THICKNESS, PEN_WIDTHS, NEUTRAL_PEN_WIDTH)
    right = look_up(PLACE, tuple(x for x, _ in PLACES), 0.0)
    down = look_up(PLACE, tuple(y for _, y in PLACES), 0.0)
    centre, extent = measure_extent(fields)
    # Size of a pixel of the picture in pixels of the field.
    scale = extent / (DRAWING_SIDE * look_up(SIZE, SIZES, NEUTRAL_SIZE))
    at = torch.arange(DRAWING_SIDE) - (DRAWING_SIDE - 1) / 2
    y = (at[:, None] - DRAWING_SIDE * down[:, None, None]).expand(-1, -1, DRAWING_SIDE)
    x = (at[None, :] - DRAWING_SIDE * right[:, None, None]) + shear[:, None, None] * y
    cos, sin = (scale * turn.cos())[:, None, None], (scale * turn.sin())[:, None, None]
    points = torch.stack([cos * x + sin * y, cos * y - sin * x], -1) + centre[:, None, None]
    side = torch.tensor([fields.shape[3], fields.shape[2]])
    grid = (2 * points + 1) / side - 1
    field = (fields.float() - FIELD_OFFSET) / (DISTANCE_UNIT * FIELD_STEP)
    # From outside the field, as far from the ink as its edge is and farther.
    field = F.grid_sample(field, grid, padding_mode="border", align_corners=False)
    beyond = (grid.abs() - 1).clamp(min=0).norm(dim=-1)[:, None] * fields.shape[3] / 2
    from_middle = (field + beyond + PEN_RADIUS / FIELD_STEP) / scale.view(-1, 1, 1, 1)
    half = pen.view(-1, 1, 1, 1) / 2
    # A pen thinner than a pixel covers only a part of it.
    picture = (half + 0.5 - from_middle).clamp_(0, 1) * (2 * half).clamp(max=1)
    picture *= look_up(INK, INKS, 1.0).view(-1, 1, 1, 1)
    is_dark = look_up(POLARITY, (0.0, 1.0), 0.0).view(-1, 1, 1, 1) == 1
    picture = torch.where(is_dark, 1 - picture, picture)
    deviation = look_up(NOISE, NOISE_DEVIATIONS, 0.0).view(-1, 1, 1, 1)
    noise = torch.randn(picture.shape, generator=generator)
    return (picture + deviation * noise).clamp_(0, 1).mul_(255).round_().to(torch.uint8)
