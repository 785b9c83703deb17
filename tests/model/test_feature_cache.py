"""Frozen backbones and their features: kept by what a photo holds, computed once."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lgmnet.data.class_dataset import ClassDataset, concat_datasets
from lgmnet.data.registry import open_source
from lgmnet.errors import ConfigError, UserError
from lgmnet.model.feature_cache import embed_dataset, features_of
from lgmnet.model.sources import open_model_source, open_training_splits
from lgmnet.nn.pretrained import Backbone, load_backbone


class Counting(nn.Module):
    """A network that counts what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 5, 3)
        self.shown = 0

    def forward(self, x: Tensor) -> Tensor:
        self.shown += len(x)
        maps: Tensor = self.layer(x)
        return maps


@pytest.fixture
def backbone(monkeypatch, tmp_path) -> Backbone:
    monkeypatch.setenv("LGMNET_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)
    made = Backbone("counting", Counting(), 8, (0.5, 0.4, 0.3), (0.2, 0.3, 0.5))
    assert isinstance(made.network, Counting)
    made.network.shown = 0
    return made


def photos(count: int, side: int = 8, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, 3, side, side), generator=generator, dtype=torch.uint8)


def test_features_are_those_of_the_normalised_photo(backbone):
    x = photos(4)
    mean, std = np.array([0.5, 0.4, 0.3]), np.array([0.2, 0.3, 0.5])
    plain = (x.numpy().transpose(0, 2, 3, 1) / 255 - mean) / std
    expected = backbone.network.layer(torch.from_numpy(plain).float().permute(0, 3, 1, 2))
    came = backbone(x)
    assert came.shape == (4, 5)
    torch.testing.assert_close(came, expected.mean((2, 3)))
    assert not any(p.requires_grad for p in backbone.parameters())
    assert backbone(photos(2, side=20)).shape == (2, 5), "photos of another size are brought to it"


def test_no_photo_is_computed_twice(backbone):
    x = photos(100)
    first = features_of(backbone, x)
    assert backbone.network.shown == 100
    again = features_of(backbone, x.flip(0))
    assert backbone.network.shown == 100
    assert torch.equal(again.flip(0), first)
    more = features_of(backbone, torch.cat([x[:3], photos(2, seed=1)]))
    assert backbone.network.shown == 102
    assert torch.equal(more[:3], first[:3])
    # Of another size, or of another backbone, they are other photos.
    features_of(backbone, photos(1, side=9))
    assert backbone.network.shown == 103
    backbone.name = "another"
    features_of(backbone, x[:1])
    assert backbone.network.shown == 104


def test_a_cache_that_cannot_be_used_is_named(backbone, tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / "features.sqlite").write_bytes(b"this is no database, but a text of some length")
    with pytest.raises(UserError, match=r"Cannot keep features in .*LGMNET_CACHE"):
        features_of(backbone, photos(1))


def test_a_store_as_features(backbone):
    store = ClassDataset(photos(6), [2, 4], ["a", "b"], name="some", split="train")
    seen = embed_dataset(backbone, store)
    assert seen.feature_shape == (5,)
    assert torch.equal(seen.images, features_of(backbone, store.images))
    assert (seen.class_names, seen.split_hash) == (store.class_names, store.split_hash)
    both = concat_datasets([seen, seen], "twice", "train")
    assert both.counts.tolist() == [2, 4, 2, 4]
    assert both.images.shape == (12, 5)


def test_backbones_that_are_not_there(monkeypatch):
    with pytest.raises(ConfigError, match=r"no backbone 'efficientnet'. Did you mean"):
        load_backbone("efficientnet")
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError, match=r"need the package 'timm'.*lgmnet\[timm\]"):
        load_backbone("timm:resnet18")


def test_photos_need_a_backbone_and_a_backbone_photos():
    with pytest.raises(ConfigError, match="they need a backbone"):
        open_source("photos", "train")
    with pytest.raises(ConfigError, match=r"no split of photos 'tain'. Did you mean 'train'"):
        open_model_source("photos", "tain", backbone="efficientnet-lite0")
    with pytest.raises(ConfigError, match="'strokes' is no data of photos"):
        open_model_source("strokes", "train", backbone="efficientnet-lite0")


@pytest.mark.pack("cifar100")
@pytest.mark.pack("caltech101")
def test_what_a_model_of_photos_has_seen():
    """The parts of its data, where they may have classes of what it is asked."""
    seen = open_training_splits(["photos:train"], "cifar-fs")
    assert [(store.name, store.split) for store in seen] == [("cifar-fs", "train")]
    assert [store.name for store in open_training_splits(["photos:train"], "caltech101")] == [
        "caltech101"
    ]
    assert [store.name for store in open_training_splits(["photos:train"], "omniglot")] == []


@pytest.mark.slow
def test_the_backbone_that_comes_as_a_package():
    """Its features tell a photo from another, and a photo from itself in another size hardly."""
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
