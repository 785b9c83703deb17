"""Bad input about criteria and domains: exit code 2, a message that names the fault, no files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lgmnet.data.datasets.cifar import CIFAR_ARCHIVE
from lgmnet.data.registry import SOURCES, open_source
from lgmnet.data.synthetic.criteria import draw_criterion_tasks
from lgmnet.data.synthetic.criterion_pool import CriterionPool
from lgmnet.errors import DataError, EpisodeError
from lgmnet.nn.pretrained import Backbone
from tests.cli.test_bad_input import assert_error
from tests.support.command_line import lgmnet, listing
from tests.support.criteria import small_table
from tests.support.images import symbols
from tests.support.random import seeded


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        ("criteria-photos:blurr", ("criterion of criteria-photos 'blurr'", "'blur'?")),
        ("criteria-drawings:sise", ("criterion of criteria-drawings 'sise'", "'size'?")),
        ("domains:grocry/kind", ("set and labeling of domains 'grocry/kind'", "'grocery/kind'?")),
        ("domains:grocery/kin", ("set and labeling of domains 'grocery/kin'", "'grocery/kind'?")),
        ("criteria-photo", ("'criteria-photo'", "'criteria-photos'?")),
    ],
)
def test_unknown_criteria_sets_and_labelings(
    data: str, parts: tuple[str, ...], tiny: Path, tmp_path: Path
) -> None:
    assert_error(lgmnet("evaluate", tiny, "--data", data), *parts)
    train = lgmnet("train", "criteria-drawings", "--data", data, "--out", tmp_path / "out")
    assert_error(train, *parts)
    assert listing(tmp_path) == {}


def test_a_criterion_that_is_kept_for_testing(tiny: Path) -> None:
    ran = lgmnet("evaluate", tiny, "--data", "criteria-photos:zoom", "--split", "val")
    assert_error(ran, "'zoom' is kept for testing", "use the split 'test', or one of class")


@pytest.mark.parametrize(
    ("data", "split", "missing"),
    [
        ("criteria-photos:blur", "val", "cifar_fs_test.npz"),
        ("criteria-photos:blur", "test", "caltech101_128_jpeg.npz"),
        ("criteria-drawings:size", "test", "omniglot105_bits.npz"),
        ("domains:textile/defect", "test", "textile.npz"),
    ],
)
def test_a_pack_that_lacks_one_file(
    data: str,
    split: str,
    missing: str,
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    present = [*CIFAR_ARCHIVE, Path("omniglot/omniglot28.npz"), Path("domains/coins.npz")]
    for file in (tmp_path / file for file in present if file.name != missing):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"")
    monkeypatch.setenv("LGMNET_DATA", str(tmp_path))
    ran = lgmnet("evaluate", tiny, "--data", data, "--split", split, "--way", 3)
    assert_error(ran, missing)
    with pytest.raises(DataError, match=missing):
        open_source(data, "lake/test" if "drawings" in data else split)


def test_more_classes_than_a_criterion_has_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """The features of the photos, which would take minutes, are not computed."""
    table = small_table(images=60, versions=3)
    photos = torch.zeros(len(table), 3, 9, 9, dtype=torch.uint8)
    pool = CriterionPool(photos, table, ["a"], name="criteria-photos", split="test")
    network = torch.nn.Conv2d(3, 1280, 3)
    backbone = Backbone("stand-in", network, 9, (0.5,) * 3, (0.5,) * 3)
    monkeypatch.setitem(SOURCES, "criteria-photos:tint", lambda split: pool.with_criterion("tint"))
    monkeypatch.setattr("lgmnet.model.sources.load_backbone", lambda name: backbone)
    monkeypatch.setattr(
        "lgmnet.model.sources.embed_photos", lambda *_: pytest.fail("photos are embedded")
    )
    for command in (["evaluate", "photos"], ["audit", "photos"]):
        ran = lgmnet(*command, "--data", "criteria-photos:tint", "--way", 4, "--shot", 1)
        assert_error(ran, "way is 4, but the criterion 'tint' has 3 values")
    with pytest.raises(EpisodeError, match="way is 4, but the criterion 'tint' has 3 values"):
        draw_criterion_tasks(table, "tint", 4, 1, 1, 2, seeded())


@pytest.mark.pack("omniglot105")
def test_more_classes_than_drawings_have_polarities(tiny: Path) -> None:
    ran = lgmnet("evaluate", tiny, "--data", "criteria-drawings:polarity", "--way", 3)
    assert_error(ran, "way is 3, but the criterion 'polarity' has 2 values")


def test_classes_that_all_hold_the_same_image(tiny: Path, tmp_path: Path) -> None:
    folder = symbols(tmp_path / "images", {"moon": 2, "star": 1, "sun": 3})
    image = (folder / "star" / "0.png").read_bytes()
    for file in folder.rglob("*.png"):
        file.write_bytes(image)
    before = listing(tmp_path)
    ran = lgmnet("forge", folder, "-o", tmp_path / "c.safetensors", "--model", tiny)
    assert_error(ran, "All 3 classes hold the same image, so nothing can tell them apart")
    assert listing(tmp_path) == before
    symbols(tmp_path / "other", {"moon": 1})
    (folder / "moon" / "0.png").write_bytes((tmp_path / "other" / "moon" / "0.png").read_bytes())
    assert lgmnet("forge", folder, "-o", tmp_path / "c.safetensors", "--model", tiny).code == 0
