"""Factors of drawings: each value changes the picture as its name says."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from lgmnet.data.synthetic.drawing_factors import (
    DISTANCE_UNIT,
    FIELD_OFFSET,
    FIELD_STEP,
    INKS,
    MAX_DISTANCE,
    NOISE_DEVIATIONS,
    PEN_WIDTHS,
    PLACES,
    RENDERED_FACTORS,
    SIZES,
    render_drawings,
    signed_distance,
)
from tests.support.random import seeded

NAMES = [factor.name for factor in RENDERED_FACTORS]


@pytest.fixture(scope="module")
def fields() -> Tensor:
    """Distance fields of an upright cross, and of a flag at the top of a pole."""
    ink = torch.zeros(2, 105, 105, dtype=torch.bool)
    ink[0, 20:90, 51:54] = ink[0, 54:57, 20:86] = True
    ink[1, 10:70, 30:33] = ink[1, 10:13, 30:60] = ink[1, 30:33, 30:60] = ink[1, 10:33, 57:60] = True
    return signed_distance(ink)


def render(fields: Tensor, **values: int) -> Tensor:
    """Render each drawing with these values of factors, [drawings, 28, 28] from 0 to 1."""
    row = torch.tensor([[values.get(name, -1) for name in NAMES]]).expand(len(fields), -1)
    return render_drawings(fields, RENDERED_FACTORS, row, seeded())[:, 0].double() / 255


def centre_of_mass(pictures: Tensor) -> Tensor:
    """Compute the centre of mass (x, y) from the middle, as fractions of the picture."""
    at = (torch.arange(28).double() + 0.5) / 28 - 0.5
    x, y = pictures.sum(1) @ at, pictures.sum(2) @ at
    return torch.stack([x, y], 1) / pictures.sum((1, 2))[:, None]


def extent(pictures: Tensor) -> Tensor:
    """Compute the larger side of the ink as a fraction of the picture."""
    sides = [(pictures.amax(dim) > 0.5).sum(1) for dim in (1, 2)]
    return torch.maximum(*sides) / 28


def test_distances_are_those_of_a_search() -> None:
    ink = torch.rand(2, 31, 31, generator=seeded()) < 0.02
    at = torch.cartesian_prod(torch.arange(31), torch.arange(31)).double()
    for picture, field in zip(ink, signed_distance(ink), strict=True):
        marked = picture.flatten()
        to_ink = torch.cdist(at, at[marked]).amin(1).clamp(max=MAX_DISTANCE)
        to_ground = torch.cdist(at, at[~marked]).amin(1).clamp(max=3)
        expected = torch.where(marked, 0.5 - to_ground, to_ink - 0.5)
        found = (field[0].double() - FIELD_OFFSET) / DISTANCE_UNIT
        expected = expected.view(31, 31)[::FIELD_STEP, ::FIELD_STEP]
        torch.testing.assert_close(found, expected, atol=0.5 / DISTANCE_UNIT + 1e-6, rtol=0)


def test_turns_are_turns_of_the_picture(fields: Tensor) -> None:
    upright = render(fields)
    assert torch.equal(render(fields, turn=0), upright)
    for quarter in (1, 2, 3):
        turned = render(fields, turn=quarter)
        # Clockwise, as everyday language has it.
        torch.testing.assert_close(turned, upright.rot90(-quarter, (1, 2)), atol=0.01, rtol=0)
        assert (turned - upright)[1].abs().max() > 0.5


def test_size_is_the_larger_side(fields: Tensor) -> None:
    for value, size in enumerate(SIZES):
        error = extent(render(fields, size=value, thickness=1)) - size
        assert error.abs().max() < 2.1 / 28


def test_place_moves_the_centre_of_mass(fields: Tensor) -> None:
    middle = centre_of_mass(render(fields, size=0))
    for value, place in enumerate(PLACES):
        moved = centre_of_mass(render(fields, size=0, place=value)) - middle
        torch.testing.assert_close(moved, torch.tensor([place] * 2).double(), atol=0.01, rtol=0)


@pytest.mark.parametrize("size", range(len(SIZES)))
def test_thickness_is_the_width_of_the_pen_whatever_the_size(fields: Tensor, size: int) -> None:
    """A straight stroke across a column holds as much ink as the pen is wide."""
    widths = [render(fields[:1], size=size, thickness=v)[0] for v in range(len(PEN_WIDTHS))]
    for picture, pen in zip(widths, PEN_WIDTHS, strict=True):
        # A column of the horizontal bar, off the pole.
        x = 14 + round(SIZES[size] * 28 * 0.36)
        assert float(picture[:, x].sum()) == pytest.approx(pen, abs=0.4)
    assert all(a.sum() < b.sum() for a, b in pairwise(widths))


def test_slant_leans_the_top(fields: Tensor) -> None:
    is_top = (torch.arange(28) < 14).double()[:, None]
    tops = [centre_of_mass(render(fields, slant=v) * is_top)[0, 0] for v in range(3)]
    assert tops[0] < tops[1] - 0.03 < tops[2] - 0.06
    assert torch.equal(render(fields, slant=1), render(fields))


def test_ink_noise_and_polarity_change_gray_levels(fields: Tensor) -> None:
    neutral = render(fields)
    for value, ink in enumerate(INKS):
        torch.testing.assert_close(render(fields, ink=value), neutral * ink, atol=0.003, rtol=0)
    for value, deviation in enumerate(NOISE_DEVIATIONS):
        gray = render(fields, ink=1, noise=value) - render(fields, ink=1)
        # Where the ink is, no value is cut off.
        inside = gray[render(fields, ink=1) > 0.49]
        assert inside.std().item() == pytest.approx(deviation, rel=0.25, abs=1e-3)
    assert torch.equal(render(fields, polarity=0), neutral)
    torch.testing.assert_close(render(fields, polarity=1), 1 - neutral, atol=0.003, rtol=0)


def test_nothing_but_the_ink_is_bright(fields: Tensor) -> None:
    """No edge of a distance field shows, however small and thick the drawing is."""
    for value in range(len(PLACES)):
        picture = render(fields, size=0, thickness=3, place=value, slant=2)
        x, y = (torch.tensor(PLACES[value]) * 28 + 14).tolist()
        at = torch.arange(28) + 0.5
        distance = torch.hypot(at[None, :] - x, at[:, None] - y)
        reach = math.hypot(1.0, 1.7) * SIZES[0] * 28 / 2 + PEN_WIDTHS[3]
        assert picture[:, distance > reach].max() == 0


def test_the_generator_decides_the_noise(fields: Tensor) -> None:
    row = torch.tensor([[3 if name == "noise" else -1 for name in NAMES]] * 2)
    first, again, other = (
        render_drawings(fields, RENDERED_FACTORS, row, seeded(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
