"""Embedding of a whole data set, so that tasks drawn from it need not embed its images again."""

import torch
from torch import nn

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.sampler import fill_from_bytes
from lgmnet.episode import EpisodeShape
from lgmnet.methods.base import Method

EMBEDDING_BATCH_SIZE = 512
MAX_CACHE_BYTES = 3 << 30
"""Size of the embeddings above which they are not cached."""


@torch.inference_mode()
def cache_embeddings(method: Method, dataset: ClassDataset) -> tuple[Method, ClassDataset]:
    """Embed all images of a data set with the shared embedding of a method in evaluation mode.

    Returns:
        The method for embedded samples, which shares all weights with ``method``, and the
        embeddings on the CPU, with the same classes in the same order.
    """
    assert not method.training, "in training mode the embedding depends on the batch"
    device = method.device
    embeddings = torch.empty(0)
    for start in range(0, len(dataset.images), EMBEDDING_BATCH_SIZE):
        raw = dataset.images[start : start + EMBEDDING_BATCH_SIZE].to(device)
        batch = torch.empty(raw.shape, device=device)
        fill_from_bytes(batch, raw)
        features = method.embedding(batch)
        if start == 0:  # Concatenating all batches at the end would need twice the memory.
            embeddings = torch.empty(len(dataset.images), *features.shape[1:])
        embeddings[start : start + len(batch)] = features
    counts, class_names = dataset.counts.tolist(), dataset.class_names
    embedded = ClassDataset(embeddings, counts, class_names, name=dataset.name, split=dataset.split)
    return method.without_embedding(), embedded


def is_worth_caching(
    method: Method, dataset: ClassDataset, shape: EpisodeShape, episodes: int
) -> bool:
    """Return True if a data set has fewer images than its tasks, and its embeddings are small."""
    if isinstance(method.embedding, nn.Identity) or dataset.images.is_floating_point():
        return False
    if len(dataset.images) > episodes * shape.way * shape.per_class:
        return False
    with torch.inference_mode():
        embedding = method.embedding(dataset.images[:1].to(method.device, torch.float32))
    return bool(embedding.numel() * 4 * len(dataset.images) <= MAX_CACHE_BYTES)
