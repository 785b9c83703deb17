"""The estimator: scikit-learn's own checks, and what a person does with it."""

from __future__ import annotations

from pathlib import Path

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
from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.data.synthetic.vectors import SyntheticVectors
from lgmnet.episode import EpisodeShape
from lgmnet.errors import ConfigError, DataError, FileFormatError
from lgmnet.estimator import FewShotClassifier
from lgmnet.model.model import load_model, save_model
from tests.cli.making import drawings, tiny_model, write_drawing
from tests.cli.making import lgmnet as run_lgmnet


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    """The folder of a tiny model of drawings."""
    folder: Path = tmp_path_factory.mktemp("models") / "tiny"
    save_model(tiny_model(), folder)
    return folder


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Five drawings of each of four classes, ink = 255, and their names."""
    images = drawings(4, 5).flatten(0, 1)[:, 0].numpy()
    return images, np.repeat(["d", "a", "c", "b"], 5)


@parametrize_with_checks([FewShotClassifier("vectors")])
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
@pytest.mark.usefixtures("unchecked")  # Some of its parameters are of no kind that is annotated.
def test_what_scikit_learn_expects(estimator, check):
    """None may fail; what scikit-learn itself skips, it skips for want of pandas and the like."""
    check(estimator)


def test_it_is_found_where_people_look():
    assert lgmnet.FewShotClassifier is FewShotClassifier


def test_fit_is_forging(tiny, drawn):
    images, names = drawn
    classifier = FewShotClassifier(tiny).fit(images, names)
    assert classifier.classes_.tolist() == ["a", "b", "c", "d"]
    model = load_model(tiny)
    labels = [["a", "b", "c", "d"].index(name) for name in names]
    fitted = lgmnet.fit_classifier(model, torch.from_numpy(images)[:, None], labels, list("abcd"))
    asked = drawings(4, 3, seed=2).flatten(0, 1)
    expected = fitted.predict_proba(asked).numpy()
    came = classifier.predict_proba(asked[:, 0].numpy())
    np.testing.assert_allclose(came, expected, atol=1e-6)
    assert classifier.predict(asked[:, 0]).tolist() == [
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
def test_labels_of_any_kind_survive_a_file(labels, tiny, tmp_path):
    labels = np.asarray(labels)
    images = drawings(2, 3).flatten(0, 1)[:, 0].numpy()
    classifier = FewShotClassifier(tiny)
    if labels.dtype.kind == "f":  # scikit-learn takes parts of numbers for no classes.
        with pytest.raises(ValueError, match="Unknown label type"):
            classifier.fit(images, labels.repeat(3))
        return
    classifier.fit(images, labels.repeat(3))
    assert set(classifier.predict(images).tolist()) <= set(labels.tolist())
    classifier.save(tmp_path / "c.safetensors")
    loaded = FewShotClassifier.load(tmp_path / "c.safetensors")
    assert loaded.classes_.tolist() == classifier.classes_.tolist() == sorted(labels.tolist())
    np.testing.assert_array_equal(loaded.predict_proba(images), classifier.predict_proba(images))


def test_what_the_shell_forged_is_loaded_and_the_other_way_round(tiny, drawn, tmp_path):
    images, names = drawn
    paths = []
    for i, (image, name) in enumerate(zip(images, names, strict=True)):
        (tmp_path / "shown" / name).mkdir(parents=True, exist_ok=True)
        path = tmp_path / "shown" / name / f"{i}.png"
        paths.append(write_drawing(path, torch.from_numpy(image)[None]))
    file = tmp_path / "c.safetensors"
    assert run_lgmnet("forge", tmp_path / "shown", "-o", file, "--model", tiny).code == 0
    classifier = FewShotClassifier(tiny).fit(paths, names)
    answers = classifier.predict(paths).tolist()
    assert FewShotClassifier.load(file).predict(paths).tolist() == answers
    classifier.save(file)
    assert FittedClassifier.load(file).support.sources == tuple(map(str, paths))
    ran = run_lgmnet("predict", file, *paths, "--json")
    assert [p["label"] for p in ran.json["predictions"]] == answers


def test_editing(tiny, drawn):
    """As if all had been shown at once, whatever the order of the labels."""
    images, names = drawn
    whole = FewShotClassifier(tiny).fit(images, names)
    grown = FewShotClassifier(tiny).partial_fit(images[:12], names[:12])
    assert grown.classes_.tolist() == ["a", "c", "d"]
    grown.partial_fit(images[12:], names[12:])
    asked = drawings(4, 3, seed=2).flatten(0, 1)[:, 0].numpy()

    def same() -> None:
        assert grown.classes_.tolist() == whole.classes_.tolist()
        np.testing.assert_allclose(
            grown.predict_proba(asked), whole.predict_proba(asked), atol=1e-6
        )

    same()
    grown.remove_class("b")
    whole.fit(images[names != "b"], names[names != "b"])
    same()
    grown.rename_class("a", "z")
    whole.fit(images[names != "b"], np.where(names == "a", "z", names)[names != "b"])
    same()


def test_edits_that_cannot_be(tiny, drawn):
    classifier = FewShotClassifier(tiny).fit(*drawn)
    with pytest.raises(ConfigError, match="no class 'x'"):
        classifier.remove_class("x")
    with pytest.raises(ConfigError, match="a class 'b' already"):
        classifier.rename_class("a", "b")
    numbers = FewShotClassifier(tiny).fit(drawn[0], np.arange(20) % 3)
    with pytest.raises(ConfigError, match="Expected a label like the others"):
        numbers.rename_class(1, "one")
    numbers.rename_class(1, 7)
    assert numbers.classes_.tolist() == [0, 2, 7]


def test_explanations(tiny, drawn):
    images, names = drawn
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
    assert report.asked == 20
    assert report.accuracy == 100 * classifier.score(images, names)
    with pytest.raises(ConfigError, match="no class 'x'"):
        classifier.report(images, ["x"] * 20)


def test_hundred_classes_and_hundred_shots(tiny):
    many = drawings(100, 1)[:, 0, 0].numpy()
    assert len(FewShotClassifier(tiny).fit(many, np.arange(100)).classes_) == 100
    shots = drawings(2, 100).flatten(0, 1)[:101, 0].numpy()
    uneven = FewShotClassifier(tiny).fit(shots, [0] * 100 + [1])
    assert uneven.classifier_.shots == (100, 1)


def test_it_works_with_the_tools_of_scikit_learn(tiny, drawn, tmp_path):
    images, names = drawn
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


def test_on_tasks_like_those_it_was_trained_on_vectors_are_ahead_of_logistic_regression():
    """And on handwriting, which is unlike them, five vectors of each digit go a long way."""
    shape = EpisodeShape(5, 5, 20)
    ours, theirs = [], []
    y, truth = np.arange(5).repeat(5), np.arange(5).repeat(20)
    for seed in range(60):
        drawn = torch.empty(shape.samples, 64)
        SyntheticVectors("test").draw(shape, torch.Generator().manual_seed(seed), drawn)
        support, query = drawn[:25].double().numpy(), drawn[25:].double().numpy()
        ours.append(FewShotClassifier("vectors").fit(support, y).score(query, truth))
        theirs.append(LogisticRegression(max_iter=1000).fit(support, y).score(query, truth))
    assert np.mean(ours) > np.mean(theirs)

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
        (np.zeros((0, 9, 9)), [], DataError, "of at least two classes|none of them empty"),
        (np.zeros((2, 9, 9)), [0.1, 0.7], ValueError, "Unknown label type"),
        (np.zeros((2, 9, 9)), [{}, {}], ValueError, "Unknown label type"),
        (np.zeros((2, 9, 9)), None, DataError, "requires y to be passed"),
        (np.zeros((2, 9, 9)), [[0, 1], [1, 0]], ValueError, "Unknown label type"),
        (np.full((2, 9, 9), np.nan), [0, 1], DataError, "NaN"),
        (np.zeros((2, 9, 9, 7)), [0, 1], DataError, "1, 3 or 4 channels"),
        (["no.png", "nor.png"], [0, 1], DataError, "There is no image file 'no.png'"),
        ("no.png", [0], DataError, "put it into a list"),
    ],
)
def test_what_cannot_be_fitted(X, y, error, words, tiny):
    with pytest.raises(error, match=words):
        FewShotClassifier(tiny).fit(X, y)


def test_what_cannot_be_asked_or_loaded(tiny, drawn, tmp_path):
    from sklearn.exceptions import NotFittedError

    for ask in ("predict", "predict_proba", "explain", "spread"):
        with pytest.raises(NotFittedError):
            getattr(FewShotClassifier(tiny), ask)(drawn[0])
    with pytest.raises(NotFittedError):
        FewShotClassifier(tiny).save(tmp_path / "c.safetensors")
    with pytest.raises(ConfigError, match="Did you mean 'omniglot'"):
        FewShotClassifier("omniglt").fit(*drawn)
    classifier = FewShotClassifier(tiny).fit(*drawn)
    classifier.save(tmp_path / "c.safetensors")
    whole = (tmp_path / "c.safetensors").read_bytes()
    for damaged in (whole[:-9], whole[:-9] + b"x" + whole[-8:], b"\x80\x04K\x01."):
        (tmp_path / "c.safetensors").write_bytes(damaged)
        with pytest.raises(FileFormatError):
            FewShotClassifier.load(tmp_path / "c.safetensors")
    other = tmp_path / "other"
    save_model(tiny_model(seed=1), other)
    with pytest.raises(ConfigError, match="was forged by 'tiny'"):
        classifier.set_params(model=other).remove_class("a")
