"""Omniglot: 1,623 handwritten characters of 50 alphabets, 20 drawings each (Lake et al., 2015)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lgmnet.data.classes import ClassStore
from lgmnet.data.source import prove_disjoint
from lgmnet.errors import DataError, unknown_name

PACK = Path("omniglot") / "omniglot28.npz"
DRAWINGS = 20
LAKE_VALIDATION_EVERY = 6
SPLITS = tuple(f"{split}/{part}" for split in ("vinyals", "lake") for part in ("train", "val", "test"))


def data_folders() -> list[Path]:
    """Where data packs are looked for: ``LGMNET_DATA``, then ``shared/data`` here or one folder up."""
    named = os.environ.get("LGMNET_DATA")
    here = Path.cwd()
    return [Path(named)] if named else [here / "shared" / "data", here.parent / "shared" / "data"]


def find_pack(relative: Path) -> Path | None:
    """The first place that holds this file of the data packs, or None."""
    return next((f / relative for f in data_folders() if (f / relative).is_file()), None)


def omniglot(split: str = "vinyals/train", *, rotations: bool = True) -> ClassStore:
    """Omniglot at 28x28, ink = 255, one split.

    ``vinyals`` (Vinyals et al., 2016): characters shuffled across alphabets, 1028 / 172 / 423.
    ``lake`` (Lake et al., 2015): whole alphabets are new at test; every sixth background alphabet
    is kept for validation.

    Args:
        split: One of `SPLITS`.
        rotations: Whether each character turned by 90, 180 and 270 degrees is a class too.

    Raises:
        DataError: if the data cannot be found.
        ConfigError: if there is no such split.
    """
    if split not in SPLITS:
        raise unknown_name("split of omniglot", split, SPLITS)
    pack = _load()
    parts = _parts(pack, split.split("/")[0])
    names = pack["class_name"].astype(str)
    prove_disjoint({part: names[classes] for part, classes in parts.items()})
    classes = parts[split.split("/")[1]]

    order = np.argsort(pack["label"], kind="stable").reshape(-1, DRAWINGS)
    images = torch.from_numpy(pack["images"][order[classes].ravel()])[:, None]
    turns = range(4 if rotations else 1)
    return ClassStore(
        torch.cat([images.rot90(turn, (2, 3)) for turn in turns]),
        [DRAWINGS] * (len(classes) * len(turns)),
        [f"{name}@{90 * turn}" for turn in turns for name in names[classes]],
        name="omniglot",
        split=split,
    )


def _parts(pack: dict[str, Any], scheme: str) -> dict[str, np.ndarray]:
    """Class numbers of train, val and test."""
    if scheme == "vinyals":
        part = pack["vinyals_split"]
    else:
        alphabets = pack["class_alphabet"].astype(str)
        evaluation = pack["class_split"] == 1
        held_out = sorted(set(alphabets[~evaluation]))[:: LAKE_VALIDATION_EVERY]
        part = np.where(evaluation, 2, np.where(np.isin(alphabets, held_out), 1, 0))
    return {name: np.flatnonzero(part == i) for i, name in enumerate(("train", "val", "test"))}


def _load() -> dict[str, Any]:
    path = find_pack(PACK)
    if path is None:
        raise DataError("no pack")
    with np.load(path) as pack:
        return dict(pack)
