"""Scoring of the parts of a folder, one after the other, in this process."""

import io
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from lgmnet.data.images.pixels import ImageBytes
from lgmnet.errors import ImageError, UserError, to_utf8
from lgmnet.scoring.addresses import advise, batched, read_files
from lgmnet.scoring.folder import METADATA_KEY, ScoreFolder
from lgmnet.scoring.scorer import ERROR, LABEL, Columns, ReadImage, Scorer

BATCH_SIZE = 64
"""Number of images that are read while as many others are classified."""
IMAGE = "image"


@dataclass(frozen=True)
class ScoredPart:
    """Outcome of one part."""

    part: int
    n_images: int
    n_errors: int
    """Number of images that could not be read."""


def score_parts(folder: ScoreFolder, scorer: Scorer, parts: Iterable[int]) -> Iterator[ScoredPart]:
    """Score parts and write them.

    Yields:
        The outcome of each part after it is written.

    Raises:
        UserError: if a storage fails; the parts that are written stay.
    """
    for part in parts:
        yield score_part(folder, scorer, part)


def score_part(folder: ScoreFolder, scorer: Scorer, part: int) -> ScoredPart:
    """Score one part and write it, unless it is written already.

    It is if a worker was killed after it wrote the part and before it said so.

    Raises:
        UserError: if a storage fails, or no image of the part may be read.
    """
    if folder.is_written(part):
        return ScoredPart(part, folder.count_images(part), folder.count_errors([part]))
    addresses = folder.read_addresses(part)
    batches = [scorer.score(images) for images in read_ahead(scorer, addresses)]
    columns = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    n_errors = sum(map(bool, columns[ERROR].tolist()))
    folder.write_part(part, to_parquet(addresses, columns, n_errors))
    return ScoredPart(part, len(addresses), n_errors)


def read_ahead(scorer: Scorer, addresses: Sequence[str]) -> Iterator[list[ReadImage]]:
    """Yield the images of one batch after the other; the next one is read in the meantime."""
    with ThreadPoolExecutor(1, "lgmnet-reader") as pool:
        following: Future[list[ReadImage]] | None = None
        for batch in batched(addresses, BATCH_SIZE):
            current, following = following, pool.submit(read_images, scorer, batch)
            if current is not None:
                yield current.result()
        if following is not None:
            yield following.result()


def read_images(scorer: Scorer, addresses: Sequence[str]) -> list[ReadImage]:
    """Read images by their addresses; one that cannot be read becomes its error.

    Raises:
        UserError: if a storage fails, or refuses all of several images.
    """
    contents = read_files(addresses)
    refused = [content for content in contents if isinstance(content, PermissionError)]
    if len(refused) == len(contents) > 1:
        raise UserError(f"Cannot read '{addresses[0]}': {refused[0]}.{advise(refused[0])}")
    files = [
        ImageBytes(to_utf8(address), content)
        for address, content in zip(addresses, contents, strict=True)
        if not isinstance(content, Exception)
    ]
    images = iter(scorer.read(files))
    return [
        ImageError(f"'{to_utf8(address)}' cannot be read: {content}.")
        if isinstance(content, Exception)
        else next(images)
        for address, content in zip(addresses, contents, strict=True)
    ]


def to_parquet(addresses: Sequence[str], columns: Columns, n_errors: int) -> bytes:
    """Write scores as Parquet, with nulls where an image has no label, or no error."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = {IMAGE: pa.array(map(to_utf8, addresses), pa.string())}
    for name, values in columns.items():
        if name in (LABEL, ERROR):
            arrays[name] = pa.array([value or None for value in values.tolist()], pa.string())
        else:
            arrays[name] = pa.array(values, pa.float32(), from_pandas=True)  # NaN becomes null.
    metadata = {METADATA_KEY: str(n_errors).encode()}
    stream = io.BytesIO()
    pq.write_table(pa.table(arrays).replace_schema_metadata(metadata), stream, compression="zstd")
    return stream.getvalue()
