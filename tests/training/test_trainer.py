"""The trainer: what it learns, keeps, logs, and how it survives being stopped."""

from __future__ import annotations

import csv
import dataclasses
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from safetensors import safe_open
from torch.nn.modules.module import register_module_forward_hook

from lgmnet.config import with_settings
from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.sampler import Sampler
from lgmnet.data.synthetic.characters import SyntheticCharacters
from lgmnet.episode import EpisodeShape
from lgmnet.errors import ConfigError, EpisodeError
from lgmnet.experiments.recipes import RECIPES
from lgmnet.experiments.recipes.rivals import embedding_of
from lgmnet.io import CHECKSUM
from lgmnet.methods import METHODS, FineTuneConfig, LGMNetConfig, ProtoNetConfig
from lgmnet.model.model import load_model
from lgmnet.model.registry import WEIGHTS_FILE
from lgmnet.training import launch, trainer
from lgmnet.training.config import Run, TrainConfig
from lgmnet.training.state import read_training_cost
from lgmnet.training.trainer import STATE, fit, learning_rate

TINY = LGMNetConfig(
    embedding_widths=(8, 8),
    embedding_pooled=(True, True),
    encoder_width=8,
    context=4,
    target_widths=(8, 8),
)
RUN = Run(
    recipe="tiny",
    method="lgm-net",
    config=TINY,
    data="strokes",
    split="train",
    val_split="val",
    train=TrainConfig(
        steps=12,
        tasks=2,
        way=4,
        query=2,
        warmup=2,
        val_way=4,
        val_query=2,
        val_episodes=8,
        val_every=6,
        save_every=5,
        log_every=3,
        precision="32-true",
    ),
)
SETTINGS = [
    "embedding_widths=[8,8]",
    "embedding_pooled=[true,true]",
    "encoder_width=8",
    "context=4",
    "target_widths=[8,8]",
    "tasks=2",
    "way=4",
    "query=2",
    "val_way=4",
    "val_query=2",
    "val_episodes=8",
    "val_every=40",
    "save_every=10",
    "warmup=2",
]
# Long enough to be caught in the middle of it.
STEPS = ["--steps", "60"]


class Interrupted(SyntheticCharacters):
    """A source that breaks off the run at its n-th batch, as a kill would."""

    def __init__(self, batches: int) -> None:
        super().__init__("train")
        self.left = batches

    def draw(self, shape, generator, out) -> None:
        if self.left == 0:
            raise ConnectionAbortedError
        self.left -= 1
        super().draw(shape, generator, out)


def train(
    out: Path, run: Run = RUN, source: SyntheticCharacters | None = None, *, resume: bool = False
):
    fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
    model = fit(
        fabric,
        run,
        source or SyntheticCharacters("train"),
        SyntheticCharacters("val"),
        out,
        resume=resume,
    )
    assert model is not None
    return model


def command(out: Path, *more: str) -> list[str]:
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    line = ["train", "omniglot", "--data", "strokes", "--out", str(out), "--accelerator", "cpu"]
    return [sys.executable, "-m", "lgmnet.cli", *line, *settings, *more]


def lasting(about: dict[str, str]) -> dict[str, str]:
    """What a file says beside its tensors, without what a clock said."""
    return {name: value for name, value in about.items() if name not in ("seconds", CHECKSUM)}


def assert_same_run(a: Path, b: Path) -> None:
    """Weights, optimiser, generators and story are the same to the bit."""
    for name in (WEIGHTS_FILE, STATE):
        with safe_open(a / name, "pt") as one, safe_open(b / name, "pt") as other:
            assert lasting(one.metadata()) == lasting(other.metadata())
            assert set(one.keys()) == set(other.keys())
            for key in one.keys():  # noqa: SIM118
                assert torch.equal(one.get_tensor(key), other.get_tensor(key)), (name, key)
    assert (a / "config.json").read_text() == (b / "config.json").read_text()


@pytest.mark.parametrize("broken_at", [5, 8, 11])
@pytest.mark.parametrize("settings", [[], ["class_detectors=2", "class_dropout=0.5"]])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path, broken_at, settings):
    run = with_settings(RUN, settings)
    train(tmp_path / "whole", run)
    torch.rand(1)  # What else the program draws at random has no part in a run.
    with pytest.raises(ConnectionAbortedError):
        train(tmp_path / "broken", run, Interrupted(broken_at))
    train(tmp_path / "broken", run, resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "broken")


def test_a_kill_costs_at_most_the_steps_since_the_last_checkpoint(tmp_path):
    with pytest.raises(ConnectionAbortedError):
        train(tmp_path, source=Interrupted(9))
    source = Interrupted(7)  # the twelve steps less the five of the checkpoint
    train(tmp_path, source=source, resume=True)
    assert source.left == 0


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """A run by the command line that nobody disturbed."""
    whole = tmp_path_factory.mktemp("run") / "whole"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(command(whole, *STEPS), check=True, env=environment, capture_output=True)
    return whole


@pytest.mark.slow
@pytest.mark.parametrize("killer", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_was_killed_goes_on(tmp_path, whole_run, killer):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    broken = tmp_path / "broken"
    process = subprocess.Popen(command(broken, *STEPS), env=environment, stderr=subprocess.PIPE)
    while not (broken / STATE).exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.send_signal(killer)
    _, words = process.communicate()
    if killer == signal.SIGINT:
        assert process.returncode == 130
        assert b"--resume" in words
    else:
        assert process.returncode == -signal.SIGKILL
    subprocess.run(
        command(broken, *STEPS, "--resume"), check=True, env=environment, capture_output=True
    )
    assert_same_run(whole_run, broken)


def test_the_weights_that_are_best_on_validation_are_kept(tmp_path, monkeypatch):
    real = trainer.validate
    accuracies = iter([50.0, 70.0, 60.0])
    seen = []

    def scripted(method, source, config):
        seen.append({name: t.clone() for name, t in method.state_dict().items()})
        return dataclasses.replace(real(method, source, config), accuracy=next(accuracies))

    monkeypatch.setattr(trainer, "validate", scripted)
    run = with_settings(RUN, ["steps=18"])
    model = train(tmp_path, run)
    assert (model.training.step, model.training.val_accuracy) == (12, 70.0)
    for name, tensor in model.method.state_dict().items():
        assert torch.equal(tensor, seen[1][name]), name
    assert not torch.equal(seen[1]["log_scale"], seen[2]["log_scale"])


def test_it_learns(tmp_path):
    run = with_settings(RUN, ["steps=150", "val_every=150", "val_episodes=100", "tasks=4"])
    accuracy = train(tmp_path, run).training.val_accuracy
    untrained = with_settings(run, ["steps=1", "learning_rate=1e-9"])
    before = train(tmp_path / "untrained", untrained).training.val_accuracy
    assert accuracy > before + 5, (before, accuracy)


def test_a_run_in_the_folder_is_not_overwritten(tmp_path):
    train(tmp_path)
    before = (tmp_path / STATE).read_bytes()
    with pytest.raises(ConfigError, match="--resume"):
        train(tmp_path)
    assert (tmp_path / STATE).read_bytes() == before


def test_only_the_same_run_can_be_resumed(tmp_path):
    train(tmp_path)
    other = with_settings(RUN, ["learning_rate=0.5", "context=8"])
    with pytest.raises(ConfigError, match=r"config\.context: 4 -> 8.*learning_rate"):
        train(tmp_path, other, resume=True)


def test_a_batch_that_cannot_be_is_refused_before_anything_is_written(tmp_path, store):
    fabric = Fabric(accelerator="cpu", devices=1)
    with pytest.raises(EpisodeError, match="6 classes"):
        fit(fabric, with_settings(RUN, ["way=7"]), store, store, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def store():
    from lgmnet.data.class_dataset import ClassDataset

    images = torch.zeros(6 * 9, 1, 28, 28, dtype=torch.uint8)
    return ClassDataset(images, [9] * 6, list("abcdef"), name="few", split="train")


def test_logs_and_files(tmp_path):
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
    assert suffixes == {".safetensors", ".json", ".md"}, "no pickle, nothing half-written"
    card = (tmp_path / "README.md").read_text()
    for fact in ("strokes", "`train`", model.training.split_hash, "`val`", "4-way 1-shot"):
        assert fact in card
    again = load_model(tmp_path)
    assert again.training == model.training


def test_learning_rate_rises_then_follows_a_cosine_to_zero():
    config = TrainConfig(steps=1000, warmup=100, learning_rate=0.2)
    assert learning_rate(config, 0) == pytest.approx(0.002)
    assert learning_rate(config, 500) == pytest.approx(0.1)
    for step in (100, 250, 999):
        cosine = 0.2 * 0.5 * (1 + math.cos(math.pi * step / 1000))
        assert learning_rate(config, step) == pytest.approx(cosine)


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [({"amx_bf16": True}, "bf16-mixed"), ({"amx_bf16": False, "avx512_f": True}, "32-true")],
)
def test_bf16_only_where_the_processor_computes_in_it(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert launch.precision("cpu") == expected


@pytest.mark.parametrize(
    ("precision", "expected"), [("bf16-mixed", torch.bfloat16), ("32-true", torch.float32)]
)
def test_a_step_computes_in_the_precision_asked_for(tmp_path, precision, expected):
    computed = set()

    def note(module, inputs, output):
        if isinstance(module, torch.nn.Conv2d) and module.training:
            computed.add(output.dtype)

    run = with_settings(RUN, [f"precision={precision}"])
    with register_module_forward_hook(note):
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


@pytest.mark.parametrize("field", ["steps=0", "learning_rate=-1", "way=1", "val_episodes=1"])
def test_a_config_that_cannot_be_names_its_field(field):
    with pytest.raises((ConfigError, EpisodeError), match=field.split("=")[0]):
        with_settings(RUN, [field])


def test_a_run_can_start_from_a_model(tmp_path):
    first = train(tmp_path / "first")
    run = dataclasses.replace(RUN, start=str(tmp_path / "first"))
    run = with_settings(run, ["steps=1", "learning_rate=1e-9", "val_every=1"])
    second = train(tmp_path / "second", run)
    assert second.training.start == str(tmp_path / "first")
    assert f"from the weights of `{tmp_path / 'first'}`" in second.card
    assert second.training.training_splits == ("strokes:train", "strokes:train")
    before, after = first.method.state_dict(), second.method.state_dict()
    for name, parameter in first.method.named_parameters():
        torch.testing.assert_close(after[name], parameter.detach(), rtol=0, atol=1e-6)
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_a_run_cannot_start_from_a_model_of_another_config(tmp_path):
    train(tmp_path / "first")
    run = dataclasses.replace(RUN, start=str(tmp_path / "first"))
    for wrong in (with_settings(run, ["context=5"]), with_settings(run, ["intertask_norm=false"])):
        with pytest.raises(ConfigError, match="do not fit a lgm-net of the config"):
            train(tmp_path / "second", wrong)
    rival = dataclasses.replace(
        run, method="proto-net", config=ProtoNetConfig(**embedding_of(RUN.config))
    )
    with pytest.raises(ConfigError, match="do not fit a proto-net"):
        train(tmp_path / "second", rival)
    assert not (tmp_path / "second").exists()


def test_what_has_no_weights_may_differ_from_the_start(tmp_path):
    train(tmp_path / "first", with_settings(RUN, ["align=0.5"]))
    run = dataclasses.replace(RUN, start=str(tmp_path / "first"))
    larger = with_settings(run, ["align=0.5", "canvas=36", "views=2", "learning_rate=1e-9"])
    second = train(tmp_path / "second", larger)
    assert (second.method.config.canvas, second.method.config.views) == (36, 2)
    for name, parameter in load_model(tmp_path / "first").method.named_parameters():
        torch.testing.assert_close(dict(second.method.named_parameters())[name], parameter)


def test_without_validation_classes_the_last_weights_are_kept(tmp_path):
    run = dataclasses.replace(RUN, val_split=None)
    fabric = Fabric(accelerator="cpu", devices=1)
    model = fit(fabric, run, SyntheticCharacters("train"), None, tmp_path / "out")
    assert model is not None
    assert (model.training.step, model.training.val_split) == (12, None)
    validated = train(tmp_path / "validated", with_settings(RUN, ["val_every=12"]))
    assert validated.training.step == 12
    for name, tensor in model.method.state_dict().items():
        assert torch.equal(tensor, validated.method.state_dict()[name]), name
    card = (tmp_path / "out" / "README.md").read_text()
    assert "step 12 (last step)" in card
    assert "Validation: none; the run also trains on the validation classes" in card


@pytest.mark.parametrize("name", ["proto-net", "matching-net", "maml"])
def test_rivals_train_by_the_same_trainer(name, tmp_path):
    config = METHODS[name].config_type(**embedding_of(RUN.config))
    run = dataclasses.replace(RUN, method=name, config=config)
    model = train(tmp_path, with_settings(run, ["steps=30", "val_every=30", "val_episodes=50"]))
    assert model.method_name == name
    assert model.training.val_accuracy > 30, "better than chance at 4-way"
    assert isinstance(load_model(tmp_path).method, METHODS[name])


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_can_be_built(name):
    run = RECIPES[name]()
    assert METHODS[run.method](run.config).config == run.config
    assert run.train.shape.samples > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cifar-fs", "cifar-fs-resnet12"])
def test_recipes_of_photos_train(name, tmp_path):
    """A few steps on noise, as the data is not everywhere."""
    noise = torch.randint(256, (60, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    store = ClassDataset(noise.byte(), [10] * 6, list("abcdef"), name="noise", split="train")
    run = with_settings(
        RECIPES[name](),
        [
            "train.steps=2",
            "tasks=1",
            "way=3",
            "query=1",
            "most_shot=2",
            "val_way=3",
            "val_query=1",
            "val_episodes=2",
            "precision=32-true",
        ],
    )
    fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
    model = fit(fabric, run, store, store, tmp_path)
    assert model is not None
    assert model.training.step == 2
    assert load_model(tmp_path).method.config == run.config


def test_an_embedding_is_pretrained_by_the_same_trainer(tmp_path):
    episode = Sampler(SyntheticCharacters("train"), torch.Generator().manual_seed(0)).sample(
        EpisodeShape(way=8, shot=1, query=9)
    )
    shown, asked = episode.support_x[0].unflatten(0, (8, 1)), episode.query_x[0]
    images = torch.cat([shown, asked.unflatten(0, (8, 9))], 1)
    store = ClassDataset(
        (255 * images.flatten(0, 1)).byte(), [10] * 8, list("abcdefgh"), name="few", split="train"
    )
    config = FineTuneConfig(**embedding_of(RUN.config), classes=8, steps=20)
    run = dataclasses.replace(RUN, method="fine-tune", config=config)
    run = with_settings(run, ["train.steps=60", "val_every=60", "val_episodes=50", "way=8"])
    fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
    model = fit(fabric, run, store, SyntheticCharacters("val"), tmp_path)
    assert model is not None
    assert model.training.val_accuracy > 40, "better than chance at 4-way"
    before = METHODS["fine-tune"](config).state_dict()["head.weight"]
    assert not torch.equal(model.method.state_dict()["head.weight"], before)
    with pytest.raises(ConfigError, match="'classes' must be at least"):
        fit(
            fabric,
            dataclasses.replace(run, config=dataclasses.replace(config, classes=2)),
            store,
            SyntheticCharacters("val"),
            tmp_path / "too few",
        )


def test_each_step_draws_its_shot_and_the_images_are_counted(tmp_path):
    mixed = dataclasses.replace(RUN.train, most_shot=3)
    generator = torch.Generator().manual_seed(0)
    shots = {mixed.draw_shape(generator).shot for _ in range(50)}
    assert shots == {1, 2, 3}
    train(tmp_path / "fixed")
    cost = read_training_cost(tmp_path / "fixed" / STATE)
    assert (cost.step, cost.images) == (12, 12 * 2 * 4 * 3)
    assert 0 < cost.seconds < 300
    train(tmp_path / "mixed", dataclasses.replace(RUN, train=mixed))
    images = read_training_cost(tmp_path / "mixed" / STATE).images
    assert 12 * 2 * 4 * 3 < images < 12 * 2 * 4 * 5
    with pytest.raises(ConfigError, match=r"'most_shot' must be at least 'shot', 4"):
        TrainConfig(shot=4, most_shot=3)
