"""What a person says that counts: kept by edits, files and leave-one-out, and by the estimator."""

from __future__ import annotations

import dataclasses
from typing import cast

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.classifier.cross_validation import leave_one_out
from lgmnet.classifier.edit import add_samples, remove_class, remove_samples, rename_class
from lgmnet.classifier.file import CLASSIFIER_KIND, CLASSIFIER_VERSION
from lgmnet.classifier.fit import fit_classifier
from lgmnet.classifier.report import find_suspects
from lgmnet.criterion import Criterion
from lgmnet.errors import ConfigError, FileFormatError
from lgmnet.estimator import FewShotClassifier
from lgmnet.evaluation.aspects import emphasize
from lgmnet.methods import ProtoNetConfig
from lgmnet.model.model import Model, save_model
from lgmnet.nn.embedding import vector_embedding
from lgmnet.tensor_file import read_tensors, write_tensors
from tests.evaluation.test_aspects import CONFIG, make_pool
from tests.support.criterion_models import RECORD, vector_model
from tests.support.models import build_method

CLASSES = ("first", "second", "third")
QUERIES = [[0, 1], [1, 0]]
"""Class and blur of the samples to classify, which differ from those of the support."""
NO_PROFILES = "does not know things from looks, so it cannot judge by"


@pytest.fixture(scope="module")
def pool():
    return make_pool()


@pytest.fixture(scope="module")
def model(pool) -> Model:
    return vector_model(CONFIG.embedding, pool)


def find(pool, pairs):
    """Find one sample of each pair of a class and a blur."""
    values = pool.table.values[:, :2].tolist()
    return pool.samples[[values.index(list(pair)) for pair in pairs]]


def fit(model, pool, by: Criterion = "auto", n=2) -> FittedClassifier:
    """Fit to one sample of each class, in which class and blur agree."""
    samples = find(pool, [(i, i) for i in range(n)])
    return fit_classifier(model, samples, range(n), CLASSES[:n], by=by)


@pytest.mark.parametrize(
    ("by", "expected"), [("things", ["first", "second"]), ("looks", ["second", "first"])]
)
def test_the_stated_criterion_decides(model, pool, tmp_path, by, expected):
    fitted = fit(model, pool, by)
    queries = find(pool, QUERIES)
    assert fitted.by == by
    assert fitted.predict(queries) == expected
    assert next(iter(fitted.judged_by())) == {"things": "things", "looks": "texture"}[by]
    fitted.save(tmp_path / "c.lgmnet")
    loaded = FittedClassifier.load(tmp_path / "c.lgmnet")
    assert loaded.by == by
    assert loaded.predict(queries) == expected


def test_edits_keep_the_criterion(model, pool):
    expected = fit(model, pool, "looks", 3)
    samples = find(pool, [(2, 2)])
    added = add_samples(fit(model, pool, "looks"), model, samples, ["third"])
    shrunk = remove_class(expected, model, "third")
    twice = add_samples(expected, model, samples, ["third"])
    queries = find(pool, [*QUERIES, (1, 2)])
    for edited, same in (
        (added, expected),
        (shrunk, fit(model, pool, "looks")),
        (remove_samples(twice, model, [3]), expected),
        (rename_class(expected, "first", "other"), expected),
    ):
        assert edited.by == "looks"
        torch.testing.assert_close(edited.predict_proba(queries), same.predict_proba(queries))


def test_leave_one_out_and_spread_use_the_criterion(model, pool):
    samples = find(pool, [(0, 0), (1, 1), *QUERIES])
    fitted = fit_classifier(model, samples, [0, 1, 0, 1], CLASSES[:2], by="things")
    estimates = {
        by: leave_one_out(model, fitted.support, 2, by=by).accuracy for by in ("things", "looks")
    }
    assert estimates["things"] == 100
    assert estimates["looks"] is not None
    assert estimates["looks"] < 50
    assert find_suspects(fitted, model) == ()
    draws = fitted.spread(model, samples, 2)
    assert not draws.any(), "nothing in this model is random"
    blind = dataclasses.replace(model, profiles=())
    with pytest.raises(ConfigError, match=NO_PROFILES):
        fitted.spread(blind, samples, 2)


def test_a_file_of_an_earlier_version_has_no_criterion(model, pool, tmp_path):
    path = tmp_path / "old.lgmnet"
    fit(model, pool).save(path)
    tensors, metadata = read_tensors(path, CLASSIFIER_KIND, CLASSIFIER_VERSION)
    assert metadata.pop("by") == "auto"
    for by, is_good in ((None, True), ("looks", True), ("luks", False)):
        stated = {} if by is None else {"by": by}
        fields = {k: v for k, v in metadata.items() if k not in ("format", "version")}
        write_tensors(path, tensors, CLASSIFIER_KIND, CLASSIFIER_VERSION, fields | stated)
        if is_good:
            assert FittedClassifier.load(path).by == (by or "auto")
        else:
            with pytest.raises(FileFormatError, match="There is no criterion 'luks'"):
                FittedClassifier.load(path)


@pytest.mark.usefixtures("unchecked")
def test_unsuitable_models_and_words_are_refused(model, pool):
    blind = dataclasses.replace(model, profiles=())
    proto = build_method("proto-net", ProtoNetConfig(vector_embedding(9, 4))).eval()
    gainless = Model(proto, "proto-net", RECORD, profiles=model.profiles)
    for by in ("things", "looks"):
        with pytest.raises(ConfigError, match=f"{NO_PROFILES} '{by}'"):
            fit(blind, pool, by)
        with pytest.raises(ConfigError, match="ProtoNet of this config has no gains"):
            fit(gainless, pool, by)
    with pytest.raises(ConfigError, match=r"Did you mean 'things'.*auto, things, looks"):
        fit(model, pool, cast("Criterion", "thing"))
    assert fit(blind, pool, "auto").by == "auto"


def test_the_method_itself_stays_as_it_is(model, pool):
    before = fit(model, pool).predict_proba(find(pool, QUERIES))
    model.inference_method.with_emphasis(emphasize(model.profiles, "looks"))
    fit(model, pool, "looks")
    assert torch.equal(fit(model, pool).predict_proba(find(pool, QUERIES)), before)


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "toy"
    save_model(model, path)
    return path


def test_the_estimator_judges_by_what_it_is_told(folder, pool, tmp_path):
    X, queries = find(pool, [(0, 0), (1, 1)]).numpy(), find(pool, QUERIES).numpy()
    y = np.array([5, 7])
    expected_labels: dict[Criterion, list[int]] = {"things": [5, 7], "looks": [7, 5]}
    for by, expected in expected_labels.items():
        estimator = clone(FewShotClassifier(folder, by=by)).fit(X, y)
        assert estimator.get_params()["by"] == by
        assert estimator.predict(queries).tolist() == expected
        estimator.partial_fit(find(pool, [(2, 2)]).numpy(), [3])
        estimator.rename_class(3, 9)
        estimator.remove_class(9)
        assert estimator.classifier_.by == by
        assert estimator.predict(queries).tolist() == expected
        estimator.save(tmp_path / f"{by}.lgmnet")
        loaded = FewShotClassifier.load(tmp_path / f"{by}.lgmnet", model=folder)
        assert loaded.by == by
        assert loaded.predict(queries).tolist() == expected


@pytest.mark.usefixtures("unchecked")
def test_the_estimator_checks_the_word_when_it_is_fitted(folder, pool):
    estimator = FewShotClassifier(folder, by=cast("Criterion", "lookss"))
    with pytest.raises(ConfigError, match="Did you mean 'looks'"):
        estimator.fit(find(pool, [(0, 0), (1, 1)]).numpy(), [0, 1])
    assert not hasattr(estimator, "classifier_")


def test_the_estimator_tells_what_it_judges_by(folder, pool):
    X, y = pool.samples[:30].numpy(), pool.table.values[:30, 1].numpy()
    estimator = FewShotClassifier(folder)
    with pytest.raises(NotFittedError):
        estimator.judged_by()
    shares = estimator.fit(X, y).judged_by()
    assert next(iter(shares)) == "texture"
    assert shares == estimator.classifier_.judged_by()


def test_where_nothing_tells_the_classes_apart_nothing_is_said(model, pool):
    fitted = fit(model, pool)
    state = fitted.classifier.state_dict()
    state["keys"] = torch.ones_like(state["keys"])
    classifier = type(model.method).restore(fitted.config, 2, state)
    assert dataclasses.replace(fitted, classifier=classifier).judged_by() == {}
