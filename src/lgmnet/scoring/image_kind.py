"""Images that are of another kind than a classifier was made from."""

from collections.abc import Iterator
from contextlib import suppress

from lgmnet.data.images.kind import (
    MAX_CHECKED_IMAGES,
    ToneStatistics,
    describe_mismatch,
    measure_tones,
    sample_indices,
)
from lgmnet.data.images.pixels import MIN_DECODED_SIDE, ImageBytes, decode_image
from lgmnet.errors import ImageError, to_utf8
from lgmnet.scoring.addresses import read_files
from lgmnet.scoring.folder import ScoreFolder
from lgmnet.scoring.scorer import Scorer


def find_mismatch(folder: ScoreFolder, scorer: Scorer, part: int) -> str | None:
    """Describe why the images of a part do not suit a classifier (see `describe_mismatch`).

    Raises:
        UserError: if a storage fails.
    """
    loaded = scorer.loaded
    return describe_mismatch(
        measure_part(folder, part), are_for_drawings=loaded.is_for_drawings, model=loaded.model
    )


def measure_part(folder: ScoreFolder, part: int) -> Iterator[ToneStatistics]:
    """Yield the tones of a sample of the images of a part, without those that cannot be read."""
    addresses = folder.read_addresses(part)
    sampled = [addresses[i] for i in sample_indices(len(addresses), MAX_CHECKED_IMAGES)]
    for address, content in zip(sampled, read_files(sampled), strict=True):
        if isinstance(content, Exception):
            continue  # Its row will say so.
        with suppress(ImageError):
            image = decode_image(ImageBytes(to_utf8(address), content), MIN_DECODED_SIDE)
            yield measure_tones(image)
