"""Gains generated from the labels, against plain loops."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from lgmnet.episode import Episode
from lgmnet.methods import LGMNet, RidgeRegressionConfig
from lgmnet.nn.embedding import EmbeddingConfig, build_embedding
from lgmnet.nn.label_context import (
    LEAVE_ONE_OUT_STRENGTH,
    LabelContext,
    LabelContextConfig,
    class_variances,
)
from lgmnet.nn.map_statistics import (
    MIN_SMOOTHED_SIDE,
    MIN_VARIANCE,
    MapStatistics,
    StatisticsEmbedding,
)
from lgmnet.nn.matching import HeadConfig
from lgmnet.nn.target import TargetConfig
from tests.contract.cases import CASES
from tests.numerics.reference import Array
from tests.support.models import build_method
from tests.support.random import noise, randomize, seeded

LABELS = torch.tensor([[0, 1, 1, 2, 0, 1], [2, 0, 1, 0, 2, 0]])
GROUPS = (3, 1, 4)


SMALL = LabelContextConfig(width=8, hidden=8)
SAME_FOR_GROUPS = dataclasses.replace(SMALL, knows_groups=False)


def draw_context(config: LabelContextConfig = SMALL) -> LabelContext:
    """Build a context whose layers are all random."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        context = LabelContext(GROUPS, config).double()
        for parameter in context.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return context


def test_the_variances_are_those_of_a_plain_loop():
    support = noise(2, 6, 5)
    between, within, total = class_variances(support, LABELS, 3)
    for task in range(2):
        x, y = support[task].numpy(), LABELS[task].numpy()
        means = np.stack([x[y == k].mean(0) for k in range(3)])
        squares = sum(((x[i] - means[y[i]]) ** 2 for i in range(6)), np.zeros(5))
        np.testing.assert_allclose(between[task], means.var(0))
        np.testing.assert_allclose(within[task], squares / (6 - 3))
        np.testing.assert_allclose(total[task], x.var(0))


def test_each_sample_is_predicted_from_the_others():
    """The closed form agrees with regressions that really leave a sample out."""
    support = noise(2, 6, sum(GROUPS))
    errors, entropies, cosines = draw_context().leave_one_out(support, LABELS, 3)
    for task in range(2):
        y = torch.nn.functional.one_hot(LABELS[task], 3).double() - 1 / 3
        centred = support[task] - support[task].mean(0)
        for group, part in enumerate(centred.split(GROUPS, -1)):
            x = part / part.norm(dim=1, keepdim=True)
            predicted = []
            for i in range(6):
                rest = [j for j in range(6) if j != i]
                kernel = x[rest] @ x[rest].T + LEAVE_ONE_OUT_STRENGTH * torch.eye(5)
                predicted.append(x[i] @ x[rest].T @ torch.linalg.solve(kernel, y[rest]))
            error = (torch.stack(predicted) - y).square().mean() / y.square().mean()
            torch.testing.assert_close(errors[task, group], error)
            log_p = (10 * torch.stack(predicted)).log_softmax(-1)
            entropy = -log_p[torch.arange(6), LABELS[task]].mean() / np.log(3)
            torch.testing.assert_close(entropies[task, group], entropy)
            same = LABELS[task][:, None] == LABELS[task]
            cosine = x @ x.T
            near = cosine[same & ~torch.eye(6, dtype=torch.bool)].mean()
            torch.testing.assert_close(cosines[task, group], near - cosine[~same].mean())


def test_the_same_images_by_other_labels_give_other_gains():
    """The context of the paper stays the same: it never reads a label."""
    support = noise(1, 6, sum(GROUPS))
    context = draw_context()
    first = context(support, LABELS[:1], 3)
    second = context(support, LABELS[1:], 3)
    assert (first - second).abs().max() > 1e-3
    relabelled = torch.tensor([2, 0, 1])[LABELS[:1]]
    torch.testing.assert_close(context(support, relabelled, 3), first)


def test_the_order_of_the_groups_does_not_matter():
    """Where no weight belongs to a certain group, gains move along with their features."""
    support = noise(1, 6, sum(GROUPS))
    context = draw_context(SAME_FOR_GROUPS)
    expected = context(support, LABELS[:1], 3).split(GROUPS, -1)
    moved = LabelContext((4, 3, 1), SAME_FOR_GROUPS).double()
    moved.load_state_dict(context.state_dict())
    a, b, c = support.split(GROUPS, -1)
    gains = moved(torch.cat([c, a, b], -1), LABELS[:1], 3)
    torch.testing.assert_close(gains, torch.cat([expected[2], expected[0], expected[1]], -1))


@pytest.mark.parametrize("shot", [1, 2, 4])
def test_gains_fade_with_the_shots_where_none_are_wanted_at_one_shot(shot):
    support, labels = noise(2, 3 * shot, sum(GROUPS)), torch.arange(3).repeat(2, shot)
    expected = draw_context()(support, labels, 3).log() * (1 - 1 / shot)
    gains = draw_context(dataclasses.replace(SMALL, one_shot=False))(support, labels, 3)
    torch.testing.assert_close(gains.log(), expected)
    assert shot > 1 or bool((gains == 1).all())


@pytest.mark.parametrize("constant", [False, True])
def test_gains_are_finite_where_nothing_varies_within_the_classes(constant):
    """At one shot, and where all samples are the same."""
    support = torch.ones(1, 3, sum(GROUPS)) if constant else noise(1, 3, sum(GROUPS)).float()
    context = draw_context().float()
    gains = context(support.requires_grad_(), torch.tensor([[0, 1, 2]]), 3)
    gains.sum().backward()
    assert gains.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in context.parameters())


def test_training_begins_where_nothing_is_generated():
    context = LabelContext(GROUPS, LabelContextConfig())
    gains = context(noise(2, 6, sum(GROUPS)).float(), LABELS, 3)
    assert torch.equal(gains, torch.ones(2, sum(GROUPS)))


@pytest.mark.parametrize("case", ["lgm-net, gains from labels", "lgm-net, gains from labels alone"])
def test_gains_multiply_the_channels_of_the_embedding(case):
    method = build_method(*CASES[case]).double().eval()
    assert isinstance(method, LGMNet)
    x = noise(1, 6, *method.inputs.shape)
    classifier = method.adapt(x, LABELS[:1], 3)
    embedded = method.embedding(x[0])[None]
    gains = classifier.weights["gains"]  # type: ignore[index]
    assert gains.shape == embedded.shape[:1] + embedded.shape[2:3]
    changed = {**classifier.weights, "gains": torch.ones_like(gains)}  # type: ignore[dict-item]
    scaled = embedded * gains.view(1, 1, -1, *[1] * (embedded.ndim - 3))
    torch.testing.assert_close(
        method.target(changed, scaled), method.target(classifier.weights, embedded)
    )


def average_neighbours(m: Array) -> Array:
    """Average each pixel with its neighbours in the map."""
    rows, columns = m.shape
    around = [
        m[max(0, i - 1) : i + 2, max(0, j - 1) : j + 2].mean()
        for i in range(rows)
        for j in range(columns)
    ]
    return np.reshape(around, m.shape)


@pytest.mark.parametrize(("height", "width"), [(7, 8), (14, 15)])
def test_statistics_of_a_map_are_those_of_a_plain_loop(height, width):
    """Large maps are smoothed before the moments, but for the standard deviation they are not."""
    maps = noise(2, 3, height, width).abs()
    groups = MapStatistics(height, width)(maps)
    assert [g.shape[1] // 3 for g in groups] == [1, 1, 1, 2, 3, 4]
    ys, xs = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    for sample in range(2):
        for channel in range(3):
            m = maps[sample, channel].numpy()
            smooth = average_neighbours(m) if height >= MIN_SMOOTHED_SIDE else m
            e = (smooth - smooth.mean()) ** 2
            mass = e.mean() + MIN_VARIANCE
            y, x = ((e * at).mean() / mass for at in (ys, xs))
            yy, xx, yx = ((e * at).mean() / mass for at in (ys * ys, xs * xs, ys * xs))
            expected = [
                [np.sqrt(m.var() + MIN_VARIANCE)],
                [m.mean()],
                [m.max()],
                [y, x],
                [yy - y * y, xx - x * x, yx - y * x],
            ]
            for group, values in zip(groups, expected, strict=False):
                np.testing.assert_allclose(group[sample, channel::3], values, rtol=1e-5)


def test_statistics_of_a_map_are_computed_in_32_bits():
    maps = noise(2, 3, 14, 14).float()
    expected = MapStatistics(14, 14)(maps.bfloat16().float())
    with torch.autocast("cpu", torch.bfloat16):
        groups = MapStatistics(14, 14)(maps.bfloat16())
    for group, exact in zip(groups, expected, strict=True):
        torch.testing.assert_close(group, exact)


@pytest.mark.parametrize("layers", ["conv", "residual"])
def test_an_embedding_of_statistics_has_the_length_that_its_config_names(layers):
    config = EmbeddingConfig(
        (2, 16, 18), layers, widths=(4, 6), pooled=(True, False), readout="layers"
    )
    embedding = build_embedding(config)
    assert isinstance(embedding, StatisticsEmbedding)
    images = torch.rand(5, 2, 16, 18, generator=seeded())
    assert embedding(images).shape == (5, config.n_out)
    assert config.n_features == config.n_out == sum(config.groups)
    maps = [m.shape[1:] for m in embedding.layers.iterate_maps(images)]
    assert tuple(map(tuple, maps)) == config.map_shapes
    last = build_embedding(dataclasses.replace(config, readout="last"))
    last.load_state_dict(embedding.layers.state_dict())
    *_, expected = embedding.layers.iterate_maps(images)
    torch.testing.assert_close(last(images), expected)


def test_statistics_without_gradients_are_the_same_in_parts(monkeypatch):
    from lgmnet.nn import layers

    config = EmbeddingConfig((1, 8, 8), widths=(4,), pooled=(True,), readout="layers")
    embedding = build_embedding(config).eval()
    images = torch.rand(7, 1, 8, 8, generator=seeded())
    expected = embedding(images).detach()
    monkeypatch.setattr(layers, "MAX_PIXELS", {"cpu": 128})
    with torch.no_grad():
        torch.testing.assert_close(embedding(images), expected)


def test_gains_find_the_feature_that_decides():
    """After 150 steps on tasks in which one of eight features decides, another in each task."""
    config = dataclasses.replace(
        CASES["lgm-net, linear, gains from labels"][1],
        embedding=EmbeddingConfig((8,), "linear", (), ()),
        target=TargetConfig((), pooled=False),
        context=None,
        labels=LabelContextConfig(width=8, hidden=16),
        head=HeadConfig("ridge"),
    )
    method = build_method("lgm-net", config)
    optimizer = torch.optim.Adam(method.parameters(), lr=0.01)
    generator = seeded()

    def draw(tasks: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x = torch.randn(tasks, 20, 8, generator=generator)
        y = torch.arange(2).repeat(10).expand(tasks, -1)
        decides = torch.randint(8, (tasks, 1, 1), generator=generator).expand(-1, 20, 1)
        x = x.scatter(2, decides, 2.0 * y[..., None] - 1 + 0.3 * x.gather(2, decides))
        return x, y, decides[:, 0, 0], y[:, 10:]

    for _ in range(150):
        x, y, _, query_y = draw(16)
        log_p = method(x[:, :10], y[:, :10], x[:, 10:], 2)
        loss = torch.nn.functional.nll_loss(log_p.flatten(0, 1), query_y.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x, y, decides, _ = draw(100)
    gains = method.adapt(x[:, :10], y[:, :10], 2).weights["gains"]  # type: ignore[index]
    assert (gains.argmax(1) == decides).float().mean() > 0.9


@pytest.mark.parametrize("is_trained", [True, False])
def test_the_embedding_learns_from_the_gains_only_where_its_config_says_so(is_trained):
    """Otherwise its gradient is that of ridge regression alone, whatever is generated."""
    case = "lgm-net, gains from labels alone"
    if not is_trained:
        case += ", not for the embedding"
    method = build_method(*CASES[case])
    assert isinstance(method, LGMNet)
    assert method.label_context is not None
    randomize(method.label_context).float()
    config = RidgeRegressionConfig(method.config.embedding, head=method.config.head)
    plain = build_method("ridge-regression", config)
    plain.load_state_dict(method.state_dict(), strict=False)
    episode = Episode(
        support_x=noise(2, 6, *method.inputs.shape).float(),
        support_y=LABELS,
        query_x=noise(2, 6, *method.inputs.shape, seed=1).float(),
        query_y=LABELS,
        way=3,
    )
    loss, log_p = method.learn(episode, seeded())
    loss.backward()
    plain_loss, _ = plain.learn(episode, seeded())
    plain_loss.backward()
    loss_of_queries = -log_p.gather(2, episode.query_y[..., None]).mean()
    expected = loss_of_queries if is_trained else loss_of_queries + plain_loss
    torch.testing.assert_close(loss, expected)
    same = [
        torch.allclose(a.grad, b.grad, atol=1e-6)  # type: ignore[arg-type]
        for a, b in zip(method.embedding.parameters(), plain.embedding.parameters(), strict=True)
    ]
    assert all(same) != is_trained
    assert all(p.grad is not None for p in method.label_context.parameters())
