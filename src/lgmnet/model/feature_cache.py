"""Photos through a frozen backbone, each once: features are kept by what a photo holds."""

from __future__ import annotations

import hashlib
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import torch
from jaxtyping import Float, UInt8
from rich.console import Console
from rich.progress import track
from torch import Tensor

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.images.cache import cache_folder
from lgmnet.devices import supports_bf16
from lgmnet.errors import UserError
from lgmnet.io import make_folder
from lgmnet.nn.pretrained import Backbone

VERSION = 1
"""Of how photos are prepared; counts in the keys."""
PHOTOS_A_BATCH, KEYS_A_QUERY = 32, 500


@torch.inference_mode()
def features_of(
    backbone: Backbone, photos: UInt8[Tensor, "images 3 height width"]
) -> Float[Tensor, "images length"]:
    """Features of photos, on the CPU; what has been seen before is not computed again.

    They are kept in the user's cache folder, by a hash of the pixels. Progress is shown on stderr.

    Args:
        backbone: On any device.
        photos: Of any one size.

    Raises:
        UserError: if the cache folder cannot be written to.
    """
    out = torch.empty(len(photos), backbone.length)
    device = next(backbone.parameters()).device
    bf16 = supports_bf16(device.type)
    about = f"{VERSION} {backbone.name} {'bf16' if bf16 else 'f32'} {tuple(photos.shape[1:])}"
    keys = [
        hashlib.sha256(about.encode() + photo.contiguous().numpy().tobytes()).digest()
        for photo in photos.cpu()
    ]
    folder = cache_folder()
    make_folder(folder)
    try:
        with closing(sqlite3.connect(folder / "features.sqlite", timeout=60)) as kept:
            kept.execute("create table if not exists features (key blob primary key, value blob)")
            found = dict(lookup(kept, keys))
            new = [i for i, key in enumerate(keys) if key not in found]
            for i, key in enumerate(keys):
                if key in found:
                    out[i] = torch.from_numpy(np.frombuffer(found[key], np.float32).copy())
            for some in batches(new):
                with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                    out[some] = backbone(photos[some].to(device)).cpu()
                rows = [(keys[i], out[i].numpy().tobytes()) for i in some]
                with kept:
                    kept.executemany("insert or ignore into features values (?, ?)", rows)
    except sqlite3.Error as error:
        raise UserError(
            f"Cannot keep features in '{folder}': {error}. Set LGMNET_CACHE to a folder that can "
            "be written to."
        ) from error
    return out


def lookup(kept: sqlite3.Connection, keys: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """What is kept of these keys."""
    for start in range(0, len(keys), KEYS_A_QUERY):
        some = keys[start : start + KEYS_A_QUERY]
        marks = ",".join("?" * len(some))
        yield from kept.execute(f"select key, value from features where key in ({marks})", some)


def batches(places: list[int]) -> Iterator[list[int]]:
    """Places, so many at a time, with their progress where there are many."""
    starts = range(0, len(places), PHOTOS_A_BATCH)
    console = Console(stderr=True, quiet=not sys.stderr.isatty() or len(starts) < 4)
    for start in track(starts, "features", console=console, transient=True):
        yield places[start : start + PHOTOS_A_BATCH]


def embed_dataset(backbone: Backbone, store: ClassDataset) -> ClassDataset:
    """A store's photos as features."""
    return ClassDataset(
        features_of(backbone, store.images),
        store.counts.tolist(),
        store.class_names,
        name=store.name,
        split=store.split,
    )
