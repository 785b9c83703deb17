"""``lgmnet predict --out``: scores of very many images in a folder of Parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lgmnet.cli.console import CommandResult, print_notice
from lgmnet.cli.scoring_options import parse_shard
from lgmnet.cli.sorting import check_reserved_labels
from lgmnet.progress import track_progress

if TYPE_CHECKING:
    from lgmnet.scoring.folder import ScoreFolder


def score_to_folder(
    file: Path,
    names: Sequence[str],
    out: str,
    *,
    engine: str,
    none: bool | float,
    cluster: str | None,
    address: str | None,
    shard: str | None,
    part_size: int,
) -> CommandResult:
    """Score images into a folder, except for the parts that are there already.

    Images of another kind than the classifier was made from give one warning on stderr.

    Raises:
        UserError: if the images, the folder, the classifier or the cluster cannot be used.
    """
    from lgmnet.scoring.folder import open_score_folder
    from lgmnet.scoring.image_kind import find_mismatch
    from lgmnet.scoring.on_ray import score_on_ray
    from lgmnet.scoring.parts import score_parts
    from lgmnet.scoring.scorer import Scorer

    index, n_shards = parse_shard(shard)
    scorer = Scorer(file, engine=engine, none=none)
    classes = scorer.loaded.classes  # Reports a faulty classifier before the images are listed.
    check_reserved_labels(classes, allow_none=none is not False, min_probability=0.0)
    folder = open_score_folder(out, scorer, names, part_size)
    written, own = folder.list_written(), range(index, folder.n_parts, n_shards)
    missing = [part for part in own if part not in written]
    n_errors = folder.count_errors([part for part in own if part in written])
    if missing and (mismatch := find_mismatch(folder, scorer, missing[0])) is not None:
        print_notice(f"warning: {mismatch}")
    with track_progress("images", sum(map(folder.count_images, missing))) as progress:
        if cluster is None or not missing:
            scored_parts = score_parts(folder, scorer, missing)
        else:
            scored_parts = score_on_ray(folder, scorer, missing, address)
        for scored in scored_parts:
            n_errors += scored.n_errors
            progress.advance(scored.n_images)
    return summarize(folder, own, len(missing), n_errors)


def summarize(
    folder: ScoreFolder, own: Sequence[int], n_scored: int, n_errors: int
) -> CommandResult:
    """Summarize what a run has written; the exit code is 2 if an image could not be read."""
    n_images = sum(map(folder.count_images, own))
    data = {
        "out": folder.address,
        "images": n_images,
        "errors": n_errors,
        "parts": len(own),
        "parts_scored_before": len(own) - n_scored,
    }
    images, parts = ("" if n == 1 else "s" for n in (n_images, len(own)))
    text = f"{folder.address}: {n_images:,} image{images} in {len(own):,} part{parts}"
    if n_scored < len(own):
        text += f", {len(own) - n_scored:,} of them from an earlier run"
    unread = f"{n_errors:,} image{'' if n_errors == 1 else 's'}"
    problem = f"; {unread} could not be read (column error)" if n_errors else ""
    return CommandResult(data, [f"{text}{problem}."], exit_code=2 if n_errors else 0)
