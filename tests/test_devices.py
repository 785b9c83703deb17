"""Devices by name."""

from __future__ import annotations

import pytest
import torch

from lgmnet import FewShotClassifier
from lgmnet.devices import resolve_device
from lgmnet.errors import ConfigError
from tests.support.models import drawings

WITHOUT_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


def test_auto_is_the_cpu_where_there_is_no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == torch.device("cpu")
    images = [drawing[0] for drawing in drawings(2, 1)[:, 0].numpy()]
    expected = FewShotClassifier().fit(images, [0, 1]).predict(images)
    assert (FewShotClassifier(device="auto").fit(images, [0, 1]).predict(images) == expected).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")
def test_a_classifier_on_a_gpu_predicts_what_one_on_the_cpu_predicts(tmp_path):
    images = [drawing[0] for drawing in drawings(3, 4).flatten(0, 1).numpy()]
    labels = [i // 4 for i in range(12)]
    expected = FewShotClassifier().fit(images, labels).predict_proba(images)
    fitted = FewShotClassifier(device="cuda").fit(images, labels)
    assert fitted.predict_proba(images) == pytest.approx(expected, abs=0.03)
    fitted.save(tmp_path / "c.safetensors")
    for device in ("cpu", "cuda", "auto"):
        loaded = FewShotClassifier.load(tmp_path / "c.safetensors", device=device)
        assert loaded.predict_proba(images) == pytest.approx(expected, abs=0.03)
        loaded.partial_fit(images[:1], labels[:1]).remove_class(1)


@WITHOUT_GPU
@pytest.mark.parametrize("name", ["cuda", "cuda:7", "gpu", "meta", ""])
def test_a_device_that_is_not_there_is_a_sentence(name, tmp_path):
    images = [drawing[0] for drawing in drawings(2, 1)[:, 0].numpy()]
    problem = f"PyTorch cannot compute on the device {name!r} here.*'auto'"
    with pytest.raises(ConfigError, match=problem):
        FewShotClassifier(device=name).fit(images, [0, 1])
    FewShotClassifier().fit(images, [0, 1]).save(tmp_path / "c.safetensors")
    with pytest.raises(ConfigError, match=problem):
        FewShotClassifier.load(tmp_path / "c.safetensors", device=name)
