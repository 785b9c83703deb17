"""Omniglot: 1,623 handwritten characters of 50 alphabets, 20 drawings each (Lake et al., 2015)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.images.archives import find_archive, read_arrays
from lgmnet.data.task_source import check_disjoint
from lgmnet.errors import DataError, extra, unknown_name
from lgmnet.io import atomic_write

PACK = Path("omniglot") / "omniglot28.npz"
ARRAYS = ("images", "label", "class_name", "class_alphabet", "class_split", "vinyals_split")
SIDE, DRAWINGS, CLASSES = 28, 20, 1623
PARTS = ("train", "val", "test")
MIRRORED = "-mirrored"
FOR_TRAINING = (f"train{MIRRORED}", f"trainval{MIRRORED}")
SPLITS = tuple(f"{s}/{part}" for s in ("vinyals", "lake") for part in (*PARTS, *FOR_TRAINING))
LAKE_VALIDATION_EVERY = 6
VINYALS = Path(__file__).with_name("vinyals_split.txt")
"""Part (0 train, 1 val, 2 test) of each class in order of its name: the lists of Vinyals et al.
(2016), as published with Snell et al. (2017), 1028 / 172 / 423 characters."""


def omniglot(split: str = "vinyals/train", *, rotations: bool = True) -> ClassDataset:
    """One split of Omniglot at 28x28, ink = 255.

    ``vinyals`` (Vinyals et al., 2016): their lists of 1028 / 172 / 423 characters.
    ``lake`` (Lake et al., 2015): whole alphabets are new at test; every sixth background alphabet
    is kept for validation. ``train-mirrored`` is ``train`` with every character's mirror image as a
    class of its own, so that there is more to learn from; no score is counted on such classes.
    ``trainval-mirrored`` is the same of ``train`` and ``val`` together, for a last course when all
    has been chosen on ``val``, as Snell et al. do: the 1200 training characters of Vinyals et al.

    Args:
        split: One of `SPLITS`.
        rotations: Whether each character turned by 90, 180 and 270 degrees is a class too.

    Raises:
        DataError: if the data cannot be found or read.
        ConfigError: if there is no such split.
    """
    if split not in SPLITS:
        raise unknown_name("split of omniglot", split, SPLITS)
    scheme, part = split.split("/")
    pack = load_pack()
    names = pack["class_name"].astype(str)
    parts = assign_splits(pack, scheme)
    check_disjoint({f"{scheme}/{part}": names[chosen] for part, chosen in parts.items()})
    plain, mirrored = part.removesuffix(MIRRORED), part.endswith(MIRRORED)
    parts["trainval"] = np.concatenate([parts["train"], parts["val"]])
    chosen = parts[plain]
    by_class = np.argsort(pack["label"], kind="stable").reshape(CLASSES, DRAWINGS)
    images = torch.from_numpy(pack["images"][by_class[chosen].ravel()])[:, None]
    faces = {"": images, "m": images.flip(3)} if mirrored else {"": images}
    turned = {
        f"{90 * turn}{mark}": face.rot90(turn, (2, 3))
        for mark, face in faces.items()
        for turn in range(4 if rotations else 1)
    }
    return ClassDataset(
        torch.cat(list(turned.values())),
        [DRAWINGS] * (len(chosen) * len(turned)),
        [f"{name}@{view}" for view in turned for name in names[chosen]],
        name="omniglot",
        split=split,
        groups=[f"{name.rsplit('/', 1)[0]}@{view}" for view in turned for name in names[chosen]],
    )


def assign_splits(pack: dict[str, Any], scheme: str) -> dict[str, np.ndarray]:
    """The class numbers of train, val and test, by the scheme ``vinyals`` or ``lake``."""
    if scheme == "vinyals":
        part = pack["vinyals_split"]
    else:
        alphabets = pack["class_alphabet"].astype(str)
        evaluation = pack["class_split"] == 1
        held_out = sorted(set(alphabets[~evaluation]))[::LAKE_VALIDATION_EVERY]
        part = np.where(evaluation, 2, np.where(np.isin(alphabets, held_out), 1, 0))
    return {name: np.flatnonzero(part == i) for i, name in enumerate(PARTS)}


def load_pack() -> dict[str, Any]:
    """The arrays of the pack: images, and tables of the classes.

    Raises:
        DataError: saying where it was looked for, or what is wrong with it.
    """
    (path,) = find_archive(
        "Omniglot",
        [PACK],
        "fetch it with 'lgmnet download omniglot', or use --data strokes, which needs no file",
    )
    arrays = read_arrays(path, ARRAYS)
    if arrays["images"].shape != (CLASSES * DRAWINGS, SIDE, SIDE):
        raise DataError(f"'{path}' holds images of shape {arrays['images'].shape}.")
    return arrays


def download(folder: Path, progress: Callable[[int], object] = lambda done: None) -> Path:
    """Fetch Omniglot with torchvision and write the pack into a data folder.

    Args:
        folder: The data folder; the original images stay in it too.
        progress: Told the number of classes just converted.

    Returns:
        The pack's file.

    Raises:
        UserError: if torchvision is not installed.
        DataError: if the download fails or is not whole.
    """
    with extra("download", "downloads"):
        from torchvision.datasets import Omniglot  # type: ignore[import-not-found,unused-ignore]
    raw = folder / "omniglot"
    raw.mkdir(parents=True, exist_ok=True)
    try:
        for background in (True, False):
            Omniglot(str(raw), background=background, download=True)
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"Omniglot could not be downloaded: {error}. Is there a network?"
        ) from error
    arrays = convert(raw / "omniglot-py", progress)
    with atomic_write(folder / PACK) as draft:
        np.savez_compressed(draft, allow_pickle=False, **arrays)
    return folder / PACK


def convert(
    raw: Path, progress: Callable[[int], object] = lambda done: None
) -> dict[str, np.ndarray]:
    """The arrays of the pack from folders ``raw/images_*/<alphabet>/<character>``.

    The original drawings, 105x105, black on white, are inverted and resized with a Lanczos filter
    (in that order: the other way round, some pixels round to a neighbouring grey).

    Raises:
        DataError: if these are not all drawings.
    """
    folders = sorted(raw.glob("images_*/*/character*"), key=lambda f: f.relative_to(raw).as_posix())
    if len(folders) != CLASSES:
        raise DataError(f"'{raw}' holds {len(folders)} characters; Omniglot has {CLASSES}.")
    images = np.empty((CLASSES * DRAWINGS, SIDE, SIDE), np.uint8)
    for label, folder in enumerate(folders):
        files = sorted(folder.glob("*.png"))
        if len(files) != DRAWINGS:
            raise DataError(f"'{folder}' holds {len(files)} drawings; expected {DRAWINGS}.")
        for drawer, file in enumerate(files):
            with Image.open(file) as drawing:
                ink = ImageOps.invert(drawing.convert("L"))
            small = ink.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
            images[label * DRAWINGS + drawer] = np.asarray(small)
        progress(1)
    names = [folder.relative_to(raw).as_posix() for folder in folders]
    return {
        "images": images,
        "label": np.repeat(np.arange(CLASSES, dtype=np.int16), DRAWINGS),
        "class_name": np.array(names),
        "class_alphabet": np.array([name.split("/")[1] for name in names]),
        "class_split": np.array([name.startswith("images_evaluation") for name in names], np.uint8),
        "vinyals_split": np.array(
            [int(part) for part in VINYALS.read_text().replace("\n", "")], np.uint8
        ),
    }
