"""Tasks by criterion over drawings: kept apart by split, and decided by the criterion alone."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lgmnet.data.datasets.omniglot import omniglot
from lgmnet.data.sampler import Sampler
from lgmnet.data.synthetic.criterion_drawings import (
    BITS_ARCHIVE,
    CONTENT_FACTORS,
    DRAWING_CRITERIA,
    DRAWING_SPLITS,
    CriterionDrawings,
)
from lgmnet.data.task_source import TaskSource, shares_classes
from lgmnet.episode import EpisodeShape
from lgmnet.errors import ConfigError, DataError, EpisodeError
from lgmnet.evaluation.audit import audit
from tests.support.criteria import dependence
from tests.support.models import tiny_model
from tests.support.random import seeded

pytestmark = pytest.mark.pack("omniglot105")
HELD_OUT = ("thickness", "slant")


@cache
def open_drawings(split: str, criterion: str | None = None) -> CriterionDrawings:
    """Open drawings once for all tests."""
    return CriterionDrawings(split, criterion)


def draw_values(split: str, criterion: str | None, shape: EpisodeShape) -> Tensor:
    """Draw the values of the factors of tasks, [tasks, way, shot, factors]."""
    source = open_drawings(split, criterion)
    support = shape.tasks * shape.way * shape.shot
    values = source.draw_table(shape, seeded()).values[:support].long()
    return values.view(shape.tasks, shape.way, shape.shot, -1)


def test_drawings_are_a_source_of_tasks_that_the_generator_decides() -> None:
    source = open_drawings("lake/val")
    assert isinstance(source, TaskSource)
    shape = EpisodeShape(2, 2, 3, 4)
    first, again, other = (
        Sampler(source, seeded(seed)).sample(shape).clone() for seed in (0, 0, 1)
    )
    assert first.support_x.shape == (4, 4, 1, 28, 28)
    assert torch.equal(first.query_x, again.query_x)
    assert torch.equal(first.support_x, again.support_x)
    assert not torch.equal(first.query_x, other.query_x)
    reopened = CriterionDrawings("lake/val")  # Its distance fields are computed in another order.
    Sampler(reopened, seeded(5)).sample(shape)
    assert torch.equal(Sampler(reopened, seeded()).sample(shape).query_x, first.query_x)


@pytest.mark.parametrize("criterion", DRAWING_CRITERIA)
def test_classes_are_values_of_the_criterion(criterion: str) -> None:
    source = open_drawings("vinyals/test", criterion)
    shape = EpisodeShape(2, 3, 2, 30)
    table = source.draw_table(shape, seeded())
    column = table.values[:, table.column(criterion)]
    support, query = column[:180].view(30, 2, 3), column[180:].view(30, 2, 2)
    assert (support == support[:, :, :1]).all()
    assert (query == support[:, :, :1]).all()
    assert (support[:, 0] != support[:, 1]).all()
    images = torch.cat([table.images[:180].view(30, 6), table.images[180:].view(30, 4)], 1)
    assert all(len(set(task)) == 10 for task in images.tolist()), "support and query are disjoint"


@pytest.mark.parametrize(("criterion", "way"), [("size", 4), ("polarity", 2), ("thickness", 4)])
def test_only_the_criterion_decides(criterion: str, way: int) -> None:
    """With all values in every task, samples of different values differ in nothing else."""
    source = open_drawings("vinyals/test", criterion)
    values = draw_values("vinyals/test", criterion, EpisodeShape(way, 10, 1, 300)).flatten(0, 2)
    own = source.table.column(criterion)
    for other in set(range(values.shape[1])) - {own}:
        assert dependence(values[:, own], values[:, other]) < 4
    # Every other factor does vary.
    assert all(len(values[:, i].unique()) > 2 for i in range(values.shape[1]) if i != own)


def test_two_or_three_other_factors_vary_in_all_images_of_a_task() -> None:
    values = draw_values("lake/train", "ink", EpisodeShape(3, 8, 1, 200))[..., 2:]
    is_varied = (values >= 0).flatten(1, 2)
    assert (is_varied == is_varied[:, :1]).all()
    assert set(is_varied[:, 0].sum(1).tolist()) == {3, 4}, "with the criterion itself"


def test_half_of_the_tasks_by_content_have_drawings_as_they_are() -> None:
    for criterion in CONTENT_FACTORS:
        values = draw_values("lake/train", criterion, EpisodeShape(3, 2, 1, 200))[..., 2:]
        n_varied = (values >= 0).any(1).any(1).sum(1)
        assert set(n_varied.tolist()) == {0, 2, 3}
        assert 0.35 < (n_varied == 0).double().mean() < 0.65


def test_held_out_criteria_vary_in_test_splits_only() -> None:
    columns = [DRAWING_CRITERIA.index(name) for name in HELD_OUT]
    for split in DRAWING_SPLITS:
        is_test = split.endswith("test")
        values = draw_values(split, None, EpisodeShape(2, 2, 1, 400))
        assert bool((values[..., columns] >= 0).any()) == is_test
        assert (set(HELD_OUT) <= set(open_drawings(split).criteria)) == is_test
        if not is_test:
            with pytest.raises(DataError, match=r"'slant' is kept for testing.*use the split"):
                CriterionDrawings(split, "slant")


def test_splits_share_no_character_and_lake_no_alphabet() -> None:
    for scheme in ("vinyals", "lake"):
        train, val, test = (open_drawings(f"{scheme}/{part}") for part in ("train", "val", "test"))
        assert not shares_classes(train, val)
        assert not shares_classes(train, test)
        assert not shares_classes(val, test)
        alphabets = [set(source.factors[1].values) for source in (train, val, test)]
        assert bool(alphabets[0] & alphabets[2]) == (scheme == "vinyals")
        assert len(train.fields) == 20 * len(train.class_names)
    hashes = {open_drawings("lake/test", c).split_hash for c in (None, "size", "turn")}
    assert len(hashes) == 3


@pytest.mark.pack
def test_classes_are_those_of_omniglot() -> None:
    for part in ("train", "test"):
        characters = omniglot(f"lake/{part}", rotations=False)
        assert open_drawings(f"lake/{part}").class_names == characters.class_names


def test_criteria_with_too_few_values_are_left_out() -> None:
    source = open_drawings("lake/train")
    for way, left_out in ((2, set()), (3, {"polarity"}), (5, {"polarity", "turn", "size"})):
        assert not left_out & set(source.usable_criteria(EpisodeShape(way, 1, 1)))
    assert set(source.usable_criteria(EpisodeShape(20, 1, 1))) == {"character", "alphabet"}
    with pytest.raises(EpisodeError, match="way is 5, but the criterion 'size' has 4 values"):
        open_drawings("lake/test", "size").check(EpisodeShape(5, 1, 1))
    with pytest.raises(EpisodeError, match=r"'character' have the 21 images .* 1 \+ 20 needs"):
        open_drawings("lake/test", "character").check(EpisodeShape(5, 1, 20))
    with pytest.raises(EpisodeError, match=r"needs .* = 40002 drawings"):
        open_drawings("lake/test", "size").check(EpisodeShape(2, 1, 20000))


def test_a_source_for_another_criterion_shares_the_drawings() -> None:
    everything = open_drawings("lake/test")
    size, direct = everything.with_criterion("size"), open_drawings("lake/test", "size")
    assert size.fields is everything.fields
    about = (size.name, size.criteria, size.split_hash)
    assert about == (direct.name, direct.criteria, direct.split_hash)
    shape = EpisodeShape(3, 1, 2)
    drawn = [Sampler(source, seeded()).sample(shape).support_x.clone() for source in (size, direct)]
    assert torch.equal(*drawn)
    assert len(everything.criteria) > 1
    with pytest.raises(DataError, match="'slant' is kept for testing"):
        open_drawings("lake/val").with_criterion("slant")


def test_unknown_names_and_missing_files_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="split of criteria-drawings 'lake/tset'"):
        CriterionDrawings("lake/tset")
    with pytest.raises(ConfigError, match=r"no criterion 'sise'\. Did you mean 'size'"):
        CriterionDrawings("lake/test", "sise")
    monkeypatch.setenv("LGMNET_DATA", str(tmp_path))
    with pytest.raises(DataError, match=str(BITS_ARCHIVE)):
        CriterionDrawings("lake/test", "size")


def test_the_audit_finds_nothing() -> None:
    """Pictures without classes cannot be sent through: what is drawn is what the classes are."""
    method, train = tiny_model().method, open_drawings("lake/train")
    for criterion in ("size", "character"):
        source = open_drawings("lake/test", criterion)
        shape = EpisodeShape(2, 2, 3)
        result = audit(method, source, trained_on=[train], shape=shape, episodes=24)
        assert result.names("failed") == []
        assert set(result.names("not checked")) <= {"images without classes"}
