"""Frozen backbones, and the cache of their features, which are computed once for each photo."""

from __future__ import annotations

import dataclasses
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from contextvars import copy_context

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from lgmnet.data.class_dataset import ClassDataset, concat_datasets
from lgmnet.data.registry import open_source
from lgmnet.errors import ConfigError, DataError, UserError
from lgmnet.model.feature_cache import embed_dataset, embed_photos
from lgmnet.model.sources import open_model_source, open_training_splits, open_unseen_source
from lgmnet.nn.embedding import vector_embedding
from lgmnet.nn.pretrained import EFFICIENTNETS, Backbone, load_backbone
from lgmnet.progress import ProgressTask, set_progress_display
from tests.support.configs import lgm_net_config
from tests.support.models import tiny_model


class CountingNetwork(nn.Module):
    """Network that counts the images passed to it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 5, 3)
        self.images = 0

    def forward(self, x: Tensor) -> Tensor:
        self.images += len(x)
        maps: Tensor = self.layer(x)
        return maps


@pytest.fixture
def backbone(monkeypatch, tmp_path) -> Backbone:
    monkeypatch.setenv("LGMNET_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)
    backbone = Backbone("counting", CountingNetwork(), 8, (0.5, 0.4, 0.3), (0.2, 0.3, 0.5))
    assert isinstance(backbone.network, CountingNetwork)
    backbone.network.images = 0
    return backbone


def photos(count: int, side: int = 8, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, 3, side, side), generator=generator, dtype=torch.uint8)


def test_equal_photos_are_embedded_once_and_have_equal_features(backbone):
    some = photos(40)
    order = torch.randint(40, (100,), generator=torch.Generator().manual_seed(1))
    features = embed_photos(backbone, some[order])
    assert backbone.network.images == len(order.unique())
    for i in range(40):
        assert len(features[order == i].unique(dim=0)) <= 1
    assert torch.equal(features, embed_photos(backbone, some)[order])
    assert backbone.network.images == 40


def test_features_are_those_of_the_normalised_photo(backbone):
    x = photos(4)
    mean, std = np.array([0.5, 0.4, 0.3]), np.array([0.2, 0.3, 0.5])
    plain = (x.numpy().transpose(0, 2, 3, 1) / 255 - mean) / std
    expected = backbone.network.layer(torch.from_numpy(plain).float().permute(0, 3, 1, 2))
    features = backbone(x)
    assert features.shape == (4, 5)
    torch.testing.assert_close(features, expected.mean((2, 3)))
    assert not any(p.requires_grad for p in backbone.parameters())
    assert backbone(photos(2, side=20)).shape == (2, 5), "photos of another size are resized"


def test_progress_counts_the_photos_that_are_embedded(backbone):
    progress: list[tuple[str, int | None, int]] = []

    @contextmanager
    def display(description: str, total: int | None) -> Iterator[ProgressTask]:
        class Task:
            def advance(self, n: int = 1, detail: str = "") -> None:
                progress.append((description, total, n))

            def print(self, line: str) -> None:
                raise NotImplementedError

        yield Task()

    def embed() -> None:
        set_progress_display(display)
        embed_photos(backbone, photos(40))
        embed_photos(backbone, photos(40))

    copy_context().run(embed)
    assert progress == [("photos", 40, 32), ("photos", 40, 8)]


def test_no_photo_is_embedded_twice(backbone):
    x = photos(100)
    first = embed_photos(backbone, x)
    assert backbone.network.images == 100
    flipped = embed_photos(backbone, x.flip(0))
    assert backbone.network.images == 100
    assert torch.equal(flipped.flip(0), first)
    more = embed_photos(backbone, torch.cat([x[:3], photos(2, seed=1)]))
    assert backbone.network.images == 102
    assert torch.equal(more[:3], first[:3])
    # Photos of another size, or for another backbone, have other keys.
    embed_photos(backbone, photos(1, side=9))
    assert backbone.network.images == 103
    backbone.name = "another"
    embed_photos(backbone, x[:1])
    assert backbone.network.images == 104


def test_features_kept_in_half_precision_are_the_same_new_and_from_the_cache(backbone, tmp_path):
    x = photos(5)
    exact = embed_photos(backbone, x)
    half = Backbone("half", backbone.network, 8, (0.5, 0.4, 0.3), (0.2, 0.3, 0.5), torch.float16)
    backbone.network.images = 0
    first, again = embed_photos(half, x), embed_photos(half, x)
    assert backbone.network.images == 5
    assert first.dtype == torch.float32
    assert torch.equal(first, again)
    assert torch.equal(first, exact.half().float())
    stored = embed_photos(half, x, torch.float16)
    assert stored.dtype == torch.float16
    assert torch.equal(stored.float(), first)
    with closing(sqlite3.connect(tmp_path / "cache" / "features.sqlite")) as database:
        rows = database.execute("select length(value), count(*) from features group by 1")
        assert rows.fetchall() == [(2 * 5, 5), (4 * 5, 5)]


def test_a_broken_cache_raises_a_user_error(backbone, tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / "features.sqlite").write_bytes(b"this is a text of some length and not a database")
    with pytest.raises(UserError, match=r"Cannot store features in .*LGMNET_CACHE"):
        embed_photos(backbone, photos(1))


def test_a_data_set_is_embedded(backbone):
    dataset = ClassDataset(photos(6), [2, 4], ["a", "b"], name="some", split="train")
    embedded = embed_dataset(backbone, dataset)
    assert embedded.feature_shape == (5,)
    assert torch.equal(embedded.images, embed_photos(backbone, dataset.images))
    assert (embedded.class_names, embedded.split_hash) == (
        dataset.class_names,
        dataset.split_hash,
    )
    both = concat_datasets([embedded, embedded], "twice", "train")
    assert both.counts.tolist() == [2, 4, 2, 4]
    assert both.images.shape == (12, 5)


def test_an_unknown_backbone_and_a_missing_package_are_refused(monkeypatch):
    with pytest.raises(ConfigError, match=r"no backbone 'efficientnet'. Did you mean"):
        load_backbone("efficientnet")
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError, match=r"need the package 'timm'.*lgmnet\[timm\]"):
        load_backbone("timm:resnet18")


def test_mixed_photos_need_a_backbone_and_a_backbone_needs_photos():
    with pytest.raises(ConfigError, match="they need a backbone"):
        open_source("photos", "train")
    with pytest.raises(ConfigError, match=r"no split of photos 'tain'. Did you mean 'train'"):
        open_model_source("photos", "tain", backbone="efficientnet-lite0")
    with pytest.raises(ConfigError, match="takes photos, but 'strokes' has none"):
        open_model_source("strokes", "train", backbone="efficientnet-lite0")


@pytest.mark.pack("cifar100")
@pytest.mark.pack("caltech101")
@pytest.mark.parametrize(
    ("data", "splits"),
    [
        ("cifar-fs", [("cifar-fs", "train")]),
        ("caltech101", [("caltech101", "train")]),
        ("omniglot", []),
    ],
)
def test_training_splits_that_may_share_classes_are_opened(data, splits):
    sources = open_training_splits(["photos:train"], data)
    assert [(source.name, source.split) for source in sources] == splits


def test_a_model_with_a_backbone_is_not_scored_on_its_training_classes(
    backbone, tmp_path, monkeypatch
):
    for module in ("lgmnet.model.sources", "lgmnet.model.model"):
        monkeypatch.setattr(f"{module}.load_backbone", lambda name: backbone)
    folder = tmp_path / "animals"
    for seed, path in enumerate(("train/cat", "train/dog", "val/cow", "test/cat")):
        (folder / path).mkdir(parents=True)
        for i, photo in enumerate(photos(2, seed=seed)):
            Image.fromarray(photo.movedim(0, 2).numpy()).save(folder / path / f"{i}.png")
    config = lgm_net_config(vector_embedding(5, 8), target_widths=(8,))
    model = tiny_model(config, data=str(folder), split="train", val_split=None)
    model = dataclasses.replace(model, backbone=backbone.name)
    source = open_unseen_source([("mine", model)], str(folder), "val")
    assert (source.class_names, source.feature_shape) == (("cow",), (5,))
    with pytest.raises(DataError, match=r"'mine' was trained on .*, split 'train', which shares"):
        open_unseen_source([("mine", model)], str(folder), "test")
    assert backbone.network.images == 4, "the training photos are not embedded to compare names"


@pytest.mark.slow
@pytest.mark.parametrize("name", EFFICIENTNETS)
def test_the_stated_number_of_features_of_a_packaged_backbone_is_true(name):
    backbone = load_backbone(name)
    with torch.inference_mode():
        assert backbone(photos(1, side=32)).shape == (1, backbone.length)


@pytest.mark.slow
def test_features_of_the_packaged_backbone_depend_on_the_photo_more_than_on_its_size():
    backbone = load_backbone("efficientnet-lite0")
    assert (backbone.length, backbone.side) == (1280, 224)
    smooth = nn.functional.interpolate(photos(2, side=6).float(), 224, mode="bicubic").clamp(0, 255)
    large = smooth.byte()
    small = nn.functional.interpolate(smooth, 112, mode="area").byte()
    with torch.inference_mode():
        features = nn.functional.normalize(backbone(large), dim=-1)
        again = nn.functional.normalize(backbone(small), dim=-1)
    cosines = features @ again.T
    assert (cosines.diag() > 0.8).all()
    assert (cosines.diag() > cosines.flip(0).diag()).all()
