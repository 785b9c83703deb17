"""What every method promises, whatever its paper: one table of methods, one list of promises."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lgmnet.config import with_settings
from lgmnet.episode import Episode
from lgmnet.errors import EpisodeError
from lgmnet.methods import (
    METHODS,
    Classifier,
    FineTuneConfig,
    LGMNetConfig,
    LGMNetFeatures,
    LGMNetFeaturesConfig,
    LGMNetVectorsConfig,
    LogisticRegressionConfig,
    MAMLConfig,
    MatchingNetConfig,
    Method,
    ProtoNetConfig,
    RandomWeightsConfig,
    TrainFromScratchConfig,
)
from lgmnet.methods.lgm_net_features import ScaleGeneratorConfig
from lgmnet.nn.alignment import AlignmentConfig
from lgmnet.nn.context import ContextConfig
from lgmnet.nn.embedding import EmbeddingConfig, vector_embedding
from lgmnet.nn.target import TargetConfig
from tests.support.configs import lgm_net_config
from tests.support.random import seeded

IMAGES = EmbeddingConfig((1, 8, 8), widths=(6, 8), pooled=(True, True))
VECTORS = vector_embedding(3, 16, 16)
ALIGNED = replace(IMAGES, alignment=AlignmentConfig(power=0.5))
TWO_VIEWS = replace(IMAGES, alignment=AlignmentConfig(power=0.5, views=2))
CONV = lgm_net_config(EmbeddingConfig((1, 8, 8), widths=(6, 8), pooled=(True, False)))
LINEAR = lgm_net_config(VECTORS, target_widths=(16, 8))
FEATURES = LGMNetFeaturesConfig(
    feature_shape=(8,), axes=3, mean_pull=1.0, generator=ScaleGeneratorConfig(context_length=4)
)
ABLATIONS = {
    "temperature": ["head.temperature=none"],
    "target norm": ["target.norm=false"],
    "generation": ["target.weights=learned", "context=none"],
    "intertask norm": ["embedding.norm=sample"],
    "context encoder": ["context=none"],
    "random context": ["context.sampled=false"],
    "weight norm": ["target.weight_norm=false"],
}


def lgm_net(config: LGMNetConfig, *settings: str) -> tuple[str, LGMNetConfig]:
    return "lgm-net", with_settings(config, settings)


VIEWS = ("alignment.power=0.5", "alignment.views=2")

# Every method that is to keep these promises, by a name: the key in METHODS and a small config.
CASES: dict[str, tuple[str, Any]] = {
    "lgm-net, conv": ("lgm-net", CONV),
    "lgm-net, linear": ("lgm-net", LINEAR),
    "lgm-net, class detectors": lgm_net(CONV, "detectors=2", *VIEWS),
    "lgm-net, linear, class detectors": lgm_net(LINEAR, "detectors=2"),
    "lgm-net, class dropout": lgm_net(CONV, "detectors=2", "conditioning.dropout=0.3"),
    "lgm-net, auxiliary loss": lgm_net(CONV, "auxiliary_weight=0.5", *VIEWS),
    "lgm-net, linear, auxiliary loss": lgm_net(LINEAR, "auxiliary_weight=0.5"),
    "lgm-net, class means, skip beside": lgm_net(CONV, "head.kind=means", "skip=beside"),
    "lgm-net, skip added": lgm_net(CONV, "skip=added", "target.pooled=false"),
    "lgm-net, linear, class means, skip beside": lgm_net(LINEAR, "head.kind=means", "skip=beside"),
    "lgm-net, aligned": lgm_net(CONV, "alignment.power=0.5"),
    "lgm-net, in views": lgm_net(CONV, "alignment.power=1.0", "alignment.views=3"),
    "proto-net, images": ("proto-net", ProtoNetConfig(IMAGES)),
    "proto-net, cosine, in views": ("proto-net", ProtoNetConfig(TWO_VIEWS, "cosine", 10.0)),
    "proto-net, residual blocks": (
        "proto-net",
        ProtoNetConfig(replace(IMAGES, layers="residual")),
    ),
    "proto-net, vectors": ("proto-net", ProtoNetConfig(VECTORS, temperature=1.0)),
    "matching-net, images": ("matching-net", MatchingNetConfig(IMAGES)),
    "matching-net, vectors": ("matching-net", MatchingNetConfig(VECTORS, temperature=None)),
    "matching-net, full context": (
        "matching-net",
        MatchingNetConfig(VECTORS, full_context_steps=5),
    ),
    "maml, images": ("maml", MAMLConfig(IMAGES)),
    "maml, vectors": ("maml", MAMLConfig(VECTORS)),
    "maml, aligned": ("maml", MAMLConfig(ALIGNED, inner_rate=0.05)),
    "maml, each by itself": ("maml", MAMLConfig(replace(VECTORS, norm="sample"))),
    "fine-tune, images": ("fine-tune", FineTuneConfig(IMAGES, steps=3)),
    "fine-tune, cosine, in views": (
        "fine-tune",
        FineTuneConfig(TWO_VIEWS, cosine_scale=10.0, steps=3),
    ),
    "fine-tune, vectors": ("fine-tune", FineTuneConfig(VECTORS, steps=3)),
    "logistic-regression, images": ("logistic-regression", LogisticRegressionConfig(IMAGES)),
    "logistic-regression, vectors": ("logistic-regression", LogisticRegressionConfig(VECTORS)),
    "from scratch, images": ("from-scratch", TrainFromScratchConfig(IMAGES, steps=3)),
    "from scratch, vectors": ("from-scratch", TrainFromScratchConfig(VECTORS, steps=3)),
    "random-weights": ("random-weights", RandomWeightsConfig(IMAGES)),
    "lgm-net-vectors": (
        "lgm-net-vectors",
        LGMNetVectorsConfig(
            embedding=VECTORS,
            context=ContextConfig(4, pooled=()),
            target=TargetConfig((16, 8), pooled=False),
        ),
    ),
    "lgm-net-features": ("lgm-net-features", FEATURES),
    "lgm-net-features, not generated": ("lgm-net-features", replace(FEATURES, generator=None)),
    "maml, query statistics": ("maml", MAMLConfig(IMAGES, query_statistics=True)),
} | {
    f"lgm-net, {target}, no {name}": lgm_net(config, *changes)
    for target, config in (("conv", CONV), ("linear", LINEAR))
    for name, changes in ABLATIONS.items()
}

# Promises that a case does not make, and why.
NOT_RANDOM = (
    {
        f"lgm-net, {target}, no {ablation}": reason
        for target in ("conv", "linear")
        for ablation, reason in (
            ("random context", "its context is the mean in training too"),
            ("context encoder", "its context is a point, from which nothing can be drawn"),
            ("generation", "its weights are the same for all tasks"),
        )
    }
    | {
        "lgm-net-features, not generated": "it has no context",
    }
    | {
        case: "nothing of it is drawn by lot"
        for case, (name, _) in CASES.items()
        if name in ("proto-net", "matching-net", "maml", "fine-tune", "logistic-regression")
    }
)
NOTHING_LEARNED = {
    case: "it learns nothing from one task for another"
    for case, (name, _) in CASES.items()
    if name in ("from-scratch", "random-weights")
}
NOT_BY_HEART = NOTHING_LEARNED | {
    case: "what it learns is too little to hold labels that were drawn by lot, on purpose"
    for case, (name, _) in CASES.items()
    if name == "lgm-net-features"
}
IN_ORDER = {
    "matching-net, full context": "its LSTM reads the support in order, as the paper's does",
}


PARTS = ("support_x", "support_y", "query_x", "query_y", "classes")


def sample_shape(config: Any) -> tuple[int, ...]:
    shapes = {
        kind.input_spec(config).shape
        for kind in METHODS.values()
        if kind.config_type is type(config)
    }
    (shape,) = shapes
    return shape


def episode(
    config: Any,
    *,
    shots: tuple[int, ...] = (1, 3, 2),
    queries: int = 4,
    tasks: int = 3,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> Episode:
    """Tasks with uneven shots and in an order of their own, whose classes can be told apart."""
    generator = seeded(seed)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, *sample_shape(config), generator=generator, dtype=dtype)

    way = len(shots)
    labels = torch.arange(way).repeat_interleave(torch.tensor(shots))
    support_y = torch.stack(
        [labels[torch.randperm(len(labels), generator=generator)] for _ in range(tasks)]
    )
    query_y = torch.randint(way, (tasks, queries), generator=generator)
    classes, rows = noise(tasks, way), torch.arange(tasks)[:, None]
    return Episode(
        support_x=classes[rows, support_y] + 0.5 * noise(tasks, len(labels)),
        support_y=support_y,
        query_x=classes[rows, query_y] + 0.5 * noise(tasks, queries),
        query_y=query_y,
        way=way,
        classes=torch.arange(way).expand(tasks, -1),
    )


def prepare(method: Method) -> None:
    """Prepare for three training classes; statistics of features have tests of their own."""
    if not isinstance(method, LGMNetFeatures):
        method.prepare(torch.empty(3, *method.inputs.shape), torch.arange(3), None)


@functools.cache
def shared_method(case: str) -> Method:
    """The method in evaluation, with running statistics of its own; not to be changed."""
    name, config = CASES[case]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        method = METHODS[name](config).double()
        prepare(method)
        with torch.no_grad():
            for parameter in method.parameters():
                if parameter.ndim == 1 or not parameter.any():
                    parameter.add_(torch.empty_like(parameter).uniform_(-0.2, 0.2))
            for seed in range(10):
                answer(method, episode(config, seed=seed))
    return method.eval()


@pytest.fixture(params=CASES)
def case(request):
    return request.param


@pytest.fixture
def method(case) -> Method:
    """A copy, to be changed at will."""
    return copy.deepcopy(shared_method(case))


def answer(method: Method, e: Episode) -> Tensor:
    answers: Tensor = method.adapt(e.support_x, e.support_y, e.way)(e.query_x)
    return answers.detach()


def changed(tensor: Tensor, at: Any) -> Tensor:
    tensor = tensor.clone()
    tensor[at] = 2 - tensor[at]
    return tensor


def assert_same(came: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(came, expected, rtol=1e-9, atol=1e-10)


def assert_differ(came: Tensor, expected: Tensor) -> None:
    assert (came - expected).abs().max() > 1e-5


def test_every_method_is_in_the_table():
    assert {name for name, _ in CASES.values()} == set(METHODS)
    assert set(CASES) >= set(NOT_RANDOM) | set(IN_ORDER) | set(NOTHING_LEARNED)


@settings(max_examples=15)
@given(
    shots=st.lists(st.integers(1, 4), min_size=2, max_size=5).map(tuple),
    queries=st.integers(1, 4),
    tasks=st.integers(1, 3),
    seed=st.integers(0, 2**32),
)
@pytest.mark.parametrize("case", CASES)
def test_answers_are_log_probabilities_of_every_class(case, shots, queries, tasks, seed):
    method = shared_method(case)
    e = episode(method.config, shots=shots, queries=queries, tasks=tasks, seed=seed)
    came = answer(method, e)
    assert came.shape == (tasks, queries, len(shots))
    assert (came <= 0).all()
    assert_same(came.exp().sum(-1), torch.ones(tasks, queries, dtype=torch.float64))


def test_adapting_changes_nothing(method):
    """Not the method, not its mode, not the support; and so the second time is as the first."""
    e = episode(method.config)
    state = copy.deepcopy(method.state_dict())
    support = e.support_x.clone()
    first = answer(method, e)
    assert torch.equal(answer(method, e), first)
    assert not any(module.training for module in method.modules())
    assert list(method.state_dict()) == list(state)
    assert all(torch.equal(now, state[name]) for name, now in method.state_dict().items())
    assert torch.equal(e.support_x, support)


def test_a_classifier_answers_as_before_when_another_was_made(method):
    e, other = episode(method.config), episode(method.config, seed=1)
    classifier = method.adapt(e.support_x, e.support_y, e.way)
    before = classifier(e.query_x)
    answer(method, other)
    assert torch.equal(classifier(e.query_x), before)


def test_permuting_the_labels_permutes_the_columns(method):
    e = episode(method.config)
    permutation = torch.tensor([2, 0, 1])
    permuted = answer(method, replace(e, support_y=permutation[e.support_y]))
    assert_same(permuted[..., permutation], answer(method, e))
    assert_differ(permuted, answer(method, e))


def test_permuting_the_support_changes_nothing(method, case):
    if case in IN_ORDER:
        pytest.skip(f"{case}: {IN_ORDER[case]}")
    e = episode(method.config)
    order = torch.randperm(e.support_y.shape[1], generator=seeded())
    permuted = replace(e, support_x=e.support_x[:, order], support_y=e.support_y[:, order])
    assert_same(answer(method, permuted), answer(method, e))


def test_the_support_has_a_say(method):
    e = episode(method.config)
    other = replace(e, support_x=changed(e.support_x, (0, 0)))
    assert_differ(answer(method, other)[0], answer(method, e)[0])


@pytest.mark.parametrize(
    ("queries", "kept"),
    [
        (lambda x: changed(x, (slice(None), 1)), [0, 2, 3]),
        (lambda x: x[:, [0, 2, 3]], [0, 2, 3]),
        (lambda x: x[:, [3, 1, 0, 2]], [3, 1, 0, 2]),
        (lambda x: x[:, [2]], [2]),
        (lambda x: torch.cat([x, 100 * x], 1), [0, 1, 2, 3]),
    ],
    ids=["one changed", "one removed", "reordered", "alone", "more added"],
)
def test_a_query_is_answered_by_itself(method, case, queries: Callable[[Tensor], Tensor], kept):
    if method.is_transductive:
        pytest.skip(f"{case} says itself that its queries see each other")
    e = episode(method.config)
    classifier = method.adapt(e.support_x, e.support_y, e.way)
    alone, together = classifier(e.query_x), classifier(queries(e.query_x))
    if together.shape[1] == 4 and kept == [0, 2, 3]:
        assert_differ(together[:, 1], alone[:, 1])
        together = together[:, kept]
    assert_same(together[:, : len(kept)], alone[:, kept])


def test_a_task_is_answered_by_itself(method):
    e, neighbours = episode(method.config), episode(method.config, seed=1)
    alone = answer(method, e)
    for task in range(e.tasks):
        one = slice(task, task + 1)
        parts: dict[str, Any] = {name: getattr(e, name)[one] for name in PARTS}
        assert_same(answer(method, replace(e, **parts))[0], alone[task])
    mixed: dict[str, Any] = {
        name: torch.cat([getattr(neighbours, name), getattr(e, name)]) for name in PARTS
    }
    assert_same(answer(method, replace(e, **mixed))[e.tasks :], alone)


def test_gradient_reaches_every_parameter(method, case):
    if case in NOTHING_LEARNED:
        pytest.skip(f"{case}: {NOTHING_LEARNED[case]}")
    e = episode(method.config)
    loss, _ = method.train().learn(e, seeded())
    loss.backward()
    learned = {name: p for name, p in method.named_parameters() if p.requires_grad}
    without = [name for name, p in learned.items() if p.grad is None or not p.grad.any()]
    assert without == []
    assert all(p.grad.isfinite().all() for p in learned.values() if p.grad is not None)


def test_one_episode_can_be_learned_by_heart(method, case):
    """Even where the query labels are drawn by lot."""
    if case in NOT_BY_HEART:
        pytest.skip(f"{case}: {NOT_BY_HEART[case]}")
    e = episode(method.config, tasks=1, queries=6)
    e = replace(e, query_y=torch.randint(e.way, e.query_y.shape, generator=seeded(1)))
    learned = [p for p in method.train().parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(learned, lr=0.005)
    for _ in range(300):
        loss, answers = method.learn(e)
        if torch.equal(answers.argmax(-1), e.query_y):
            break
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert torch.equal(answers.argmax(-1), e.query_y)


def test_a_generator_makes_it_random_and_none_its_best_guess(method, case):
    e = episode(method.config)

    def drawn(seed: int | None) -> Tensor:
        generator = None if seed is None else seeded(seed)
        answers: Tensor = method(e.support_x, e.support_y, e.query_x, e.way, generator)
        return answers.detach()

    before = torch.get_rng_state()
    best = drawn(None)
    assert torch.equal(drawn(None), best)
    assert torch.equal(drawn(0), drawn(0))
    assert torch.equal(torch.get_rng_state(), before)
    if case in NOT_RANDOM:
        assert torch.equal(drawn(0), best), NOT_RANDOM[case]
    else:
        assert_differ(drawn(0), drawn(1))
        assert_differ(drawn(0), best)


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("support_y", lambda y: torch.where(y == 0, 7, y), "label 7; labels of 3 classes are 0..2"),
        ("support_y", lambda y: y - 1, "label -1; labels of 3 classes are 0..2"),
        ("support_y", lambda y: y.clamp(max=1), "class 2 of task 0 has no support sample"),
        ("support_x", lambda x: x.index_fill(1, torch.tensor(4), torch.nan), "task 0, sample 4"),
        ("support_x", lambda x: x[:, :5], r"\(3, 5, .* and \(3, 6\)"),
        ("support_x", lambda x: x.long(), r"support_x must be floating point, .* torch\.int64"),
        ("way", lambda way: 1, "'way' must be at least 2, but is 1"),
        ("way", lambda way: 4, "class 3 of task 0"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_a_bad_support_set_is_refused_with_the_number_at_fault(method, part, change, message):
    e = episode(method.config)
    support = {"support_x": e.support_x, "support_y": e.support_y, "way": e.way}
    support[part] = change(support[part])
    with pytest.raises(EpisodeError, match=message):
        method.adapt(**support)


def test_an_analysis_agrees_with_the_answers(method):
    e = episode(method.config)
    classifier = method.adapt(e.support_x, e.support_y, e.way)
    analysis = classifier.analyze(e.query_x)
    assert_same(analysis.log_p, classifier(e.query_x))
    keys = classifier.support_embedding
    assert (analysis.embedding is None) == (keys is None)
    if keys is not None:
        assert analysis.embedding is not None
        assert analysis.embedding.shape[2:] == keys.shape[2:]
        assert analysis.similarity is not None
        assert analysis.similarity.shape == e.query_y.shape
        assert analysis.support_attention is not None
        attention = analysis.support_attention.sum(-1)
        assert_same(attention, torch.ones_like(attention))


def test_a_classifier_is_restored_from_its_state(case):
    """In 32 bits, as files hold it; without the method, and for good."""
    method = copy.deepcopy(shared_method(case)).float()
    e = episode(method.config, tasks=1, dtype=torch.float32)
    classifier = method.adapt(e.support_x, e.support_y, e.way)
    state = {name: tensor.detach().clone() for name, tensor in classifier.state_dict().items()}
    expected = classifier(e.query_x)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.zero_()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        restored = type(method).restore(method.config, e.way, state)
    assert isinstance(restored, Classifier)
    assert restored.way == e.way
    assert torch.equal(restored(e.query_x), expected)
    assert list(restored.state_dict()) == list(state)


def test_a_classifier_is_not_restored_from_another_state(case):
    method = copy.deepcopy(shared_method(case)).float()
    e = episode(method.config, tasks=1, dtype=torch.float32)
    state = method.adapt(e.support_x, e.support_y, e.way).state_dict()
    for name in state:
        lacking = {other: tensor for other, tensor in state.items() if other != name}
        with pytest.raises((KeyError, RuntimeError)):
            type(method).restore(method.config, e.way, lacking)


def test_behind_the_embedding_it_answers_the_same(method):
    e = episode(method.config)
    expected = answer(method, e)
    behind = method.without_embedding()

    def embedded(x: Tensor) -> Tensor:
        folded: Tensor = method.embedding(x.flatten(0, 1)).detach()
        return folded.reshape(*x.shape[:2], *folded.shape[1:])

    seen = replace(e, support_x=embedded(e.support_x), query_x=embedded(e.query_x))
    kept = seen.support_x.clone()
    assert_same(answer(behind, seen), expected)
    assert torch.equal(seen.support_x, kept)
    assert torch.equal(answer(method, e), expected)  # the method still has its embedding
    mine = {p.data_ptr() for p in method.parameters()}
    assert {p.data_ptr() for p in behind.parameters()} <= mine
    assert not behind.training
