"""Cache of photo features: a frozen backbone embeds each photo only once."""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.engines.names import AUTO, TORCH
from lgmnet.errors import UserError
from lgmnet.io import make_cache_folder
from lgmnet.nn.pretrained import Backbone
from lgmnet.progress import track_progress

FEATURE_VERSION = 1
"""Version of the preparation of photos; part of every key."""
PHOTO_BATCH_SIZE = 32
N_ROWS_IN_COMMIT = 256


@torch.inference_mode()
def embed_photos(
    backbone: Backbone,
    photos: UInt8[Tensor, "images 3 height width"],
    dtype: torch.dtype = torch.float32,
    engine: str = AUTO,
) -> Float[Tensor, "images length"]:
    """Embed photos with a frozen backbone; cached features are not computed again.

    Features are stored in the user's cache folder under a hash of the photo's pixels and of the
    engine. They are rounded to `Backbone.stored_dtype`, whether they come from there or are new.

    Args:
        backbone: Frozen network.
        photos: Photos of one size.
        dtype: Type of the features that are returned.
        engine: Engine that computes them (see `load_engine`).

    Raises:
        ConfigError: if there is no such engine.
        UserError: as `load_engine` does, or if the cache folder cannot be written to.
    """
    features = torch.empty(len(photos), backbone.length, dtype=backbone.stored_dtype)
    loaded = backbone.on_engine(engine)
    # Features of different engines differ in their last digits, so they are never mixed.
    computed_by = loaded.precision if loaded.name == TORCH else f"{loaded.name} {loaded.precision}"
    prefix = f"{FEATURE_VERSION} {backbone.name} {computed_by} {tuple(photos.shape[1:])}".encode()
    photo_bytes = (photo.contiguous().numpy().tobytes() for photo in photos.cpu())
    keys = [hashlib.sha256(prefix + content).digest() for content in photo_bytes]
    missing = []
    first = {key: i for i, key in reversed([*enumerate(keys)])}  # Equal photos are embedded once.
    folder = make_cache_folder()
    try:
        with closing(sqlite3.connect(folder / "features.sqlite", timeout=60)) as database:
            database.execute(
                "create table if not exists features (key blob primary key, value blob)"
            )
            query = "select value from features where key = ?"
            for key, i in first.items():
                if row := database.execute(query, [key]).fetchone():
                    stored = torch.frombuffer(bytearray(row[0]), dtype=features.dtype)
                    features[i] = stored
                else:
                    missing.append(i)
            missing.sort()
            rows = []
            for batch in split_batches(missing):
                features[batch] = loaded(backbone.resize(photos[batch])).to(features)
                rows += [(keys[i], features[i].numpy().tobytes()) for i in batch]
                # The disk confirms every commit, which takes longer than a few photos.
                if len(rows) >= N_ROWS_IN_COMMIT or batch[-1] == missing[-1]:
                    with database:
                        database.executemany("insert or ignore into features values (?, ?)", rows)
                    rows.clear()
    except sqlite3.Error as error:
        raise UserError(
            f"Cannot store features in '{folder}': {error}. Set LGMNET_CACHE to a folder that can "
            "be written to."
        ) from error
    return features[[first[key] for key in keys]].to(dtype)


def split_batches(indices: list[int]) -> Iterator[list[int]]:
    """Split the indices of photos into batches, and report the progress of the loop over them."""
    if not indices:
        return
    with track_progress("photos", len(indices)) as progress:
        for start in range(0, len(indices), PHOTO_BATCH_SIZE):
            batch = indices[start : start + PHOTO_BATCH_SIZE]
            yield batch
            progress.advance(len(batch))


def embed_dataset(backbone: Backbone, dataset: ClassDataset) -> ClassDataset:
    """Embed the photos of a data set."""
    features, counts = embed_photos(backbone, dataset.images), dataset.counts.tolist()
    names = dataset.class_names
    return ClassDataset(features, counts, names, name=dataset.name, split=dataset.split)
