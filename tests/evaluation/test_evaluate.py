"""Evaluation: methods of known accuracy get it, with and without cached embeddings."""

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
from lgmnet.errors import ConfigError, DataError, EpisodeError
from lgmnet.evaluation import audit, cache, describe_protocol, evaluate, mean_and_ci95
from lgmnet.evaluation.cache import cache_embeddings, is_worth_caching
from lgmnet.methods import Classifier, LGMNet, Method
from lgmnet.nn.embedding import EmbeddingConfig
from tests.support.configs import lgm_net_config
from tests.support.progress import RecordedTask, record_progress

SHAPE = EpisodeShape(way=5, shot=1, query=3)


class Nearest(Classifier):
    """Predicts the label of the support sample whose first value is nearest."""

    def __init__(self, keys: Tensor, labels: Tensor, way: int, sign: float) -> None:
        super().__init__()
        self.keys, self.labels, self.way, self.sign = keys, labels, way, sign

    def forward(self, query_x: Tensor) -> Tensor:
        distance = (query_x.flatten(2)[:, :, :1] - self.keys[:, None]).abs()
        nearest = (self.sign * distance).argmin(2)
        label = self.labels.gather(1, nearest)
        return (nn.functional.one_hot(label, self.way) + 1e-9).log()


class Known(Method):
    """Method of known accuracy: 1 is always right, -1 always wrong, 0 always predicts class 0."""

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


def brightness_dataset(classes: int = 12, images: int = 6) -> ClassDataset:
    """Data set whose images have a brightness for each class."""
    values = torch.arange(classes).repeat_interleave(images) * 20
    return dataset(values.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 8, 8).clone(), images)


def noise_dataset(classes: int = 12, images: int = 6) -> ClassDataset:
    """Data set whose images do not depend on their class."""
    shape = (classes * images, 1, 8, 8)
    generator = torch.Generator().manual_seed(0)
    return dataset(torch.randint(256, shape, generator=generator, dtype=torch.uint8), images)


def dataset(images: Tensor, per_class: int) -> ClassDataset:
    names = [f"class {i}" for i in range(len(images) // per_class)]
    return ClassDataset(images, [per_class] * len(names), names, name="made up", split="all")


def lgm_net(seed: int = 0) -> LGMNet:
    config = lgm_net_config(EmbeddingConfig((1, 8, 8), widths=(6, 8), pooled=(True, False)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LGMNet(config)


@pytest.mark.parametrize(("sign", "expected"), [(1, 100), (-1, 0)])
def test_a_method_that_is_always_right_scores_100(sign, expected):
    score = evaluate(Known(sign), brightness_dataset(), SHAPE, episodes=20)
    assert score.accuracy == expected
    assert score.ci95 == 0


def test_a_constant_method_scores_1_in_way():
    score = evaluate(Known(0), brightness_dataset(), SHAPE, episodes=20)
    assert score.accuracy == pytest.approx(100 / 5)
    assert score.scores == (0.2,) * 20


def test_noise_scores_chance():
    score = evaluate(lgm_net(), noise_dataset(), SHAPE, episodes=400)
    assert score.ci95 < 2
    assert abs(score.accuracy - 20) < 1.5 * score.ci95


def test_the_interval_follows_the_formula():
    scores = np.random.default_rng(0).uniform(size=50)
    mean, ci95 = mean_and_ci95(torch.from_numpy(scores))
    assert mean == pytest.approx(scores.sum() / 50)
    spread = np.sqrt(((scores - mean) ** 2).sum() / 49)
    assert ci95 == pytest.approx(1.96 * spread / np.sqrt(50))


def test_the_score_is_the_mean_over_its_episodes():
    score = evaluate(lgm_net(), noise_dataset(), SHAPE, episodes=30, seed=3)
    assert len(score.scores) == score.episodes == 30
    assert score.accuracy == pytest.approx(100 * np.mean(score.scores))
    assert score.ci95 == pytest.approx(196 * np.std(score.scores, ddof=1) / np.sqrt(30))
    assert {round(15 * s, 6) % 1 for s in score.scores} == {0}  # of 15 queries each


def test_a_score_contains_what_is_needed_to_repeat_it():
    source = noise_dataset()
    score = evaluate(lgm_net(), source, SHAPE, episodes=5, seed=3, draws=2)
    assert (score.data, score.split, score.split_hash) == ("made up", "all", source.split_hash)
    assert (score.way, score.shot, score.query) == (5, 1, 3)
    assert (score.episodes, score.seed) == (5, 3)
    assert score.protocol == "inductive, mean of 2 draws"
    assert score.task == "5-way 1-shot"
    repeated = evaluate(lgm_net(), source, SHAPE, episodes=5, seed=3, draws=2)
    assert repeated.scores == score.scores


def test_the_seed_determines_the_tasks():
    first, second = (
        evaluate(lgm_net(), noise_dataset(), SHAPE, episodes=20, seed=seed) for seed in (0, 1)
    )
    assert first.scores != second.scores


def test_describe_protocol():
    class Transductive(Known):
        is_transductive = True

    assert describe_protocol(Known(1)) == "inductive"
    assert describe_protocol(Transductive(1)) == "transductive"
    assert describe_protocol(Known(1), draws=10) == "inductive, mean of 10 draws"


@pytest.mark.parametrize("draws", [0, 3])
def test_cached_and_uncached_embeddings_give_the_same_scores(monkeypatch, draws):
    method, source = lgm_net(), noise_dataset()
    # The package exports a function of the module's name, so an import statement finds that.
    module = import_module("lgmnet.evaluation.evaluate")
    cached_datasets = []

    def spy(method: Method, dataset: ClassDataset) -> tuple[Method, ClassDataset]:
        cached_datasets.append(dataset)
        return cache_embeddings(method, dataset)

    monkeypatch.setattr(module, "cache_embeddings", spy)
    cached = evaluate(method, source, SHAPE, episodes=40, draws=draws)
    assert cached_datasets == [source]
    monkeypatch.setattr(module, "is_worth_caching", lambda *_: False)
    uncached = evaluate(method, source, SHAPE, episodes=40, draws=draws)
    assert len(cached_datasets) == 1
    assert cached.scores == uncached.scores
    assert len(set(cached.scores)) > 2


def test_cached_embeddings_are_those_of_every_image(monkeypatch):
    monkeypatch.setattr(cache, "EMBEDDING_BATCH_SIZE", 7)
    method, source = lgm_net().eval(), noise_dataset()
    rest, embedded = cache_embeddings(method, source)
    with torch.no_grad():
        torch.testing.assert_close(embedded.images, method.embedding(source.images / 255))
    assert embedded.class_names == source.class_names
    assert torch.equal(embedded.counts, source.counts)
    assert (embedded.name, embedded.split) == (source.name, source.split)
    assert embedded.split_hash == source.split_hash
    assert isinstance(rest.embedding, nn.Identity)
    with pytest.raises(AssertionError):
        cache_embeddings(method.train(), source)


def test_embeddings_are_cached_only_if_that_is_faster_and_fits_in_memory(monkeypatch):
    method, source = lgm_net().eval(), noise_dataset(classes=12, images=6)  # 72 images
    shape = EpisodeShape(way=5, shot=1, query=3)  # 20 images per task
    assert is_worth_caching(method, source, shape, episodes=4)
    assert not is_worth_caching(method, source, shape, episodes=3)
    assert not is_worth_caching(method.without_embedding(), source, shape, episodes=4)
    assert not is_worth_caching(Known(1), source, shape, episodes=4)
    _, embedded = cache_embeddings(method, source)
    assert not is_worth_caching(method, embedded, shape, episodes=4)
    monkeypatch.setattr(cache, "MAX_CACHE_BYTES", embedded.images.nbytes)
    assert is_worth_caching(method, source, shape, episodes=4)
    monkeypatch.setattr(cache, "MAX_CACHE_BYTES", embedded.images.nbytes - 1)
    assert not is_worth_caching(method, source, shape, episodes=4)


@pytest.mark.parametrize("training", [True, False])
def test_the_method_is_not_changed(training):
    method = lgm_net().train(training)
    state = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    before = torch.get_rng_state()
    evaluate(method, noise_dataset(), SHAPE, episodes=10, draws=2)
    assert all(module.training == training for module in method.modules())
    assert all(torch.equal(tensor, state[name]) for name, tensor in method.state_dict().items())
    assert all(p.grad is None for p in method.parameters())
    assert torch.equal(torch.get_rng_state(), before)


def test_the_mode_is_restored_after_a_failure(monkeypatch):
    method = lgm_net().train()

    def stop(self: RecordedTask, n: int = 1, detail: str = "") -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(RecordedTask, "advance", stop)
    with pytest.raises(KeyboardInterrupt):
        record_progress(lambda: evaluate(method, noise_dataset(), SHAPE, episodes=10))
    assert method.training


def test_progress_counts_every_episode():
    shape = EpisodeShape(way=5, shot=2, query=100)  # 510 images per task: four tasks per batch
    source = brightness_dataset(images=102)
    (task,) = record_progress(lambda: evaluate(Known(0), source, shape, episodes=10))
    assert (task.description, task.total) == ("episodes", 10)
    assert task.advances == [4, 4, 2]


def test_the_number_of_tasks_of_the_shape_is_ignored():
    source = noise_dataset()
    shape = EpisodeShape(way=5, shot=1, query=3, tasks=7)
    first, second = (evaluate(lgm_net(), source, s, episodes=10) for s in (SHAPE, shape))
    assert first.scores == second.scores


def test_an_infinite_source_is_scored():
    source: TaskSource = SyntheticCharacters("test")
    config = lgm_net_config(EmbeddingConfig(widths=(4,) * 4), encoder_width=4, target_widths=(4, 4))
    score = evaluate(LGMNet(config), source, EpisodeShape(2, 1, 1), episodes=2)
    assert score.data == "strokes"


@pytest.mark.parametrize("episodes", [1, 0, -1])
def test_fewer_than_two_episodes_are_refused(episodes):
    with pytest.raises(ConfigError, match=f"'episodes' must be at least 2 .* but is {episodes}"):
        evaluate(Known(1), brightness_dataset(), SHAPE, episodes=episodes)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("measure", [evaluate, audit])
def test_the_name_of_data_is_no_source(measure):
    with pytest.raises(DataError, match=r"a source of tasks, but got 'digits'. Open .*open_source"):
        measure(Known(1), "digits", shape=SHAPE, episodes=2)


def test_a_task_that_is_too_large_is_refused():
    with pytest.raises(EpisodeError, match=r"way is 13, .* has 12 classes"):
        evaluate(Known(1), brightness_dataset(), EpisodeShape(13, 1, 1), episodes=2)
