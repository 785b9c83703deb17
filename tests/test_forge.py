"""Forging in Python: labelled images in, a classifier and one file out."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from lgmnet.configs import from_json
from lgmnet.errors import DataError, EpisodeError, FileFormatError
from lgmnet.forge import IMAGES_A_BATCH, ForgedClassifier, as_input, forge
from lgmnet.methods.lgm_net import LGMNetConfig
from tests.cli.making import TINY, content, drawings, listing, tiny_model

CLASSES = ("moon", "star", "sun ☀")
LABELS = [0, 1, 1, 2, 2, 2]


@pytest.fixture
def forged() -> ForgedClassifier:
    """Of three classes with 1, 2 and 3 drawings."""
    drawn = drawings(3, 3)
    images = torch.cat([drawn[0, :1], drawn[1, :2], drawn[2, :3]])
    return forge(tiny_model(), images, LABELS, CLASSES)


@pytest.fixture
def asked() -> torch.Tensor:
    return drawings(6, 3, seed=1).flatten(0, 1)


def test_what_is_known_of_a_classifier(forged):
    assert forged.classes == CLASSES
    assert forged.shots == (1, 2, 3)
    assert forged.model == "tiny"
    assert forged.method == "lgm-net"
    assert forged.config == TINY
    assert forged.image_shape == (1, 28, 28)


def test_answers_are_those_of_the_method(forged, asked):
    """Forging adds nothing of its own: adapt, answer, exponential."""
    drawn = drawings(3, 3)
    images = torch.cat([drawn[0, :1], drawn[1, :2], drawn[2, :3]])
    method = tiny_model().method
    classifier = method.adapt(images[None] / 255, torch.tensor([LABELS]), 3)
    expected = classifier(asked[None] / 255)[0].exp()
    torch.testing.assert_close(forged.predict_proba(asked), expected)
    assert forged.predict(asked) == [CLASSES[i] for i in expected.argmax(1)]


def test_probabilities(forged, asked):
    answers = forged.predict_proba(asked)
    assert answers.shape == (18, 3)
    torch.testing.assert_close(answers.sum(1), torch.ones(18))
    assert (answers > 0).all()
    assert not answers.requires_grad
    assert torch.equal(answers, forged.predict_proba(asked)), "asked twice, answered alike"


def test_the_order_of_images_does_not_matter(forged, asked):
    drawn = drawings(3, 3)
    images = torch.cat([drawn[0, :1], drawn[1, :2], drawn[2, :3]])
    order = torch.tensor([5, 0, 3, 1, 4, 2])
    again = forge(tiny_model(), images[order], [LABELS[i] for i in order], CLASSES)
    torch.testing.assert_close(again.predict_proba(asked), forged.predict_proba(asked))


def test_300_images_in_batches_are_answered_as_one_by_one(forged):
    images = drawings(30, 10, seed=3).flatten(0, 1)
    assert IMAGES_A_BATCH < len(images) == 300
    together = forged.predict_proba(images)
    singly = torch.cat([forged.predict_proba(image[None]) for image in images])
    # In 32 bits; in which order a processor sums differs with the batch.
    torch.testing.assert_close(together, singly, rtol=0, atol=1e-5)
    assert forged.predict(images) == [CLASSES[i] for i in singly.argmax(1)]


def test_no_images_no_answers(forged):
    none = torch.empty(0, 1, 28, 28, dtype=torch.uint8)
    assert forged.predict_proba(none).shape == (0, 3)
    assert forged.predict(none) == []


def test_a_saved_classifier_answers_identically(forged, asked, tmp_path):
    path = tmp_path / "c.safetensors"
    forged.save(path)
    loaded = ForgedClassifier.load(path)
    assert torch.equal(loaded.predict_proba(asked), forged.predict_proba(asked))
    assert loaded.predict(asked) == forged.predict(asked)
    for name in ("classes", "shots", "model", "method", "config", "image_shape"):
        assert getattr(loaded, name) == getattr(forged, name), name
    assert listing(tmp_path).keys() == {"c.safetensors"}
    loaded.save(tmp_path / "again.safetensors")
    assert content(tmp_path / "again.safetensors") == content(path)


@pytest.mark.parametrize(
    "config",
    [
        dataclasses.replace(TINY, temperature=None, target_norm=False),
        dataclasses.replace(TINY, intertask_norm=False, context_encoder=False, weight_norm=False),
        dataclasses.replace(TINY, target_widths=(4, 6, 8)),
    ],
)
def test_classifiers_of_other_configs_are_saved_too(config, asked, tmp_path):
    forged = forge(tiny_model(config), drawings(3, 1)[:, 0], [0, 1, 2], CLASSES)
    forged.save(tmp_path / "c.safetensors")
    loaded = ForgedClassifier.load(tmp_path / "c.safetensors")
    assert torch.equal(loaded.predict_proba(asked), forged.predict_proba(asked))


def test_the_file_says_what_it_is(forged, tmp_path):
    forged.save(tmp_path / "c.safetensors")
    about, tensors = content(tmp_path / "c.safetensors")
    assert about["format"] == "lgmnet-classifier"
    assert about["version"] == "1"
    assert about["model"] == "tiny"
    assert about["method"] == "lgm-net"
    assert json.loads(about["classes"]) == list(CLASSES)
    assert json.loads(about["shots"]) == [1, 2, 3]
    assert from_json(LGMNetConfig, json.loads(about["config"])) == TINY
    assert {"keys", "support_y", "weight_0", "bias_0"} <= tensors.keys()
    assert not any("encoder" in name or "generator" in name for name in tensors), (
        "what generated the weights is not needed to use them"
    )


def test_a_flipped_bit_in_the_header_never_ends_in_a_crash(forged, asked, tmp_path):
    """Most are found out; of the rest, only a name or a number of shots can have changed."""
    path = tmp_path / "c.safetensors"
    forged.save(path)
    whole = path.read_bytes()
    places = range(0, 8 + int.from_bytes(whole[:8], "little"), 5)
    expected = forged.predict_proba(asked)
    sentences = []
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 7
        path.write_bytes(damaged)
        try:
            loaded = ForgedClassifier.load(path)
            answers = loaded.predict_proba(asked)
        except (FileFormatError, DataError) as error:
            sentences.append(str(error))
        else:
            assert len(loaded.classes) == len(loaded.shots) == 3
            assert torch.equal(answers, expected)
    assert len(sentences) > 0.9 * len(places)
    for sentence in sentences:
        assert str(path) in sentence or "Images must be" in sentence


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("labels", "classes", "words"),
    [
        ([0, 0, 0], ["a"], "'way' must be at least 2, but is 1"),
        ([0, 0, 1], ["a", "b", "c"], "class 2 .* has no support sample"),
        ([0, 1, 2], ["a", "b"], "holds the label 2; labels of 2 classes are 0..1"),
        ([0, 1, -1], ["a", "b"], "holds the label -1"),
        ([0, 1], ["a", "b"], r"\(1, 3, 1, 28, 28\) and \(1, 2\)"),
    ],
)
def test_labels_that_do_not_fit(labels, classes, words):
    with pytest.raises(EpisodeError, match=words):
        forge(tiny_model(), drawings(3, 1)[:, 0], labels, classes)


def test_images_of_another_size(forged):
    large = torch.zeros(2, 1, 32, 32, dtype=torch.uint8)
    words = r"must be uint8 \[images, 1, 28, 28\], but are uint8 \[2, 1, 32, 32\]"
    with pytest.raises(DataError, match=words):
        forge(tiny_model(), large, [0, 1], ["a", "b"])
    with pytest.raises(DataError, match=words):
        forged.predict_proba(large)


@pytest.mark.usefixtures("unchecked")
def test_images_of_another_type(forged):
    floats = torch.zeros(2, 1, 28, 28)
    with pytest.raises(DataError, match=r"uint8 .* but are float32"):
        forge(tiny_model(), floats, [0, 1], ["a", "b"])  # type: ignore[arg-type,unused-ignore]
    with pytest.raises(DataError, match=r"uint8 .* but are float32"):
        forged.predict_proba(floats)


def test_pixels_become_the_values_that_networks_take():
    values = as_input(torch.tensor([0, 51, 255], dtype=torch.uint8))
    torch.testing.assert_close(values, torch.tensor([0.0, 0.2, 1.0]))
