"""The audit fails models that were trained on test images, even on changed ones."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.synthetic.characters import SyntheticCharacters
from tests.audit.leaking_sources import plus
from tests.audit.samples import (
    N_CLASSES,
    N_IMAGES,
    OVERLAP,
    choose,
    dataset,
    explain,
    photo_pixels,
    pixels,
    run_checks,
)


def one_pixel(images: Tensor) -> Tensor:
    images = images.clone()
    images[:, :, 14, 14] = plus(images[:, :, 14, 14], 1)
    return images


def jpeg(images: Tensor, quality: int = 75) -> Tensor:
    decoded = []
    for image in images:
        stream = io.BytesIO()
        array = image.movedim(0, -1).squeeze(-1).numpy()
        Image.fromarray(array).save(stream, "JPEG", quality=quality)
        decoded.append(torch.from_numpy(np.array(Image.open(stream))).view(*array.shape[:2], -1))
    return torch.stack(decoded).movedim(-1, 1).contiguous()


def resize(images: Tensor, side: int) -> Tensor:
    resized = F.interpolate(images.float(), (side, side), mode="bilinear", antialias=True)
    return resized.round().clamp(0, 255).to(torch.uint8)


CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "nothing but the names": lambda x: x,
    "one pixel by 1": one_pixel,
    "shifted by a pixel": lambda x: x.roll((1, 1), (-2, -1)),
    "mirrored": lambda x: x.flip(-1),
    "a quarter turn": lambda x: x.rot90(1, (-2, -1)),
    "upside down and mirrored": lambda x: x.rot90(2, (-2, -1)).flip(-1),
    "brightness + 1": lambda x: plus(x, 1),
    "less contrast": lambda x: (0.6 * x + 40).to(torch.uint8),
    "JPEG": jpeg,
    "larger": lambda x: resize(x, 84),
    "smaller and back": lambda x: resize(resize(x, 3 * x.shape[-1] // 4), x.shape[-1]),
    "inverted": lambda x: 255 - x,
    "32-bit floats": lambda x: x.float() / 255,
    "noise": lambda x: plus(x, (3 * torch.randn(x.shape)).int()),
}


CASES = [f"{kind}: {change}" for change in CHANGES for kind in ("drawings", "photos")]


@pytest.mark.parametrize("case", choose(CASES, 3))
def test_changed_training_images_are_recognised(case):
    kind, change = case.split(": ")
    images = pixels() if kind == "drawings" else photo_pixels()
    trained = dataset(CHANGES[change](images), "train")
    result = run_checks(OVERLAP, source=dataset(images), trained_on=[trained])
    assert result.outcome == "failed", explain(result)


def test_grey_images_in_three_channels_are_recognised():
    trained = dataset(pixels().expand(-1, 3, -1, -1), "train")
    assert run_checks(OVERLAP, trained_on=[trained]).outcome == "failed"


def test_a_fifth_of_the_test_images_among_others_is_recognised():
    leaked = pixels().view(N_CLASSES, N_IMAGES, 1, 28, 28)[:, :5].flatten(0, 1).flip(-1)
    trained = dataset(torch.cat([pixels(5), leaked]), "train", n=1)
    result = run_checks(OVERLAP, trained_on=[trained])
    assert result.outcome == "failed", explain(result)


def test_one_single_copy_is_found():
    images = pixels(5).clone()
    images[7] = pixels()[9]
    result = run_checks(OVERLAP, trained_on=[dataset(images, "train")])
    assert result.outcome == "failed"
    assert "1 image of" in result.checks[0].reason


def test_classes_are_compared_by_name():
    assert run_checks(OVERLAP, trained_on=[dataset(pixels(5), "test")]).outcome == "failed"


def test_generated_classes_are_compared_by_number():
    source = SyntheticCharacters("test")
    for split, outcome in (("train", "passed"), ("test", "failed")):
        result = run_checks(OVERLAP, source=source, trained_on=[SyntheticCharacters(split)])
        assert result.outcome == outcome, explain(result)


@pytest.mark.parametrize("kind", ["drawings", "photos"])
def test_other_images_pass_and_the_rate_of_false_alarms_is_told(kind):
    make = pixels if kind == "drawings" else photo_pixels
    result = run_checks(OVERLAP, source=dataset(make()), trained_on=[dataset(make(5), "train")])
    assert result.checks[0].outcome == "passed", explain(result)
    assert "rate of false alarms" in result.checks[0].reason


def test_a_blank_image_in_both_splits_is_no_alarm():
    images, others = pixels().clone(), pixels(5).clone()
    images[3], others[8] = 0, 0
    result = run_checks(OVERLAP, source=dataset(images), trained_on=[dataset(others, "train")])
    assert result.outcome == "passed", explain(result)


def test_unknown_training_data_is_not_checked():
    result = run_checks(OVERLAP, trained_on=None)
    assert result.outcome == "not checked"
    assert "passed" not in result.checks[0].reason
    assert run_checks(OVERLAP, trained_on=[]).outcome == "passed"


def test_vectors_are_compared_exactly():
    vectors = torch.randn(N_CLASSES * N_IMAGES, 6)
    changed = dataset(vectors.roll(1, 0), "train")
    result = run_checks(OVERLAP, source=dataset(vectors), trained_on=[changed])
    assert result.outcome == "failed"
    other = ClassDataset(torch.randn(40, 6), [20, 20], ["a", "b"], name="v", split="train")
    result = run_checks(OVERLAP, source=dataset(vectors), trained_on=[other])
    assert result.checks[0].outcome == "passed"
