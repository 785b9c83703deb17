"""The estimator: scikit-learn's own checks, and typical uses."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import lgmnet
from lgmnet.classifier.classifier import BATCH_SIZE, FittedClassifier
from lgmnet.data.synthetic.vectors import SyntheticVectors
from lgmnet.episode import EpisodeShape
from lgmnet.errors import ConfigError, DataError, FileFormatError, UserError
from lgmnet.estimator import FewShotClassifier
from lgmnet.evaluation.rejection import RATES, Rejection
from lgmnet.model.model import Model, load_model, save_model
from tests.support.command_line import lgmnet as run_lgmnet
from tests.support.images import write_drawing
from tests.support.models import drawings, tiny_model


@pytest.fixture(scope="module")
def labelled_drawings() -> tuple[np.ndarray, np.ndarray]:
    """Five drawings of each of four classes, ink = 255, and their names."""
    images = drawings(4, 5).flatten(0, 1)[:, 0].numpy()
    return images, np.repeat(["d", "a", "c", "b"], 5)


@parametrize_with_checks([FewShotClassifier("vectors")])
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
@pytest.mark.usefixtures("unchecked")  # Some checks pass values of other types.
def test_checks_of_scikit_learn(estimator, check):
    """No check may fail. scikit-learn skips checks that need packages such as pandas."""
    check(estimator)


def test_it_is_part_of_the_public_surface():
    assert lgmnet.FewShotClassifier is FewShotClassifier


def test_fit_equals_fit_classifier(tiny, labelled_drawings):
    images, names = labelled_drawings
    classifier = FewShotClassifier(tiny).fit(images, names)
    assert classifier.classes_.tolist() == ["a", "b", "c", "d"]
    model = load_model(tiny)
    labels = [["a", "b", "c", "d"].index(name) for name in names]
    fitted = lgmnet.fit_classifier(model, torch.from_numpy(images)[:, None], labels, list("abcd"))
    queries = drawings(4, 3, seed=2).flatten(0, 1)
    expected = fitted.predict_proba(queries).numpy()
    probabilities = classifier.predict_proba(queries[:, 0].numpy())
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    assert classifier.predict(queries[:, 0]).tolist() == [
        "abcd"[i] for i in expected.argmax(1).tolist()
    ]
    assert classifier.score(images, names) == (classifier.predict(images) == names).mean()


@pytest.mark.parametrize(
    "labels",
    [
        ["x", "y"],
        np.array(["x", "y"], dtype=object),
        [3, -1],
        [0.5, 2.5],
        [True, False],
        np.array([2, 7], np.uint8),
    ],
)
def test_a_file_preserves_labels_of_any_type(labels, tiny, tmp_path):
    labels = np.asarray(labels)
    images = drawings(2, 3).flatten(0, 1)[:, 0].numpy()
    classifier = FewShotClassifier(tiny)
    if labels.dtype.kind == "f":  # scikit-learn refuses fractional labels.
        with pytest.raises(ValueError, match="Unknown label type"):
            classifier.fit(images, labels.repeat(3))
        return
    classifier.fit(images, labels.repeat(3))
    assert set(classifier.predict(images).tolist()) <= set(labels.tolist())
    classifier.save(tmp_path / "c.safetensors")
    loaded = FewShotClassifier.load(tmp_path / "c.safetensors")
    assert loaded.classes_.tolist() == classifier.classes_.tolist() == sorted(labels.tolist())
    np.testing.assert_array_equal(loaded.predict_proba(images), classifier.predict_proba(images))


def test_files_are_exchanged_with_the_command_line(tiny, labelled_drawings, tmp_path):
    images, names = labelled_drawings
    paths = []
    for i, (image, name) in enumerate(zip(images, names, strict=True)):
        (tmp_path / "images" / name).mkdir(parents=True, exist_ok=True)
        path = tmp_path / "images" / name / f"{i}.png"
        paths.append(write_drawing(path, torch.from_numpy(image)[None]))
    file = tmp_path / "c.safetensors"
    assert run_lgmnet("forge", tmp_path / "images", "-o", file, "--model", tiny).code == 0
    classifier = FewShotClassifier(tiny).fit(paths, names)
    labels = classifier.predict(paths).tolist()
    assert FewShotClassifier.load(file).predict(paths).tolist() == labels
    classifier.save(file)
    assert FittedClassifier.load(file).support.sources == tuple(map(str, paths))
    result = run_lgmnet("predict", file, *paths, "--json")
    assert [p["label"] for p in result.json["predictions"]] == labels


def test_an_edit_equals_a_new_fit(tiny, labelled_drawings):
    """The order of the labels does not matter."""
    images, names = labelled_drawings
    refitted = FewShotClassifier(tiny).fit(images, names)
    grown = FewShotClassifier(tiny).partial_fit(images[:12], names[:12])
    assert grown.classes_.tolist() == ["a", "c", "d"]
    grown.partial_fit(images[12:], names[12:])
    queries = drawings(4, 3, seed=2).flatten(0, 1)[:, 0].numpy()

    def check_alike() -> None:
        assert grown.classes_.tolist() == refitted.classes_.tolist()
        np.testing.assert_allclose(
            grown.predict_proba(queries), refitted.predict_proba(queries), atol=1e-6
        )

    check_alike()
    grown.remove_class("b")
    refitted.fit(images[names != "b"], names[names != "b"])
    check_alike()
    grown.rename_class("a", "z")
    refitted.fit(images[names != "b"], np.where(names == "a", "z", names)[names != "b"])
    check_alike()


def test_invalid_edits(tiny, labelled_drawings):
    classifier = FewShotClassifier(tiny).fit(*labelled_drawings)
    with pytest.raises(ConfigError, match="no class 'x'"):
        classifier.remove_class("x")
    with pytest.raises(ConfigError, match="a class 'b' already"):
        classifier.rename_class("a", "b")
    numbers = FewShotClassifier(tiny).fit(labelled_drawings[0], np.arange(20) % 3)
    with pytest.raises(ConfigError, match="Expected a label like the others"):
        numbers.rename_class(1, "one")
    numbers.rename_class(1, 7)
    assert numbers.classes_.tolist() == [0, 2, 7]


@pytest.mark.parametrize(
    ("labels", "other"),
    [
        (["a", "b"], 7),
        (["a", "b"], None),
        ([0, 1], "1"),
        ([0, 1], 1.0),
        ([0, 1], True),
        ([False, True], "x"),
        ([0.0, 1.0], 1),
    ],
)
def test_a_label_of_another_kind_is_refused(labels, other, tiny):
    """NumPy would convert it, and so take it for another label or change all the others."""
    images = drawings(2, 1)[:, 0, 0].numpy()
    classifier = FewShotClassifier(tiny).fit(images, labels)
    before = vars(classifier).copy()
    for edit in (
        lambda: classifier.remove_class(other),
        lambda: classifier.rename_class(labels[0], other),
        lambda: classifier.rename_class(other, labels[0]),
    ):
        with pytest.raises(ConfigError, match=f"like the others, such as .*, but got {other!r}"):
            edit()
    if other is not None:
        for use in (classifier.partial_fit, classifier.report):
            with pytest.raises(ConfigError, match="Expected a label like the others"):
                use(images, [other] * 2)
    assert vars(classifier) == before


def test_a_failed_fit_changes_nothing():
    classifier = FewShotClassifier("vectors").fit(np.eye(4), [0, 0, 1, 1])
    before = vars(classifier).copy()
    with pytest.raises(DataError, match="all are of one class"):
        classifier.fit(np.random.default_rng(0).random((4, 9)), [0, 0, 0, 0])
    assert vars(classifier) == before
    classifier.predict(np.eye(4))


def test_a_label_longer_than_the_others_is_another_label(tiny, labelled_drawings):
    """NumPy would cut it to their length."""
    images, names = labelled_drawings
    classifier = FewShotClassifier(tiny).fit(images, names)
    with pytest.raises(ConfigError, match="no class 'abc'"):
        classifier.remove_class("abc")
    with pytest.raises(ConfigError, match="no class 'abc'"):
        classifier.rename_class("abc", "x")
    with pytest.raises(ConfigError, match="no class 'abc'"):
        classifier.report(images[:1], ["abc"])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        (
            {"model": None},
            "Expected the name of a model, such as 'omniglot', .* but got a NoneType",
        ),
        ({"model": ["omniglot"]}, "Expected the name of a model"),
        ({"model": Model}, "Expected the name of a model"),
        ({"engine": None}, "There is no engine 'None'"),
        ({"engine": 5}, "There is no engine '5'"),
        ({"unknown": ["x", "y"]}, r"'unknown' must be a label .*, but of none .* is \['x', 'y'\]"),
        ({"unknown": "a"}, "'unknown' must be a label .*, but of none of them, and is 'a'"),
        ({"unknown": 7}, "'unknown' must be a label of the kind .* such as 'a', .* is 7"),
        ({"random_state": "x"}, "The seed must be None or a whole number"),
    ],
)
def test_bad_parameters_are_refused(parameters, words, tiny, labelled_drawings):
    images, names = labelled_drawings
    classifier = FewShotClassifier(**{"model": tiny, **parameters})

    def use() -> None:
        classifier.fit(images, names).predict(images)
        classifier.spread(images, draws=2)

    with pytest.raises(ConfigError, match=words):
        use()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "seed", [None, np.int64(3), np.random.RandomState(0), np.random.default_rng(0)]
)
def test_seeds_are_those_of_scikit_learn(seed, tiny, labelled_drawings):
    classifier = FewShotClassifier(tiny, random_state=seed).fit(*labelled_drawings)
    assert classifier.spread(labelled_drawings[0][:2], draws=2).shape == (2, 4)
    assert classifier.spread([], draws=2).shape == (0, 4)


@pytest.fixture
def calibrated(tmp_path: Path) -> Path:
    """The folder of a tiny model with a threshold that a quarter of some drawings exceed."""
    model = tiny_model()
    images = drawings(2, 1)[:, 0]
    fitted = lgmnet.fit_classifier(model, images, [0, 1], ["a", "b"])
    similarity = fitted.analyze(drawings(30, 10, seed=3).flatten(0, 1)).similarity
    assert similarity is not None
    threshold = float(similarity.quantile(0.75))
    rejection = Rejection(2, 1, threshold, "strokes:val", "strokes:test", 0.0, 0.0)
    save_model(dataclasses.replace(model, rejections=(rejection,)), tmp_path / "tiny")
    return tmp_path / "tiny"


def test_unknown_samples_in_batches_pass_the_network_once(calibrated):
    support = drawings(2, 1)[:, 0, 0].numpy()
    images = drawings(30, 10, seed=3).flatten(0, 1)[:, 0].numpy()
    assert BATCH_SIZE < len(images) == 300
    classifier = FewShotClassifier(calibrated).fit(support, ["a", "b"])
    plain = classifier.predict(images)
    fits = classifier.classifier_.fits(torch.from_numpy(images)[:, None]).numpy()
    assert 0 < fits.sum() < 300
    batch_sizes = []

    def count(module: object, inputs: tuple[torch.Tensor], output: object) -> None:
        batch_sizes.append(len(inputs[0]))

    embedding = classifier.classifier_.classifier.get_submodule("embedding")
    with embedding.register_forward_hook(count):
        labels = classifier.set_params(unknown="neither").predict(images)
    assert batch_sizes == [BATCH_SIZE, 300 - BATCH_SIZE]
    np.testing.assert_array_equal(labels, np.where(fits, plain, "neither"))


def test_the_rate_of_false_rejections_can_be_chosen(tmp_path):
    model, support = tiny_model(), drawings(2, 1)[:, 0]
    images = drawings(30, 10, seed=3).flatten(0, 1)
    fitted = lgmnet.fit_classifier(model, support, [0, 1], ["a", "b"])
    similarity = fitted.analyze(images).similarity
    assert similarity is not None
    thresholds = similarity.double().quantile(torch.tensor(RATES, dtype=torch.float64))
    rejection = Rejection(
        2, 1, 0.0, "strokes:val", "strokes:test", 0.0, 0.0, rate_thresholds=(*thresholds.tolist(),)
    )
    save_model(dataclasses.replace(model, rejections=(rejection,)), tmp_path / "tiny")
    classifier = FewShotClassifier(tmp_path / "tiny", unknown="neither")
    classifier.fit(support[:, 0].numpy(), ["a", "b"])
    pixels = images[:, 0].numpy()
    shares = [
        (classifier.set_params(unknown_rate=rate).predict(pixels) == "neither").mean()
        for rate in (0.05, 0.2, 0.5)
    ]
    np.testing.assert_allclose(shares, (0.05, 0.2, 0.5), atol=0.01)
    for samples in (pixels[:1], pixels[:0]):
        with pytest.raises(ConfigError, match=r"between 0.001 and 0.5, but is 0.9"):
            classifier.set_params(unknown_rate=0.9).predict(samples)
    classifier.set_params(unknown=None, unknown_rate=0.05)
    with pytest.raises(ConfigError, match="give 'unknown'"):
        classifier.predict(pixels[:1])


def test_the_number_of_features_is_that_of_vectors(tiny, labelled_drawings, tmp_path):
    X, y = load_iris(return_X_y=True)
    for classifier in (
        FewShotClassifier(tiny).fit(*labelled_drawings),
        FewShotClassifier("vectors").fit(X, y),
    ):
        classifier.save(tmp_path / "c.safetensors")
        model = classifier.model
        loaded = FewShotClassifier.load(tmp_path / "c.safetensors", model=model)
        is_vector = model == "vectors"
        assert hasattr(loaded, "n_features_in_") == hasattr(classifier, "n_features_in_")
        assert hasattr(loaded, "n_features_in_") == is_vector
        if is_vector:
            assert loaded.n_features_in_ == classifier.n_features_in_ == 4
    classifier.set_params(model=tiny).fit(*labelled_drawings)  # The vectors are gone.
    assert not hasattr(classifier, "n_features_in_")


def test_saving_replaces_a_classifier_but_no_other_file(tiny, labelled_drawings, tmp_path):
    classifier, path = FewShotClassifier(tiny).fit(*labelled_drawings), tmp_path / "notes.txt"
    path.write_text("mine")
    with pytest.raises(UserError, match="exists and is no file of the format lgmnet-classifier"):
        classifier.save(path)
    assert path.read_text() == "mine"
    classifier.save(path, overwrite=True)
    classifier.save(path)
    assert FewShotClassifier.load(path, model=tiny).classes_.tolist() == [*classifier.classes_]


def test_edits_keep_notes(tiny, labelled_drawings, tmp_path):
    images, names = labelled_drawings
    fitted = FewShotClassifier(tiny).fit(images, names).classifier_
    dataclasses.replace(fitted, notes={**fitted.notes, "made": "here"}).save(tmp_path / "c")
    classifier = FewShotClassifier.load(tmp_path / "c", model=tiny)
    classifier.partial_fit(images[:1], names[:1]).rename_class("a", "z").remove_class("b")
    assert classifier.classifier_.notes == {"made": "here", "labels": "U"}


def test_explanations_spread_and_report(tiny, labelled_drawings):
    images, names = labelled_drawings
    classifier = FewShotClassifier(tiny, random_state=3).fit(images, names)
    weights = classifier.explain(images[:2])
    assert weights.shape == (2, 20)
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-5)
    by_class = np.stack([weights[:, names == name].sum(1) for name in "abcd"], 1)
    np.testing.assert_allclose(by_class, classifier.predict_proba(images[:2]), atol=1e-5)
    spread = classifier.spread(images[:2], draws=3)
    assert spread.shape == (2, 4)
    np.testing.assert_array_equal(spread, classifier.spread(images[:2], draws=3))
    other = FewShotClassifier(tiny, random_state=4).fit(images, names).spread(images[:2], draws=3)
    assert not np.array_equal(spread, other)
    report = classifier.report(images, names)
    assert report.n_images == 20
    assert report.accuracy == 100 * classifier.score(images, names)
    with pytest.raises(ConfigError, match="no class 'x'"):
        classifier.report(images, ["x"] * 20)


def test_hundred_classes_and_hundred_shots(tiny):
    many = drawings(100, 1)[:, 0, 0].numpy()
    assert len(FewShotClassifier(tiny).fit(many, np.arange(100)).classes_) == 100
    shots = drawings(2, 100).flatten(0, 1)[:101, 0].numpy()
    uneven = FewShotClassifier(tiny).fit(shots, [0] * 100 + [1])
    assert uneven.classifier_.shots == (100, 1)


def test_tools_of_scikit_learn(tiny, labelled_drawings, tmp_path):
    images, names = labelled_drawings
    paths = [
        str(write_drawing(tmp_path / f"{i}.png", torch.from_numpy(x)[None]))
        for i, x in enumerate(images)
    ]
    for X in (images, paths, [Image.fromarray(255 - x) for x in images]):
        scores = cross_val_score(FewShotClassifier(tiny), X, names, cv=5)
        assert scores.shape == (5,)
        assert scores.mean() > 0.5
    search = GridSearchCV(FewShotClassifier(), {"model": [tiny, "omniglot"]}, cv=2)
    search.fit(images, names)
    assert set(search.best_params_) == {"model"}
    X, y = load_iris(return_X_y=True)
    chain = make_pipeline(StandardScaler(), PCA(3), FewShotClassifier("vectors"))
    assert cross_val_score(chain, X, y, cv=3).mean() > 0.85
    assert clone(FewShotClassifier(tiny, random_state=9)).get_params()["random_state"] == 9


def test_vectors_outperform_logistic_regression_on_tasks_like_those_of_training():
    """On handwriting, which is unlike them, five vectors of each digit give 80 %."""
    shape = EpisodeShape(5, 5, 20)
    scores, baseline = [], []
    y, truth = np.arange(5).repeat(5), np.arange(5).repeat(20)
    for seed in range(60):
        samples = torch.empty(shape.samples, 64)
        SyntheticVectors("test").draw(shape, torch.Generator().manual_seed(seed), samples)
        support, query = samples[:25].double().numpy(), samples[25:].double().numpy()
        scores.append(FewShotClassifier("vectors").fit(support, y).score(query, truth))
        baseline.append(LogisticRegression(max_iter=1000).fit(support, y).score(query, truth))
    assert np.mean(scores) > np.mean(baseline)

    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    few = np.concatenate([order[y[order] == digit][:5] for digit in range(10)])
    rest = np.setdiff1d(order, few)
    assert FewShotClassifier("vectors").fit(X[few], y[few]).score(X[rest], y[rest]) > 0.8


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("X", "y", "error", "words"),
    [
        (np.zeros((4, 9, 9)), [0, 1], DataError, "There are 4 samples, but 2 labels"),
        (np.zeros((2, 9, 9)), [0, 0], DataError, "all are of one class, 0"),
        (np.ones((3, 9, 9)), [1, 0, 1], DataError, "All 2 classes hold the same image, so nothing"),
        (np.zeros((0, 9, 9)), [], DataError, "of at least two classes|none of them empty"),
        (np.zeros((2, 9, 9)), [0.1, 0.7], ValueError, "Unknown label type"),
        (np.zeros((2, 9, 9)), [{}, {}], ValueError, "Unknown label type"),
        (np.zeros((2, 9, 9)), None, DataError, "requires y to be passed"),
        (np.zeros((2, 9, 9)), [[0, 1], [1, 0]], ValueError, "Unknown label type"),
        (np.full((2, 9, 9), np.nan), [0, 1], DataError, "NaN"),
        (np.zeros((2, 9, 9, 7)), [0, 1], DataError, "1, 3 or 4 channels"),
        (["no.png", "nor.png"], [0, 1], DataError, "There is no image file 'no.png'"),
        ("no.png", [0], DataError, "put it into a list"),
        ("symbols", None, DataError, r"the path 'symbols'. .*lgmnet forge, or list its files"),
        (["no.png"] * 3, ["a", "b", float("nan")], DataError, r"got 'a' \(str\) and nan \(float\)"),
        (["no.png"] * 3, ["a", "b", None], DataError, r"but got None \(NoneType\). Convert all"),
        (["no.png"] * 3, ["a", "b", 1], DataError, r"got 'a' \(str\) and 1 \(int\)"),
        (["no.png"] * 3, [True, False, 2], DataError, r"got True \(bool\) and 2 \(int\)"),
        (["no.png"] * 2, [Path("a"), Path("b")], DataError, r"but got .*Path\('a'\) \("),
        (["no.png"] * 2, [b"a", b"b"], DataError, r"but got b'a' \(bytes\)"),
        (["no.png"] * 2, (c for c in "ab"), DataError, r"expected a list .* \(generator\)"),
        (["no.png"] * 2, {"a", "b"}, DataError, r"expected a list .* \(set\)"),
        (["no.png"] * 2, {0: "a", 1: "b"}, DataError, r"expected a list .* \(dict\)"),
        (["no.png"] * 2, "ab", DataError, r"expected a list .* got 'ab' \(str\)"),
        (["no.png"] * 2, 5, DataError, r"expected a list .* got 5 \(int\)"),
    ],
)
def test_invalid_support_sets(X, y, error, words, tiny):
    with pytest.raises(error, match=words):
        FewShotClassifier(tiny).fit(X, y)


@pytest.mark.parametrize(
    ("X", "words"),
    [
        (["a.png", "b.png"], "; images, in one flat list, are for other models: could not convert"),
        ([["a.png"], ["b.png"]], "; images, in one flat list, are for other models: could not"),
        ([[1, 2], [3]], ": setting an array element"),
    ],
)
def test_what_are_no_vectors(X, words):
    with pytest.raises(DataError, match=r"as an array of numbers \[samples, features\]" + words):
        FewShotClassifier("vectors").fit(X, ["a", "b"])


def test_classes_are_refused_only_if_all_hold_the_same_samples():
    x, y = np.random.default_rng(0).normal(size=(2, 3))
    classifier = FewShotClassifier("vectors")
    with pytest.raises(DataError, match="All 2 classes hold the same sample, so nothing can tell"):
        classifier.fit([x, x, x], [0, 0, 1])
    with pytest.raises(DataError, match="All 2 classes hold the same 2 samples, so nothing can"):
        classifier.fit([x, y, y, x, x], [0, 0, 1, 1, 1])
    for samples, labels in (([x, x, y], [0, 1, 2]), ([x, x, y], [0, 1, 1])):
        probabilities = classifier.fit(samples, labels).predict_proba([x, y])
        assert np.isfinite(probabilities).all()


def test_unfitted_estimators_and_damaged_files(tiny, labelled_drawings, tmp_path):
    from sklearn.exceptions import NotFittedError

    for name in ("predict", "predict_proba", "explain", "spread"):
        with pytest.raises(NotFittedError):
            getattr(FewShotClassifier(tiny), name)(labelled_drawings[0])
    with pytest.raises(NotFittedError):
        FewShotClassifier(tiny).save(tmp_path / "c.safetensors")
    with pytest.raises(ConfigError, match="Did you mean 'omniglot'"):
        FewShotClassifier("omniglt").fit(*labelled_drawings)
    classifier = FewShotClassifier(tiny).fit(*labelled_drawings)
    classifier.save(tmp_path / "c.safetensors")
    intact = (tmp_path / "c.safetensors").read_bytes()
    for damaged in (intact[:-9], intact[:-9] + b"x" + intact[-8:], b"\x80\x04K\x01."):
        (tmp_path / "c.safetensors").write_bytes(damaged)
        with pytest.raises(FileFormatError):
            FewShotClassifier.load(tmp_path / "c.safetensors")
    other = tmp_path / "other"
    save_model(tiny_model(seed=1), other)
    with pytest.raises(ConfigError, match="was forged by 'tiny'"):
        classifier.set_params(model=other).remove_class("a")


def test_nothing_to_predict_gives_an_empty_result(tiny, labelled_drawings):
    classifier = FewShotClassifier(tiny).fit(*labelled_drawings)
    inputs: tuple[Any, ...] = ([], np.array([]), np.zeros((0, 28, 28)))
    for nothing in inputs:
        labels = classifier.predict(nothing)
        assert labels.shape == (0,)
        assert labels.dtype == classifier.classes_.dtype
        assert classifier.predict_proba(nothing).shape == (0, 4)
    with pytest.raises(DataError, match="There are no images"):
        FewShotClassifier(tiny).fit([], [])


def test_a_table_of_files_and_labels(tiny, labelled_drawings, tmp_path):
    class Table(dict[str, Any]):
        @property
        def columns(self):
            return list(self)

    images, names = labelled_drawings
    files = [tmp_path / f"{i}.png" for i in range(20)]
    for file, image in zip(files, images, strict=True):
        write_drawing(file, torch.from_numpy(image)[None])
    table = Table(file=files, label=names)
    classifier = FewShotClassifier(tiny).fit(table)
    expected = FewShotClassifier(tiny).fit(files, names)
    assert classifier.classifier_.support.sources == tuple(map(str, files))
    np.testing.assert_array_equal(classifier.predict(table), expected.predict(files))
    assert len(classifier.partial_fit(table).classifier_.support.samples) == 40
    assert classifier.score(table) == classifier.score(files, names)
    assert classifier.report(table).accuracy == classifier.report(files, names).accuracy
    for wrong in (Table(file=files), Table(File=files, Label=names)):
        with pytest.raises(DataError, match=f"'file' and 'label', but has '{wrong.columns[0]}'"):
            FewShotClassifier(tiny).fit(wrong)
