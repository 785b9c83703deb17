"""What is of none of the classes: the threshold against a plain search, its errors, its use."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lgmnet.classifier.classifier import FittedClassifier, fit_classifier
from lgmnet.data.synthetic.characters import SyntheticCharacters
from lgmnet.episode import EpisodeShape
from lgmnet.errors import ConfigError
from lgmnet.estimator import FewShotClassifier
from lgmnet.evaluation.rejection import equal_error_threshold, measure_similarities, rejection
from lgmnet.methods import METHODS, LGMClassifier, ProtoNetConfig
from lgmnet.model.model import load_model, save_model
from tests.cli.making import drawings, lgmnet, symbols, tiny_model, write_drawing

SHAPE = EpisodeShape(3, 2, 4)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_the_threshold_errs_equally_either_way(known, foreign, seed):
    rng = np.random.default_rng(seed)
    own, others = rng.normal(1, 1, known), rng.normal(0, 1, foreign)
    came = equal_error_threshold(torch.from_numpy(own), torch.from_numpy(others))
    differences = [
        abs((own < t).mean() - (others >= t).mean()) for t in np.concatenate([own, others])
    ]
    assert abs((own < came).mean() - (others >= came).mean()) == pytest.approx(min(differences))


def test_what_is_told_apart_has_no_errors():
    assert equal_error_threshold(torch.tensor([0.9, 0.8]), torch.tensor([0.1, 0.3])) == (
        pytest.approx(0.8)
    )


def test_likeness_is_the_largest_cosine_of_one_shot():
    """And has nothing to do with how many other classes there are."""
    method = tiny_model().method
    images = drawings(4, 1)[:, 0].float() / 255
    asked = drawings(4, 1, seed=1)[:, 0].float()[None] / 255
    classifier = method.adapt(images[None], torch.arange(4)[None], 4)
    assert isinstance(classifier, LGMClassifier)
    keys, queries = (
        torch.nn.functional.normalize(x, dim=-1)
        for x in (classifier.keys, classifier.embed_queries(asked))
    )
    expected = (queries @ keys.mT).amax(-1)
    torch.testing.assert_close(classifier.analyze(asked).similarity, expected)


def test_known_and_foreign_queries_of_the_same_tasks():
    method = tiny_model().method
    known, foreign = measure_similarities(
        method, SyntheticCharacters("val"), SHAPE, episodes=5, seed=3
    )
    assert known.shape == foreign.shape == (5 * 3 * 4,)
    assert known.mean() > foreign.mean()
    again = measure_similarities(method, SyntheticCharacters("val"), SHAPE, episodes=5, seed=3)
    assert torch.equal(again[0], known)


def test_errors_are_measured_on_other_classes_than_the_threshold_is_chosen_on():
    method = tiny_model().method
    found = rejection(
        method, SyntheticCharacters("val"), SyntheticCharacters("test"), SHAPE, episodes=20
    )
    known, foreign = measure_similarities(method, SyntheticCharacters("test"), SHAPE, episodes=20)
    assert found.false_reject == 100 * (known < found.threshold).double().mean().item()
    assert found.false_accept == 100 * (foreign >= found.threshold).double().mean().item()
    assert (found.chosen_on, found.measured_on) == ("strokes:val", "strokes:test")
    chosen = equal_error_threshold(
        *measure_similarities(method, SyntheticCharacters("val"), SHAPE, episodes=20)
    )
    assert found.threshold == chosen


def test_methods_that_compare_classes_only_with_each_other_say_so():
    config = ProtoNetConfig(embedding_widths=(4, 4), embedding_pooled=(True, True))
    method = METHODS["proto-net"](config).eval()
    with pytest.raises(ConfigError, match="cannot tell that a query belongs to none of them"):
        measure_similarities(method, SyntheticCharacters("val"), SHAPE, episodes=2)


@pytest.fixture
def calibrated(tmp_path):
    """The folder of a tiny model with thresholds at 1 and 5 shots."""
    folder = tmp_path / "model"
    save_model(tiny_model(), folder)
    ran = lgmnet(
        *("calibrate", folder, "--on", "strokes:val", "--data", "strokes", "--way", 3),
        *("--query", 2, "--episodes", 10, "--json"),
    )
    assert ran.code == 0, ran.err
    assert [r["shot"] for r in ran.json["rejections"]] == [1, 5]
    return folder


def test_thresholds_go_into_the_model_its_card_and_its_classifiers(calibrated, tmp_path):
    model = load_model(calibrated)
    one, five = model.rejections
    assert (one.shot, five.shot) == (1, 5)
    card = (calibrated / "README.md").read_text(encoding="utf-8")
    assert "## None of these" in card
    assert f"| 3-way 1-shot | {one.threshold:.3f} | strokes:val | strokes:test |" in card
    images = drawings(3, 4).flatten(0, 1)
    few = fit_classifier(model, images[::4], [0, 1, 2], ["a", "b", "c"])
    many = fit_classifier(model, images, [i for i in range(3) for _ in range(4)], ["a", "b", "c"])
    assert few.threshold == one.threshold
    assert many.threshold == five.threshold
    asked = drawings(5, 3, seed=2).flatten(0, 1)
    with torch.inference_mode():
        similarity = few.analyze(asked).similarity
    assert similarity is not None
    assert torch.equal(few.fits(asked), similarity >= one.threshold)
    assert few.fits(few.support.samples).all()
    few.save(tmp_path / "c.safetensors")
    loaded = FittedClassifier.load(tmp_path / "c.safetensors")
    assert loaded.rejections == model.rejections
    assert torch.equal(loaded.fits(asked), few.fits(asked))


def test_none_of_these_in_the_shell_and_in_python(calibrated, tmp_path):
    model = load_model(calibrated)
    strict = dataclasses.replace(
        model, rejections=(dataclasses.replace(model.rejections[0], threshold=0.9999),)
    )
    save_model(strict, calibrated)
    folder = symbols(tmp_path / "shown", {"moon": 1, "star": 1})
    file = tmp_path / "c.safetensors"
    assert lgmnet("forge", folder, "-o", file, "--model", calibrated).code == 0
    shown = folder / "moon" / "0.png"
    other = write_drawing(tmp_path / "other.png", drawings(3, 1, seed=5)[2, 0])
    ran = lgmnet("predict", file, shown, other, "--none", "--format", "jsonl")
    assert [json.loads(line)["label"] for line in ran.out.splitlines()] == ["moon", "none of these"]
    assert "none of these" in lgmnet("predict", file, other, "--none").out
    assert "none of these" not in lgmnet("predict", file, other).out

    classifier = FewShotClassifier(calibrated, unknown=-1)
    classifier.fit([shown, folder / "star" / "0.png"], [3, 8])
    assert classifier.predict([shown, other]).tolist() == [3, -1]
    assert classifier.set_params(unknown=None).predict([other]).tolist() in ([3], [8])
    with pytest.raises(ConfigError, match="'unknown' must be a label like the others"):
        classifier.set_params(unknown="none").predict([other])


def test_thresholds_that_are_not_there_or_cannot_be_chosen(tmp_path):
    folder, file = tmp_path / "model", tmp_path / "c.safetensors"
    save_model(tiny_model(), folder)
    fit_classifier(tiny_model(), drawings(2, 1)[:, 0], [0, 1], ["a", "b"]).save(file)
    ran = lgmnet("predict", file, "a.png", "--none")
    assert ran.code == 2
    assert "'tiny' has no threshold" in ran.err
    for words, names in (
        (("--on", "strokes"), "'--on strokes' must be DATA:SPLIT"),
        (("--on", "strokes:train", "--data", "strokes"), "was trained on strokes"),
        (("--on", "digits:test", "--data", "digits", "--way", 6), "digits"),
    ):
        ran = lgmnet("calibrate", folder, *words, "--episodes", 2)
        assert ran.code == 2
        assert names in ran.err
    assert load_model(folder).rejections == ()
