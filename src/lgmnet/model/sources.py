"""Data as a model takes it: images, or the features that its backbone gives of them."""

from __future__ import annotations

from collections.abc import Sequence

from lgmnet.data.class_dataset import ClassDataset, concat_datasets
from lgmnet.data.datasets.image_folder import PHOTO_SHAPE
from lgmnet.data.registry import (
    JOINED_SPLITS,
    N_JOINED_GROUPS,
    add_scheme,
    has_same_images,
    list_joined_splits,
    open_source,
)
from lgmnet.data.task_source import TaskSource, check_feature_shape, shares_classes
from lgmnet.errors import ConfigError, DataError
from lgmnet.model.feature_cache import embed_dataset
from lgmnet.model.model import Model
from lgmnet.nn.pretrained import load_backbone


def open_model_source(
    data: str, split: str, feature_shape: Sequence[int] = PHOTO_SHAPE, backbone: str = ""
) -> TaskSource:
    """Open a split of the named data as a model with this backbone takes it.

    Args:
        data: Name of the data, or the path of a folder (see `lgmnet.data.registry`).
        split: Name of the split.
        feature_shape: Shape to which the images of a folder are brought.
        backbone: The frozen network whose features of the photos are wanted; empty for none.

    Raises:
        ConfigError: if there is no such data, split or backbone.
        DataError: if its files cannot be found or read.
    """
    if backbone:
        return photos_through(backbone, data, split)
    return open_source(data, split, feature_shape)


def photos_through(backbone: str, data: str, split: str) -> ClassDataset:
    """Photos as the features that a backbone gives of them.

    Raises:
        ConfigError: if there is no such backbone, data or split, or the data is no photos.
    """
    loaded = load_backbone(backbone)
    side = loaded.side
    stores = []
    for name, part in list_joined_splits(data, split):
        store = open_source(name, part, (3, side, side))
        if not isinstance(store, ClassDataset) or len(store.images[0]) != 3:
            raise ConfigError(f"'{data}' is no data of photos, which '{backbone}' takes.")
        stores.append(embed_dataset(loaded, store))
    return (
        concat_datasets(stores, data, split, N_JOINED_GROUPS)
        if data in JOINED_SPLITS
        else stores[0]
    )


def open_training_splits(
    trained_on: Sequence[str],
    data: str,
    feature_shape: Sequence[int] = PHOTO_SHAPE,
    backbone: str = "",
) -> list[TaskSource]:
    """The splits, of what a model was trained on, that may have classes of the named data.

    Args:
        trained_on: All splits that it has seen, as ``data:split``.
        data: Name of the data.
        feature_shape: As for `open_source`.
        backbone: As for `open_source`.
    """
    seen = [name.rsplit(":", 1) for name in trained_on]
    parts = [part for name, split in seen for part in list_joined_splits(name, split)]
    asked = {name for some in JOINED_SPLITS.get(data, {}).values() for name, _ in some} or {data}
    return [
        open_model_source(name, split, feature_shape, backbone)
        for name, split in parts
        if any(has_same_images(name, other) for other in asked)
    ]


def open_unseen_source(
    models: Sequence[tuple[str, Model]], data: str, split: str, *, may_overlap: bool = False
) -> TaskSource:
    """The split of the data, of which none of the models has seen a class in training.

    Args:
        models: With the names that they were asked for by.
        data: Name of the data.
        split: As a person gives it.
        may_overlap: Whether classes seen in training are let pass, for others to find.

    Raises:
        DataError: if a model has seen such classes, or takes samples of another shape.
    """
    first = models[0][1].training
    trained_on = first.split if first.data == data else None
    shape, backbone = models[0][1].method.inputs.shape, models[0][1].backbone
    source = open_model_source(data, add_scheme(data, split, trained_on), shape, backbone)
    for name, model in models:
        trained = () if may_overlap else model.training.training_splits
        for seen in open_training_splits(trained, data, shape):
            if shares_classes(source, seen):
                raise DataError(
                    f"'{name}' was trained on {seen.name}, split '{seen.split}', which shares "
                    f"classes with the split '{source.split}' of {source.name}; a score on classes "
                    "seen in training says nothing."
                )
        check_feature_shape(source, model.method.inputs.shape)
    return source
