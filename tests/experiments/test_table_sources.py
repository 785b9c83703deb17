"""Tasks of the columns of tables: opened once, by criterion, and by the layers that a row sees."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.registry import SOURCES
from lgmnet.data.sampler import Sampler
from lgmnet.data.synthetic.criterion_pool import CriterionPool
from lgmnet.data.task_source import TaskSource
from lgmnet.episode import EpisodeShape
from lgmnet.experiments import table_sources
from lgmnet.experiments.criteria_tables import ordinary_classes, photo_criteria
from lgmnet.experiments.table_sources import open_column, open_features, open_last_layer
from lgmnet.experiments.tables import Column
from lgmnet.nn.layer_statistics import N_LAYER_STATISTICS
from tests.support.criteria import small_table
from tests.support.random import seeded

LAST, ALL = "efficientnet-lite0", "efficientnet-lite0-layers"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names of the data that was opened; a pool and a data set of random features stand in."""
    names = []

    def open_stand_in(data: str, split: str, *, backbone: str) -> TaskSource:
        names.append(data)
        if data == "criteria-photos":
            table = small_table(images=60, versions=2)
            features = torch.rand(len(table), N_LAYER_STATISTICS, generator=seeded()).half()
            return CriterionPool(features, table, ["a", "b"], name=data, split=split)
        features = torch.rand(12, N_LAYER_STATISTICS, generator=seeded())
        return ClassDataset(features, [6, 6], ["c", "d"], name=data, split=split)

    monkeypatch.setattr(table_sources, "open_model_source", open_stand_in)
    monkeypatch.setitem(SOURCES, "criteria-photos:tint", lambda split: None)
    for opener in (open_features, open_last_layer):
        opener.cache_clear()
    yield names
    for opener in (open_features, open_last_layer):
        opener.cache_clear()


@pytest.mark.parametrize("backbone", [LAST, ALL])
def test_all_criteria_and_layers_share_one_pool(backbone: str, opened: list[str]) -> None:
    table = photo_criteria()
    column = Column("criteria-photos:tint", "test", 3, 2)
    for other in (ALL, backbone):
        source = open_column(table, column, other)
    assert opened == ["criteria-photos"]
    assert isinstance(source, CriterionPool)
    assert (source.name, source.criteria) == ("criteria-photos:tint", ("tint",))
    pool = open_features("criteria-photos", "test", ALL)
    assert isinstance(pool, CriterionPool)
    first = 0 if backbone == ALL else N_LAYER_STATISTICS - 1280
    shape = EpisodeShape(3, 2, 1, 4)
    drawn = Sampler(source, seeded()).sample(shape).clone()
    expected = Sampler(pool.with_criterion("tint"), seeded()).sample(shape)
    assert torch.equal(drawn.support_x, expected.support_x[:, :, first:])
    assert pool.name == "criteria-photos", "the pool itself is unchanged"


def test_a_data_set_of_classes_loses_all_but_its_last_layer(opened: list[str]) -> None:
    table = ordinary_classes()
    everything = open_column(table, table.columns[0], ALL)
    last = open_column(table, table.columns[0], LAST)
    assert opened == ["caltech101"]
    assert isinstance(everything, ClassDataset)
    assert isinstance(last, ClassDataset)
    assert torch.equal(last.images, everything.images[:, -1280:])
    assert last.split_hash == everything.split_hash
