"""Tables by criterion: possible tasks, marked columns, and rows that name recipes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from lgmnet.data.datasets.domains import DOMAINS
from lgmnet.data.registry import SOURCES, image_set
from lgmnet.data.synthetic import drawing_factors, photo_factors
from lgmnet.data.synthetic.criteria import Factor
from lgmnet.experiments.criteria_tables import (
    DRAWING_RECIPES,
    LOOKS,
    PHOTO_RECIPES,
    drawing_criteria,
    ordinary_classes,
    photo_criteria,
    photo_entries,
    table_criteria,
    table_domains,
)
from lgmnet.experiments.recipes import RECIPES
from lgmnet.experiments.tables import Table
from lgmnet.nn.layer_statistics import N_LAYER_STATISTICS

TABLES = {table.name: table for table in (*table_criteria(), *table_domains())}
HELD_OUT = {
    "table-criteria-photos": {"zoom*", "colour-cast*", "frame*"},
    "table-criteria-drawings": {"thickness*", "slant*"},
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_columns_are_data_that_exists_and_differ_within_a_shot(table: Table) -> None:
    shots = (1, 5, 10) if table.name in HELD_OUT else (1, 5)
    assert {column.shot for column in table.columns} == set(shots)
    for shot in shots:
        headings = [column.heading for column in table.columns if column.shot == shot]
        assert len(headings) == len(set(headings)) == len(table.columns) / len(shots)
        for mean in table.means:
            assert set(mean.headings) <= set(headings)
            assert len(mean.headings) > 1
    for column in (*table.columns, *table.audited):
        assert column.data in SOURCES
    assert table.episodes == 500


@pytest.mark.parametrize(
    ("table", "factors", "contents", "max_way"),
    [
        (photo_criteria(), photo_factors.RENDERED_FACTORS, {"class", "superclass"}, 5),
        (drawing_criteria(), drawing_factors.RENDERED_FACTORS, {"character", "alphabet"}, 3),
    ],
    ids=["photos", "drawings"],
)
def test_each_criterion_is_a_column_with_as_many_values_as_there_are(
    table: Table, factors: tuple[Factor, ...], contents: set[str], max_way: int
) -> None:
    n_values = {factor.name: len(factor.values) for factor in factors}
    by_criterion = {c.data.partition(":")[2]: c for c in table.columns}
    assert by_criterion.keys() == n_values.keys() | contents
    for criterion, column in by_criterion.items():
        assert column.way == min(n_values.get(criterion, max_way), max_way)
    held_out = {c.title for c in table.columns if c.title.endswith("*")}
    assert held_out == HELD_OUT[table.name]
    is_held_out = [c.title in held_out for c in table.columns if c.shot == 1]
    assert is_held_out == sorted(is_held_out)


def test_means_are_over_what_their_names_say() -> None:
    seen, held_out = photo_criteria().means
    assert [heading.split(",")[0] for heading in seen.headings] == [*LOOKS]
    assert {h.split(",")[0] for h in held_out.headings} == HELD_OUT["table-criteria-photos"]
    (mean,) = table_domains()[0].means
    assert {heading.split(",")[0] for heading in mean.headings} == {
        "sign digits",
        "textile",
        "cue conflict by shape",
        "cue conflict by texture",
    }
    (mean,) = ordinary_classes().means
    assert len(mean.headings) == 4


def test_no_set_of_the_table_of_domains_is_trained_on() -> None:
    (table,) = table_domains()
    sets = {image_set(c.data).removeprefix("domains:"): c.split for c in table.columns}
    assert sets == {name: known.split for name, known in DOMAINS.items() if known.split != "train"}
    (coins,) = {c.title for c in table.columns if c.split == "val"}
    assert coins == "coins (validation)"


@pytest.mark.parametrize(
    ("define", "recipes"),
    [(photo_criteria, PHOTO_RECIPES), (drawing_criteria, DRAWING_RECIPES)],
    ids=["photos", "drawings"],
)
def test_rows_name_recipes_and_a_row_without_its_recipe_is_not_there(
    define: Callable[[], Table],
    recipes: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for recipe in recipes.values():
        monkeypatch.delitem(RECIPES, recipe, raising=False)
    untrained = define().entries
    assert not {entry.name for entry in untrained} & recipes.keys()
    stand_in = RECIPES["photos-classes"]
    name, recipe = next(iter(recipes.items()))
    monkeypatch.setitem(RECIPES, recipe, stand_in)
    first, *others = define().entries
    assert (first.name, first.run, first.seeds) == (name, stand_in(), (0, 1, 2))
    assert tuple(others) == untrained


def test_rivals_see_the_same_features_and_learn_from_the_support_alone() -> None:
    rows = {e.name: e for e in photo_entries() if e.name not in PHOTO_RECIPES}
    assert len(rows) == 6
    former = rows.pop("LGM-Net for ordinary classes")
    assert former.shipped == "photos-classes"
    assert former.run.backbone == "efficientnet-lite0"
    for name, entry in rows.items():
        is_all = "all layers" in name
        assert not entry.is_trainable
        assert entry.run.feature_shape == ((N_LAYER_STATISTICS if is_all else 1280),)
        assert entry.run.backbone == "efficientnet-lite0" + "-layers" * is_all
