"""Export of a classifier, or of a MetaNet, to one ONNX file that runs without torch."""

import json
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.classifier.image_kind import KIND_NOTE, is_for_drawings
from lgmnet.classifier.support import to_float
from lgmnet.engines.onnx_file import convert_to_onnx
from lgmnet.errors import ConfigError, UserError, require_extra, unknown_name_error
from lgmnet.evaluation.rejection import RATES, Rejection
from lgmnet.io import atomic_write, check_destination
from lgmnet.methods import METHODS
from lgmnet.methods.base import Classifier, Method
from lgmnet.model.model import Model
from lgmnet.nn.pretrained import load_backbone

MAX_DIFFERENCE = 1e-4
"""Largest accepted difference between a probability from onnxruntime and from torch."""
DRAWING_PREPROCESSING = (
    "drawing: convert to gray; ink = absolute difference from the median of the border pixels; "
    "center in a square; resize to this shape (bicubic); scale so that the darkest ink is 255; "
    "uint8"
)
PHOTO_PREPROCESSING = (
    "photo: convert to RGB; crop the center to the aspect ratio of this shape; resize to this "
    "shape (bicubic); uint8"
)
SNIPPETS = {"python": "predict.py", "javascript": "predict.mjs"}


def export(fitted: FittedClassifier, path: Path, *, overwrite: bool = False) -> float:
    """Write a classifier of images as one ONNX file, after comparing it with torch.

    The input ``images`` is uint8 [images, channels, height, width], the output ``probabilities`` is
    float32 [images, classes]. The output ``none`` [images] is the probability that an image belongs
    to none of them, if the model knows it. The metadata hold the classes, the threshold of ``none``
    and those of other rates of false rejections, and describe the preprocessing.

    Returns:
        The largest difference between a probability from onnxruntime and from torch.

    Raises:
        UserError: if the packages of the extra ``export`` are not installed, the results of
            onnxruntime differ from those of torch, or as `check_export_destination` does.
        ConfigError: if the classifier takes vectors.
    """
    shape = fitted.inputs.shape
    metadata = build_metadata(shape, fitted.model, "classifiers")
    metadata[KIND_NOTE] = "drawings" if is_for_drawings(fitted) else "photos"
    metadata["classes"] = json.dumps(fitted.classes, ensure_ascii=False)
    # The classifier's tensors are inference tensors, which the exporter does not take: clone them.
    state = {name: t.cpu().clone() for name, t in fitted.classifier.state_dict().items()}
    classifier = METHODS[fitted.method].restore(fitted.config, len(fitted.classes), state)
    rejection = find_rejection(fitted)
    if rejection is not None:
        metadata["none"] = json.dumps(describe_rejection(rejection))
    network = PixelClassifier(classifier, fitted.backbone, rejection)
    if fitted.backbone:
        images = draw_photos(4, shape)
    elif fitted.support.has_samples:
        images = fitted.support.samples.cpu()
    else:
        images = draw_noise(4, shape, torch.Generator().manual_seed(0))
    images = torch.cat([images, images.flip(-1), 255 - images])
    tests = [{"images": batch} for batch in (images, images[:1])]
    return export_network(
        network, {"images": images[:3]}, path, metadata, tests, overwrite=overwrite
    )


def export_meta(model: Model, path: Path, *, overwrite: bool = False) -> float:
    """Write a MetaNet as one ONNX file, which adapts to a support set without torch.

    The inputs are ``support`` uint8 [support, channels, height, width], ``labels`` float32
    [support, way] (one-hot) and ``images`` uint8 [images, channels, height, width]. The output is
    ``probabilities`` float32 [images, way].

    It returns and raises what `export` does.

    Raises:
        UserError: as `export` does.
        ConfigError: if the model takes vectors, or ONNX cannot express how its method adapts: by
            gradients, or by solving a system of equations.
    """
    shape = model.method.inputs.shape
    metadata = build_metadata(shape, model.name, "MetaNets")
    generator = torch.Generator().manual_seed(0)
    noise = partial(draw_noise, shape=shape, generator=generator)

    def draw_task(way: int, shots: Sequence[int], images: int) -> dict[str, Tensor]:
        labels = torch.eye(way)[torch.arange(way).repeat_interleave(torch.tensor(shots))]
        return {"support": noise(sum(shots)), "labels": labels, "images": noise(images)}

    tests = [draw_task(5, [1] * 5, 3), draw_task(2, [1, 4], 1), draw_task(20, [5] * 20, 7)]
    example = draw_task(3, [2, 1, 2], 4)
    network = PixelMetaNet(model.method)
    try:
        return export_network(network, example, path, metadata, tests, overwrite=overwrite)
    except (UserError, OSError):
        raise
    except Exception as error:  # PyTorch's exporter raises whatever the traced code raises.
        raise ConfigError(
            f"'{model.name}' cannot be exported itself: ONNX cannot express how the method "
            f"'{model.method_name}' of this config adapts. Its classifiers can be: fit one with "
            "'lgmnet forge', and export that file without --meta."
        ) from error


class PixelClassifier(nn.Module):
    """Classifier that maps uint8 pixels, or their features by a backbone, to probabilities."""

    def __init__(self, classifier: Classifier, backbone: str, rejection: Rejection | None) -> None:
        super().__init__()
        self.classifier = classifier
        self.backbone = load_backbone(backbone) if backbone else None
        self.rejection = rejection

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map uint8 [images, channels, height, width] to probabilities [images, classes].

        With a rejection, the second result [images] is the probability of belonging to no class.
        """
        queries = to_float(images) if self.backbone is None else self.backbone(images)
        if self.rejection is None:
            log_p: Tensor = self.classifier(queries[None])[0]
            return (log_p.exp(),)
        analysis = self.classifier.analyze(queries[None])
        assert analysis.similarity is not None, "find_rejection has checked it"
        none = self.rejection.none_probability(analysis.similarity[0])
        return analysis.log_p[0].exp(), none


class PixelMetaNet(nn.Module):
    """MetaNet that maps a support set and images, both as uint8 pixels, to probabilities."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, support: Tensor, labels: Tensor, images: Tensor) -> Tensor:
        """Map [support, ...], [support, way] and [images, ...] to [images, way]."""
        # `adapt` checks values, and a traced tensor has none: call `_adapt`.
        support_x, support_y = to_float(support)[None], labels.argmax(1)[None]
        classifier = self.method._adapt(support_x, support_y, labels.shape[1], None)
        log_p: Tensor = classifier(to_float(images)[None])[0]
        return log_p.exp()


def find_rejection(fitted: FittedClassifier) -> Rejection | None:
    """Return the rejection of a classifier whose probabilities are known; else None."""
    samples = fitted.support.samples
    probe = fitted.analyze(samples.new_zeros(1, *samples.shape[1:]))
    return None if fitted.none_probability(probe) is None else fitted.rejection


def describe_rejection(rejection: Rejection) -> dict[str, Any]:
    """Describe the thresholds of the probability of belonging to no class, for the metadata.

    ``thresholds`` are those for the ``rates`` of false rejections.
    """
    limits = torch.tensor([rejection.threshold, *rejection.rate_thresholds], dtype=torch.float64)
    threshold, *others = rejection.none_probability(limits).tolist()
    return {"threshold": threshold, "rates": RATES[: len(others)], "thresholds": others}


def draw_noise(
    count: int, shape: Sequence[int], generator: torch.Generator
) -> UInt8[Tensor, "images channels height width"]:
    """Draw random drawings of this shape, to test a network on."""
    return (torch.rand(count, *shape, generator=generator) < 0.2).to(torch.uint8) * 255


def draw_photos(count: int, shape: Sequence[int]) -> UInt8[Tensor, "photos 3 height width"]:
    """Draw smooth random pictures of this shape, to test a network on."""
    small = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    large = nn.functional.interpolate(small, tuple(shape[1:]), mode="bilinear")
    return (255 * large).to(torch.uint8)


def export_network(
    network: nn.Module,
    example: dict[str, Tensor],
    path: Path,
    metadata: dict[str, str],
    tests: Sequence[dict[str, Tensor]],
    *,
    overwrite: bool = False,
) -> float:
    """Write a network as ONNX if onnxruntime gives the same results as torch.

    The network is traced with the inputs ``example``. The first axis of each stays dynamic, and
    both axes of ``labels``. The results are compared on the inputs ``tests``. It returns and raises
    what `export` does.

    Raises:
        UserError: if the packages of the extra ``export`` are not installed, the results differ by
            more than `MAX_DIFFERENCE`, or as `check_export_destination` does.
    """
    check_export_destination(path, overwrite=overwrite)
    with require_extra("export", "exported networks"):
        import onnxruntime
    dynamic = torch.export.Dim.DYNAMIC
    axes: dict[str, Any] = {name: {0: dynamic} for name in example}
    if "labels" in axes:
        axes["labels"][1] = dynamic
    network = network.eval()
    program = convert_to_onnx(network, example, axes)
    for output, name in zip(program.model.graph.outputs, ("probabilities", "none"), strict=False):
        output.name = name
    program.model.metadata_props.update(metadata)
    difference = 0.0
    with atomic_write(path) as draft:
        program.save(draft)
        content = draft.read_bytes()  # onnxruntime opens no path that is not UTF-8.
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        for inputs in tests:
            results = session.run(None, {name: x.numpy() for name, x in inputs.items()})
            with torch.inference_mode():
                answer = network(**inputs)
            expected = answer if isinstance(answer, tuple) else (answer,)
            for result, tensor in zip(results, expected, strict=True):
                difference = max(difference, float(np.abs(result - tensor.numpy()).max()))
        if not difference <= MAX_DIFFERENCE:
            raise UserError(
                f"The results of the exported network differ from those of torch by up to "
                f"{difference:.1e}, more than {MAX_DIFFERENCE:.0e}; nothing was written. Try "
                "another release of onnxruntime."
            )
    return difference


def check_export_destination(path: Path, *, overwrite: bool = False) -> None:
    """Check that an ONNX file can be written, before a network is traced.

    Raises:
        UserError: if it cannot, or if a file that lgmnet did not export would be lost.
    """
    check_destination(path, "ONNX file of 'lgmnet export'", is_exported, overwrite=overwrite)


def is_exported(path: Path) -> bool:
    """Return True if a file is an ONNX file with the metadata of `build_metadata`.

    Raises:
        UserError: if onnx is not installed.
    """
    with require_extra("export", "exported networks"):
        import onnx
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped,unused-ignore]
    try:
        network = onnx.load_model_from_string(path.read_bytes())
    except (OSError, DecodeError):
        return False
    return any(entry.key == "lgmnet" for entry in network.metadata_props)


def build_metadata(shape: Sequence[int], model: str, subject: str) -> dict[str, str]:
    """Build the metadata that every exported file has; ``subject`` is a plural noun for it.

    Raises:
        ConfigError: if the samples are vectors.
    """
    if len(shape) != 3:
        raise ConfigError(f"'{model}' takes vectors; only {subject} of images can be exported.")
    return {
        "lgmnet": version("lgmnet"),
        "model": model,
        "shape": json.dumps(list(shape)),
        "preprocessing": DRAWING_PREPROCESSING if shape[0] == 1 else PHOTO_PREPROCESSING,
    }


def snippet(language: str, fitted: FittedClassifier) -> str:
    """Return a program, in ``python`` or ``javascript``, that runs an exported classifier.

    The JavaScript program contains its classes and shape, which it cannot read from the file.

    Raises:
        ConfigError: if there is no program in this language.
    """
    if language not in SNIPPETS:
        raise unknown_name_error("language of a snippet", language, SNIPPETS)
    path = Path(__file__).parent / "snippets" / SNIPPETS[language]
    program = path.read_text(encoding="utf-8")
    classes = json.dumps(fitted.classes, ensure_ascii=False)
    rejection = find_rejection(fitted)
    if rejection is not None:
        none = json.dumps(describe_rejection(rejection))
        program = program.replace("/* thresholds of none */ null", none)
    program = program.replace("/* classes */ []", classes)
    return program.replace("/* shape */ [1, 28, 28]", json.dumps(fitted.inputs.shape))
