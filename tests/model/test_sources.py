"""Data in the form that a model takes: pools by criterion, and data that a model was trained on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lgmnet.data.registry import SOURCES
from lgmnet.data.sampler import Sampler
from lgmnet.data.synthetic.criterion_pool import CriterionPool
from lgmnet.data.synthetic.photo_table import PhotoTable
from lgmnet.episode import EpisodeShape
from lgmnet.errors import ConfigError, DataError
from lgmnet.model.feature_cache import embed_photos
from lgmnet.model.sources import open_model_source, open_training_splits, open_unseen_source
from lgmnet.nn.pretrained import Backbone
from tests.support.criteria import small_table
from tests.support.domains import write_grocery
from tests.support.models import tiny_model
from tests.support.random import seeded


def test_a_pool_of_photos_becomes_a_pool_of_features(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    table = small_table(images=40, versions=3)
    photos = torch.randint(256, (len(table), 3, 9, 9), generator=seeded()).to(torch.uint8)
    pool = CriterionPool(photos, table, ["a"], name="pool", split="test", criterion="tint")
    backbone = Backbone("tiny", torch.nn.Conv2d(3, 5, 3), 9, (0.5,) * 3, (0.5,) * 3)
    monkeypatch.setenv("LGMNET_CACHE", str(tmp_path))
    monkeypatch.setattr("lgmnet.model.sources.load_backbone", lambda name: backbone)
    monkeypatch.setitem(SOURCES, "pool:tint", lambda split: pool)
    featured = open_model_source("pool:tint", "test", backbone="tiny")
    assert featured.feature_shape == (5,)
    e = Sampler(featured, seeded()).sample(EpisodeShape(2, 1, 1, 3))
    f = Sampler(pool, seeded()).sample(EpisodeShape(2, 1, 1, 3))
    expected = backbone((f.query_x.flatten(0, 1) * 255).round().to(torch.uint8))
    # Features are computed in bf16 where the machine can.
    torch.testing.assert_close(e.query_x.flatten(0, 1), expected, atol=0.02, rtol=0)


def test_photos_of_several_sizes_become_one_pool_of_features(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    table = small_table(images=40, versions=3)
    sizes = [(70, 9), (50, 6)]
    parts = tuple(
        torch.randint(256, (count, 3, side, side), generator=seeded()).to(torch.uint8)
        for count, side in sizes
    )
    opened = PhotoTable(parts, table, ("a", "b"))
    backbone = Backbone(
        "tiny half", torch.nn.Conv2d(3, 5, 3), 9, (0.5,) * 3, (0.5,) * 3, torch.float16
    )
    monkeypatch.setenv("LGMNET_CACHE", str(tmp_path))
    monkeypatch.setattr("lgmnet.model.sources.load_backbone", lambda name: backbone)
    monkeypatch.setattr("lgmnet.model.sources.open_photo_table", lambda split: opened)
    weights = {"tint": 1.0}
    monkeypatch.setattr("lgmnet.model.sources.TRAINING_WEIGHTS", weights)
    for split, expected in (("train", weights), ("val", dict.fromkeys(("class", "tint", "tilt")))):
        pool = open_model_source("photos-by-criterion", split, backbone="tiny half")
        assert isinstance(pool, CriterionPool)
        assert (pool.name, pool.split) == ("photos-by-criterion", split)
        assert pool.samples.dtype == torch.float16
        for part, photos in zip(pool.samples.split([70, 50]), parts, strict=True):
            assert torch.equal(part.float(), embed_photos(backbone, photos))
        assert set(pool.weights) == set(expected)
    with pytest.raises(ConfigError, match="no split of photos-by-criterion 'tain'"):
        open_model_source("photos-by-criterion", "tain", backbone="tiny half")
    with pytest.raises(ConfigError, match="they need a backbone"):
        open_model_source("photos-by-criterion", "train")


@pytest.mark.pack("caltech101")
@pytest.mark.parametrize("data", ["caltech101", "domains:coins/value"])
def test_what_a_model_of_photos_by_criterion_may_be_scored_on(data: str) -> None:
    sources = open_training_splits(["photos-by-criterion:train"], data)
    assert [source.name for source in sources] == (["caltech101"] if data == "caltech101" else [])


@pytest.mark.pack("omniglot105")
@pytest.mark.pack
def test_drawings_that_a_model_was_trained_on_are_refused() -> None:
    model = tiny_model(data="criteria-drawings", split="lake/train")
    source = open_unseen_source([("mine", model)], "criteria-drawings:slant", "test")
    assert source.split == "lake/test"
    with pytest.raises(DataError, match="'mine' was trained on criteria-drawings"):
        open_unseen_source([("mine", model)], "criteria-drawings:size", "vinyals/train")
    with pytest.raises(DataError, match="'mine' was trained on criteria-drawings"):
        open_unseen_source([("mine", model)], "omniglot", "lake/train")


def test_photos_that_a_model_was_trained_on_with_other_labels_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_grocery(tmp_path)
    monkeypatch.setenv("LGMNET_DATA", str(tmp_path))
    model = tiny_model(data="domains:grocery/product", split="train")
    with pytest.raises(DataError, match="'mine' was trained on domains:grocery/product"):
        open_unseen_source([("mine", model)], "domains:grocery/kind", "train")
