"""The number that a method earns: known methods earn known numbers, by either path."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.synthetic.characters import SyntheticCharacters
from lgmnet.data.task_source import TaskSource
from lgmnet.episode import EpisodeShape
from lgmnet.errors import ConfigError, EpisodeError
from lgmnet.evaluation import cache, evaluate, mean_and_ci95, protocol
from lgmnet.evaluation.cache import cache_embeddings, is_worth_caching
from lgmnet.methods import Classifier, LGMNet, LGMNetConfig, Method

SHAPE = EpisodeShape(way=5, shot=1, query=3)


class Nearest(Classifier):
    """Answers with the label of the support sample whose first value is nearest."""

    def __init__(self, keys: Tensor, labels: Tensor, way: int, sign: float) -> None:
        super().__init__()
        self.keys, self.labels, self.way, self.sign = keys, labels, way, sign

    def forward(self, query_x: Tensor) -> Tensor:
        distance = (query_x.flatten(2)[:, :, :1] - self.keys[:, None]).abs()
        nearest = (self.sign * distance).argmin(2)
        label = self.labels.gather(1, nearest)
        return (nn.functional.one_hot(label, self.way) + 1e-9).log()


class Known(Method):
    """A method whose score is known beforehand: 1 knows the answer, -1 avoids it, 0 is deaf."""

    def __init__(self, sign: float) -> None:
        super().__init__(sign)
        self.weight = nn.Parameter(torch.zeros(1))

    def _adapt(
        self, support_x: Tensor, support_y: Tensor, way: int, generator: torch.Generator | None
    ) -> Classifier:
        assert not self.training
        return Nearest(support_x.flatten(2)[:, :, 0], support_y, way, self.config)

    @classmethod
    def restore(cls, config: Any, way: int, state: Mapping[str, Tensor]) -> Classifier:
        raise NotImplementedError


def telling_store(classes: int = 12, each: int = 6) -> ClassDataset:
    """A store whose images are as bright as their class is high."""
    values = torch.arange(classes).repeat_interleave(each) * 20
    return store(values.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 8, 8).clone(), each)


def noise_store(classes: int = 12, each: int = 6) -> ClassDataset:
    """A store whose images say nothing of their class."""
    shape = (classes * each, 1, 8, 8)
    generator = torch.Generator().manual_seed(0)
    return store(torch.randint(256, shape, generator=generator, dtype=torch.uint8), each)


def store(images: Tensor, each: int) -> ClassDataset:
    names = [f"class {i}" for i in range(len(images) // each)]
    return ClassDataset(images, [each] * len(names), names, name="made up", split="all")


def lgm_net(seed: int = 0) -> LGMNet:
    config = LGMNetConfig(
        feature_shape=(1, 8, 8),
        embedding_widths=(6, 8),
        embedding_pooled=(True, False),
        encoder_width=8,
        context=4,
        target_widths=(8, 8),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LGMNet(config)


@pytest.mark.parametrize(("sign", "expected"), [(1, 100), (-1, 0)])
def test_who_knows_the_answer_scores_100(sign, expected):
    score = evaluate(Known(sign), telling_store(), SHAPE, episodes=20)
    assert score.accuracy == expected
    assert score.ci95 == 0


def test_who_always_says_the_same_scores_1_in_way():
    score = evaluate(Known(0), telling_store(), SHAPE, episodes=20)
    assert score.accuracy == pytest.approx(100 / 5)
    assert score.scores == (0.2,) * 20


def test_images_that_tell_nothing_score_chance():
    score = evaluate(lgm_net(), noise_store(), SHAPE, episodes=400)
    assert score.ci95 < 2
    assert abs(score.accuracy - 20) < 1.5 * score.ci95


def test_the_interval_is_that_of_the_formula():
    scores = np.random.default_rng(0).uniform(size=50)
    mean, ci95 = mean_and_ci95(torch.from_numpy(scores))
    assert mean == pytest.approx(scores.sum() / 50)
    spread = np.sqrt(((scores - mean) ** 2).sum() / 49)
    assert ci95 == pytest.approx(1.96 * spread / np.sqrt(50))


def test_the_score_is_the_mean_over_its_episodes():
    score = evaluate(lgm_net(), noise_store(), SHAPE, episodes=30, seed=3)
    assert len(score.scores) == score.episodes == 30
    assert score.accuracy == pytest.approx(100 * np.mean(score.scores))
    assert score.ci95 == pytest.approx(196 * np.std(score.scores, ddof=1) / np.sqrt(30))
    assert {round(15 * s, 6) % 1 for s in score.scores} == {0}  # of 15 queries each


def test_a_score_says_how_to_obtain_it_again():
    source = noise_store()
    score = evaluate(lgm_net(), source, SHAPE, episodes=5, seed=3, draws=2)
    assert (score.data, score.split, score.split_hash) == ("made up", "all", source.split_hash)
    assert (score.way, score.shot, score.query) == (5, 1, 3)
    assert (score.episodes, score.seed) == (5, 3)
    assert score.protocol == "inductive, mean of 2 draws"
    assert score.task == "5-way 1-shot"
    again = evaluate(lgm_net(), source, SHAPE, episodes=5, seed=3, draws=2)
    assert again.scores == score.scores


def test_the_seed_chooses_the_tasks():
    first, second = (
        evaluate(lgm_net(), noise_store(), SHAPE, episodes=20, seed=seed) for seed in (0, 1)
    )
    assert first.scores != second.scores


def test_the_protocol_is_said_aloud():
    class Transductive(Known):
        is_transductive = True

    assert protocol(Known(1)) == "inductive"
    assert protocol(Transductive(1)) == "transductive"
    assert protocol(Known(1), draws=10) == "inductive, mean of 10 draws"


@pytest.mark.parametrize("draws", [0, 3])
def test_the_cached_path_scores_as_the_uncached(monkeypatch, draws):
    method, source = lgm_net(), noise_store()
    module = import_module("lgmnet.evaluation.evaluate")  # the function has taken its name
    taken = []

    def spy(method: Method, store: ClassDataset) -> tuple[Method, ClassDataset]:
        taken.append(store)
        return cache_embeddings(method, store)

    monkeypatch.setattr(module, "cache_embeddings", spy)
    cached = evaluate(method, source, SHAPE, episodes=40, draws=draws)
    assert taken == [source]
    monkeypatch.setattr(module, "is_worth_caching", lambda *_: False)
    uncached = evaluate(method, source, SHAPE, episodes=40, draws=draws)
    assert len(taken) == 1
    assert cached.scores == uncached.scores
    assert len(set(cached.scores)) > 2


def test_an_embedded_store_is_the_embedding_of_every_image(monkeypatch):
    monkeypatch.setattr(cache, "IMAGES_A_BATCH", 7)
    method, source = lgm_net().eval(), noise_store()
    behind, embedded = cache_embeddings(method, source)
    with torch.no_grad():
        torch.testing.assert_close(embedded.images, method.embedding(source.images / 255))
    assert embedded.class_names == source.class_names
    assert torch.equal(embedded.counts, source.counts)
    assert (embedded.name, embedded.split) == (source.name, source.split)
    assert embedded.split_hash == source.split_hash
    assert isinstance(behind.embedding, nn.Identity)
    with pytest.raises(AssertionError):
        cache_embeddings(method.train(), source)


def test_a_store_is_embedded_only_where_it_pays(monkeypatch):
    method, source = lgm_net().eval(), noise_store(classes=12, each=6)  # 72 images
    shape = EpisodeShape(way=5, shot=1, query=3)  # 20 images a task
    assert is_worth_caching(method, source, shape, episodes=4)
    assert not is_worth_caching(method, source, shape, episodes=3)
    assert not is_worth_caching(method.without_embedding(), source, shape, episodes=4)
    assert not is_worth_caching(Known(1), source, shape, episodes=4)
    _, embedded = cache_embeddings(method, source)
    assert not is_worth_caching(method, embedded, shape, episodes=4)
    monkeypatch.setattr(cache, "MOST_BYTES", embedded.images.nbytes)
    assert is_worth_caching(method, source, shape, episodes=4)
    monkeypatch.setattr(cache, "MOST_BYTES", embedded.images.nbytes - 1)
    assert not is_worth_caching(method, source, shape, episodes=4)


@pytest.mark.parametrize("training", [True, False])
def test_the_method_is_left_as_it_came(training):
    method = lgm_net().train(training)
    state = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    before = torch.get_rng_state()
    evaluate(method, noise_store(), SHAPE, episodes=10, draws=2)
    assert all(module.training == training for module in method.modules())
    assert all(torch.equal(now, state[name]) for name, now in method.state_dict().items())
    assert all(p.grad is None for p in method.parameters())
    assert torch.equal(torch.get_rng_state(), before)


def test_the_mode_is_restored_after_a_failure():
    method = lgm_net().train()

    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(method, noise_store(), SHAPE, episodes=10, progress=stop)
    assert method.training


def test_progress_is_told_every_episode():
    done: list[int] = []
    shape = EpisodeShape(way=5, shot=2, query=100)  # 510 images a task: four at once
    evaluate(Known(0), telling_store(each=102), shape, episodes=10, progress=done.append)
    assert sum(done) == 10
    assert len(done) > 1


def test_tasks_of_the_shape_are_not_read():
    source = noise_store()
    shape = EpisodeShape(way=5, shot=1, query=3, tasks=7)
    one, other = (evaluate(lgm_net(), source, s, episodes=10) for s in (SHAPE, shape))
    assert one.scores == other.scores


def test_a_source_without_end_needs_no_store():
    source: TaskSource = SyntheticCharacters("test")
    config = LGMNetConfig(embedding_widths=(4, 4, 4, 4), encoder_width=4, target_widths=(4, 4))
    score = evaluate(LGMNet(config), source, EpisodeShape(2, 1, 1), episodes=2)
    assert score.data == "strokes"


@pytest.mark.parametrize("episodes", [1, 0, -1])
def test_an_interval_needs_two_episodes(episodes):
    with pytest.raises(ConfigError, match=f"'episodes' must be at least 2 .* but is {episodes}"):
        evaluate(Known(1), telling_store(), SHAPE, episodes=episodes)


def test_too_large_a_task_is_refused_before_anything_is_done():
    with pytest.raises(EpisodeError, match=r"way is 13, .* has 12 classes"):
        evaluate(Known(1), telling_store(), EpisodeShape(13, 1, 1), episodes=2)
