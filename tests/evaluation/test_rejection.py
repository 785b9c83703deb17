"""Rejection of queries of none of the classes: the threshold, its error rates and its use."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.classifier.export import export, snippet
from lgmnet.classifier.fit import fit_classifier
from lgmnet.data.images.read import read_image
from lgmnet.data.synthetic.characters import SyntheticCharacters
from lgmnet.episode import EpisodeShape
from lgmnet.errors import ConfigError
from lgmnet.estimator import FewShotClassifier
from lgmnet.evaluation.rejection import (
    Rejection,
    calibrate_rejection,
    equal_error_threshold,
    fit_log_odds,
    measure_similarities,
)
from lgmnet.methods import METHODS, FineTuneConfig, LGMClassifier
from lgmnet.model.model import load_model, save_model
from lgmnet.nn.embedding import EmbeddingConfig
from tests.support.command_line import lgmnet, run_without_torch
from tests.support.images import symbols, write_drawing
from tests.support.models import drawings, tiny_model

SHAPE = EpisodeShape(3, 2, 4)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_the_threshold_makes_both_errors_equally_frequent(n_in, n_out, seed):
    rng = np.random.default_rng(seed)
    in_class, out_of_class = rng.normal(1, 1, n_in), rng.normal(0, 1, n_out)

    def difference(threshold: float) -> float:
        return abs(float((in_class < threshold).mean() - (out_of_class >= threshold).mean()))

    threshold = equal_error_threshold(torch.from_numpy(in_class), torch.from_numpy(out_of_class))
    best = min(map(difference, np.concatenate([in_class, out_of_class])))
    assert difference(threshold) == pytest.approx(best)


def test_separable_similarities_are_separated():
    assert equal_error_threshold(torch.tensor([0.9, 0.8]), torch.tensor([0.1, 0.3])) == (
        pytest.approx(0.8)
    )


def test_similarity_is_the_largest_cosine_at_one_shot():
    method = tiny_model().method
    images = drawings(4, 1)[:, 0].float() / 255
    query_x = drawings(4, 1, seed=1)[:, 0].float()[None] / 255
    classifier = method.adapt(images[None], torch.arange(4)[None], 4)
    assert isinstance(classifier, LGMClassifier)
    keys, queries = (
        torch.nn.functional.normalize(x, dim=-1)
        for x in (classifier.keys, classifier.embed_queries(query_x))
    )
    expected = (queries @ keys.mT).amax(-1)
    torch.testing.assert_close(classifier.analyze(query_x).similarity, expected)


def test_queries_of_a_class_are_more_similar_than_queries_of_none():
    method = tiny_model().method
    in_class, out_of_class = measure_similarities(
        method, SyntheticCharacters("val"), SHAPE, episodes=5, seed=3
    )
    assert in_class.shape == out_of_class.shape == (5 * 3 * 4,)
    assert in_class.mean() > out_of_class.mean()
    repeated = measure_similarities(method, SyntheticCharacters("val"), SHAPE, episodes=5, seed=3)
    assert torch.equal(repeated[0], in_class)


def test_the_threshold_and_its_error_rates_come_from_different_classes():
    method = tiny_model().method
    val, test = SyntheticCharacters("val"), SyntheticCharacters("test")
    rejection = calibrate_rejection(method, val, test, SHAPE, episodes=20)
    in_class, out_of_class = measure_similarities(method, test, SHAPE, episodes=20)
    threshold = rejection.threshold
    assert rejection.false_reject == 100 * (in_class < threshold).double().mean().item()
    assert rejection.false_accept == 100 * (out_of_class >= threshold).double().mean().item()
    assert (rejection.chosen_on, rejection.measured_on) == ("strokes:val", "strokes:test")
    similarities = measure_similarities(method, val, SHAPE, episodes=20)
    assert threshold == equal_error_threshold(*similarities)


def test_the_probability_of_none_is_calibrated():
    """Of queries with about the same probability, that share belongs to none (a logistic model)."""
    rng = np.random.default_rng(0)
    similarity = torch.from_numpy(rng.normal(0, 1, 200_000))
    is_out = torch.from_numpy(rng.random(200_000)) < torch.sigmoid(3 * (0.4 - similarity))
    slope, midpoint = fit_log_odds(similarity[~is_out], similarity[is_out])
    assert slope == pytest.approx(3, rel=0.05)
    assert midpoint == pytest.approx(0.4, abs=0.02)
    rejection = Rejection(5, 1, 0.4, "a:b", "a:c", 1.0, 1.0, slope, midpoint)
    p = rejection.none_probability(similarity)
    for low in (0.1, 0.5, 0.8):
        chosen = (p > low) & (p < low + 0.1)
        share = is_out[chosen].double().mean().item()
        assert share == pytest.approx(low + 0.05, abs=0.02)


def test_separable_similarities_give_a_finite_slope():
    slope, midpoint = fit_log_odds(torch.full((50,), 0.9), torch.full((50,), 0.1))
    assert 0 < slope < 1e3
    assert midpoint == pytest.approx(0.5)


@pytest.mark.usefixtures("unchecked")
def test_the_rate_of_false_rejections_chooses_the_threshold():
    method = tiny_model().method
    val, test = SyntheticCharacters("val"), SyntheticCharacters("test")
    rejection = calibrate_rejection(method, val, test, SHAPE, episodes=40)
    in_class, _ = measure_similarities(method, val, SHAPE, episodes=40)
    for rate in (0.01, 0.05, 0.3):
        rejected = (in_class < rejection.threshold_for(rate)).double().mean().item()
        assert rejected == pytest.approx(rate, abs=0.01)
    between = rejection.threshold_for(0.15)
    assert rejection.threshold_for(0.1) < between < rejection.threshold_for(0.2)
    assert rejection.threshold_for(None) == rejection.threshold
    wrong: tuple[Any, ...] = (0.9, "a")
    for rate in wrong:
        with pytest.raises(ConfigError, match=f"between 0.001 and 0.5, but is {rate}"):
            rejection.threshold_for(rate)
    old = dataclasses.replace(rejection, slope=0.0, rate_thresholds=())
    with pytest.raises(ConfigError, match="lgmnet calibrate"):
        old.threshold_for(0.05)


def test_a_method_without_similarities_is_refused():
    config = FineTuneConfig(EmbeddingConfig(widths=(4, 4), pooled=(True, True)), steps=1)
    method = METHODS["fine-tune"](config).eval()
    with pytest.raises(ConfigError, match="cannot tell that a query belongs to none of them"):
        measure_similarities(method, SyntheticCharacters("val"), SHAPE, episodes=2)


@pytest.fixture
def calibrated(tmp_path):
    """Folder of a tiny model with thresholds at 1 and 5 shots."""
    folder = tmp_path / "model"
    save_model(tiny_model(), folder)
    ran = lgmnet(
        *("calibrate", folder, "--on", "strokes:val", "--data", "strokes", "--way", 3),
        *("--query", 2, "--episodes", 10, "--json"),
    )
    assert ran.code == 0, ran.err
    assert [r["shot"] for r in ran.json["rejections"]] == [1, 5]
    return folder


def test_thresholds_are_stored_in_the_model_its_card_and_its_classifiers(calibrated, tmp_path):
    model = load_model(calibrated)
    one, five = model.rejections
    assert (one.shot, five.shot) == (1, 5)
    card = (calibrated / "README.md").read_text(encoding="utf-8")
    assert "## Rejection thresholds" in card
    assert f"| 3-way 1-shot | {one.threshold:.3f} | strokes:val | strokes:test |" in card
    images = drawings(3, 4).flatten(0, 1)
    few = fit_classifier(model, images[::4], [0, 1, 2], ["a", "b", "c"])
    many = fit_classifier(model, images, [i for i in range(3) for _ in range(4)], ["a", "b", "c"])
    assert few.threshold == one.threshold
    assert many.threshold == five.threshold
    queries = drawings(5, 3, seed=2).flatten(0, 1)
    with torch.inference_mode():
        similarity = few.analyze(queries).similarity
    assert similarity is not None
    assert torch.equal(few.fits(queries), similarity >= one.threshold)
    assert few.fits(few.support.samples).all()
    few.save(tmp_path / "c.safetensors")
    loaded = FittedClassifier.load(tmp_path / "c.safetensors")
    assert loaded.rejections == model.rejections
    assert torch.equal(loaded.fits(queries), few.fits(queries))


def test_the_shell_and_the_estimator_reject_queries_of_no_class(calibrated, tmp_path):
    model = load_model(calibrated)
    strict = dataclasses.replace(
        model, rejections=(dataclasses.replace(model.rejections[0], threshold=0.9999),)
    )
    save_model(strict, calibrated)
    folder = symbols(tmp_path / "support", {"moon": 1, "star": 1})
    file = tmp_path / "c.safetensors"
    assert lgmnet("forge", folder, "-o", file, "--model", calibrated).code == 0
    moon = folder / "moon" / "0.png"
    other = write_drawing(tmp_path / "other.png", drawings(3, 1, seed=5)[2, 0])
    ran = lgmnet("predict", file, moon, other, "--none", "--format", "jsonl")
    assert [json.loads(line)["label"] for line in ran.out.splitlines()] == ["moon", "none of these"]
    assert "none of these" in lgmnet("predict", file, other, "--none").out
    assert "none of these" not in lgmnet("predict", file, other).out

    classifier = FewShotClassifier(calibrated, unknown=-1)
    classifier.fit([moon, folder / "star" / "0.png"], [3, 8])
    assert classifier.predict([moon, other]).tolist() == [3, -1]
    assert classifier.set_params(unknown=None).predict([other]).tolist() in ([3], [8])
    with pytest.raises(ConfigError, match="'unknown' must be a label of the kind of the classes"):
        classifier.set_params(unknown="none").predict([other])


def test_the_probability_beside_none_is_that_of_being_none(calibrated, tmp_path):
    model = load_model(calibrated)
    folder = symbols(tmp_path / "support", {"moon": 1, "star": 1})
    file = tmp_path / "c.safetensors"
    assert lgmnet("forge", folder, "-o", file, "--model", calibrated).code == 0
    moon = folder / "moon" / "0.png"
    other = write_drawing(tmp_path / "other.png", drawings(3, 1, seed=5)[2, 0])
    fitted = FittedClassifier.load(file)
    similarity = fitted.analyze(torch.stack([read_image(other, (1, 28, 28))])).similarity
    assert similarity is not None
    expected = float(model.rejections[0].none_probability(similarity))
    # With a rate at which the other image is rejected for certain, the moon still is a moon.
    ran = lgmnet("predict", file, moon, other, "--none", 0.5, "--json").json["predictions"]
    assert [row["label"] for row in ran] == ["moon", "none of these"]
    assert ran[1]["none_probability"] == pytest.approx(expected, abs=1e-4)
    assert ran[0]["none_probability"] < ran[1]["none_probability"]
    table = lgmnet("predict", file, other, "--none", "0.5").out
    assert f"none of these  {100 * expected:9.1f} %" in table
    rows = lgmnet("predict", file, other, "--none", "0.5", "--format", "csv").out
    header, row = rows.splitlines()
    assert header == "image,label,probability,error,moon,star,none of these"
    assert float(row.split(",")[2]) == pytest.approx(expected, abs=1e-4)
    strict = lgmnet("predict", file, other, "--none", "0.001", "--json").json["predictions"]
    assert strict[0]["label"] != "none of these"
    for words in (("--none", other), (other, "--none")):
        assert lgmnet("predict", file, *words).code == 0
    for rate, message in (("0.9", "between 0.001 and 0.5"), ("7", "between 0.001 and 0.5")):
        ran = lgmnet("predict", file, other, "--none", rate)
        assert ran.code == 2
        assert message in ran.err


@pytest.mark.parametrize("has_curve", [True, False])
def test_none_is_part_of_the_onnx_file_and_of_the_snippets(has_curve, calibrated, tmp_path):
    model = load_model(calibrated)
    if not has_curve:
        old = tuple(dataclasses.replace(r, slope=0.0, rate_thresholds=()) for r in model.rejections)
        model = dataclasses.replace(model, rejections=old)
    fitted = fit_classifier(model, drawings(2, 1)[:, 0], [0, 1], ["moon", "star"])
    out, script = tmp_path / "c.onnx", tmp_path / "predict.py"
    assert export(fitted, out) < 1e-4
    queries = drawings(5, 2, seed=4).flatten(0, 1)
    paths = [write_drawing(tmp_path / f"{i}.png", image) for i, image in enumerate(queries)]
    images = torch.stack([read_image(path, (1, 28, 28)) for path in paths])
    outputs = onnxruntime.InferenceSession(out).run(None, {"images": images.numpy()})
    assert len(outputs) == 1 + has_curve
    script.write_text(snippet("python", fitted), encoding="utf-8")
    javascript = snippet("javascript", fitted)
    labels = fitted.predict(images)
    if not has_curve:
        assert "NONE = /* thresholds of none */ null" in javascript
        lines = run_without_torch(script, out, "--none", *paths)
        assert [line.split("\t")[0] for line in lines] == labels
        return
    analysis = fitted.analyze(images)
    none = fitted.none_probability(analysis)
    assert none is not None
    np.testing.assert_allclose(outputs[1], none.numpy(), atol=1e-4)
    for option, rate in (("--none", None), ("--none=0.3", 0.3), ("--none=0.15", 0.15)):
        rejected = fitted.rejected(analysis, rate).tolist()
        lines = run_without_torch(script, out, option, *paths)
        expected = [
            "none of these" if no else label for no, label in zip(rejected, labels, strict=True)
        ]
        assert [line.split("\t")[0] for line in lines] == expected
        if rate == 0.3:
            assert any(rejected)
            assert not all(rejected)
    if (node := shutil.which("node")) is None:
        return
    (tmp_path / "predict.mjs").write_text(javascript, encoding="utf-8")
    (tmp_path / "run.mjs").write_text(
        'import { findLimit } from "./predict.mjs";\n'
        "console.log(JSON.stringify([undefined, 0.0001, 0.05, 0.15, 0.5, 0.9].map(findLimit)));\n"
    )
    ran = subprocess.run([node, "run.mjs"], cwd=tmp_path, capture_output=True, check=True)
    rates = [None, 0.001, 0.05, 0.15, 0.5, 0.5]
    thresholds = torch.tensor([fitted.rejection.threshold_for(r) for r in rates])
    expected_limits = fitted.rejection.none_probability(thresholds).tolist()
    assert json.loads(ran.stdout) == pytest.approx(expected_limits, abs=0.02)


def test_missing_thresholds_and_unusable_data_are_refused(tmp_path):
    folder, file = tmp_path / "model", tmp_path / "c.safetensors"
    save_model(tiny_model(), folder)
    fit_classifier(tiny_model(), drawings(2, 1)[:, 0], [0, 1], ["a", "b"]).save(file)
    ran = lgmnet("predict", file, "a.png", "--none")
    assert ran.code == 2
    assert "'tiny' has no threshold" in ran.err
    for options, message in (
        (("--on", "strokes"), "'--on strokes' must be DATA:SPLIT"),
        (("--on", "strokes:train", "--data", "strokes"), "was trained on strokes"),
        (("--on", "digits:test", "--data", "digits", "--way", 6), "digits"),
    ):
        ran = lgmnet("calibrate", folder, *options, "--episodes", 2)
        assert ran.code == 2
        assert message in ran.err
    assert load_model(folder).rejections == ()
