"""Forging in Python: labelled images in, a classifier and one file out."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest
import torch

from lgmnet import load_model
from lgmnet.classifier.classifier import (
    IMAGES_A_BATCH,
    FittedClassifier,
    fit_classifier,
    leave_one_out,
    to_float,
)
from lgmnet.config import from_json
from lgmnet.errors import ConfigError, DataError, EpisodeError, FileFormatError
from lgmnet.methods import METHODS, ProtoNetConfig
from lgmnet.methods.lgm_net import LGMNetConfig
from tests.cli.making import TINY, content, drawings, listing, tiny_model

CLASSES = ("moon", "star", "sun ☀")
LABELS = [0, 1, 1, 2, 2, 2]


@pytest.fixture
def fitted() -> FittedClassifier:
    """Of three classes with 1, 2 and 3 drawings."""
    drawn = drawings(3, 3)
    images = torch.cat([drawn[0, :1], drawn[1, :2], drawn[2, :3]])
    return fit_classifier(tiny_model(), images, LABELS, CLASSES)


@pytest.fixture
def asked() -> torch.Tensor:
    return drawings(6, 3, seed=1).flatten(0, 1)


def test_what_is_known_of_a_classifier(fitted):
    assert fitted.classes == CLASSES
    assert fitted.shots == (1, 2, 3)
    assert fitted.model == "tiny"
    assert fitted.method == "lgm-net"
    assert fitted.config == TINY
    assert fitted.inputs.shape == (1, 28, 28)


def test_answers_are_those_of_the_method(fitted, asked):
    """Forging adds nothing of its own: adapt, answer, exponential."""
    drawn = drawings(3, 3)
    images = torch.cat([drawn[0, :1], drawn[1, :2], drawn[2, :3]])
    method = tiny_model().method
    classifier = method.adapt(images[None] / 255, torch.tensor([LABELS]), 3)
    expected = classifier(asked[None] / 255)[0].exp()
    torch.testing.assert_close(fitted.predict_proba(asked), expected)
    assert fitted.predict(asked) == [CLASSES[i] for i in expected.argmax(1)]


IN_BF16 = 0.02
"""So far may a probability be off in bf16, whose numbers have 8 bits, of a trained model."""


@pytest.mark.parametrize("shot", [1, 5])
def test_in_bf16_answers_are_nearly_those_in_32_bits(shot, monkeypatch):
    model = load_model("omniglot")
    images, asked = (x.flatten(0, 1) for x in drawings(5, shot + 20).split([shot, 20], 1))
    labels = [i // shot for i in range(5 * shot)]
    expected = fit_classifier(model, images, labels, "abcde").predict_proba(asked)
    monkeypatch.setattr("lgmnet.devices.supports_bf16", lambda device: True)
    fast = fit_classifier(model, images, labels, "abcde")
    came = fast.predict_proba(asked)
    assert not torch.equal(came, expected), "nothing was computed in bf16"
    torch.testing.assert_close(came, expected, atol=IN_BF16, rtol=0)
    assert all(
        t.dtype == torch.float32
        for t in fast.classifier.state_dict().values()
        if t.is_floating_point()
    ), "what is kept is in 32 bits"
    torch.testing.assert_close(fast.explain(asked).sum(1), torch.ones(len(asked)))


def test_probabilities(fitted, asked):
    answers = fitted.predict_proba(asked)
    assert answers.shape == (18, 3)
    torch.testing.assert_close(answers.sum(1), torch.ones(18))
    assert (answers > 0).all()
    assert not answers.requires_grad
    assert torch.equal(answers, fitted.predict_proba(asked)), "asked twice, answered alike"


def test_the_order_of_images_does_not_matter(fitted, asked):
    drawn = drawings(3, 3)
    images = torch.cat([drawn[0, :1], drawn[1, :2], drawn[2, :3]])
    order = torch.tensor([5, 0, 3, 1, 4, 2])
    again = fit_classifier(tiny_model(), images[order], [LABELS[i] for i in order], CLASSES)
    torch.testing.assert_close(again.predict_proba(asked), fitted.predict_proba(asked))


def test_300_images_in_batches_are_answered_as_one_by_one(fitted):
    images = drawings(30, 10, seed=3).flatten(0, 1)
    assert IMAGES_A_BATCH < len(images) == 300
    together = fitted.predict_proba(images)
    singly = torch.cat([fitted.predict_proba(image[None]) for image in images])
    # In 32 bits; in which order a processor sums differs with the batch.
    torch.testing.assert_close(together, singly, rtol=0, atol=1e-5)
    assert fitted.predict(images) == [CLASSES[i] for i in singly.argmax(1)]


def test_no_images_no_answers(fitted):
    none = torch.empty(0, 1, 28, 28, dtype=torch.uint8)
    assert fitted.predict_proba(none).shape == (0, 3)
    assert fitted.predict(none) == []


def test_a_saved_classifier_answers_identically(fitted, asked, tmp_path):
    path = tmp_path / "c.safetensors"
    fitted.save(path)
    loaded = FittedClassifier.load(path)
    assert torch.equal(loaded.predict_proba(asked), fitted.predict_proba(asked))
    assert loaded.predict(asked) == fitted.predict(asked)
    for name in ("classes", "shots", "model", "method", "config", "inputs"):
        assert getattr(loaded, name) == getattr(fitted, name), name
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
    fitted = fit_classifier(tiny_model(config), drawings(3, 1)[:, 0], [0, 1, 2], CLASSES)
    fitted.save(tmp_path / "c.safetensors")
    loaded = FittedClassifier.load(tmp_path / "c.safetensors")
    assert torch.equal(loaded.predict_proba(asked), fitted.predict_proba(asked))


def test_the_file_says_what_it_is(fitted, tmp_path):
    fitted.save(tmp_path / "c.safetensors")
    about, tensors = content(tmp_path / "c.safetensors")
    assert about["format"] == "lgmnet-classifier"
    assert about["version"] == "2"
    assert about["model"] == "tiny"
    assert about["method"] == "lgm-net"
    assert json.loads(about["classes"]) == list(CLASSES)
    assert json.loads(about["sources"]) == [""] * 6
    assert tensors.keys() >= {"support.samples", "support.labels"}
    assert from_json(LGMNetConfig, json.loads(about["config"])) == TINY
    assert {"keys", "support_y", "weight_0", "bias_0"} <= tensors.keys()
    assert not any("encoder" in name or "generator" in name for name in tensors), (
        "what generated the weights is not needed to use them"
    )


def test_a_file_altered_by_a_byte_is_refused(fitted, tmp_path):
    path = tmp_path / "c.safetensors"
    fitted.save(path)
    whole = path.read_bytes()
    for place in range(0, len(whole), 97):
        altered = bytearray(whole)
        altered[place] ^= 1 << place % 8
        path.write_bytes(altered)
        with pytest.raises(FileFormatError, match=re.escape(str(path))):
            FittedClassifier.load(path)


def test_the_support_stays_with_it(fitted, tmp_path):
    sources = [f"{i}.png" for i in range(6)]
    images = fitted.support.samples
    named = fit_classifier(tiny_model(), images, LABELS, CLASSES, sources=sources)
    named.save(tmp_path / "c.safetensors")
    for one in (named, FittedClassifier.load(tmp_path / "c.safetensors")):
        assert torch.equal(one.support.samples, images)
        assert one.support.labels.tolist() == LABELS
        assert one.support.sources == tuple(sources)
        assert one.fingerprint == tiny_model().fingerprint


def test_what_carried_an_answer(fitted, asked):
    """Each answer's weights are those of its classes, dealt out over what they were shown with."""
    weights = fitted.explain(asked)
    assert weights.shape == (18, 6)
    of_class = torch.zeros(18, 3).index_add(1, fitted.support.labels, weights)
    torch.testing.assert_close(of_class, fitted.predict_proba(asked))
    # Among the samples of its class, what was shown is carried most by itself.
    own = fitted.explain(fitted.support.samples)
    alike = fitted.support.labels[:, None] == fitted.support.labels
    assert own.where(alike, 0).argmax(1).tolist() == list(range(6))


def test_a_method_without_attention_says_so(asked):
    method = METHODS["proto-net"](
        ProtoNetConfig(embedding_widths=(4, 4), embedding_pooled=(True,) * 2)
    )
    model = dataclasses.replace(tiny_model(), method=method.eval(), method_name="proto-net")
    fitted = fit_classifier(model, drawings(3, 1)[:, 0], [0, 1, 2], CLASSES)
    with pytest.raises(ConfigError, match="does not attend to single support samples"):
        fitted.explain(asked)


def test_a_head_of_class_means_says_so_too(asked):
    """It attends to classes; that must not pass for the samples they were shown with."""
    images = drawings(3, 2).flatten(0, 1)
    model = tiny_model(dataclasses.replace(TINY, head="means"))
    fitted = fit_classifier(model, images, [0, 0, 1, 1, 2, 2], CLASSES)
    with pytest.raises(ConfigError, match="does not attend to single support samples"):
        fitted.explain(asked)


def test_draws_of_the_context_spread(fitted, asked):
    spread = fitted.spread(tiny_model(), asked, draws=4, seed=1)
    assert spread.shape == (18, 3)
    assert (spread > 0).all()
    assert torch.equal(spread, fitted.spread(tiny_model(), asked, draws=4, seed=1))
    assert not torch.equal(spread, fitted.spread(tiny_model(), asked, draws=4, seed=2))


def same(one: FittedClassifier, other: FittedClassifier, asked: torch.Tensor) -> bool:
    answers = zip(one.classes, one.predict_proba(asked).T, strict=True)
    others = dict(zip(other.classes, other.predict_proba(asked).T, strict=True))
    return others.keys() == set(one.classes) and all(
        torch.allclose(others[name], column, atol=1e-6) for name, column in answers
    )


def test_editing_is_forging_anew(fitted, asked):
    """What is added, removed and renamed gives the classifier that would have been made at once."""
    model, more = tiny_model(), drawings(2, 2, seed=5)
    added = fitted.with_samples(model, more.flatten(0, 1), ["tree", "tree", "star", "star"])
    assert added.classes == (*CLASSES, "tree")
    assert added.shots == (1, 4, 3, 2)
    assert same(
        added.without(model, "tree").with_samples(model, more[0], ["tree"] * 2), added, asked
    )
    kept = [0, 3, 4, 5]
    without = fit_classifier(model, fitted.support.samples[kept], [0, 1, 1, 1], ["moon", "sun ☀"])
    assert same(fitted.without(model, "star"), without, asked)
    renamed = fitted.renamed("star", "stella")
    assert renamed.classes == ("moon", "stella", "sun ☀")
    assert torch.equal(renamed.predict_proba(asked), fitted.predict_proba(asked))
    assert fitted.classes == CLASSES, "the classifier itself stays as it is"


def test_edits_that_cannot_be(fitted):
    model, image = tiny_model(), drawings(2, 1)[0]
    with pytest.raises(ConfigError, match=r"no class 'str'. Did you mean 'star'"):
        fitted.renamed("str", "x")
    with pytest.raises(ConfigError, match="a class 'moon' already"):
        fitted.renamed("star", "moon")
    with pytest.raises(ConfigError, match="only 'star' would be left"):
        fitted.without(model, "moon").without(model, "sun ☀")
    other = tiny_model(seed=1)
    for edit in (
        lambda: fitted.without(other, "moon"),
        lambda: fitted.with_samples(other, image, ["moon"]),
        lambda: fitted.spread(other, image),
    ):
        with pytest.raises(ConfigError, match="was forged by 'tiny' with the weights"):
            edit()
    with pytest.raises(DataError, match="Images must be uint8"):
        fitted.with_samples(model, torch.zeros(1, 1, 9, 9, dtype=torch.uint8), ["moon"])


def test_left_out_one_at_a_time(fitted, asked):
    """Each sample of a class with others is asked once, of a classifier that has not seen it."""
    model = tiny_model()
    places, answers = leave_one_out(model, fitted.support, 3)
    assert sorted(places.tolist()) == [1, 2, 3, 4, 5], "the only moon cannot be left out"
    # The first fold leaves out the first star and the first sun.
    first = fit_classifier(model, fitted.support.samples[[0, 2, 4, 5]], [0, 1, 2, 2], CLASSES)
    expected = first.predict_proba(fitted.support.samples[[1, 3]])
    torch.testing.assert_close(answers[:2], expected)
    assert places[:2].tolist() == [1, 3]
    alone = fitted.support.where(torch.tensor([True, True, False, True, False, False]))
    assert len(leave_one_out(model, alone, 3)[0]) == 0


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
        fit_classifier(tiny_model(), drawings(3, 1)[:, 0], labels, classes)


def test_images_of_another_size(fitted):
    large = torch.zeros(2, 1, 32, 32, dtype=torch.uint8)
    words = r"must be uint8 \[images, 1, 28, 28\], but are uint8 \[2, 1, 32, 32\]"
    with pytest.raises(DataError, match=words):
        fit_classifier(tiny_model(), large, [0, 1], ["a", "b"])
    with pytest.raises(DataError, match=words):
        fitted.predict_proba(large)


@pytest.mark.usefixtures("unchecked")
def test_images_of_another_type(fitted):
    floats = torch.zeros(2, 1, 28, 28)
    with pytest.raises(DataError, match=r"uint8 .* but are float32"):
        fit_classifier(tiny_model(), floats, [0, 1], ["a", "b"])  # type: ignore[arg-type,unused-ignore]
    with pytest.raises(DataError, match=r"uint8 .* but are float32"):
        fitted.predict_proba(floats)


def test_pixels_become_the_values_that_networks_take():
    values = to_float(torch.tensor([0, 51, 255], dtype=torch.uint8))
    torch.testing.assert_close(values, torch.tensor([0.0, 0.2, 1.0]))
