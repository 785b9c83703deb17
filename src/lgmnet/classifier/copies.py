"""Copies of the same sample in a support set."""

import torch
from jaxtyping import Int, Num
from torch import Tensor

MAX_FEATURE_DISTANCE = 5e-3
"""Largest distance of two copies as a part of their length, for features of photos: they were
computed in 16 bits, maybe in other batches."""
CHUNK = 256
"""Number of samples that are compared with all others at a time."""


def find_copies(
    samples: Num[Tensor, "samples *feature"], max_distance: float = 0.0
) -> Int[Tensor, " samples"]:
    """Find samples that are copies of each other.

    Args:
        samples: The samples.
        max_distance: Largest distance of two copies, as a part of their length.

    Returns:
        For each sample the index of the first of its copies; its own if it has no earlier copy.
    """
    # In 64 bits, because distances come from products, whose rounding they would drown in.
    x = samples.flatten(1).double().cpu()
    lengths = torch.linalg.vector_norm(x, dim=1)
    first = torch.empty(len(x), dtype=torch.int64)
    for start in range(0, len(x), CHUNK):
        part = slice(start, start + CHUNK)
        distance = torch.cdist(x[part], x)
        limit = max(max_distance, 1e-7) * torch.maximum(lengths[part, None], lengths)
        first[part] = (distance <= limit).to(torch.uint8).argmax(1)
    while not torch.equal(first, first[first]):
        first = first[first]
    return first


def is_copy(
    sample: Num[Tensor, " *feature"],
    others: Num[Tensor, "others *feature"],
    max_distance: float = 0.0,
) -> bool:
    """Return True if a sample is a copy of one of the others, by the measure of `find_copies`."""
    x, y = sample.flatten().double(), others.flatten(1).double()
    lengths = torch.linalg.vector_norm(y, dim=1).clamp_min(float(torch.linalg.vector_norm(x)))
    distance = torch.linalg.vector_norm(y - x, dim=1)
    return bool((distance <= max(max_distance, 1e-7) * lengths).any())
