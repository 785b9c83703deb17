"""Characters invented on the spot: a source of tasks without end that needs no file.

A character is a pure function of its number, which a hash turns into one to four strokes, each of
some kind (a line, a wave, a loop ...) and touching the stroke before it. A writer then moves every
knot a little, slants and sizes the whole, and inks it: 28x28 and bright on dark, like Omniglot.
"""

from __future__ import annotations

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

SIDE = 28
STROKES, KNOTS = 4, 5
ABSENT = (0.0, 0.2, 0.5, 0.8)
"""Chance of each stroke that a character does without it."""
SIMPLE = (1, 3, 3, 3)
"""How strongly each stroke prefers the kinds that stand first."""
STEPS = 60
"""Steps of the pen along a stroke; a multiple of 2, 3 and 4 legs, so that no corner is cut."""
CHUNK = 64
"""Drawings inked at once, so few that the work stays in the processor's cache."""


class Kind(NamedTuple):
    """A kind of stroke: how the pen turns from leg to leg."""

    turns: tuple[float, ...]
    """Degrees turned at each inner knot."""
    smooth: bool = True
    """A spline through the knots, or straight legs and corners."""
    closed: bool = False
    """Whether one more leg leads back to the start."""


KINDS = (  # from simple to rich
    Kind((0,)),  # line
    Kind((80,)),  # arc
    Kind((90,), smooth=False),  # corner
    Kind((70, 70)),  # bowl
    Kind((0, 80, 80)),  # hook
    Kind((70, -70)),  # wave
    Kind((90, 50, -90)),  # question mark
    Kind((100, 100, 100)),  # curl
    Kind((90, 90), closed=True),  # loop
    Kind((90, 90), smooth=False),  # cup
    Kind((130, -130), smooth=False),  # zigzag
    Kind((120,), smooth=False, closed=True),  # triangle
)
NO_STROKE = len(KINDS)


def spline(kind: Kind) -> Float[Tensor, "points knots"]:
    """The matrix that takes the knots of a stroke to points along it: Catmull-Rom, or straight."""
    p = list(torch.eye(len(kind.turns) + 2, KNOTS))
    p = [p[-1], *p, p[0], p[1]] if kind.closed else [2 * p[0] - p[1], *p, 2 * p[-1] - p[-2]]
    legs = len(p) - 3
    time = torch.linspace(0, legs, STEPS + 1)
    leg = time.long().clamp(max=legs - 1)
    t = (time - leg)[:, None]
    a, b, c, d = (torch.stack(p)[leg + i] for i in range(4))
    if not kind.smooth:
        return b + t * (c - b)
    return b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))


TURNS = pad_sequence([torch.tensor(kind.turns).deg2rad() for kind in KINDS], batch_first=True)
# The last is NO_STROKE: all its points are one, and a pen at rest leaves no ink.
SPLINES = torch.stack([*map(spline, KINDS), torch.zeros(STEPS + 1, KNOTS)])


class SyntheticCharacters(InfiniteSource):
    """2^40 characters to a split, each of them drawn afresh whenever it is seen.

    Args:
        split: ``train``, ``val`` or ``test``; the numbers of their characters are ranges apart.

    Raises:
        ConfigError: if there is no such split.
    """

    name = "strokes"
    feature_shape: tuple[int, ...] = (1, SIDE, SIDE)
    dtype = torch.uint8

    def draw(self, shape: EpisodeShape, generator: torch.Generator, out: Tensor) -> None:
        """Draw fresh tasks into ``out`` (see `TaskSource`)."""
        picks = draw_distinct(shape.tasks, len(self.class_names), shape.way, generator).flatten()
        kinds, knots = characters(picks + self.class_names.start)
        row = torch.arange(len(picks))
        row = torch.cat([row.repeat_interleave(shape.shot), row.repeat_interleave(shape.query)])
        knots = handwrite(knots[row], generator)
        pens = 0.52 * (0.1 * torch.randn(len(row), generator=generator)).exp()
        for start in range(0, len(row), CHUNK):
            at = slice(start, start + CHUNK)
            out[at, 0] = ink(SPLINES[kinds[row[at]]] @ knots[at], pens[at])


def characters(
    ids: Int[Tensor, "characters"],
) -> tuple[Int[Tensor, "characters strokes"], Float[Tensor, "characters strokes knots 2"]]:
    """The characters of these numbers: the kinds of their strokes, and knots that fill -1..1."""
    u = uniforms(ids, STROKES * 12).view(-1, STROKES, 12)
    kinds = (u[..., 0] ** torch.tensor(SIMPLE) * len(KINDS)).long()
    # The pen sets off near one of the eight winds, and turns either way.
    heading = math.tau / 8 * ((8 * u[..., 1:2]).floor() + 0.4 * (u[..., 2:3] - 0.5))
    turns = TURNS[kinds] * (u[..., 3:4] - 0.5).sign() * (0.75 + 0.5 * u[..., 4:5])
    legs = torch.polar(0.5 + u[..., 5:9], torch.cat([heading, turns], -1).cumsum(-1))
    knots = torch.view_as_real(pad(legs.cumsum(-1), (1, 0)))
    kinds[u[:, :1, 9] < torch.tensor(ABSENT)] = NO_STROKE

    # Somewhere on each stroke, often at an end, it touches the one before and the one after it.
    points = SPLINES[kinds] @ knots
    step = (STEPS * (3 * u[..., 10:] - 1).clamp(0, 1)).long()
    here, there = points.gather(2, step[..., None].expand(-1, -1, -1, 2)).unbind(2)
    shift = pad(there[:, :-1] - here[:, 1:], (0, 0, 1, 0)).cumsum(1)
    knots = knots + shift[:, :, None]

    low, high = (SPLINES[kinds] @ knots).flatten(1, 2).aminmax(dim=1)
    middle, radius = (low + high) / 2, (high - low).amax(1) / 2
    return kinds, (knots - middle[:, None, None]) / radius[:, None, None, None]


def handwrite(
    knots: Float[Tensor, "drawings strokes knots 2"], generator: torch.Generator
) -> Float[Tensor, "drawings strokes knots 2"]:
    """A drawing of each of these characters, in pixels: knots and strokes astray, all aslant."""

    def noise(*shape: int) -> Tensor:
        return torch.randn(len(knots), *shape, generator=generator)

    knots = knots + 0.07 * noise(STROKES, KNOTS, 2) + 0.07 * noise(STROKES, 1, 2)
    slant = torch.eye(2) + 0.13 * noise(1, 2, 2)
    size = 8.5 * (0.08 * noise(1, 1, 1)).exp()
    return size * (knots @ slant) + (SIDE - 1) / 2 + noise(1, 1, 2)


def ink(
    points: Float[Tensor, "drawings strokes points 2"], pens: Float[Tensor, "drawings"]
) -> UInt8[Tensor, "drawings 28 28"]:
    """Draw along these points, in pixels, with pens of these widths (standard deviations).

    Every step leaves a Gaussian of ink at its middle, as much as the step is long, so that fast and
    slow strokes are equally dark. A Gaussian is a product of one in x and one in y, which makes the
    sum over all steps a matrix product.
    """
    start, end = points[:, :, :-1].flatten(1, 2), points[:, :, 1:].flatten(1, 2)
    away = ((start + end) / 2)[..., None] - torch.arange(SIDE)
    power = away.square_().mul_(-0.5 / pens[:, None, None, None] ** 2)
    # Powers below -30 are no ink either way, but would make denormal numbers, which are slow.
    x, y = power.clamp_(min=-30).exp_().unbind(2)
    # Along a line the ink adds up to 1.25, clamped to 1: a bright core with a grey edge.
    length = torch.hypot(*(end - start).unbind(-1))
    weight = 1.25 / math.sqrt(math.tau) * length / pens[:, None]
    image = (y * weight[..., None]).mT @ x
    return image.clamp_(max=1).mul_(255).round_().to(torch.uint8)


def uniforms(ids: Int[Tensor, "ids"], n: int) -> Float[Tensor, "ids n"]:
    """``n`` hashed numbers of 0..1 for each id: SplitMix64, seeded with the mixed id."""
    counters = mix(ids)[:, None] + GOLDEN * torch.arange(1, n + 1)
    return (mix(counters) >> 40 & 0xFFFFFF) / 2**24


def mix(z: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """The mixing function of SplitMix64 (Steele et al., 2014), in wrapping 64-bit arithmetic."""
    z = (z ^ (z >> 30 & (1 << 34) - 1)) * MIX_1
    z = (z ^ (z >> 27 & (1 << 37) - 1)) * MIX_2
    return z ^ (z >> 31 & (1 << 33) - 1)


# As int64, which is what torch can multiply.
GOLDEN, MIX_1, MIX_2 = (
    c - (1 << 64) for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)
