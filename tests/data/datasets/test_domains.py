"""Photos of six domains: their labelings, their one split, and errors that name the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.datasets.domains import DOMAIN_SOURCES, DOMAINS, domain
from lgmnet.data.sampler import Sampler
from lgmnet.data.task_source import shares_classes
from lgmnet.episode import EpisodeShape
from lgmnet.errors import ConfigError, DataError, EpisodeError
from tests.support.domains import write_grocery
from tests.support.random import seeded


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Archive of six grocery photos in a data folder of its own."""
    monkeypatch.setenv("LGMNET_DATA", str(tmp_path))
    return write_grocery(tmp_path)


def gray_levels(dataset: ClassDataset) -> list[int]:
    levels: list[int] = dataset.images[:, 0, 80, 80].tolist()
    return levels


@pytest.mark.usefixtures("archive")
def test_the_same_photos_are_labelled_in_two_ways() -> None:
    product = domain("grocery", "train")
    assert product.name == "domains:grocery/product"
    assert product.class_names == (
        "grocery/product/Gala",
        "grocery/product/Kiwi",
        "grocery/product/Milk",
    )
    assert product.counts.tolist() == [2, 2, 2]
    assert gray_levels(product) == [40, 160, 80, 200, 0, 120]
    kind = DOMAIN_SOURCES["domains:grocery/kind"]("train")
    assert kind.class_names == ("grocery/kind/Fruit", "grocery/kind/Dairy")
    assert kind.counts.tolist() == [4, 2]
    assert gray_levels(kind) == [40, 80, 160, 200, 0, 120]


@pytest.mark.usefixtures("archive")
def test_classes_of_few_photos_are_drawn_completely_or_refused() -> None:
    kind = domain("grocery", "train", "kind")
    e = Sampler(kind, seeded()).sample(EpisodeShape(2, 1, 1, 30))
    assert e.support_x.shape == (30, 2, 3, 160, 160)
    with pytest.raises(EpisodeError, match=r"fewer images: 'grocery/kind/Dairy' \(2\)"):
        kind.check(EpisodeShape(2, 1, 2))


def test_a_set_has_no_other_split_than_its_own() -> None:
    for name in ("sign_digits", "textile", "cue_conflict"):
        for split in ("train", "val"):
            message = f"'{name}' is for testing alone, so it has no split '{split}'"
            with pytest.raises(DataError, match=message):
                domain(name, split)
    with pytest.raises(DataError, match=r"'coins' is for validation alone.*only split is 'val'"):
        domain("coins", "test")
    with pytest.raises(DataError, match="'grocery' is for training alone"):
        domain("grocery", "test")


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"no set of domains 'grocry'\. Did you mean 'grocery'"):
        domain("grocry", "train")
    with pytest.raises(ConfigError, match=r"labeling of grocery 'kin'\. Did you mean 'kind'"):
        domain("grocery", "train", "kin")
    with pytest.raises(ConfigError, match=r"no split of grocery 'trian'.*Known: train"):
        domain("grocery", "trian")


def test_a_missing_or_damaged_file_is_named(archive: Path) -> None:
    with pytest.raises(DataError, match=r"'clothing' was not found.*domains/clothing\.npz"):
        domain("clothing", "train")
    archive.write_bytes(archive.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"grocery\.npz' is damaged"):
        domain("grocery", "train")
    np.savez(archive, data=np.zeros(1, np.uint8))
    with pytest.raises(DataError, match=r"grocery\.npz' is damaged.*offsets"):
        domain("grocery", "train")


@pytest.mark.pack("domains")
def test_real_sets_have_their_classes() -> None:
    textile = domain("textile", "test")
    assert textile.counts.tolist() == [200, 200, 200]
    assert textile.feature_shape == (3, DOMAINS["textile"].side, DOMAINS["textile"].side)
    digits = domain("sign_digits", "test")
    assert digits.counts.tolist() == [80] * 10
    assert digits.images.float().std((1, 2, 3)).min() > 1, "every photo is decoded"
    assert not shares_classes(textile, digits)
    assert torch.equal(domain("textile", "test").images[7], textile.images[7])
