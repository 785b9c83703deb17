"""Images that are of another kind than a classifier was made from."""

from lgmnet.data.images.kind import MAX_CHECKED_IMAGES, sample_indices
from lgmnet.data.images.pixels import ImageBytes
from lgmnet.errors import to_utf8
from lgmnet.scoring.addresses import read_files
from lgmnet.scoring.folder import ScoreFolder
from lgmnet.scoring.scorer import Scorer


def find_mismatch(folder: ScoreFolder, scorer: Scorer, part: int) -> str | None:
    """Describe why the images of a part do not suit a classifier (see `describe_mismatch`).

    Images that cannot be read are left out; their rows will say so.

    Raises:
        UserError: if a storage fails.
    """
    addresses = folder.read_addresses(part)
    sampled = [addresses[i] for i in sample_indices(len(addresses), MAX_CHECKED_IMAGES)]
    return scorer.loaded.find_mismatch(
        [
            ImageBytes(to_utf8(address), content)
            for address, content in zip(sampled, read_files(sampled), strict=True)
            if not isinstance(content, Exception)
        ]
    )
