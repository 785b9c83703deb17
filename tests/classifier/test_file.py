"""Classifier files: what is read equals what was written, and damaged files are refused."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
import torch

from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.classifier.file import CLASSIFIER_KIND, halve
from lgmnet.classifier.fit import fit_classifier
from lgmnet.config import from_json, with_settings
from lgmnet.errors import FileFormatError
from lgmnet.methods import NetworkEnsemble, NetworkEnsembleConfig
from lgmnet.methods.lgm_net import LGMNetConfig
from lgmnet.tensor_file import write_tensors
from tests.classifier.conftest import CLASSES, LABELS
from tests.support.command_line import content, listing
from tests.support.configs import TINY
from tests.support.models import drawings, tiny_model

ENSEMBLE = "network-ensemble"


def test_a_loaded_classifier_predicts_identically(fitted, queries, tmp_path):
    path = tmp_path / "c.safetensors"
    fitted.save(path)
    loaded = FittedClassifier.load(path)
    assert torch.equal(loaded.predict_proba(queries), fitted.predict_proba(queries))
    assert loaded.predict(queries) == fitted.predict(queries)
    for name in ("classes", "shots", "model", "method", "config", "inputs"):
        assert getattr(loaded, name) == getattr(fitted, name), name
    assert listing(tmp_path).keys() == {"c.safetensors"}
    loaded.save(tmp_path / "again.safetensors")
    assert content(tmp_path / "again.safetensors") == content(path)


@pytest.mark.parametrize(
    "config",
    [
        with_settings(TINY, ["temperature=none", "target.norm=false"]),
        with_settings(TINY, ["embedding.norm=sample", "context=none", "weight_norm=false"]),
        with_settings(TINY, ["target.widths=[4, 6, 8]"]),
    ],
)
def test_classifiers_of_other_configs_are_saved_too(config, queries, tmp_path):
    fitted = fit_classifier(tiny_model(config), drawings(3, 1)[:, 0], [0, 1, 2], CLASSES)
    fitted.save(tmp_path / "c.safetensors")
    loaded = FittedClassifier.load(tmp_path / "c.safetensors")
    assert torch.equal(loaded.predict_proba(queries), fitted.predict_proba(queries))


@pytest.mark.parametrize("head", ["attention", "means", "ridge"])
def test_classifiers_of_networks_that_answer_together_are_saved_too(head, queries, tmp_path):
    """Also where the keys that queries attend to are not the samples."""
    config = NetworkEnsembleConfig(network=with_settings(TINY, [f"head.kind={head}"]))
    model = replace(tiny_model(), method=NetworkEnsemble(config).eval(), method_name=ENSEMBLE)
    fitted = fit_classifier(model, drawings(3, 2).flatten(0, 1), [0, 0, 1, 1, 2, 2], CLASSES)
    fitted.save(tmp_path / "c.safetensors")
    loaded = FittedClassifier.load(tmp_path / "c.safetensors")
    assert torch.equal(loaded.predict_proba(queries), fitted.predict_proba(queries))


def test_content_of_the_file(fitted, tmp_path):
    fitted.save(tmp_path / "c.safetensors")
    metadata, tensors = content(tmp_path / "c.safetensors")
    assert metadata["format"] == "lgmnet-classifier"
    assert metadata["version"] == "3"
    assert metadata["model"] == "tiny"
    assert metadata["method"] == "lgm-net"
    assert json.loads(metadata["classes"]) == list(CLASSES)
    assert json.loads(metadata["sources"]) == [""] * 6
    assert tensors.keys() >= {"support.samples", "support.labels"}
    assert from_json(LGMNetConfig, json.loads(metadata["config"])) == TINY
    assert {"keys", "support_y", "weight_0", "bias_0"} <= tensors.keys()
    assert not any("encoder" in name or "generator" in name for name in tensors), (
        "generated weights do not need their generator"
    )


def test_a_file_altered_by_a_byte_is_refused(fitted, tmp_path):
    path = tmp_path / "c.safetensors"
    fitted.save(path)
    intact = path.read_bytes()
    for position in range(0, len(intact), 97):
        altered = bytearray(intact)
        altered[position] ^= 1 << position % 8
        path.write_bytes(altered)
        with pytest.raises(FileFormatError, match=re.escape(str(path))):
            FittedClassifier.load(path)


def test_a_file_of_an_earlier_version_is_refused(tmp_path):
    path = tmp_path / "c.safetensors"
    write_tensors(path, {"keys": torch.ones(2)}, CLASSIFIER_KIND, 2, {})
    words = (
        "lgmnet-classifier, version 2, and was written by an earlier lgmnet; .* Make the file again"
    )
    with pytest.raises(FileFormatError, match=words) as caught:
        FittedClassifier.load(path)
    assert str(path) in str(caught.value)


def test_the_file_holds_the_support_set(fitted, tmp_path):
    sources = [f"{i}.png" for i in range(6)]
    images = fitted.support.samples
    named = fit_classifier(tiny_model(), images, LABELS, CLASSES, sources=sources)
    named.save(tmp_path / "c.safetensors")
    for classifier in (named, FittedClassifier.load(tmp_path / "c.safetensors")):
        assert torch.equal(classifier.support.samples, images)
        assert classifier.support.labels.tolist() == LABELS
        assert classifier.support.sources == tuple(sources)
        assert classifier.fingerprint == tiny_model().fingerprint


def test_what_16_bits_hold_exactly_takes_half_the_space() -> None:
    exact = torch.arange(100.0) / 8
    assert halve(exact).dtype == torch.float16
    assert torch.equal(halve(exact).float(), exact)
    for other in (exact / 3, exact.double(), torch.tensor([1e6]), torch.arange(3)):
        assert halve(other) is other
