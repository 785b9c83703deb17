"""Support sets: labelled samples in the form in which a classifier stores them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress

import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor

from lgmnet.engines.names import AUTO
from lgmnet.errors import ConfigError, DataError, to_utf8
from lgmnet.input_spec import InputKind
from lgmnet.model.model import Model
from lgmnet.nn.pretrained import load_backbone


@dataclass(frozen=True)
class Support:
    """Labelled samples that a classifier is fitted to.

    A file may hold the labels alone; then ``samples`` is empty and has only the shape of a sample.
    """

    samples: Num[Tensor, "stored *feature"]
    """uint8 images, or vectors, of the shape that the model takes."""
    labels: Int[Tensor, " samples"]
    """Class index of each sample."""
    sources: tuple[str, ...]
    """File name of each sample; empty where there is no file."""

    @property
    def has_samples(self) -> bool:
        """False if only the labels are here."""
        return len(self.samples) > 0 or not len(self.labels)

    def require_samples(self) -> None:
        """Check that the samples are here.

        Raises:
            ConfigError: if only the labels are.
        """
        if not self.has_samples:
            raise ConfigError(
                "This classifier was saved without its support set; forge it again without "
                "--no-support."
            )

    def without_samples(self) -> Support:
        """Return the labels alone, without samples and file names."""
        return Support(self.samples[:0], self.labels, ("",) * len(self.labels))

    def select(self, mask: Bool[Tensor, " samples"]) -> Support:
        """Select the samples for which ``mask`` is True."""
        self.require_samples()
        sources = tuple(compress(self.sources, mask.tolist()))
        return Support(self.samples[mask], self.labels[mask], sources)


def make_support(
    model: Model,
    samples: Num[Tensor, "samples *feature"],
    labels: Sequence[int],
    sources: Sequence[str] | None = None,
) -> Support:
    """Make a support set for a model; photos become features if the model has a backbone.

    Vectors may have 16, 32 or 64 bits; they are stored in the precision in which the model
    computes.

    Raises:
        DataError: if the samples are not of the kind and shape that the model takes, or a label is
            no whole number.
    """
    check_is_tensor(samples)
    try:
        indices = torch.tensor(labels)
    except (TypeError, ValueError) as error:
        raise DataError(
            "Labels must be indices into the names of the classes, such as 0, but are "
            f"{labels!r:.100}. FewShotClassifier takes names themselves."
        ) from error
    spec = model.method.inputs
    any_length = spec.any_length and samples.ndim == 2
    shape = tuple(samples.shape[1:]) if any_length else spec.shape
    samples = to_support_samples(samples, shape, model.backbone, model.engine)
    if samples.is_floating_point():
        samples = samples.to(torch.float64 if spec.any_length else torch.float32)
    names = sources or [""] * len(samples)
    return Support(samples, indices, tuple(map(to_utf8, names)))


def check_classes_differ(support: Support, way: int, kind: InputKind) -> None:
    """Check that not all classes hold the same samples; ``kind`` is what the samples were.

    Raises:
        DataError: if they do; then nothing can tell them apart.
    """
    is_class = support.labels == torch.arange(way)[:, None].to(support.labels)
    contents = (support.samples[mask].unique(dim=0) for mask in is_class)
    first = next(contents, None)
    if first is None or not all(torch.equal(first, other) for other in contents):
        return
    noun = "sample" if kind == "vector" else "image"
    which = f"the same {noun}" if len(first) == 1 else f"the same {len(first)} {noun}s"
    raise DataError(
        f"All {way} classes hold {which}, so nothing can tell them apart. Give each class {noun}s "
        "of its own."
    )


def check_is_tensor(samples: object) -> None:
    """Check that samples are a tensor.

    Raises:
        DataError: if they are an array or anything else.
    """
    if not isinstance(samples, Tensor):
        raise DataError(
            f"Samples must be a torch.Tensor, but are {type(samples).__name__}. Convert an array "
            "with torch.from_numpy, or use FewShotClassifier, which takes arrays and images."
        )


def to_support_samples(
    samples: Num[Tensor, "samples *feature"],
    expected: tuple[int, ...],
    backbone: str,
    engine: str = AUTO,
) -> Num[Tensor, "samples *stored"]:
    """Convert samples to what a support set stores: features of photos, other samples unchanged.

    Raises:
        DataError: if the samples are neither photos for the backbone nor of the expected shape.
    """
    check_is_tensor(samples)
    if backbone and samples.dtype == torch.uint8 and samples.ndim == 4 and samples.shape[1] == 3:
        from lgmnet.model.feature_cache import embed_photos

        samples = embed_photos(load_backbone(backbone), samples, engine=engine)
        if len(expected) == 3:  # The shape of the photos, not that of the features.
            return samples
    is_image = len(expected) == 3
    is_valid_type = samples.dtype == torch.uint8 if is_image else samples.is_floating_point()
    if not is_valid_type or tuple(samples.shape[1:]) != expected:
        noun, dtype = ("Images", "uint8") if is_image else ("Vectors", "floats")
        hint = ""
        if is_image and samples.is_floating_point():
            hint = " Convert floats in 0 to 1 with (255 * x).round().to(torch.uint8)."
        raise DataError(
            f"{noun} must be {dtype} [{noun.lower()}, {', '.join(map(str, expected))}], but are "
            f"{str(samples.dtype).removeprefix('torch.')} {list(samples.shape)}.{hint}"
        )
    return samples


def to_float(samples: Num[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Convert uint8 images to floats in 0 to 1; return vectors unchanged."""
    return samples if samples.is_floating_point() else samples.to(torch.float32) / 255
