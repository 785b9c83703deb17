"""Data by name: criteria and labelings, what has the same images, and what may be trained on."""

from __future__ import annotations

import pytest

from lgmnet.data.registry import (
    SOURCES,
    add_scheme,
    default_splits,
    has_other_labels,
    has_same_images,
    open_source,
)
from lgmnet.data.synthetic.criterion_drawings import DRAWING_CRITERIA
from lgmnet.data.synthetic.criterion_photos import PHOTO_CRITERIA
from lgmnet.errors import ConfigError, DataError


def test_every_criterion_and_labeling_has_a_name() -> None:
    assert all(f"criteria-drawings:{criterion}" in SOURCES for criterion in DRAWING_CRITERIA)
    assert all(f"criteria-photos:{criterion}" in SOURCES for criterion in PHOTO_CRITERIA)
    assert {"domains:grocery/kind", "domains:cue_conflict/texture"} <= SOURCES.keys()
    assert not any(" " in name for name in SOURCES), "names need no quotes in a shell"


def test_an_unknown_criterion_lists_the_criteria() -> None:
    with pytest.raises(ConfigError) as caught:
        open_source("criteria-drawings:sise", "lake/test")
    message = str(caught.value)
    assert "no criterion of criteria-drawings 'sise'. Did you mean 'size'?" in message
    assert message.endswith(f"Known: {', '.join(DRAWING_CRITERIA)}.")
    with pytest.raises(ConfigError, match=r"of domains 'grocery'.*Known: grocery/product, grocery"):
        open_source("domains:grocery", "train")
    with pytest.raises(ConfigError, match=r"of domains ''.*Known: grocery/product"):
        open_source("domains", "train")
    with pytest.raises(ConfigError, match=r"'omniglt'.*'omniglot'.*criteria-photos, domains\.$"):
        open_source("omniglt", "test")


def test_tasks_by_criterion_have_the_images_of_their_data_sets() -> None:
    assert has_same_images("criteria-drawings", "criteria-drawings:size")
    assert has_same_images("criteria-drawings:turn", "criteria-drawings:size")
    assert has_same_images("omniglot", "criteria-drawings:size")
    assert has_same_images("criteria-photos:blur", "caltech101")
    assert has_same_images("fc100", "criteria-photos:blur")
    assert has_same_images("domains:grocery/kind", "domains:grocery/product")
    assert not has_same_images("domains:grocery/kind", "domains:coins/value")
    assert not has_same_images("criteria-photos:blur", "criteria-drawings")
    assert not has_same_images("caltech101", "cifar-fs")


def test_only_other_labelings_of_the_same_photos_have_other_labels() -> None:
    assert has_other_labels("domains:grocery/kind", "domains:grocery/product")
    assert not has_other_labels("domains:grocery/kind", "domains:grocery/kind")
    assert not has_other_labels("criteria-drawings:turn", "criteria-drawings:size")


def test_default_splits_keep_what_is_for_testing_out_of_training() -> None:
    assert default_splits("criteria-drawings") == ("lake/train", "lake/val")
    assert default_splits("criteria-photos:blur") == ("train", "val")
    assert default_splits("domains:grocery/kind") == ("train", None)
    for name in ("textile/defect", "cue_conflict/shape"):
        with pytest.raises(DataError, match="is for testing alone; it has no classes to train on"):
            default_splits(f"domains:{name}")
    with pytest.raises(DataError, match="is for validation alone; it has no classes to train on"):
        default_splits("domains:coins/value")
    with pytest.raises(ConfigError, match="criterion of criteria-photos 'blurr'"):
        default_splits("criteria-photos:blurr")


def test_drawings_by_criterion_take_the_scheme_of_a_model() -> None:
    assert add_scheme("criteria-drawings:size", "test", "lake/train") == "lake/test"
    assert add_scheme("criteria-drawings", "test", None) == "vinyals/test"
    assert add_scheme("criteria-photos:blur", "test", None) == "test"
