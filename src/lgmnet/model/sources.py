"""Data in the form that a model takes: images, or features of photos."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lgmnet.data.class_dataset import ClassDataset, concat_datasets
from lgmnet.data.datasets.image_folder import PHOTO_SHAPE
from lgmnet.data.registry import (
    JOINED_SPLITS,
    N_JOINED_GROUPS,
    add_scheme,
    has_other_labels,
    has_same_images,
    image_set,
    is_data_set,
    list_joined_splits,
    open_source,
)
from lgmnet.data.synthetic.criterion_pool import CriterionPool
from lgmnet.data.synthetic.photo_table import (
    MIN_RENDERED_SHOT,
    PHOTOS_BY_CRITERION,
    TRAINING_WEIGHTS,
    open_photo_table,
)
from lgmnet.data.task_source import TaskSource, check_feature_shape, shares_classes
from lgmnet.episode import EpisodeShape
from lgmnet.errors import ConfigError, DataError, UserError
from lgmnet.evaluation.audit.overlap import check_training_overlap
from lgmnet.evaluation.audit.report import Finding
from lgmnet.model.feature_cache import embed_dataset, embed_photos
from lgmnet.model.model import Model
from lgmnet.nn.pretrained import Backbone, load_backbone


def open_model_source(
    data: str,
    split: str,
    feature_shape: Sequence[int] = PHOTO_SHAPE,
    backbone: str = "",
    tasks: EpisodeShape | None = None,
) -> TaskSource:
    """Open a split of the named data in the form that a model takes.

    Args:
        data: Name of the data, or path of a folder (see `lgmnet.data.registry`).
        split: Name of the split.
        feature_shape: Shape that the images of a folder are resized to.
        backbone: Frozen network that embeds the photos; empty for none.
        tasks: Shape of the tasks to draw, which is checked before photos of a single data set are
            embedded; None checks nothing.

    Raises:
        ConfigError: if there is no such data, split or backbone, or a backbone has no photos.
        DataError: if its files cannot be found or read.
        EpisodeError: if ``tasks`` have more classes or samples than the photos.
    """
    if not backbone:
        return open_source(data, split, feature_shape)
    network = load_backbone(backbone)
    parts = list_joined_splits(data, split)
    if data == PHOTOS_BY_CRITERION:
        return embed_photo_table(network, split)
    datasets = []
    for part, part_split in parts:
        dataset = open_source(part, part_split, network.inputs.shape)
        if tasks is not None and data not in JOINED_SPLITS:
            dataset.check(tasks)
        if isinstance(dataset, CriterionPool):
            features = embed_photos(network, dataset.samples, network.stored_dtype)
            return dataset.with_samples(features)
        if not isinstance(dataset, ClassDataset) or len(dataset.images[0]) != 3:
            raise ConfigError(f"'{backbone}' takes photos, but '{data}' has none.")
        datasets.append(embed_dataset(network, dataset))
    if data not in JOINED_SPLITS:
        return datasets[0]
    return concat_datasets(datasets, data, split, N_JOINED_GROUPS)


def embed_photo_table(network: Backbone, split: str) -> CriterionPool:
    """Embed all photos of a split of ``photos-by-criterion`` (see `open_photo_table`).

    The features keep the type in which they are stored, because there are many.
    """
    opened = open_photo_table(split)
    features = torch.empty(len(opened.table), network.length, dtype=network.stored_dtype)
    parts = features.split([len(photos) for photos in opened.photos])
    for part, photos in zip(parts, opened.photos, strict=True):
        part.copy_(embed_photos(network, photos, network.stored_dtype))
    return CriterionPool(
        features,
        opened.table,
        opened.class_names,
        name=PHOTOS_BY_CRITERION,
        split=split,
        weights=TRAINING_WEIGHTS if split == "train" else None,
        min_rendered_shot=MIN_RENDERED_SHOT if split == "train" else 1,
    )


def open_training_splits(
    trained_on: Sequence[str],
    data: str,
    feature_shape: Sequence[int] = PHOTO_SHAPE,
) -> list[TaskSource]:
    """Open those of the training splits, ``data:split``, that may share classes with the data."""
    splits = [name.rsplit(":", 1) for name in trained_on]
    parts = [part for name, split in splits for part in list_joined_splits(name, split)]
    tested = {name for mixed in JOINED_SPLITS.get(data, {}).values() for name, _ in mixed} or {data}
    return [
        open_model_source(name, split, feature_shape)
        for name, split in parts
        if any(has_same_images(name, other) for other in tested)
    ]


@dataclass(frozen=True)
class TrainingData:
    """Training data that the record of a model names, as far as it can be opened."""

    sources: list[TaskSource]
    """Splits that were opened; photos themselves, not their features."""
    unknown: list[str]
    """Sentences about the data that cannot be opened, or is not what the model was trained on."""
    class_hash: str
    """Hash of the training classes; empty if the method is not trained."""


def open_training_data(model: Model) -> TrainingData:
    """Open all data that a model was trained on, whatever it is tested on."""
    record, sources, unknown = model.training, [], []
    if model.method.is_trainable:
        for name, split in (training.rsplit(":", 1) for training in record.training_splits):
            for part, part_split in list_joined_splits(name, split):
                try:
                    sources.append(open_source(part, part_split, photo_shape(model)))
                except UserError as error:
                    unknown.append(f"the training data '{part}', split '{part_split}': {error}")
                    continue
                is_own = (part, part_split) == (record.data, record.split)
                if is_own and sources[-1].split_hash != record.split_hash:
                    unknown.append(
                        f"the classes of '{part}', split '{part_split}', have changed since the "
                        "training"
                    )
    if model.backbone:
        unknown.append(
            f"the frozen network '{model.backbone}' was trained on data that is not compared"
        )
    class_hash = record.split_hash if model.method.is_trainable else ""
    return TrainingData(sources, [sentence.rstrip(".") for sentence in unknown], class_hash)


def photo_shape(model: Model) -> Sequence[int]:
    """Return the shape to which the images of a folder are brought for comparison."""
    return PHOTO_SHAPE if model.backbone else model.method.inputs.shape


def open_photos(model: Model, data: str, split: str) -> TaskSource | None:
    """Open the photos behind the features that a model takes.

    Returns:
        The photos; None if the model takes samples as they are, or photos of several sizes.
    """
    if not model.backbone or data in JOINED_SPLITS:
        return None
    return open_source(data, split, photo_shape(model))


def open_unseen_source(
    models: Sequence[tuple[str, Model]],
    data: str,
    split: str,
    tasks: EpisodeShape | None = None,
    *,
    may_overlap: bool = False,
) -> TaskSource:
    """Open a split of the data, and check that none of the models was trained on its classes.

    Args:
        models: Models, each with the name that messages call it by.
        data: Name of the data.
        split: Name of the split; for Omniglot, ``test`` means that of the first model's scheme.
        tasks: Shape of the tasks to draw (see `open_model_source`).
        may_overlap: If True, training classes are allowed, for a caller that looks for them itself.

    Raises:
        DataError: if a model was trained on such classes, or takes samples of another shape.
        EpisodeError: if ``tasks`` have more classes or samples than the photos.
    """
    _, first = models[0]
    is_trained_on = image_set(first.training.data) == image_set(data)
    trained_on = first.training.split if is_trained_on else None
    shape = first.method.inputs.shape
    split = add_scheme(data, split, trained_on)
    source = open_model_source(data, split, shape, first.backbone, tasks)
    for name, model in models:
        training_splits = () if may_overlap else model.training.training_splits
        # Classes are compared by name, so photos need not pass the backbone.
        for trained in open_training_splits(training_splits, data, model.inputs.shape):
            if shares_classes(source, trained) or has_other_labels(data, trained.name):
                raise DataError(
                    f"'{name}' was trained on {trained.name}, split '{trained.split}', which "
                    f"shares classes with the split '{source.split}' of {source.name}. Scores on "
                    "training classes say nothing; choose another split or other data."
                )
        remedy = f"Choose other data; '{name}' was trained on {model.training.data}."
        check_feature_shape(source, model.method.inputs.shape, remedy)
    return source


def check_unseen(models: Sequence[tuple[str, Model]], data: str, source: TaskSource) -> Finding:
    """Check that no class and no sample of folders is both in training and in test data.

    `open_unseen_source` compares data sets by their names. A folder can be moved, or be a copy or a
    part of another one, so where a folder is involved, class names and samples are compared.

    Args:
        models: Models, each with the name that messages call it by.
        data: Name of the test data.
        source: Source that `open_unseen_source` opened.

    Returns:
        The outcome, passed or not checked, and the reason.

    Raises:
        DataError: if test data was trained on.
    """
    reasons = []
    for name, model in models:
        names = [training.rsplit(":", 1)[0] for training in model.training.training_splits]
        if all(map(is_data_set, [data, *names])):
            continue
        training, photos = open_training_data(model), open_photos(model, data, source.split)
        outcome, reason = check_training_overlap(
            source if photos is None else photos,
            training.sources,
            training.unknown,
            training_hash=training.class_hash,
            exact=True,
        )
        if outcome == "failed":
            raise DataError(
                f"'{name}' was trained on a part of '{data}': {reason} Scores on training data say "
                "nothing; choose other data. Classes that only have the same name must be renamed."
            )
        if outcome == "not checked":
            reasons.append(f"'{name}': {reason}")
    if reasons:
        return "not checked", " ".join(reasons)
    return "passed", "no class and no sample was trained on."
