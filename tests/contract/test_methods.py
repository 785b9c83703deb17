"""The promises that every method keeps, whatever its paper."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lgmnet.errors import EpisodeError
from lgmnet.methods import METHODS, Classifier, Method
from tests.contract.cases import (
    CASES,
    EPISODE_TENSORS,
    NO_EFFECT,
    NO_OVERFITTING,
    NOT_RANDOM,
    NOTHING_LEARNED,
    ORDER_MATTERS,
    answer,
    build_episode,
    build_shared_method,
)
from tests.support.random import seeded


@pytest.fixture(params=CASES)
def case(request) -> str:
    name: str = request.param
    return name


@pytest.fixture
def method(case) -> Method:
    """Copy of the method of a case; a test may change it."""
    return copy.deepcopy(build_shared_method(case))


def change_entry(tensor: Tensor, at: Any) -> Tensor:
    tensor = tensor.clone()
    tensor[at] = 2 - tensor[at]
    return tensor


def assert_same(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-10)


def assert_differ(first: Tensor, second: Tensor) -> None:
    assert (first - second).abs().max() > 1e-5


def test_every_method_has_a_case():
    assert {name for name, _ in CASES.values()} == set(METHODS)
    assert set(CASES) >= set(NOT_RANDOM) | set(ORDER_MATTERS) | set(NO_OVERFITTING) | set(NO_EFFECT)


@settings(max_examples=15)
@given(
    shots=st.lists(st.integers(1, 4), min_size=2, max_size=5).map(tuple),
    queries=st.integers(1, 4),
    tasks=st.integers(1, 3),
    seed=st.integers(0, 2**32),
)
@pytest.mark.parametrize("case", CASES)
def test_answers_are_log_probabilities_of_every_class(case, shots, queries, tasks, seed):
    method = build_shared_method(case)
    episode = build_episode(method, shots=shots, queries=queries, tasks=tasks, seed=seed)
    log_p = answer(method, episode)
    assert log_p.shape == (tasks, queries, len(shots))
    assert (log_p <= 0).all()
    assert_same(log_p.exp().sum(-1), torch.ones(tasks, queries, dtype=torch.float64))


def test_adapting_changes_neither_the_method_nor_the_support(method):
    """Nor the mode of the method; so the second answer is the same as the first."""
    episode = build_episode(method)
    state = copy.deepcopy(method.state_dict())
    support_x = episode.support_x.clone()
    first = answer(method, episode)
    assert torch.equal(answer(method, episode), first)
    assert not any(module.training for module in method.modules())
    assert list(method.state_dict()) == list(state)
    assert all(torch.equal(tensor, state[name]) for name, tensor in method.state_dict().items())
    assert torch.equal(episode.support_x, support_x)


def test_adapting_again_does_not_change_an_earlier_classifier(method):
    episode = build_episode(method)
    classifier = method.adapt(episode.support_x, episode.support_y, episode.way)
    before = classifier(episode.query_x)
    answer(method, build_episode(method, seed=1))
    assert torch.equal(classifier(episode.query_x), before)


def test_permuting_the_labels_permutes_the_columns(method):
    episode = build_episode(method)
    permutation = torch.tensor([2, 0, 1])
    permuted = answer(method, replace(episode, support_y=permutation[episode.support_y]))
    assert_same(permuted[..., permutation], answer(method, episode))
    assert_differ(permuted, answer(method, episode))


def test_permuting_the_support_changes_nothing(method, case):
    if case in ORDER_MATTERS:
        pytest.skip(f"{case}: {ORDER_MATTERS[case]}")
    episode = build_episode(method)
    order = torch.tensor([4, 2, 5, 0, 3, 1])
    permuted = replace(
        episode, support_x=episode.support_x[:, order], support_y=episode.support_y[:, order]
    )
    assert_same(answer(method, permuted), answer(method, episode))


def test_the_support_changes_the_answer(method):
    episode = build_episode(method)
    changed = replace(episode, support_x=change_entry(episode.support_x, (0, 0)))
    assert_differ(answer(method, changed)[0], answer(method, episode)[0])


@pytest.mark.parametrize(
    ("change", "rows"),
    [
        (lambda x: x[:, [0, 2, 3]], [0, 2, 3]),
        (lambda x: x[:, [3, 1, 0, 2]], [3, 1, 0, 2]),
        (lambda x: x[:, [2]], [2]),
        (lambda x: torch.cat([x, 100 * x], 1), [0, 1, 2, 3]),
    ],
    ids=["one removed", "reordered", "alone", "more added"],
)
def test_a_query_is_answered_alone(method, case, change: Callable[[Tensor], Tensor], rows):
    if method.is_transductive:
        pytest.skip(f"{case}: the method is transductive")
    episode = build_episode(method)
    classifier = method.adapt(episode.support_x, episode.support_y, episode.way)
    before, after = classifier(episode.query_x), classifier(change(episode.query_x))
    assert_same(after[:, : len(rows)], before[:, rows])


def test_a_changed_query_changes_its_own_answer_only(method, case):
    if method.is_transductive:
        pytest.skip(f"{case}: the method is transductive")
    episode = build_episode(method)
    classifier = method.adapt(episode.support_x, episode.support_y, episode.way)
    before = classifier(episode.query_x)
    after = classifier(change_entry(episode.query_x, (slice(None), 1)))
    assert_differ(after[:, 1], before[:, 1])
    others = [0, 2, 3]
    assert_same(after[:, others], before[:, others])


def test_a_task_is_answered_alone(method):
    episode, neighbours = build_episode(method), build_episode(method, seed=1)
    together = answer(method, episode)
    for task in range(episode.tasks):
        rows = slice(task, task + 1)
        parts: dict[str, Any] = {name: getattr(episode, name)[rows] for name in EPISODE_TENSORS}
        assert_same(answer(method, replace(episode, **parts))[0], together[task])
    joined: dict[str, Any] = {
        name: torch.cat([getattr(neighbours, name), getattr(episode, name)])
        for name in EPISODE_TENSORS
    }
    assert_same(answer(method, replace(episode, **joined))[episode.tasks :], together)


def test_the_gradient_reaches_every_parameter(method, case):
    if case in NOTHING_LEARNED:
        pytest.skip(f"{case}: {NOTHING_LEARNED[case]}")
    loss, _ = method.train().learn(build_episode(method), seeded())
    loss.backward()
    learned = {name: p for name, p in method.named_parameters() if p.requires_grad}
    assert learned
    gradients = {name: p.grad for name, p in learned.items() if p.grad is not None}
    assert gradients.keys() == learned.keys()
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    # A gradient that is zero in exact arithmetic may be nonzero by rounding.
    zero = {name for name, gradient in gradients.items() if gradient.abs().max() < 1e-10}
    assert zero == NO_EFFECT.get(case, set())


def test_one_episode_can_be_overfitted(method, case):
    """Even if the labels of the queries are random."""
    if case in NO_OVERFITTING:
        pytest.skip(f"{case}: {NO_OVERFITTING[case]}")
    episode = build_episode(method, tasks=1, queries=6)
    labels = torch.randint(episode.way, episode.query_y.shape, generator=seeded(1))
    episode = replace(episode, query_y=labels)
    learned = [p for p in method.train().parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(learned, lr=0.005)
    for _ in range(300):
        loss, log_p = method.learn(episode)
        if torch.equal(log_p.argmax(-1), labels):
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert torch.equal(log_p.argmax(-1), labels)


def test_a_generator_makes_a_method_random_and_none_gives_its_best_guess(method, case):
    e = build_episode(method)

    def draw(seed: int | None) -> Tensor:
        generator = None if seed is None else seeded(seed)
        log_p: Tensor = method(e.support_x, e.support_y, e.query_x, e.way, generator)
        return log_p.detach()

    before = torch.get_rng_state()
    best = draw(None)
    assert torch.equal(draw(None), best)
    assert torch.equal(draw(0), draw(0))
    assert torch.equal(torch.get_rng_state(), before)
    if case in NOT_RANDOM:
        assert torch.equal(draw(0), best), NOT_RANDOM[case]
    else:
        assert_differ(draw(0), draw(1))
        assert_differ(draw(0), best)


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
def test_an_error_names_the_fault_of_a_bad_support_set(method, part, change, message):
    episode = build_episode(method)
    support = {name: getattr(episode, name) for name in ("support_x", "support_y", "way")}
    support[part] = change(support[part])
    with pytest.raises(EpisodeError, match=message):
        method.adapt(**support)


def test_an_analysis_agrees_with_the_answers(method):
    episode = build_episode(method)
    classifier = method.adapt(episode.support_x, episode.support_y, episode.way)
    analysis = classifier.analyze(episode.query_x)
    assert_same(analysis.log_p, classifier(episode.query_x))
    keys = classifier.support_embedding
    assert (analysis.embedding is None) == (keys is None)
    if keys is not None:
        assert analysis.embedding is not None
        assert analysis.embedding.shape[2:] == keys.shape[2:]
        assert analysis.similarity is not None
        assert analysis.similarity.shape == episode.query_y.shape
        assert analysis.support_attention is not None
        attention = analysis.support_attention.sum(-1)
        assert_same(attention, torch.ones_like(attention))


def test_a_classifier_is_restored_from_its_state(case):
    """In 32 bits, as files hold it, and without the method that made it."""
    method = copy.deepcopy(build_shared_method(case)).float()
    episode = build_episode(method, tasks=1, dtype=torch.float32)
    classifier = method.adapt(episode.support_x, episode.support_y, episode.way)
    state = {name: tensor.detach().clone() for name, tensor in classifier.state_dict().items()}
    expected = classifier(episode.query_x)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.zero_()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        restored = type(method).restore(method.config, episode.way, state)
    assert isinstance(restored, Classifier)
    assert restored.way == episode.way
    assert torch.equal(restored(episode.query_x), expected)
    assert list(restored.state_dict()) == list(state)


def test_an_incomplete_state_is_refused(case):
    method = copy.deepcopy(build_shared_method(case)).float()
    episode = build_episode(method, tasks=1, dtype=torch.float32)
    state = method.adapt(episode.support_x, episode.support_y, episode.way).state_dict()
    assert state
    for name in state:
        incomplete = {other: tensor for other, tensor in state.items() if other != name}
        with pytest.raises((KeyError, RuntimeError)):
            type(method).restore(method.config, episode.way, incomplete)


def test_without_its_embedding_a_method_takes_embedded_samples(method):
    episode = build_episode(method)
    expected = answer(method, episode)
    rest = method.without_embedding()

    def embed(x: Tensor) -> Tensor:
        embedded: Tensor = method.embedding(x.flatten(0, 1)).detach()
        return embedded.reshape(*x.shape[:2], *embedded.shape[1:])

    embedded = replace(episode, support_x=embed(episode.support_x), query_x=embed(episode.query_x))
    before = embedded.support_x.clone()
    assert_same(answer(rest, embedded), expected)
    assert torch.equal(embedded.support_x, before)
    assert torch.equal(answer(method, episode), expected), "the method still has its embedding"
    weights = {p.data_ptr() for p in method.parameters()}
    assert {p.data_ptr() for p in rest.parameters()} <= weights
    assert not rest.training
