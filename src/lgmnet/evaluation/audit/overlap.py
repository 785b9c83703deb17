"""Comparison of test data with training data: class names, digests and similar images."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.task_source import TaskSource, shares_classes
from lgmnet.evaluation.audit.fingerprints import (
    MAX_FREQUENCY,
    MIN_CONTRAST,
    ROBUST_FREQUENCY,
    digest,
    is_blank,
    is_image_data,
    low_pass,
    one_of_each_turn,
    similarity,
    spectra,
    to_bytes,
    to_grey,
)
from lgmnet.evaluation.audit.report import Finding

THRESHOLDS = {0.90: 0.10, 0.95: 0.08, 0.98: 0.03}
"""Similarities from which two images count as the same picture, and the share of such images,
beyond three times that among different test classes, that still passes."""
N_COMPARED = 800
"""Test images that are compared with all training images."""
MAX_VALUES_FOR_COPIES = 1024
"""Values of an image up to which turned copies are left out; only drawings are turned."""
N_CANDIDATES = 2
"""Nearest images of each search that are aligned."""


def check_training_overlap(
    source: TaskSource,
    trained_on: Sequence[TaskSource] | None,
    unknown: Sequence[str] = (),
    *,
    training_hash: str = "",
    exact: bool = False,
) -> Finding:
    """Check that no class and no image of the source is part of the training data.

    Args:
        source: Test data.
        trained_on: Training data; None if it is not known, empty if nothing was trained on.
        unknown: Sentences about training data that cannot be compared.
        training_hash: Hash of the training classes (see `hash_classes`), which is compared even
            where the data is absent; empty if it is not known.
        exact: If True, only equal classes and equal samples count, which takes seconds; similar
            images are not searched.
    """
    reasons = []
    for trained in trained_on or ():
        if shares_classes(source, trained):
            return "failed", (
                f"'{source.split}' and the training split '{trained.split}' of '{trained.name}' "
                "share classes."
            )
        if isinstance(source, ClassDataset) and isinstance(trained, ClassDataset):
            is_failed, reason = compare_images(source, trained, exact=exact)
            if is_failed:
                return "failed", reason
            reasons.append(reason)
    if source.split_hash == training_hash:
        return "failed", (
            f"the classes of '{source.split}' are those of the training (hash {training_hash})."
        )
    if trained_on is None or unknown:
        missing = "; ".join(unknown) or "no training data was given to compare with"
        return "not checked", f"{missing}. {' '.join(reasons)}".strip()
    if not trained_on:
        return "passed", "the method was not trained on any data."
    if not reasons:
        reasons.append("Samples that are generated anew each time are not compared.")
    return "passed", f"no class is a training class. {' '.join(reasons)}"


def compare_images(
    source: ClassDataset, trained: ClassDataset, *, exact: bool = False
) -> tuple[bool, str]:
    """Compare the samples of two data sets, exactly and, unless ``exact``, by similarity."""
    test, training = to_bytes(source.images), to_bytes(trained.images)
    known = set(digest(training))
    shared = [row for row, key in enumerate(digest(test)) if key in known]
    n_shared = int((~is_blank(test[shared])).sum())
    if n_shared:
        images = "image of" if n_shared == 1 else "images of"
        verb = "is" if n_shared == 1 else "are"
        return True, f"{n_shared:,} {images} '{source.split}' {verb} also in '{trained.split}'."
    text = f"None of {len(test):,} samples is among the {len(training):,} of '{trained.split}'."
    if exact or not (is_image_data(test) and is_image_data(training)):
        return False, text
    found = find_similar(source, training)
    if found is None:
        return False, f"{text} There are too few images to look for similar ones."
    threshold = list(THRESHOLDS)[found.worst]
    share, chance = (100 * rates[found.worst] for rates in (found.shares, found.chances))
    reason = (
        f"{share:.1f} % of {found.n_images} test images resemble a training image of "
        f"'{trained.split}', turned, shifted or in other tones (correlation at least "
        f"{threshold:.2f}); among different test classes it is {chance:.1f} %, the rate of false "
        "alarms."
    )
    return (True, reason) if found.is_failed else (False, f"{text} {reason}")


@dataclass(frozen=True)
class SimilarImages:
    """Shares of test images that resemble a training image, for each of `THRESHOLDS`."""

    n_images: int
    shares: list[float]
    chances: list[float]
    """Shares of those that resemble an image of another test class: the false alarms."""

    @property
    def excesses(self) -> list[float]:
        """Amounts by which the shares exceed what is allowed; negative if they do not."""
        rates = zip(self.shares, self.chances, THRESHOLDS.values(), strict=True)
        return [share - 3 * chance - allowed for share, chance, allowed in rates]

    @property
    def worst(self) -> int:
        """Index of the threshold at which the share is largest compared with what is allowed."""
        return max(range(len(THRESHOLDS)), key=lambda i: self.excesses[i])

    @property
    def is_failed(self) -> bool:
        """True if there are more similar images than among different test classes."""
        return self.excesses[self.worst] > 0 and self.shares[self.worst] * self.n_images >= 2


def find_similar(source: ClassDataset, training: Tensor) -> SimilarImages | None:
    """Search for test images among training images, and among other test classes.

    Returns:
        The shares of similar images; None if no image has any contrast.
    """
    test_rows, test = distinct_grey_images(to_bytes(source.images))
    _, others = distinct_grey_images(to_bytes(training))
    if not len(test) or not len(others):
        return None
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randperm(len(test), generator=generator)[:N_COMPARED]
    labels = source.labels[test_rows]
    similar = nearest_similarity(test[chosen], others)
    by_chance = nearest_similarity(test[chosen], test, labels[chosen, None] == labels)
    return SimilarImages(
        len(chosen),
        [(similar >= threshold).double().mean().item() for threshold in THRESHOLDS],
        [(by_chance >= threshold).double().mean().item() for threshold in THRESHOLDS],
    )


def distinct_grey_images(images: Tensor) -> tuple[Tensor, Tensor]:
    """Convert images to grey, without blank images and, if they are small, turned copies.

    Returns:
        Indices of the images that remain, and their grey values [images, side, side].
    """
    is_small = images.dtype == torch.uint8 and images[0].numel() <= MAX_VALUES_FOR_COPIES
    rows = one_of_each_turn(images) if is_small else torch.arange(len(images))
    grey = to_grey(images[rows] if is_small else images)
    has_contrast = grey.flatten(1).std(1) > MIN_CONTRAST
    return rows[has_contrast], grey[has_contrast]


def nearest_similarity(
    grey: Tensor, others: Tensor, excluded: Tensor | None = None
) -> Float[Tensor, " images"]:
    """Compute the similarity of each image to the most similar of the others.

    Args:
        grey: Images to look for, [images, side, side].
        others: Images to look among, [others, side, side].
        excluded: Mask [images, others] of pairs that do not count.
    """
    smooth, best = low_pass(grey), torch.zeros(len(grey))
    for frequency in (MAX_FREQUENCY, ROBUST_FREQUENCY):
        products = spectra(grey, frequency) @ spectra(others, frequency).T
        if excluded is not None:  # Turned copies that are classes of their own do not count.
            products.masked_fill_(excluded | (products > 0.99999), -1)
        n = min(N_CANDIDATES, len(others))
        values, candidates = products.topk(n, 1)
        for rank in range(n):
            found = similarity(smooth, low_pass(others[candidates[:, rank]]))
            best = torch.maximum(best, found.masked_fill(values[:, rank] < 0, 0))
    return best
