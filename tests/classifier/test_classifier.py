"""Fitting in Python: labelled images in, a classifier out."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from lgmnet import load_model
from lgmnet.classifier.classifier import BATCH_SIZE, FittedClassifier
from lgmnet.classifier.fit import fit_classifier
from lgmnet.classifier.support import check_is_tensor, to_float
from lgmnet.config import with_settings
from lgmnet.errors import ConfigError, DataError, EpisodeError
from lgmnet.methods import METHODS
from lgmnet.methods.maml import MAMLConfig
from lgmnet.nn.embedding import EmbeddingConfig, vector_embedding
from tests.classifier.conftest import CLASSES, LABELS, support_images
from tests.contract.cases import CASES
from tests.support.configs import TINY, lgm_net_config
from tests.support.models import build_method, drawings, tiny_model
from tests.support.random import noise


def test_properties_of_a_classifier(fitted):
    assert fitted.classes == CLASSES
    assert fitted.shots == (1, 2, 3)
    assert fitted.model == "tiny"
    assert fitted.method == "lgm-net"
    assert fitted.config == TINY
    assert fitted.inputs.shape == (1, 28, 28)


def test_predictions_are_those_of_the_method(fitted, queries):
    """A fitted classifier adds nothing to the method: adapt, predict, exponential."""
    method = tiny_model().method
    classifier = method.adapt(support_images()[None] / 255, torch.tensor([LABELS]), 3)
    expected = classifier(queries[None] / 255)[0].exp()
    torch.testing.assert_close(fitted.predict_proba(queries), expected)
    assert fitted.predict(queries) == [CLASSES[i] for i in expected.argmax(1)]


BF16_TOLERANCE = 0.02
"""Largest error of a trained model's probability in bf16, whose numbers have 8 bits."""


@pytest.mark.parametrize("shot", [1, 5])
def test_predictions_in_bf16_are_close_to_those_in_32_bits(shot, monkeypatch):
    model = load_model("omniglot")
    images, queries = (x.flatten(0, 1) for x in drawings(5, shot + 20).split([shot, 20], 1))
    labels = [i // shot for i in range(5 * shot)]
    expected = fit_classifier(model, images, labels, "abcde").predict_proba(queries)
    monkeypatch.setattr("lgmnet.devices.supports_bf16", lambda device: True)
    in_bf16 = fit_classifier(model, images, labels, "abcde")
    probabilities = in_bf16.predict_proba(queries)
    assert not torch.equal(probabilities, expected), "nothing was computed in bf16"
    torch.testing.assert_close(probabilities, expected, atol=BF16_TOLERANCE, rtol=0)
    assert all(
        t.dtype == torch.float32
        for t in in_bf16.classifier.state_dict().values()
        if t.is_floating_point()
    ), "the classifier stores 32 bits"
    torch.testing.assert_close(in_bf16.explain(queries).sum(1), torch.ones(len(queries)))


def test_probabilities(fitted, queries):
    probabilities = fitted.predict_proba(queries)
    assert probabilities.shape == (18, 3)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(18))
    assert (probabilities > 0).all()
    assert not probabilities.requires_grad
    assert torch.equal(probabilities, fitted.predict_proba(queries)), "the second call differs"


def test_the_order_of_images_does_not_matter(fitted, queries):
    order = torch.tensor([5, 0, 3, 1, 4, 2])
    images, labels = support_images()[order], [LABELS[i] for i in order]
    other = fit_classifier(tiny_model(), images, labels, CLASSES)
    torch.testing.assert_close(other.predict_proba(queries), fitted.predict_proba(queries))


def test_batches_of_300_images_are_predicted_like_single_images(fitted):
    images = drawings(30, 10, seed=3).flatten(0, 1)
    assert BATCH_SIZE < len(images) == 300
    batched = fitted.predict_proba(images)
    single = torch.cat([fitted.predict_proba(image[None]) for image in images])
    # In 32 bits, the order in which a processor sums depends on the batch.
    torch.testing.assert_close(batched, single, rtol=0, atol=1e-5)
    assert fitted.predict(images) == [CLASSES[i] for i in single.argmax(1)]


def test_batches_of_an_analysis_make_up_the_whole(fitted):
    images = drawings(30, 10, seed=3).flatten(0, 1)
    analysis, batches = fitted.analyze(images), list(fitted.analyze_batches(images))
    assert [len(batch.log_p) for batch in batches] == [BATCH_SIZE, 300 - BATCH_SIZE]
    for name, value in vars(analysis).items():
        assert value is not None
        assert torch.equal(value, torch.cat([getattr(batch, name) for batch in batches]))


def test_no_images_give_no_predictions(fitted):
    empty = torch.empty(0, 1, 28, 28, dtype=torch.uint8)
    assert fitted.predict_proba(empty).shape == (0, 3)
    assert fitted.predict(empty) == []
    with pytest.raises(DataError, match="expected at least one"):
        fitted.analyze(empty)


def test_support_attention(fitted, queries):
    """The attention to the samples of a class sums to the probability of that class."""
    attention = fitted.explain(queries)
    assert attention.shape == (18, 6)
    per_class = torch.zeros(18, 3).index_add(1, fitted.support.labels, attention)
    torch.testing.assert_close(per_class, fitted.predict_proba(queries))
    # Among the samples of its class, a support sample attends most to itself.
    own = fitted.explain(fitted.support.samples)
    same_class = fitted.support.labels[:, None] == fitted.support.labels
    assert own.where(same_class, 0).argmax(1).tolist() == list(range(6))


def test_a_method_without_attention_explains_nothing(queries):
    method = METHODS["maml"](MAMLConfig(EmbeddingConfig(widths=(4, 4), pooled=(True, True))))
    model = dataclasses.replace(tiny_model(), method=method.eval(), method_name="maml")
    fitted = fit_classifier(model, drawings(3, 1)[:, 0], [0, 1, 2], CLASSES)
    with pytest.raises(ConfigError, match="does not attend to single support samples"):
        fitted.explain(queries)


def test_a_head_of_class_means_explains_nothing(queries):
    """It attends to classes, which must not be mistaken for their samples."""
    images = drawings(3, 2).flatten(0, 1)
    model = tiny_model(with_settings(TINY, ["head.kind=means"]))
    fitted = fit_classifier(model, images, [0, 0, 1, 1, 2, 2], CLASSES)
    with pytest.raises(ConfigError, match="does not attend to single support samples"):
        fitted.explain(queries)


def test_random_contexts_spread_the_probabilities(fitted, queries):
    spread = fitted.spread(tiny_model(), queries, draws=4, seed=1)
    assert spread.shape == (18, 3)
    assert (spread > 0).all()
    assert torch.equal(spread, fitted.spread(tiny_model(), queries, draws=4, seed=1))
    assert not torch.equal(spread, fitted.spread(tiny_model(), queries, draws=4, seed=2))


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
def test_invalid_labels(labels, classes, words):
    with pytest.raises(EpisodeError, match=words):
        fit_classifier(tiny_model(), drawings(3, 1)[:, 0], labels, classes)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("model", "labels", "sources", "error", "words"),
    [
        (None, LABELS, ["only one"], DataError, "6 samples, but 1 sources; expected one for"),
        (None, ["moon"] * 6, None, DataError, "Labels must be indices .* but are .'moon'"),
        ("omniglot", LABELS, None, ConfigError, "Expected a model, but got 'omniglot'. Load it"),
    ],
)
def test_invalid_arguments(model, labels, sources, error, words):
    with pytest.raises(error, match=words):
        fit_classifier(model or tiny_model(), support_images(), labels, CLASSES, sources=sources)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("seed", ["x", 1.5, 2**70, [1]])
def test_a_seed_is_a_whole_number(seed, fitted, queries):
    with pytest.raises(ConfigError, match="The seed must be None or a whole number of at most 64"):
        fitted.spread(tiny_model(), queries, seed=seed)


@pytest.mark.usefixtures("unchecked")
def test_a_path_may_be_text(fitted, queries, tmp_path):
    fitted.save(f"{tmp_path}/c.safetensors")
    loaded = FittedClassifier.load(f"{tmp_path}/c.safetensors")
    assert torch.equal(loaded.predict_proba(queries), fitted.predict_proba(queries))
    uses: tuple[Any, ...] = (fitted.save, FittedClassifier.load)
    for use in uses:
        with pytest.raises(ConfigError, match=r"Expected a path, such as .*, but got None"):
            use(None)


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


def test_pixels_become_floats_in_0_to_1():
    values = to_float(torch.tensor([0, 51, 255], dtype=torch.uint8))
    torch.testing.assert_close(values, torch.tensor([0.0, 0.2, 1.0]))


@pytest.mark.parametrize("case", ["lgm-net, conv", "proto-net, images"])
def test_a_classifier_and_the_model_that_fitted_it_do_not_change_each_other(case):
    name, config = CASES[case]
    method = build_method(name, config).eval()
    model = dataclasses.replace(tiny_model(), method=method, method_name=name)
    shape = method.inputs.shape
    samples = (255 * noise(6, *shape).sigmoid()).to(torch.uint8)
    queries = (255 * noise(5, *shape, seed=1).sigmoid()).to(torch.uint8)
    fitted = fit_classifier(model, samples, [0, 0, 1, 1, 2, 2], "abc")
    expected = fitted.predict_proba(queries)
    with torch.no_grad():
        for tensor in method.state_dict().values():
            tensor.add_(1)
    method.half().train()
    assert torch.equal(fitted.predict_proba(queries), expected)

    weights = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    fitted.classifier.double().train()
    with torch.inference_mode():
        for tensor in fitted.classifier.state_dict().values():
            tensor.add_(1)
    for name, tensor in method.state_dict().items():
        assert torch.equal(tensor, weights[name])
        assert tensor.dtype == weights[name].dtype


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("any_length", [True, False])
def test_vectors_of_every_precision_give_the_same_classifier(any_length, dtype):
    if any_length:
        model = load_model("vectors")
    else:
        model = tiny_model(lgm_net_config(vector_embedding(8, 8), target_widths=(8,)))
    samples, queries = noise(6, 8).half(), noise(5, 8, seed=1).half()
    expected = fit_classifier(model, samples.double(), [0, 0, 0, 1, 1, 1], "ab")
    fitted = fit_classifier(model, samples.to(dtype), [0, 0, 0, 1, 1, 1], "ab")
    probabilities = fitted.predict_proba(queries.to(dtype))
    assert torch.equal(probabilities, expected.predict_proba(queries.double()))
    assert fitted.support.samples.dtype == (torch.float64 if any_length else torch.float32)


def test_float_images_are_refused_with_the_conversion():
    images = support_images() / 255
    with pytest.raises(DataError, match=r"must be uint8 .* but are float32 .*\(255 \* x\).round"):
        fit_classifier(tiny_model(), images, LABELS, CLASSES)
    converted = (255 * images).round().to(torch.uint8)
    assert torch.equal(converted, support_images()), "the advice of the message is right"


def test_whole_numbers_are_no_vectors():
    model = tiny_model(lgm_net_config(vector_embedding(8, 8), target_widths=(8,)))
    with pytest.raises(DataError, match=r"Vectors must be floats \[vectors, 8\], but are int64"):
        fit_classifier(model, torch.ones(2, 8, dtype=torch.int64), [0, 1], "ab")


def test_an_array_is_refused_with_the_conversion():
    with pytest.raises(DataError, match=r"torch.Tensor, but are ndarray.*torch.from_numpy"):
        check_is_tensor(support_images().numpy())


def test_a_copy_on_another_device(fitted, queries):
    """The only other device everywhere is ``meta``, which computes nothing."""
    moved = fitted.to("meta")
    assert {t.device.type for t in moved.classifier.state_dict().values()} == {"meta"}
    assert moved.support.samples.device.type == "meta"
    assert fitted.support.samples.device.type == "cpu"
    assert torch.equal(fitted.to("cpu").predict_proba(queries), fitted.predict_proba(queries))
