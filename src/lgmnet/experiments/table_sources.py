"""Sources of the tasks of tables: each split, and its features, are opened once."""

from functools import lru_cache

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.registry import SOURCES
from lgmnet.data.synthetic.criterion_drawings import CriterionDrawings
from lgmnet.data.synthetic.criterion_pool import CriterionPool
from lgmnet.data.task_source import TaskSource
from lgmnet.experiments.tables import Column, Entry, Table
from lgmnet.model.model import load_model
from lgmnet.model.sources import open_model_source, open_photos, open_training_data
from lgmnet.nn.layer_statistics import LAYER_STATISTICS
from lgmnet.nn.pretrained import EFFICIENTNET_LITE0, EFFICIENTNET_LITE0_LAYERS

LAST_LAYER = LAYER_STATISTICS[-1].columns
"""Columns of the features of all layers that are those of the last one."""


def open_column(table: Table, column: Column, backbone: str) -> TaskSource:
    """Open the tasks of a column in the form that a row takes.

    Args:
        table: Table of the column. Where it has a backbone of all layers, a row on the last layer
            gets the columns of that one.
        column: Column of the table, or a kind of tasks that it is audited on.
        backbone: Backbone of the row; empty for none.

    Raises:
        UserError: if the data cannot be opened.
    """
    family, _, criterion = column.data.partition(":")
    is_by_criterion = bool(criterion) and family in SOURCES
    data = family if is_by_criterion else column.data
    if (backbone, table.backbone) == (EFFICIENTNET_LITE0, EFFICIENTNET_LITE0_LAYERS):
        source = open_last_layer(data, column.split)
    else:
        source = open_features(data, column.split, backbone)
    if is_by_criterion:
        assert isinstance(source, (CriterionPool, CriterionDrawings))
        return source.with_criterion(criterion)
    return source


@lru_cache(maxsize=16)
def open_features(data: str, split: str, backbone: str) -> TaskSource:
    """Open a split as `open_model_source` does, but only once."""
    return open_model_source(data, split, backbone=backbone)


@lru_cache(maxsize=16)
def open_last_layer(data: str, split: str) -> TaskSource:
    """Open a split with the last layer's columns of the features of all layers."""
    source = open_features(data, split, EFFICIENTNET_LITE0_LAYERS)
    if isinstance(source, CriterionPool):
        return source.with_samples(source.samples[:, LAST_LAYER].contiguous())
    assert isinstance(source, ClassDataset)
    features, names = source.images[:, LAST_LAYER].contiguous(), source.class_names
    counts = source.counts.tolist()
    return ClassDataset(features, counts, names, name=source.name, split=source.split)


def open_trained(entry: Entry) -> list[TaskSource]:
    """Open what a row was trained on, in the form that it took; of shipped models the photos."""
    if not entry.is_trainable:
        return []
    if entry.shipped:
        return open_training_data(load_model(entry.shipped)).sources
    return [open_features(entry.run.data, entry.run.split, entry.run.backbone)]


def open_test_photos(entry: Entry, column: Column) -> TaskSource | None:
    """Open the test photos to compare with those that a shipped model was trained on, or None."""
    if not entry.shipped:
        return None
    return open_photos(load_model(entry.shipped), column.data, column.split)
