"""Synthetic handwritten characters: an unlimited source of tasks that needs no file.

A character is a pure function of its number. A hash turns the number into one to four strokes. Each
stroke is of some kind (a line, a wave, a loop ...) and touches the stroke before it. A drawing of
the character moves every knot a little, slants and scales the whole, and draws it in ink: 28x28
pixels, bright on dark, as in Omniglot.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from lgmnet.data.class_dataset import draw_distinct
from lgmnet.data.task_source import InfiniteSource
from lgmnet.episode import EpisodeShape

CHARACTER_SIDE = 28
MAX_STROKES, MAX_KNOTS = 4, 5
ABSENT_PROBABILITIES = (0.0, 0.2, 0.5, 0.8)
"""Probability of each stroke that a character lacks it."""
KIND_EXPONENTS = (1, 3, 3, 3)
"""Exponent of each stroke; with a larger one it prefers the first, simple kinds of strokes."""
PEN_STEPS = 60
"""Steps of the pen along a stroke; a multiple of 2, 3 and 4, so that no corner is cut off."""
INK_BATCH_SIZE = 64
"""Number of drawings computed at once, small enough for the cache of the CPU."""


class StrokeKind(NamedTuple):
    """Kind of stroke, given by the turns of the pen between its legs."""

    turns: tuple[float, ...]
    """Angle at each inner knot, in degrees."""
    smooth: bool = True
    """True for a spline through the knots, False for straight legs with corners."""
    closed: bool = False
    """True if one more leg leads back to the start."""


STROKE_KINDS = (  # from simple to rich
    StrokeKind((0,)),  # line
    StrokeKind((80,)),  # arc
    StrokeKind((90,), smooth=False),  # corner
    StrokeKind((70, 70)),  # bowl
    StrokeKind((0, 80, 80)),  # hook
    StrokeKind((70, -70)),  # wave
    StrokeKind((90, 50, -90)),  # question mark
    StrokeKind((100, 100, 100)),  # curl
    StrokeKind((90, 90), closed=True),  # loop
    StrokeKind((90, 90), smooth=False),  # cup
    StrokeKind((130, -130), smooth=False),  # zigzag
    StrokeKind((120,), smooth=False, closed=True),  # triangle
)
NO_STROKE = len(STROKE_KINDS)


def spline_matrix(kind: StrokeKind) -> Float[Tensor, "points knots"]:
    """Return the matrix from knots to points of a stroke: Catmull-Rom spline or straight legs."""
    p = list(torch.eye(len(kind.turns) + 2, MAX_KNOTS))
    p = [p[-1], *p, p[0], p[1]] if kind.closed else [2 * p[0] - p[1], *p, 2 * p[-1] - p[-2]]
    legs = len(p) - 3
    time = torch.linspace(0, legs, PEN_STEPS + 1)
    leg = time.long().clamp(max=legs - 1)
    t = (time - leg)[:, None]
    a, b, c, d = (torch.stack(p)[leg + i] for i in range(4))
    if not kind.smooth:
        return b + t * (c - b)
    return b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))


TURNS = pad_sequence(
    [torch.tensor(kind.turns).deg2rad() for kind in STROKE_KINDS], batch_first=True
)
# The last matrix is that of NO_STROKE: all points coincide, and a pen at rest leaves no ink.
SPLINES = torch.stack([*map(spline_matrix, STROKE_KINDS), torch.zeros(PEN_STEPS + 1, MAX_KNOTS)])


class SyntheticCharacters(InfiniteSource):
    """Synthetic characters: each split has 2^40 of its own, and every sample is a new drawing.

    Raises:
        ConfigError: if there is no such split.
    """

    name = "strokes"
    feature_shape: tuple[int, ...] = (1, CHARACTER_SIDE, CHARACTER_SIDE)
    dtype = torch.uint8

    def draw(self, shape: EpisodeShape, generator: torch.Generator, out: Tensor) -> None:
        """Draw new tasks into ``out`` (see `TaskSource`)."""
        numbers = draw_distinct(shape.tasks, len(self.class_names), shape.way, generator).flatten()
        kinds, knots = make_characters(numbers + self.class_names.start)
        rows = torch.arange(len(numbers))
        rows = torch.cat([rows.repeat_interleave(shape.shot), rows.repeat_interleave(shape.query)])
        knots = vary_handwriting(knots[rows], generator)
        pens = 0.52 * (0.1 * torch.randn(len(rows), generator=generator)).exp()
        for start in range(0, len(rows), INK_BATCH_SIZE):
            batch = slice(start, start + INK_BATCH_SIZE)
            out[batch, 0] = draw_ink(SPLINES[kinds[rows[batch]]] @ knots[batch], pens[batch])


def make_characters(
    ids: Int[Tensor, "characters"],
) -> tuple[Int[Tensor, "characters strokes"], Float[Tensor, "characters strokes knots 2"]]:
    """Compute the kinds and the knots of the strokes of characters; knots fill -1..1."""
    u = hash_to_uniforms(ids, MAX_STROKES * 12).view(-1, MAX_STROKES, 12)
    kinds = (u[..., 0] ** torch.tensor(KIND_EXPONENTS) * len(STROKE_KINDS)).long()
    # The pen starts near one of eight directions, and turns left or right.
    heading = math.tau / 8 * ((8 * u[..., 1:2]).floor() + 0.4 * (u[..., 2:3] - 0.5))
    turns = TURNS[kinds] * (u[..., 3:4] - 0.5).sign() * (0.75 + 0.5 * u[..., 4:5])
    legs = torch.polar(0.5 + u[..., 5:9], torch.cat([heading, turns], -1).cumsum(-1))
    knots = torch.view_as_real(pad(legs.cumsum(-1), (1, 0)))
    kinds[u[:, :1, 9] < torch.tensor(ABSENT_PROBABILITIES)] = NO_STROKE

    # Each stroke touches the one before and the one after it at a random point, often at an end.
    points = SPLINES[kinds] @ knots
    step = (PEN_STEPS * (3 * u[..., 10:] - 1).clamp(0, 1)).long()
    here, there = points.gather(2, step[..., None].expand(-1, -1, -1, 2)).unbind(2)
    shift = pad(there[:, :-1] - here[:, 1:], (0, 0, 1, 0)).cumsum(1)
    knots = knots + shift[:, :, None]

    low, high = (SPLINES[kinds] @ knots).flatten(1, 2).aminmax(dim=1)
    middle, radius = (low + high) / 2, (high - low).amax(1) / 2
    return kinds, (knots - middle[:, None, None]) / radius[:, None, None, None]


def vary_handwriting(
    knots: Float[Tensor, "drawings strokes knots 2"], generator: torch.Generator
) -> Float[Tensor, "drawings strokes knots 2"]:
    """Draw random handwriting: move knots and strokes, then slant, scale and place, in pixels."""

    def noise(*shape: int) -> Tensor:
        return torch.randn(len(knots), *shape, generator=generator)

    knots = knots + 0.07 * noise(MAX_STROKES, MAX_KNOTS, 2) + 0.07 * noise(MAX_STROKES, 1, 2)
    slant = torch.eye(2) + 0.13 * noise(1, 2, 2)
    size = 8.5 * (0.08 * noise(1, 1, 1)).exp()
    return size * (knots @ slant) + (CHARACTER_SIDE - 1) / 2 + noise(1, 1, 2)


def draw_ink(
    points: Float[Tensor, "drawings strokes points 2"], pens: Float[Tensor, "drawings"]
) -> UInt8[Tensor, "drawings 28 28"]:
    """Draw ink along points; pens are standard deviations, and both are in pixels.

    Every step leaves a Gaussian of ink at its middle, weighted by the length of the step, so that
    fast and slow strokes are equally dark. A Gaussian is a product of one in x and one in y, so the
    sum over all steps is a matrix product.
    """
    start, end = points[:, :, :-1].flatten(1, 2), points[:, :, 1:].flatten(1, 2)
    offset = ((start + end) / 2)[..., None] - torch.arange(CHARACTER_SIDE)
    power = offset.square_().mul_(-0.5 / pens[:, None, None, None] ** 2)
    # Exponents below -30 leave no visible ink, but would give denormal numbers, which are slow.
    x, y = power.clamp_(min=-30).exp_().unbind(2)
    # Along a line the ink adds up to 1.25 and is clamped to 1: a bright core with a gray edge.
    length = torch.hypot(*(end - start).unbind(-1))
    weight = 1.25 / math.sqrt(math.tau) * length / pens[:, None]
    image = (y * weight[..., None]).mT @ x
    return image.clamp_(max=1).mul_(255).round_().to(torch.uint8)


def hash_to_uniforms(ids: Int[Tensor, "ids"], n: int) -> Float[Tensor, "ids n"]:
    """Return ``n`` hashed numbers in 0..1 for each id: SplitMix64, seeded with the mixed id."""
    counters = mix_bits(ids)[:, None] + GOLDEN * torch.arange(1, n + 1)
    return (mix_bits(counters) >> 40 & 0xFFFFFF) / 2**24


def mix_bits(z: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """Apply the mixing function of SplitMix64 (Steele et al., 2014) in wrapping 64-bit numbers."""
    z = (z ^ (z >> 30 & (1 << 34) - 1)) * MIX_1
    z = (z ^ (z >> 27 & (1 << 37) - 1)) * MIX_2
    return z ^ (z >> 31 & (1 << 33) - 1)


# As int64, because torch cannot multiply uint64.
GOLDEN, MIX_1, MIX_2 = (
    c - (1 << 64) for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)
