"""The trainer: what it learns, keeps, logs and reports."""

from __future__ import annotations

import csv
import dataclasses
import math
import re
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch.nn.modules.module import register_module_forward_hook

from lgmnet.config import with_settings
from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.sampler import Sampler
from lgmnet.data.synthetic.characters import SyntheticCharacters
from lgmnet.data.synthetic.criterion_pool import CriterionPool
from lgmnet.errors import ConfigError, EpisodeError, UserError
from lgmnet.experiments.recipes import RECIPES
from lgmnet.methods import (
    METHODS,
    FineTuneConfig,
    LGMNet,
    LGMNetConfig,
    ProtoNet,
    ProtoNetConfig,
)
from lgmnet.methods.base import TrainingFactors
from lgmnet.model.model import load_model
from lgmnet.nn.axes import AxisGroup
from lgmnet.nn.embedding import EmbeddingConfig, vector_embedding
from lgmnet.nn.label_context import LabelContextConfig
from lgmnet.nn.layer_axes import AxesConfig
from lgmnet.nn.matching import HeadConfig
from lgmnet.nn.target import TargetConfig
from lgmnet.tensor_file import read_tensors
from lgmnet.training import launch, trainer
from lgmnet.training.config import OptimizerConfig, TrainConfig
from lgmnet.training.launch import open_training_sources
from lgmnet.training.progress import TrainingMetrics
from lgmnet.training.state import KIND, VERSION, read_training_cost
from lgmnet.training.trainer import STATE_FILE, fit, learning_rate
from tests.support.criteria import small_table
from tests.support.progress import record_progress
from tests.support.random import seeded
from tests.training.runs import RUN, InterruptedCharacters, draw_classes, train


def test_the_weights_that_are_best_on_validation_are_kept(tmp_path, monkeypatch):
    validate = trainer.validate
    accuracies = iter([50.0, 70.0, 60.0])
    states = []

    def return_next_accuracy(method, source, config):
        states.append({name: t.clone() for name, t in method.state_dict().items()})
        return dataclasses.replace(validate(method, source, config), accuracy=next(accuracies))

    monkeypatch.setattr(trainer, "validate", return_next_accuracy)
    run = with_settings(RUN, ["steps=18"])
    model = train(tmp_path, run)
    assert (model.training.step, model.training.val_accuracy) == (12, 70.0)
    for name, tensor in model.method.state_dict().items():
        assert torch.equal(tensor, states[1][name]), name
    assert not torch.equal(states[1]["log_scale"], states[2]["log_scale"])


def test_training_raises_the_accuracy(tmp_path):
    run = with_settings(RUN, ["steps=150", "every=150", "episodes=100", "tasks=4"])
    after = train(tmp_path / "trained", run).training.val_accuracy
    untrained = with_settings(run, ["steps=1", "learning_rate=1e-9"])
    before = train(tmp_path / "untrained", untrained).training.val_accuracy
    assert after > before + 5, (before, after)


def test_impossible_tasks_are_refused_before_anything_is_written(tmp_path):
    fabric = Fabric(accelerator="cpu", devices=1)
    classes = draw_classes()
    with pytest.raises(EpisodeError, match="8 classes"):
        fit(fabric, with_settings(RUN, ["way=9"]), classes, classes, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_writes_its_model_and_its_logs(tmp_path):
    model = launch.launch(
        RUN, SyntheticCharacters("train"), SyntheticCharacters("val"), tmp_path, accelerator="cpu"
    )
    assert model is not None
    with (tmp_path / "logs" / "csv-from-step-0" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows if row["train/loss"]] == [3, 6, 9, 12]
    assert [int(row["step"]) for row in rows if row["val/accuracy"]] == [6, 12]
    assert list((tmp_path / "logs" / "tensorboard").glob("events*"))
    suffixes = {path.suffix for path in tmp_path.iterdir() if path.is_file()}
    assert suffixes == {".safetensors", ".json", ".md"}, "no pickle and no partial files"
    card = (tmp_path / "README.md").read_text()
    for fact in ("strokes", "`train`", model.training.split_hash, "`val`", "4-way 1-shot"):
        assert fact in card
    assert load_model(tmp_path).training == model.training


def test_metrics_are_means_since_the_last_call():
    metrics = TrainingMetrics(tasks=3)
    log_p = torch.tensor([[[0.0, -1.0], [-1.0, 0.0]]])
    labels = torch.tensor([[0, 0]])
    for loss in (1.0, 2.0):
        metrics.add_step(torch.tensor(loss), log_p, labels)
    values = metrics.compute(learning_rate=0.25)
    assert values["train/loss"] == pytest.approx(1.5)
    assert values["train/accuracy"] == pytest.approx(50)
    assert values["train/learning_rate"] == 0.25
    assert values["train/episodes_per_second"] > 0
    metrics.add_step(torch.tensor(4.0), log_p, torch.tensor([[0, 1]]))
    values = metrics.compute(learning_rate=0.25)
    assert values["train/loss"] == pytest.approx(4)
    assert values["train/accuracy"] == pytest.approx(100)


def test_training_reports_its_progress(tmp_path):
    """A resumed run starts at the step of its checkpoint."""

    def train_twice() -> None:
        with pytest.raises(ConnectionAbortedError):
            train(tmp_path, source=InterruptedCharacters(9))
        train(tmp_path, resume=True)

    tasks = record_progress(train_twice)
    first, second = (task for task in tasks if task.description == "training")
    assert first.total == second.total == 12
    assert sum(first.advances) == 9
    assert second.advances == [5, *[1] * 7]
    starts = [line.split(":")[0] for line in second.lines]
    assert starts == ["step 6", "step 12"]
    assert "validation 4-way 1-shot" in second.lines[0]


def test_the_learning_rate_rises_and_then_follows_a_cosine_to_zero():
    config = TrainConfig(steps=1000, optimizer=OptimizerConfig(learning_rate=0.2, warmup=100))
    assert learning_rate(config, 0) == pytest.approx(0.002)
    assert learning_rate(config, 500) == pytest.approx(0.1)
    for step in (100, 250, 999):
        cosine = 0.2 * 0.5 * (1 + math.cos(math.pi * step / 1000))
        assert learning_rate(config, step) == pytest.approx(cosine)


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [({"amx_bf16": True}, "bf16-mixed"), ({"amx_bf16": False, "avx512_f": True}, "32-true")],
)
def test_bf16_is_chosen_only_where_the_processor_computes_in_it(
    monkeypatch, capabilities, expected
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert launch.choose_precision("cpu") == expected


@pytest.mark.parametrize(
    ("precision", "expected"), [("bf16-mixed", torch.bfloat16), ("32-true", torch.float32)]
)
def test_a_step_computes_in_the_precision_of_the_run(tmp_path, precision, expected):
    computed = set()

    def note_type(module, inputs, output):
        if isinstance(module, torch.nn.Conv2d) and module.training:
            computed.add(output.dtype)

    run = with_settings(RUN, [f"precision={precision}"])
    with register_module_forward_hook(note_type):
        model = launch.launch(
            run,
            SyntheticCharacters("train"),
            SyntheticCharacters("val"),
            tmp_path,
            accelerator="cpu",
        )
    assert computed == {expected}
    assert model is not None
    assert all(t.dtype == torch.float32 for t in model.method.parameters())
    assert all(t.isfinite().all() for t in model.method.state_dict().values())


def test_a_run_can_start_from_a_model(tmp_path):
    first = train(tmp_path / "first")
    run = dataclasses.replace(RUN, start=str(tmp_path / "first"))
    run = with_settings(run, ["steps=1", "learning_rate=1e-9", "every=1"])
    second = train(tmp_path / "second", run)
    assert second.training.start == str(tmp_path / "first")
    card = (tmp_path / "second" / "README.md").read_text()
    assert f"from the weights of `{tmp_path / 'first'}`" in card
    assert second.training.training_splits == ("strokes:train", "strokes:train")
    before, after = first.method.state_dict(), second.method.state_dict()
    for name, parameter in first.method.named_parameters():
        torch.testing.assert_close(after[name], parameter.detach(), rtol=0, atol=1e-6)
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_a_run_cannot_start_from_a_model_with_another_config(tmp_path):
    train(tmp_path / "first")
    run = dataclasses.replace(RUN, start=str(tmp_path / "first"))
    for setting in ("context.length=5", "embedding.norm=sample"):
        with pytest.raises(ConfigError, match="do not fit a lgm-net with the config"):
            train(tmp_path / "second", with_settings(run, [setting]))
    rival = dataclasses.replace(
        run, method="proto-net", config=ProtoNetConfig(RUN.config.embedding)
    )
    with pytest.raises(ConfigError, match="do not fit a proto-net"):
        train(tmp_path / "second", rival)
    assert not (tmp_path / "second").exists()


def test_parts_without_weights_may_differ_from_the_model_to_start_from(tmp_path):
    train(tmp_path / "first", with_settings(RUN, ["alignment.power=0.5"]))
    run = dataclasses.replace(RUN, start=str(tmp_path / "first"))
    settings = ["alignment.power=0.5", "alignment.canvas=36", "alignment.views=2"]
    second = train(tmp_path / "second", with_settings(run, [*settings, "learning_rate=1e-9"]))
    alignment = second.method.config.embedding.alignment
    assert (alignment.canvas, alignment.views) == (36, 2)
    parameters = dict(second.method.named_parameters())
    for name, parameter in load_model(tmp_path / "first").method.named_parameters():
        torch.testing.assert_close(parameters[name], parameter)


def test_without_validation_classes_the_last_weights_are_kept(tmp_path):
    model = train(tmp_path / "out", dataclasses.replace(RUN, val_split=None))
    assert (model.training.step, model.training.val_split) == (12, None)
    validated = train(tmp_path / "validated", with_settings(RUN, ["every=12"]))
    assert validated.training.step == 12
    for name, tensor in model.method.state_dict().items():
        assert torch.equal(tensor, validated.method.state_dict()[name]), name
    card = (tmp_path / "out" / "README.md").read_text()
    assert re.search(r"step 12\b.*\blast\b", card)
    assert "Validation: none" in card


@pytest.mark.parametrize("name", ["proto-net", "matching-net", "maml"])
def test_the_same_trainer_trains_the_rivals(name, tmp_path):
    config = METHODS[name].config_type(RUN.config.embedding)
    run = dataclasses.replace(RUN, method=name, config=config)
    run = with_settings(run, ["steps=30", "every=30", "episodes=50"])
    model = train(tmp_path, run)
    assert model.method_name == name
    assert model.training.val_accuracy > 30, "better than chance at 4-way"
    assert isinstance(load_model(tmp_path).method, METHODS[name])
    before = trainer.set_up(run, None, SyntheticCharacters("train"), rank=0)[0].method
    for parameter_name, parameter in before.named_parameters():
        is_same = torch.equal(parameter, model.method.get_parameter(parameter_name))
        assert is_same != parameter.requires_grad, parameter_name


@pytest.mark.parametrize("name", ["from-scratch", "random-weights"])
def test_methods_without_training_are_saved_as_models(name, tmp_path):
    config = METHODS[name].config_type(RUN.config.embedding)
    model = train(tmp_path, dataclasses.replace(RUN, method=name, config=config))
    assert model.training.step == 0
    assert isinstance(load_model(tmp_path).method, METHODS[name])
    assert not (tmp_path / STATE_FILE).exists()


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_builds_its_method(name):
    run = RECIPES[name]()
    assert METHODS[run.method](run.config).config == run.config
    assert run.train.shape.samples > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cifar-fs", "cifar-fs-resnet12"])
def test_recipes_of_photos_train(name, tmp_path):
    """Two steps on noise, since the data may not be installed."""
    pixels = torch.randint(256, (60, 3, 32, 32), generator=seeded()).byte()
    source = ClassDataset(pixels, [10] * 6, list("abcdef"), name="noise", split="train")
    run = with_settings(
        RECIPES[name](),
        [
            *("train.steps=2", "tasks=1", "way=3", "query=1", "max_shot=2"),
            *("validation.way=3", "validation.query=1", "validation.episodes=2"),
            "precision=32-true",
        ],
    )
    fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
    model = fit(fabric, run, source, source, tmp_path)
    assert model is not None
    assert model.training.step == 2
    assert load_model(tmp_path).method.config == run.config


@pytest.mark.pack("omniglot105")
def test_the_recipe_of_drawings_by_criterion_trains(tmp_path):
    settings = (
        *("train.steps=3", "tasks=2", "query=2", "max_shot=2", "precision=32-true"),
        *("embedding.widths=[8, 8, 8, 8]", "labels.width=8"),
        *("validation.shot=1", "validation.query=1", "validation.episodes=4"),
    )
    run = with_settings(RECIPES["criteria-drawings"](), settings)
    fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
    model = fit(fabric, run, *open_training_sources(run), tmp_path)
    assert model is not None
    assert (model.training.data, model.training.split) == ("criteria-drawings", "lake/train")
    assert model.training.val_split == "lake/val"


def test_the_same_trainer_pretrains_an_embedding(tmp_path):
    """Only the training state holds the head of the training classes."""
    config = FineTuneConfig(RUN.config.embedding, steps=20)
    run = dataclasses.replace(RUN, method="fine-tune", config=config)
    run = with_settings(run, ["train.steps=60", "every=60", "episodes=50", "way=8"])
    source = draw_classes()
    model = train(tmp_path, run, source)
    assert model.training.val_accuracy > 40, "better than chance at 4-way"
    assert not any(name.startswith("head") for name in model.method.state_dict())

    method = trainer.set_up(run, None, source, rank=0)[0].method
    episode = Sampler(source, seeded()).sample(run.train.shape)
    with torch.no_grad():
        before, _ = method.learn(episode)
        tensors, _ = read_tensors(tmp_path / STATE_FILE, KIND, VERSION)
        assert tensors["model.head.weight"].shape == (8, 8 * 7 * 7)
        prefix = "model."
        method.load_state_dict(
            {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        )
        after, _ = method.learn(episode)
    assert before.item() == pytest.approx(math.log(8), rel=0.2)
    assert after < before / 2


def test_classification_of_training_classes_needs_a_finite_set_of_them(tmp_path):
    rival = dataclasses.replace(
        RUN, method="fine-tune", config=FineTuneConfig(RUN.config.embedding)
    )
    for run in (rival, with_settings(RUN, ["auxiliary.weight=0.5"])):
        with pytest.raises(ConfigError, match="no fixed set of classes"):
            train(tmp_path / run.method, run)


def test_a_method_can_prepare_for_tasks_by_criterion(tmp_path, monkeypatch):
    """It gets all samples as they are stored, and what is known of each."""
    table = small_table(images=60, versions=3, held_out=False)
    samples = torch.randn(len(table), 6, generator=seeded()).half()
    pool = CriterionPool(samples, table, ["a"], name="pool", split="train")
    calls: list[tuple[torch.Tensor, TrainingFactors]] = []

    def prepare(self: ProtoNet, samples: torch.Tensor, factors: TrainingFactors) -> None:
        calls.append((samples, factors))

    def refuse(self: ProtoNet, *arguments: Any) -> None:
        raise AssertionError("it is for classes")

    monkeypatch.setattr(ProtoNet, "prepare_for_criteria", prepare)
    monkeypatch.setattr(ProtoNet, "prepare", refuse)
    run = dataclasses.replace(
        RUN, method="proto-net", config=ProtoNetConfig(vector_embedding(6, 8)), val_split=None
    )
    settings = ["train.steps=2", "jitter=null", "way=3", "min_way=2", "max_shot=3"]
    fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
    assert fit(fabric, with_settings(run, settings), pool, None, tmp_path) is not None
    ((prepared, factors),) = calls
    assert torch.equal(prepared, samples)
    assert factors.names == tuple(factor.name for factor in table.factors)
    assert torch.equal(factors.labels("tint"), table.values[:, table.column("tint")])
    assert torch.equal(factors.images, table.images)
    assert torch.equal(factors.groups, table.groups)


def test_training_goes_on_with_samples_that_were_embedded_before_it(tmp_path):
    """What embeds them is fitted and then frozen; the kept model embeds new samples itself."""
    table = small_table(images=60, versions=3, held_out=False)
    samples = torch.randn(len(table), 6, generator=seeded()).half()
    pool = CriterionPool(samples, table, ["a"], name="pool", split="train")
    axes = AxesConfig((AxisGroup("all", 0, 6, 4),), None)
    config = LGMNetConfig(
        EmbeddingConfig((6,), "linear", (), (), axes=axes),
        TargetConfig((), pooled=False, gains=True),
        HeadConfig("ridge"),
        context=None,
        labels=LabelContextConfig(width=8, hidden=8),
    )
    run = dataclasses.replace(RUN, method="lgm-net", config=config, val_split="val")
    settings = ["train.steps=20", "every=10", "episodes=20", "jitter=null", "way=2", "max_shot=3"]
    run = with_settings(run, settings)
    fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
    whole = fit(fabric, run, pool, pool, tmp_path / "whole")
    assert whole is not None
    fresh, embedded = trainer.set_up(run, None, pool, rank=0)
    assert embedded is not None
    torch.testing.assert_close(embedded, fresh.method.embedding(samples.float()))
    trained = whole.method.state_dict()
    for name, tensor in fresh.method.state_dict().items():
        is_frozen = name.startswith("embedding.")
        assert torch.equal(tensor, trained[name]) or not is_frozen, name
    assert any(not torch.equal(t, trained[n]) for n, t in fresh.method.state_dict().items())


def test_each_step_draws_its_shot_and_images_are_counted(tmp_path):
    mixed = dataclasses.replace(RUN.train, max_shot=3)
    generator = seeded()
    shots = {mixed.draw_shape(generator).shot for _ in range(50)}
    assert shots == {1, 2, 3}
    train(tmp_path / "fixed")
    cost = read_training_cost(tmp_path / "fixed" / STATE_FILE)
    assert (cost.step, cost.images) == (12, 12 * 2 * 4 * 3)
    assert 0 < cost.seconds < 300
    train(tmp_path / "mixed", dataclasses.replace(RUN, train=mixed))
    images = read_training_cost(tmp_path / "mixed" / STATE_FILE).images
    assert 12 * 2 * 4 * 3 < images < 12 * 2 * 4 * 5


def diverge_at(step: int, factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Multiply the loss of a step, counted from 1."""
    learn, n_steps = LGMNet.learn, 0

    def learn_and_diverge(self: LGMNet, *arguments: Any) -> Any:
        nonlocal n_steps
        n_steps += 1
        loss, log_p = learn(self, *arguments)
        return (loss * factor if n_steps == step else loss), log_p

    monkeypatch.setattr(LGMNet, "learn", learn_and_diverge)


@pytest.mark.parametrize("factor", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_what_was_saved(
    factor, tmp_path, monkeypatch
):
    """The checkpoint is saved at step 5, and the best model at step 6."""
    out = tmp_path / "out"
    diverge_at(9, factor, monkeypatch)
    with pytest.raises(UserError, match=f"loss of step 9 is {factor}.*--from '{out}'") as caught:
        train(out)
    for advice in ("--set learning_rate", "--set warmup", "--set precision=32-true"):
        assert advice in str(caught.value)
    model = load_model(out)
    assert model.training.step == 6
    assert all(bool(t.isfinite().all()) for t in model.method.state_dict().values())
    assert read_training_cost(out / STATE_FILE).step == 5


def test_a_run_that_diverges_before_a_model_is_saved_says_so(tmp_path, monkeypatch):
    diverge_at(1, math.nan, monkeypatch)
    with pytest.raises(UserError, match="no model was saved yet"):
        train(tmp_path / "out")
