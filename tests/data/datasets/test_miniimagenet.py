"""miniImageNet: CSV splits, ImageNet's own folders, and errors that name the file at fault."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lgmnet.data.datasets.image_folder import find_image, image_folder, list_numbered_files
from lgmnet.data.datasets.miniimagenet import miniimagenet
from lgmnet.errors import DataError
from tests.data.datasets.test_image_folder import paint


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LGMNET_CACHE", str(tmp_path / "cache"))
    list_numbered_files.cache_clear()


@pytest.mark.parametrize("layout", ["images/{file}", "images/{label}/{file}", "{label}/{file}"])
def test_the_csv_file_finds_images_in_each_layout(tmp_path: Path, layout: str) -> None:
    rows = [("n02.jpg", "b"), ("n01.jpg", "a"), ("n03.jpg", "b")]
    for i, (file, label) in enumerate(rows):
        paint(tmp_path / layout.format(file=file, label=label), (0, 0, 60 * i), (20, 20))
    lines = ["filename,label", *(",".join(row) for row in rows)]
    (tmp_path / "val.csv").write_text("\n".join(lines) + "\n")
    dataset = image_folder(tmp_path, "val", (3, 5, 5))
    assert dataset.class_names == ("a", "b")
    assert dataset.counts.tolist() == [1, 2]
    blue = dataset.images[:, 2, 2, 2].float()
    torch.testing.assert_close(blue, torch.tensor([60.0, 0.0, 120.0]), atol=4, rtol=0)


def test_images_are_found_in_the_class_folders_of_imagenet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``n0153282900000002.jpg`` is the second image of its class by number, not by name."""
    monkeypatch.setenv("LGMNET_DATA", str(tmp_path))
    folder = tmp_path / "miniimagenet"
    for synset in ("n01532829", "n01558993"):
        for order, number in enumerate((7, 42, 103)):
            paint(folder / synset / f"{synset}_{number}.JPEG", (0, 0, 80 * order), (100, 90))
    for split, synset in (("train", "n01532829"), ("val", "n01558993"), ("test", "n01558993")):
        rows = [f"{synset}0000000{k},{synset}".replace(",", ".jpg,") for k in (3, 1, 2)]
        (folder / f"{split}.csv").write_text("\n".join(["filename,label", *rows]) + "\n")
    dataset = miniimagenet("train")
    assert dataset.name == "miniimagenet"
    assert dataset.images.shape == (3, 3, 84, 84)
    blue = dataset.images[:, 2, 40, 40].float()
    torch.testing.assert_close(blue, torch.tensor([160.0, 0.0, 80.0]), atol=4, rtol=0)
    with pytest.raises(DataError, match=r"No image 'n0153282900000004\.jpg'"):
        find_image(folder, "n0153282900000004.jpg", "n01532829")


def test_the_error_without_the_data_says_where_to_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LGMNET_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"looked for .*train\.csv.*put the CSV files"):
        miniimagenet("train")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,class\na.jpg,a\n", "must begin with the line 'filename,label'"),
        ("", "must begin with the line"),
        ("filename,label\n", "names no files"),
        ("filename,label\na.jpg\n", "Line 2 .* has 1 values"),
        ("filename,label\na.jpg,a\n", r"No image 'a\.jpg' of the class 'a'"),
    ],
)
def test_a_wrong_csv_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "test.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        image_folder(tmp_path, "test")
