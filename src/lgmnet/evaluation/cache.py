"""Embedding a store once, so that thousands of tasks drawn from it need not embed it again."""

from __future__ import annotations

import torch
from torch import nn

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.sampler import fill_from_bytes
from lgmnet.episode import EpisodeShape
from lgmnet.methods.base import Method

IMAGES_A_BATCH = 512
MOST_BYTES = 3 << 30
"""Embeddings beyond this size are not kept."""


@torch.inference_mode()
def cache_embeddings(method: Method, store: ClassDataset) -> tuple[Method, ClassDataset]:
    """A store's images as the method's shared embedding sees them, and the method behind it.

    Args:
        method: In evaluation mode, with a shared embedding.
        store: Images.

    Returns:
        A method that takes embeddings and shares all weights with ``method``, and the store of
        embeddings, on the CPU, with the same classes in the same order.
    """
    assert not method.training, "in training the embedding would change with every batch"
    device = method.device
    kept = torch.empty(0)
    for start in range(0, len(store.images), IMAGES_A_BATCH):
        raw = store.images[start : start + IMAGES_A_BATCH].to(device)
        batch = torch.empty(raw.shape, device=device)
        fill_from_bytes(batch, raw)
        features = method.embedding(batch)
        if start == 0:  # Filled part by part: parts put together at the end would be there twice.
            kept = torch.empty(len(store.images), *features.shape[1:])
        kept[start : start + len(batch)] = features
    embedded = ClassDataset(
        kept,
        store.counts.tolist(),
        store.class_names,
        name=store.name,
        split=store.split,
    )
    return method.without_embedding(), embedded


def is_worth_caching(
    method: Method, store: ClassDataset, shape: EpisodeShape, episodes: int
) -> bool:
    """Whether a store is smaller than the tasks drawn from it, and its embeddings fit in memory."""
    if isinstance(method.embedding, nn.Identity) or store.images.is_floating_point():
        return False
    if len(store.images) > episodes * shape.way * shape.per_class:
        return False
    with torch.inference_mode():
        device = method.device
        one = method.embedding(store.images[:1].to(device, torch.float32))
    size: int = one.numel() * 4 * len(store.images)
    return size <= MOST_BYTES
