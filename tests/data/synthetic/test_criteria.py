"""Tasks by criterion from a table: only the criterion decides, and every error is clear."""

from __future__ import annotations

import pytest
import torch

from lgmnet.data.sampler import Sampler
from lgmnet.data.synthetic.criteria import (
    NOT_VARIED,
    FactorTable,
    draw_criterion_tasks,
    draw_factor_values,
    split_criteria,
)
from lgmnet.data.synthetic.criterion_pool import CriterionPool
from lgmnet.data.task_source import TaskSource
from lgmnet.episode import EpisodeShape
from lgmnet.errors import ConfigError, DataError, EpisodeError
from tests.support.criteria import FACTORS, dependence, small_table
from tests.support.random import seeded


@pytest.fixture(scope="module")
def table() -> FactorTable:
    return small_table()


@pytest.mark.parametrize(("criterion", "way"), [("class", 3), ("tint", 3), ("tilt", 2)])
def test_classes_are_values_of_the_criterion(table: FactorTable, criterion: str, way: int) -> None:
    t = draw_criterion_tasks(table, criterion, way, 2, 3, 50, seeded())
    assert t.support_y.shape == t.support_rows.shape == (50, way * 2)
    assert t.query_y.shape == t.query_rows.shape == (50, way * 3)
    column = table.values[:, table.column(criterion)].long()
    assert torch.equal(column[t.support_rows], t.values.gather(1, t.support_y))
    assert torch.equal(column[t.query_rows], t.values.gather(1, t.query_y))
    assert all(len(set(values)) == way for values in t.values.tolist()), "the values are distinct"
    assert len(t.values.unique(dim=0)) > way, "values and their order are drawn for each task"


@pytest.mark.parametrize("criterion", ["class", "tint", "tilt", "grain"])
def test_samples_of_a_task_show_distinct_images_of_one_group(
    table: FactorTable, criterion: str
) -> None:
    t = draw_criterion_tasks(table, criterion, 2, 2, 3, 100, seeded())
    rows = torch.cat([t.support_rows, t.query_rows], 1)
    images = table.images[rows].sort(1).values
    assert (images[:, 1:] > images[:, :-1]).all()
    assert (table.groups[rows] == table.groups[rows[:, :1]]).all()
    assert len(table.groups[rows[:, 0]].unique()) == 2, "all groups are drawn from"


def test_the_generator_decides_everything(table: FactorTable) -> None:
    first, again, other = (
        draw_criterion_tasks(table, "tilt", 3, 2, 3, 9, seeded(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(first.support_rows, again.support_rows)
    assert torch.equal(first.query_rows, again.query_rows)
    assert not torch.equal(first.query_rows, other.query_rows)


def test_only_the_criterion_decides() -> None:
    """No other factor depends on the value of the criterion; a tint that follows it would show."""
    table = small_table(images=6000, versions=2)
    tilt, tint = table.column("tilt"), table.column("tint")
    rows = draw_criterion_tasks(table, "tilt", 4, 1, 1, 600, seeded()).query_rows.flatten()
    values = table.values[rows]
    others = [i for i in range(len(FACTORS)) if i != tilt]
    assert all(dependence(values[:, tilt], values[:, other]) < 4 for other in others)
    is_both = (table.values[:, tilt] >= 0) & (table.values[:, tint] >= 0)
    table.values[is_both, tint] = table.values[is_both, tilt] % 3
    assert dependence(table.values[rows, tilt], table.values[rows, tint]) > 50


def test_tasks_by_content_mix_no_images_as_they_are_with_changed_ones(table: FactorTable) -> None:
    t = draw_criterion_tasks(table, "class", 3, 2, 3, 200, seeded())
    rows = torch.cat([t.support_rows, t.query_rows], 1)
    is_changed = (table.values[rows][:, :, 1:] != NOT_VARIED).any(2)
    assert (is_changed == is_changed[:, :1]).all()
    assert 0.35 < is_changed[:, 0].double().mean() < 0.65


def test_all_images_of_a_class_can_be_drawn() -> None:
    table = small_table(images=30)
    t = draw_criterion_tasks(table, "class", 3, 2, 3, 20, seeded())
    rows = torch.cat([t.support_rows, t.query_rows], 1)
    assert all(len(set(images)) == 15 for images in table.images[rows].tolist())
    with pytest.raises(EpisodeError, match=r"0 values.*'class' have the 6 images.*have 5"):
        draw_criterion_tasks(table, "class", 3, 2, 4, 20, seeded())


def test_an_episode_is_gathered_from_features(table: FactorTable) -> None:
    features = torch.arange(len(table)).float()[:, None]
    t = draw_criterion_tasks(table, "tint", 3, 1, 2, 4, seeded())
    e = t.episode(features)
    assert torch.equal(e.support_x[..., 0].long(), t.support_rows)
    assert torch.equal(e.query_x[..., 0].long(), t.query_rows)
    assert e.way == 3


def test_a_pool_is_a_source_of_tasks(table: FactorTable) -> None:
    images = torch.arange(len(table)).to(torch.uint8).view(-1, 1, 1, 1)
    pool = CriterionPool(images, table, ["a", "b"], name="pool", split="test", criterion="tint")
    assert isinstance(pool, TaskSource)
    assert pool.name == "pool:tint"
    shape = EpisodeShape(3, 1, 2, 5)
    e = Sampler(pool, seeded()).sample(shape)
    assert e.classes is None
    featured = pool.with_samples(images.flatten(1).float())
    f = Sampler(featured, seeded()).sample(shape)
    torch.testing.assert_close(f.query_x, e.query_x.flatten(2) * 255)
    assert featured.split_hash == pool.split_hash


def test_a_pool_draws_every_criterion_that_has_enough_values(table: FactorTable) -> None:
    values = table.values.float()
    pool = CriterionPool(values, table, ["a"], name="pool", split="test")
    for way, expected in ((2, 4), (3, 3), (4, 1)):
        e = Sampler(pool, seeded()).sample(EpisodeShape(way, 4, 1, 60))
        support = e.support_x.view(60, way, 4, -1)
        # A column is a criterion of a task if it is constant in each class and differs between.
        is_constant = (support == support[:, :, :1]).all(2).all(1)
        n_distinct = torch.tensor([[len(c.unique()) for c in t.mT] for t in support[:, :, 0]])
        is_criterion = is_constant & (n_distinct == way) & (support.amin((1, 2)) >= 0)
        assert is_criterion.any(1).all()
        assert int(is_criterion.any(0).sum()) == expected
    with pytest.raises(EpisodeError, match="way is 5, but the criterion 'class' has 3 values"):
        pool.check(EpisodeShape(5, 1, 1))


def test_held_out_criteria_are_in_test_splits_only(table: FactorTable) -> None:
    assert split_criteria(FACTORS, "train") == split_criteria(FACTORS, "val")
    assert set(split_criteria(FACTORS, "test")) - set(split_criteria(FACTORS, "val")) == {"grain"}
    for split in ("train", "val"):
        pool = CriterionPool(table.values.float(), table, ["a"], name="pool", split=split)
        assert "grain" not in pool.criteria
        with pytest.raises(DataError, match=f"'grain' is kept for testing, so the split '{split}'"):
            CriterionPool(
                table.values.float(), table, ["a"], name="p", split=split, criterion="grain"
            )
    values = draw_factor_values(FACTORS, torch.full((500,), 2), 3, seeded())
    assert (values[..., 3] == NOT_VARIED).all()
    values = draw_factor_values(FACTORS, torch.full((500,), 2), 3, seeded(), held_out=True)
    assert set(values[..., 3].unique().tolist()) == {-1, 0, 1}


def test_factors_vary_in_whole_sets() -> None:
    criterion = torch.arange(600) % 2 + 1
    n_varied = torch.arange(600) % 3
    values = draw_factor_values(FACTORS, n_varied, 8, seeded(), criterion=criterion, held_out=True)
    is_varied = values != NOT_VARIED
    assert (is_varied == is_varied[:, :1]).all()
    assert torch.equal(is_varied[:, 0].sum(1), n_varied)
    assert not is_varied[torch.arange(600), 0, criterion].any()
    assert not is_varied[..., 0].any(), "content is not drawn"
    limits = torch.tensor([len(factor.values) for factor in FACTORS])
    assert torch.equal(values.amax((0, 1))[1:] + 1, limits[1:].short())


def test_bad_requests_are_refused(table: FactorTable) -> None:
    with pytest.raises(ConfigError, match=r"no criterion 'tnt'\. Did you mean 'tint'"):
        draw_criterion_tasks(table, "tnt", 2, 1, 1, 1, seeded())
    with pytest.raises(EpisodeError, match="way is 4, but the criterion 'tint' has 3 values"):
        draw_criterion_tasks(table, "tint", 4, 1, 1, 1, seeded())
    with pytest.raises(EpisodeError, match=r"shot \+ query = 9 \+ 20 needs"):
        draw_criterion_tasks(table, "tint", 3, 9, 20, 1, seeded())


@pytest.mark.usefixtures("unchecked")
def test_a_table_whose_columns_do_not_fit_is_refused(table: FactorTable) -> None:
    values, images, groups = table.values[:4], table.images[:4], table.groups[:4]
    with pytest.raises(DataError, match="4 rows needs as many images and groups, but has 3 and 4"):
        FactorTable(FACTORS, values, images[:3], groups)
    for wrong in (values[:, :3], values + 6):
        with pytest.raises(DataError, match="do not fit the factors class, tint"):
            FactorTable(FACTORS, wrong, images, groups)


def test_a_table_knows_what_varies_in_it(table: FactorTable) -> None:
    assert table.criteria() == ("class", "tint", "tilt", "grain")
    assert small_table(held_out=False).criteria() == ("class", "tint", "tilt")


def test_criteria_are_drawn_with_weights(table: FactorTable) -> None:
    values = table.values.float()
    equal = CriterionPool(values, table, ["a"], name="pool", split="test")
    pool = equal.with_weights({"tint": 3.0, "tilt": 1.0})
    assert pool.samples is equal.samples
    assert (pool.criteria, equal.criteria) == (("tint", "tilt"), tuple(f.name for f in FACTORS))
    e = Sampler(pool, seeded()).sample(EpisodeShape(3, 4, 1, 400))
    support = e.support_x.view(400, 3, 4, -1)
    is_constant = (support == support[:, :, :1]).all(2).all(1) & (support.amin((1, 2)) >= 0)
    is_tint, is_tilt = (is_constant[:, table.column(name)] for name in ("tint", "tilt"))
    assert (is_tint | is_tilt).all()
    assert 0.68 < is_tint.double().mean() < 0.82
    four = Sampler(pool, seeded()).sample(EpisodeShape(4, 1, 1, 5))
    assert four.way == 4, "only the tilt has four values"


def test_wrong_weights_are_refused(table: FactorTable) -> None:
    values = table.values.float()
    for weights, error, message in (
        ({"tnt": 1.0}, ConfigError, "no criterion 'tnt'. Did you mean 'tint'"),
        ({"tint": 0.0}, ConfigError, "weight of 'tint' must be positive, but is 0"),
        ({"grain": 1.0}, DataError, "'grain' is kept for testing"),
    ):
        with pytest.raises(error, match=message):
            CriterionPool(values, table, ["a"], name="pool", split="train", weights=weights)


def test_too_large_a_task_is_refused_every_time(table: FactorTable) -> None:
    pool = CriterionPool(table.values.float(), table, ["a"], name="pool", split="test")
    for _ in range(2):
        with pytest.raises(EpisodeError, match="way is 7"):
            Sampler(pool, seeded()).sample(EpisodeShape(7, 1, 1, 5))


def test_an_episode_of_half_precision_features_is_in_32_bits(table: FactorTable) -> None:
    pool = CriterionPool(table.values.half(), table, ["a"], name="pool", split="test")
    wide = pool.with_samples(table.values.float())
    shape = EpisodeShape(3, 1, 2, 4)
    e, expected = (Sampler(source, seeded()).sample(shape) for source in (pool, wide))
    assert e.support_x.dtype == torch.float32
    assert torch.equal(e.support_x, expected.support_x)
    assert torch.equal(e.query_x, expected.query_x)
    tasks = draw_criterion_tasks(table, "tint", 3, 1, 2, 4, seeded())
    assert tasks.episode(table.values.half()).query_x.dtype == torch.float32


def test_a_pool_for_another_criterion_shares_the_samples(table: FactorTable) -> None:
    pool = CriterionPool(table.values.float(), table, ["a"], name="pool", split="test")
    tint = pool.with_criterion("tint")
    direct = CriterionPool(
        table.values.float(), table, ["a"], name="pool", split="test", criterion="tint"
    )
    assert tint.samples is pool.samples
    about = (tint.name, tint.criteria, tint.split_hash)
    assert about == (direct.name, direct.criteria, direct.split_hash)
    assert tint.with_criterion("tilt").name == "pool:tilt"
    shape = EpisodeShape(3, 1, 2, 5)
    drawn = [Sampler(source, seeded()).sample(shape).support_x.clone() for source in (tint, direct)]
    assert torch.equal(*drawn)
    with pytest.raises(ConfigError, match=r"no criterion 'tin'\. Did you mean 'tint'"):
        pool.with_criterion("tin")


def test_with_few_shots_a_pool_can_leave_out_what_they_cannot_tell():
    """Tasks of fewer shots are by contents alone."""
    table = small_table(images=240)
    codes = table.values.float()
    pool = CriterionPool(codes, table, ["x"], name="p", split="train", min_rendered_shot=3)
    contents = [i for i, factor in enumerate(FACTORS) if factor.is_content]

    def by_content(shot: int) -> list[bool]:
        tasks = Sampler(pool, seeded()).sample(EpisodeShape(2, shot, 1, 60))
        grouped = tasks.support_x.unflatten(1, (2, shot))
        same = (grouped == grouped[:, :, :1]).all(2)  # Constant within each class.
        differ = grouped[:, 0, 0] != grouped[:, 1, 0]
        return [bool(agrees) for agrees in (same.all(1) & differ)[:, contents].any(1)]

    assert all(by_content(2))
    assert not all(by_content(3))
