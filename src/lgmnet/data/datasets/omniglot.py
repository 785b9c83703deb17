"""Omniglot: 1,623 handwritten characters of 50 alphabets, 20 drawings each (Lake et al., 2015)."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps
from torch import Tensor

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.fetch import fetch, unpack
from lgmnet.data.images.archives import find_archive, read_arrays
from lgmnet.data.task_source import STANDARD_SPLITS, check_disjoint
from lgmnet.errors import DataError, unknown_name_error
from lgmnet.io import atomic_write, check_destination, make_folder
from lgmnet.progress import track_progress

OMNIGLOT_ARCHIVE = Path("omniglot") / "omniglot28.npz"
ORIGINALS_URL = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python"
ORIGINALS = {
    "images_background.zip": "68d2efa1b9178cc56df9314c21c6e718",
    "images_evaluation.zip": "6b91aef0f799c5bb55b94e3f2daec811",
}
"""Archives of the authors with the original drawings, and their MD5 hashes."""
ARRAY_NAMES = ("images", "label", "class_name", "class_alphabet", "class_split", "vinyals_split")
OMNIGLOT_SIDE, DRAWINGS_PER_CLASS, CLASSES = 28, 20, 1623
MIRRORED = "-mirrored"
SPLIT_NAMES = (*STANDARD_SPLITS, f"train{MIRRORED}", f"trainval{MIRRORED}")
OMNIGLOT_SPLITS = tuple(f"{scheme}/{s}" for scheme in ("vinyals", "lake") for s in SPLIT_NAMES)
LAKE_VALIDATION_STEP = 6
VINYALS_SPLIT_FILE = Path(__file__).with_name("vinyals_split.txt")
"""Split (0 train, 1 val, 2 test) of each class, sorted by name: the lists of Vinyals et al.
(2016), as published with Snell et al. (2017), 1028 / 172 / 423 characters."""


def omniglot(split: str = "vinyals/train", *, rotations: bool = True) -> ClassDataset:
    """Open a split of Omniglot at 28x28 pixels, ink = 255.

    ``vinyals`` (Vinyals et al., 2016): their lists of 1028 / 172 / 423 characters.
    ``lake`` (Lake et al., 2015): the test split has alphabets of its own; every sixth alphabet of
    the background set is used for validation. ``train-mirrored`` is ``train`` with the mirror image
    of every character as an additional class; it gives more training classes, and models are never
    scored on it. ``trainval-mirrored`` is the same for ``train`` and ``val`` together. It is meant
    for a final training after all choices were made on ``val``, as in Snell et al.: the 1200
    training characters of Vinyals et al.

    Args:
        split: One of `OMNIGLOT_SPLITS`.
        rotations: If True, each character rotated by 90, 180 and 270 degrees is a class too.

    Raises:
        DataError: if the data cannot be found or read.
        ConfigError: if there is no such split.
    """
    if split not in OMNIGLOT_SPLITS:
        raise unknown_name_error("split of omniglot", split, OMNIGLOT_SPLITS)
    scheme, split_name = split.split("/")
    arrays = load_omniglot_arrays()
    names = arrays["class_name"].astype(str)
    splits = assign_splits(arrays, scheme)
    check_disjoint({f"{scheme}/{key}": names[classes] for key, classes in splits.items()})
    splits["trainval"] = np.concatenate([splits["train"], splits["val"]])
    classes = splits[split_name.removesuffix(MIRRORED)]
    rows = np.argsort(arrays["label"], kind="stable").reshape(CLASSES, DRAWINGS_PER_CLASS)[classes]
    images = torch.from_numpy(arrays["images"][rows.ravel()])[:, None]
    return view_characters(images, names[classes].tolist(), split, rotations=rotations)


def view_characters(
    images: UInt8[Tensor, "images 1 side side"],
    names: Sequence[str],
    split: str,
    *,
    rotations: bool = True,
) -> ClassDataset:
    """Make a data set of characters in which each view of a character is a class.

    Args:
        images: Drawings as they are, sorted by character.
        names: Name of each character.
        split: Name of the split, which tells whether there are mirror images too.
        rotations: If True, there are rotations too.
    """
    mirrored = {"m": images.flip(3)} if split.endswith(MIRRORED) else {}
    views = {
        f"{90 * turns}{mark}": view.rot90(turns, (2, 3))
        for mark, view in {"": images, **mirrored}.items()
        for turns in range(4 if rotations else 1)
    }
    class_names = [f"{name}@{view}" for view in views for name in names]
    groups = [f"{name.rsplit('/', 1)[0]}@{view}" for view in views for name in names]
    images, counts = torch.cat([*views.values()]), [DRAWINGS_PER_CLASS] * len(class_names)
    return ClassDataset(images, counts, class_names, name="omniglot", split=split, groups=groups)


def assign_splits(arrays: dict[str, Any], scheme: str) -> dict[str, np.ndarray]:
    """Return the class numbers of train, val and test by the scheme ``vinyals`` or ``lake``."""
    if scheme == "vinyals":
        split_numbers = arrays["vinyals_split"]
    else:
        alphabets = arrays["class_alphabet"].astype(str)
        is_test = arrays["class_split"] == 1
        validation = sorted(set(alphabets[~is_test]))[::LAKE_VALIDATION_STEP]
        split_numbers = np.where(is_test, 2, np.where(np.isin(alphabets, validation), 1, 0))
    return {name: np.flatnonzero(split_numbers == i) for i, name in enumerate(STANDARD_SPLITS)}


def load_omniglot_arrays() -> dict[str, Any]:
    """Load the arrays of the archive: images and tables of the classes.

    Raises:
        DataError: naming the paths that were searched, or the fault of the archive.
    """
    advice = (
        "download it with 'lgmnet download omniglot', or use --data strokes, which needs no file"
    )
    (path,) = find_archive("Omniglot", [OMNIGLOT_ARCHIVE], advice)
    arrays = read_arrays(path, ARRAY_NAMES)
    shape = arrays["images"].shape
    expected = (CLASSES * DRAWINGS_PER_CLASS, OMNIGLOT_SIDE, OMNIGLOT_SIDE)
    if shape != expected:
        raise DataError(f"'{path}' holds images of shape {shape}, expected {expected}.")
    return arrays


def download(folder: Path, *, overwrite: bool = False) -> Path:
    """Download Omniglot, and write the archive into a data folder.

    The original images stay in the folder too. If ``overwrite``, a file in the place of the archive
    is replaced even if it is none.

    Returns:
        Path of the archive.

    Raises:
        DataError: if the originals cannot be fetched.
    """
    archive = folder / OMNIGLOT_ARCHIVE
    if archive.exists():
        check_destination(archive, "archive of Omniglot", is_archive, overwrite=overwrite)
    raw = folder / "omniglot" / "omniglot-py"
    make_folder(raw)
    for name, md5 in ORIGINALS.items():
        fetch(f"{ORIGINALS_URL}/{name}", raw / name, md5)
        unpack(raw / name, raw)
    arrays = convert_originals(raw)
    with atomic_write(archive) as draft:
        np.savez_compressed(draft, allow_pickle=False, **arrays)
    return archive


def is_archive(path: Path) -> bool:
    """Return True if a file is an archive of the arrays of Omniglot."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {f"{name}.npy" for name in ARRAY_NAMES} <= set(archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def convert_originals(raw: Path) -> dict[str, np.ndarray]:
    """Make the arrays of the archive from the folders ``raw/images_*/<alphabet>/<character>``.

    The original drawings, 105x105 and black on white, are inverted and then resized with a Lanczos
    filter. In the reverse order, rounding would change the gray level of some pixels by one.

    Raises:
        DataError: if drawings are missing.
    """
    folders = sorted(raw.glob("images_*/*/character*"), key=lambda f: f.relative_to(raw).as_posix())
    if len(folders) != CLASSES:
        raise DataError(f"'{raw}' holds {len(folders)} characters; Omniglot has {CLASSES}.")
    images = np.empty((CLASSES * DRAWINGS_PER_CLASS, OMNIGLOT_SIDE, OMNIGLOT_SIDE), np.uint8)
    with track_progress("characters", CLASSES) as progress:
        for label, folder in enumerate(folders):
            files = sorted(folder.glob("*.png"))
            if (n := len(files)) != DRAWINGS_PER_CLASS:
                raise DataError(f"'{folder}' holds {n} drawings; expected {DRAWINGS_PER_CLASS}.")
            for drawer, file in enumerate(files):
                with Image.open(file, formats=["PNG"]) as drawing:
                    ink = ImageOps.invert(drawing.convert("L"))
                small = ink.resize((OMNIGLOT_SIDE, OMNIGLOT_SIDE), Image.Resampling.LANCZOS)
                images[label * DRAWINGS_PER_CLASS + drawer] = np.asarray(small)
            progress.advance()
    names = [folder.relative_to(raw).as_posix() for folder in folders]
    vinyals = [int(number) for number in VINYALS_SPLIT_FILE.read_text().replace("\n", "")]
    return {
        "images": images,
        "label": np.repeat(np.arange(CLASSES, dtype=np.int16), DRAWINGS_PER_CLASS),
        "class_name": np.array(names),
        "class_alphabet": np.array([name.split("/")[1] for name in names]),
        "class_split": np.array([name.startswith("images_evaluation") for name in names], np.uint8),
        "vinyals_split": np.array(vinyals, np.uint8),
    }
