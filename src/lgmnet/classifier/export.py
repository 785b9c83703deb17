"""Export: a classifier, or the MetaNet that forges them, as one ONNX file that runs anywhere."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from lgmnet.classifier.classifier import FittedClassifier, to_float
from lgmnet.errors import ConfigError, UserError, extra, unknown_name
from lgmnet.io import atomic_write, check_writable
from lgmnet.methods import METHODS
from lgmnet.methods.base import Classifier, Method
from lgmnet.model.model import Model
from lgmnet.nn.pretrained import Backbone, load_backbone

OPSET = 20
"""The oldest that can resample drawings (GridSample)."""
MOST_APART = 1e-4
"""An exported network may answer so far from what torch does, not farther."""
DRAWING = (
    "drawing: gray; ink = distance from the median of the border; middle of a square; bicubic to "
    "this shape; the darkest 255; uint8"
)
PHOTO = "photo: RGB, cropped about its middle to the shape's proportions; bicubic to it; uint8"
SNIPPETS = {"python": "predict.py", "javascript": "predict.mjs"}


def export(fitted: FittedClassifier, path: Path) -> float:
    """Write a classifier of images as one ONNX file, checked against torch before it appears.

    Its input ``images`` is uint8 [images, channels, height, width], its output ``probabilities``
    [images, classes]; its metadata hold the classes and what is done to a picture first.

    Args:
        fitted: The classifier.
        path: The file.

    Returns:
        The largest difference between what onnxruntime and torch answer.

    Raises:
        UserError: if the packages of the extra ``export`` are not installed, the file cannot be
            written, or the network answers otherwise than torch.
        ConfigError: if the classifier is of vectors.
    """
    need_images(fitted.inputs.shape, fitted.model)
    # Its tensors were made where nothing is learned; the exporter wants ordinary ones.
    state = {name: t.cpu().clone() for name, t in fitted.classifier.state_dict().items()}
    kind = METHODS[fitted.method]
    classifier = kind.restore(fitted.config, len(fitted.classes), state)
    backbone = load_backbone(fitted.backbone) if fitted.backbone else None
    answering = Answering(classifier, backbone)
    shown = smooth(4, fitted.inputs.shape) if backbone else fitted.support.samples.cpu()
    asked = torch.cat([shown, shown.flip(-1), 255 - shown])
    about = described(fitted.inputs.shape, fitted.model) | {
        "classes": json.dumps(fitted.classes, ensure_ascii=False)
    }
    return exported(
        answering,
        {"images": asked[:3]},
        path,
        about,
        [{"images": part} for part in (asked, asked[:1])],
    )


def export_meta(model: Model, path: Path) -> float:
    """Write the MetaNet itself as one ONNX file, so that forging runs without torch too.

    Its inputs are ``support`` uint8 [support, channels, height, width], ``labels`` float32
    [support, way], a 1 in the column of each image's class, and ``images``; its output is
    ``probabilities`` [images, way].

    Args:
        model: A model of images.
        path: The file.

    Returns:
        The largest difference between what onnxruntime and torch answer.

    Raises:
        UserError: as `export` does.
        ConfigError: if the model is of vectors.
    """
    shape = model.method.inputs.shape
    need_images(shape, model.name, "only MetaNets of images can be exported")
    generator = torch.Generator().manual_seed(0)

    def noise(images: int) -> UInt8[Tensor, "images channels height width"]:
        drawn = torch.rand(images, *shape, generator=generator) < 0.2
        return drawn.to(torch.uint8) * 255

    def task(way: int, shots: Sequence[int], images: int) -> dict[str, Tensor]:
        labels = torch.eye(way)[torch.arange(way).repeat_interleave(torch.tensor(shots))]
        return {"support": noise(sum(shots)), "labels": labels, "images": noise(images)}

    tried = [task(5, [1] * 5, 3), task(2, [1, 4], 1), task(20, [5] * 20, 7)]
    about = described(shape, model.name)
    return exported(Forging(model.method), task(3, [2, 1, 2], 4), path, about, tried)


class Answering(nn.Module):
    """Pixels to probabilities."""

    def __init__(self, classifier: Classifier, backbone: Backbone | None) -> None:
        super().__init__()
        self.classifier = classifier
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        """uint8 [images, channels, height, width] to [images, classes]."""
        seen = to_float(images) if self.backbone is None else self.backbone(images)
        answer: Tensor = self.classifier(seen[None])[0]
        return answer.exp()


def smooth(photos: int, shape: Sequence[int]) -> UInt8[Tensor, "photos 3 height width"]:
    """Something like photos, to try a network on."""
    small = torch.rand(photos, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    large = nn.functional.interpolate(small, tuple(shape[1:]), mode="bilinear")
    return (255 * large).to(torch.uint8)


class Forging(nn.Module):
    """Support pixels, labels and pixels to probabilities."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, support: Tensor, labels: Tensor, images: Tensor) -> Tensor:
        """[support, ...], [support, way] and [images, ...] to [images, way]."""
        # Not `adapt`: what it checks are numbers, and there are none yet.
        support_x, support_y = to_float(support)[None], labels.argmax(1)[None]
        classifier = self.method._adapt(support_x, support_y, labels.shape[1], None)
        answer: Tensor = classifier(to_float(images)[None])[0]
        return answer.exp()


def exported(
    network: nn.Module,
    example: dict[str, Tensor],
    path: Path,
    about: dict[str, str],
    tried: Sequence[dict[str, Tensor]],
) -> float:
    """Write a network as ONNX and compare it with torch; the file appears if they agree.

    Args:
        network: Gives probabilities.
        example: Inputs to follow through it; their first axes may be of any length afterwards.
        path: The file.
        about: What to keep in the file's metadata.
        tried: Inputs to compare the answers to.
    """
    check_writable(path)
    with extra("export", "exported networks"):
        import onnxruntime
        import onnxscript  # noqa: F401  (torch asks for it late)
    free = torch.export.Dim.DYNAMIC
    axes: dict[str, Any] = {name: {0: free} for name in example}
    if "labels" in axes:
        axes["labels"] = {0: free, 1: free}
    network = network.eval()
    # With gradients on, images are not split into parts, whose number would be fixed.
    with quiet(), torch.enable_grad():
        followed = torch.export.export(network, (), example, dynamic_shapes=axes, strict=False)
        program = torch.onnx.export(followed, dynamo=True, opset_version=OPSET, verbose=False)
    assert program is not None
    program.model.graph.outputs[0].name = "probabilities"
    program.model.metadata_props.update(about)
    worst = 0.0
    with atomic_write(path) as draft:
        program.save(draft)
        session = onnxruntime.InferenceSession(draft, providers=["CPUExecutionProvider"])
        for inputs in tried:
            came = session.run(None, {name: x.numpy() for name, x in inputs.items()})[0]
            with torch.inference_mode():
                expected = network(**inputs).numpy()
            worst = max(worst, float(np.abs(came - expected).max()))
        if not worst <= MOST_APART:
            raise UserError(
                f"The exported network answers up to {worst:.1e} apart from torch, more than "
                f"{MOST_APART:.0e}; nothing was written. Another release of onnxruntime may help."
            )
    return worst


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what the exporter has to say of itself."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def described(shape: Sequence[int], model: str) -> dict[str, str]:
    """What is kept in the metadata of every exported file."""
    return {
        "lgmnet": version("lgmnet"),
        "model": model,
        "shape": json.dumps(list(shape)),
        "preprocessing": DRAWING if shape[0] == 1 else PHOTO,
    }


def need_images(
    shape: Sequence[int],
    model: str,
    what: str = "only classifiers of images can be exported",
) -> None:
    """Check that samples are images.

    Raises:
        ConfigError: if they are vectors.
    """
    if len(shape) != 3:
        raise ConfigError(f"'{model}' takes vectors; {what}.")


def snippet(language: str, fitted: FittedClassifier) -> str:
    """The lines that run an exported classifier.

    Args:
        language: ``python`` or ``javascript``.
        fitted: The classifier; its classes are written into what cannot read them from the file.

    Raises:
        ConfigError: if the language is neither.
    """
    if language not in SNIPPETS:
        raise unknown_name("language of a snippet", language, SNIPPETS)
    path = Path(__file__).parent / "snippets" / SNIPPETS[language]
    lines = path.read_text(encoding="utf-8")
    written = {
        "/* classes */ []": json.dumps(fitted.classes, ensure_ascii=False),
        "/* shape */ [1, 28, 28]": json.dumps(fitted.inputs.shape),
    }
    for blank, value in written.items():
        lines = lines.replace(blank, value)
    return lines
