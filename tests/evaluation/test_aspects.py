"""What a classifier judges by, in words."""

import dataclasses
from typing import Literal

import pytest
import torch

from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.classifier.fit import fit_classifier
from lgmnet.data.synthetic.criteria import Factor, FactorTable
from lgmnet.data.synthetic.criterion_pool import CriterionPool
from lgmnet.errors import ConfigError, FileFormatError
from lgmnet.evaluation.aspects import Profile, emphasize, explain_shares, measure_profiles
from lgmnet.methods import LGMNet, LGMNetConfig, Method, ProtoNetConfig, RidgeRegressionConfig
from lgmnet.methods.metric_classifier import MetricClassifier
from lgmnet.model.model import Model, load_model, save_model
from lgmnet.model.training_record import TrainingRecord
from lgmnet.nn.axes import AxisGroup
from lgmnet.nn.embedding import EmbeddingConfig, vector_embedding
from lgmnet.nn.layer_axes import AxesConfig, LayerAxes
from lgmnet.nn.matching import HeadConfig
from lgmnet.nn.target import TargetConfig
from tests.support.models import build_method
from tests.support.random import noise, seeded

RECORD = TrainingRecord("toy", "toy", "train", "0" * 12, None, {"seed": 0, "steps": 0})
FACTORS = (
    Factor("class", ("a", "b", "c"), is_content=True),
    Factor("blur", ("sharp", "soft", "blurred"), aspect="texture"),
    Factor("noise", ("none", "some"), aspect="texture"),
)
CONFIG = RidgeRegressionConfig(
    EmbeddingConfig(
        (9,),
        "linear",
        (),
        (),
        axes=AxesConfig(tuple(AxisGroup(f"{i}", 3 * i, 3 * i + 3, 3) for i in range(3)), None),
    )
)


def make_pool(n=360):
    """Make samples whose groups of three features show one factor each."""
    generator = seeded(1)
    values = torch.stack([torch.arange(n) % 3, *torch.randint(2, (2, n), generator=generator)], 1)
    values[:, 1] = torch.randint(3, (n,), generator=generator)
    codes = torch.nn.functional.one_hot(values, 3).float()
    samples = codes.flatten(1) + 0.1 * torch.randn(n, 9, generator=generator)
    table = FactorTable(FACTORS, values.short(), torch.arange(n), torch.zeros(n, dtype=torch.long))
    return CriterionPool(samples, table, ["a", "b", "c"], name="toy", split="train")


@pytest.fixture(scope="module")
def pool():
    return make_pool()


@pytest.fixture(scope="module")
def method(pool) -> Method:
    method = build_method("ridge-regression", CONFIG).eval()
    values = pool.table.values
    assert isinstance(method.embedding, LayerAxes)
    method.embedding.fit(pool.samples, ("class",), values[:, :1], pool.table.images)
    return method


@pytest.fixture(scope="module")
def profiles(method, pool):
    return measure_profiles(method, pool)


@pytest.fixture
def model(method, profiles):
    return Model(method, "ridge-regression", RECORD, name="toy", profiles=profiles)


def fit(model, pool, criterion, n=30):
    values = pool.table.values[:n, pool.table.column(criterion)].long()
    names = [f"v{i}" for i in range(int(values.max()) + 1)]
    return fit_classifier(model, pool.samples[:n], values.tolist(), names)


def test_the_profile_of_a_criterion_is_the_group_that_shows_it(profiles):
    assert [p.criterion for p in profiles] == ["class", "blur", "noise"]
    assert [p.aspect for p in profiles] == ["things", "texture", "texture"]
    for i, profile in enumerate(profiles):
        assert max(range(3), key=lambda group: profile.shares[group]) == i
        assert sum(profile.shares) == pytest.approx(1)


def test_a_mixture_of_profiles_is_found_again():
    profiles = [
        Profile("class", "things", (0.7, 0.2, 0.1)),
        Profile("blur", "texture", (0.1, 0.2, 0.7)),
        Profile("place", "place", (0.1, 0.8, 0.1)),
    ]
    shares = 0.5 * torch.tensor([0.7, 0.2, 0.1]) + 0.5 * torch.tensor([0.1, 0.2, 0.7])
    found = explain_shares(shares, profiles)
    assert found["things"] == pytest.approx(0.5, abs=0.05)
    assert found["texture"] == pytest.approx(0.5, abs=0.05)
    assert sum(found.values()) == pytest.approx(1)
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_profiles_of_one_word_are_added():
    profiles = [Profile("blur", "texture", (0.9, 0.1)), Profile("noise", "texture", (0.1, 0.9))]
    assert explain_shares(torch.tensor([0.4, 0.6]), profiles) == {"texture": pytest.approx(1)}


@pytest.mark.parametrize(
    ("criterion", "word"), [("class", "things"), ("blur", "texture"), ("noise", "texture")]
)
def test_the_right_word_comes_first(model, pool, criterion, word):
    assert next(iter(fit(model, pool, criterion).judged_by())) == word


def test_the_words_are_stored_with_model_and_classifier(model, pool, tmp_path):
    save_model(model, tmp_path / "model")
    assert load_model(tmp_path / "model").profiles == model.profiles
    fitted = fit(model, pool, "blur")
    fitted.save(tmp_path / "blur.lgmnet")
    loaded = FittedClassifier.load(tmp_path / "blur.lgmnet")
    assert loaded.judged_by() == pytest.approx(fitted.judged_by())


def test_a_file_whose_profiles_are_of_other_groups_is_refused(model, pool, tmp_path):
    fitted = dataclasses.replace(
        fit(model, pool, "blur"), profiles=(Profile("blur", "texture", (0.5, 0.5)),)
    )
    fitted.save(tmp_path / "wrong.lgmnet")
    with pytest.raises(FileFormatError, match="profiles are not of 3 groups"):
        FittedClassifier.load(tmp_path / "wrong.lgmnet")


def test_without_profiles_or_groups_nothing_is_said(model, pool, method):
    silent = dataclasses.replace(model, profiles=())
    assert fit(silent, pool, "blur").judged_by() == {}
    proto = build_method("proto-net", ProtoNetConfig(vector_embedding(9, 4))).eval()
    other = Model(proto, "proto-net", RECORD, name="other")
    assert fit(other, pool, "blur").judged_by() == {}
    with pytest.raises(ConfigError, match="no groups of features"):
        measure_profiles(proto, pool)


@pytest.mark.parametrize("shares", [(0.5, 0.6), (1.0, 0.0), (1.5, -0.5)])
def test_impossible_profiles_are_refused(shares):
    with pytest.raises(ConfigError, match="sum to 1"):
        Profile("blur", "texture", shares)


def test_shares_of_groups_are_those_of_the_squared_weights():
    config = LGMNetConfig(
        CONFIG.embedding,
        TargetConfig((), pooled=False, gains=True),
        HeadConfig("ridge"),
        context=None,
    )
    method = build_method("lgm-net", config).double()
    x = noise(2, 6, 9)
    labels = torch.tensor([[0, 1, 2, 0, 1, 2]] * 2)
    classifier = method.adapt(x, labels, 3)
    assert isinstance(classifier, MetricClassifier)
    weights = classifier.keys.detach() - classifier.keys.detach().mean(1, keepdim=True)
    expected = weights.square().sum(1).view(2, 3, 3).sum(2)
    shares = classifier.group_shares
    assert shares is not None
    torch.testing.assert_close(shares.detach(), expected / expected.sum(1, keepdim=True))


def test_what_counts_can_be_said_where_one_image_of_each_class_cannot_tell(pool, profiles):
    """Class and blur agree in the support; the queries differ in both."""
    config = LGMNetConfig(
        CONFIG.embedding,
        TargetConfig((), pooled=False, gains=True),
        HeadConfig("ridge"),
        context=None,
    )
    method = build_method("lgm-net", config).eval()
    assert isinstance(method, LGMNet)
    assert isinstance(method.embedding, LayerAxes)
    values = pool.table.values
    method.embedding.fit(pool.samples, ("class",), values[:, :1], pool.table.images)
    pairs = values[:, :2].tolist()
    support = pool.samples[[pairs.index([0, 0]), pairs.index([1, 1])]][None]
    query = pool.samples[[pairs.index([0, 1]), pairs.index([1, 0])]][None]
    labels = torch.tensor([[0, 1]])
    expected_answers: dict[Literal["things", "looks"], list[int]] = {
        "things": [0, 1],
        "looks": [1, 0],
    }
    for by, expected in expected_answers.items():
        emphasized = method.with_emphasis(emphasize(profiles, by))
        answers = emphasized.adapt(support, labels, 2)(query).argmax(2)[0]
        assert answers.tolist() == expected, by
    assert method.emphasis is None, "the method itself stays as it is"


def test_a_model_that_knows_only_things_cannot_judge_by_looks(profiles):
    with pytest.raises(ConfigError, match="does not know things from looks"):
        emphasize(profiles[:1], "looks")
