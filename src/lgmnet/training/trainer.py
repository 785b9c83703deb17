"""The trainer: setup, fit, validate, save. Any method, any source, one or many processes."""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from lightning_fabric import Fabric
from torch import Tensor

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.sampler import Sampler
from lgmnet.data.task_source import TaskSource, check_feature_shape
from lgmnet.devices import keep_freed_memory
from lgmnet.episode import Episode
from lgmnet.errors import ConfigError
from lgmnet.evaluation.evaluate import Score, evaluate
from lgmnet.io import make_folder
from lgmnet.methods import METHODS
from lgmnet.methods.base import Method
from lgmnet.model.model import Model, load_model, save_model
from lgmnet.model.training_record import TrainingRecord
from lgmnet.training.config import Run, TrainConfig
from lgmnet.training.progress import StopRequest, TrainingProgress
from lgmnet.training.state import TrainState, load_state, save_state

STATE = "training.safetensors"


def fit(
    fabric: Fabric,
    run: Run,
    train_source: TaskSource,
    val_source: TaskSource | None,
    out: Path,
    *,
    resume: bool = False,
) -> Model | None:
    """Train a method and keep the weights that are best on validation classes.

    Without validation classes, the weights of the last step are kept.

    Every process draws its own tasks; gradients are averaged over processes by Fabric, and
    intertask normalisation takes its statistics over all of them.

    Args:
        fabric: Launched; says device, precision, processes and loggers.
        run: What to train and how.
        train_source: Training classes.
        val_source: Validation classes, disjoint from them; or None.
        out: Folder of the model and of the state to resume from.
        resume: Continue the run in ``out``; on CPU the result equals an uninterrupted run's bit for
            bit.

    Returns:
        The model kept, as it stands in ``out``; None on all processes but the first.

    Raises:
        ConfigError: if ``out`` holds a run already, or none to resume.
        DataError: if the method does not take samples of such a shape.
        EpisodeError: if a source cannot give tasks of the shape asked for.
    """
    config = run.train
    check_feature_shape(train_source, run.config.feature_shape)
    train_source.check(config.shape)
    if val_source is not None:
        val_source.check(config.val_shape)
    if not METHODS[run.method](run.config).is_trainable:
        return save_untrained(fabric, run, train_source, out)
    first = load_model(run.start) if run.start is not None else None
    state = setup(run, first, fabric.global_rank)
    if isinstance(train_source, ClassDataset):
        state.method.prepare(train_source.images, train_source.labels, train_source.groups)
    model, optimizer = fabric.setup(state.method, state.optimizer)
    model.mark_forward_method("learn")
    if resume:
        load_state(out / STATE, state, run, fabric.global_rank, fabric.world_size)
    elif (out / STATE).exists():
        raise ConfigError(
            f"'{out}' holds a run already; continue it with --resume, or choose another --out."
        )
    make_folder(out)
    story = training_record(run, train_source, val_source, first)
    if isinstance(train_source, ClassDataset) and train_source.groups is not None:
        train_source = train_source.with_same_group_fraction(config.same_group_fraction)
    sampler = Sampler(train_source, state.generator)
    state.method.train()
    keep_freed_memory()
    started = time.perf_counter() - state.seconds
    with (
        TrainingProgress(config, fabric.world_size, state.step, fabric.is_global_zero) as progress,
        StopRequest(fabric) as stop,
    ):
        while state.step < config.steps and not stop.asked():
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config, state.step)
            shape = config.draw_shape(state.generator)
            episode = prepare_episode(fabric, sampler.sample(shape), config, state.generator)
            with fabric.autocast():  # Which Fabric adds to `forward` by itself, to `learn` not.
                loss, log_p = model.learn(
                    episode.support_x,
                    episode.support_y,
                    episode.query_x,
                    episode.query_y,
                    episode.way,
                    state.generator,
                    episode.classes,
                )
            fabric.backward(loss)
            fabric.clip_gradients(model, optimizer, max_norm=config.clip)
            optimizer.step()
            optimizer.zero_grad()
            state.step += 1
            state.images += shape.samples * fabric.world_size
            state.seconds = time.perf_counter() - started
            progress.step(loss, log_p, episode.query_y)
            if state.step % config.log_every == 0:
                fabric.log_dict(progress.metrics(learning_rate(config, state.step)), state.step)
            if val_source is None:
                if state.step == config.steps and fabric.is_global_zero:
                    last = replace(story, step=state.step)
                    save_model(model_of(run, state.method, last), out)
            elif state.step % config.val_every == 0 or state.step == config.steps:
                score = validate(state.method, val_source, config)
                fabric.log_dict({"val/accuracy": score.accuracy}, state.step)
                progress.validated(score)
                if score.accuracy > state.best_accuracy:
                    state.best_accuracy = score.accuracy
                    if fabric.is_global_zero:
                        save_model(best_model(state, run, story, score), out)
            if state.step % config.save_every == 0 or state.step == config.steps:
                state.seconds = time.perf_counter() - started
                save(fabric, state, run, out)
        if state.step < config.steps:
            save(fabric, state, run, out)
            progress.stopped(out)
            raise KeyboardInterrupt
    fabric.barrier()
    return load_model(out) if fabric.is_global_zero else None


def save_untrained(fabric: Fabric, run: Run, train_source: TaskSource, out: Path) -> Model | None:
    """Write the model of a method that learns nothing beforehand, so that all commands take it."""
    if fabric.is_global_zero:
        method = METHODS[run.method](run.config)
        save_model(model_of(run, method, training_record(run, train_source, None, None)), out)
    fabric.barrier()
    return load_model(out) if fabric.is_global_zero else None


def training_record(
    run: Run, train_source: TaskSource, val_source: TaskSource | None, first: Model | None
) -> TrainingRecord:
    """What the model card tells of a run before its first step."""
    return TrainingRecord(
        recipe=run.recipe,
        data=train_source.name,
        split=train_source.split,
        split_hash=train_source.split_hash,
        val_split=None if val_source is None else val_source.split,
        settings=dataclasses.asdict(run.train),
        start=run.start,
        earlier_splits=first.training.training_splits if first is not None else (),
    )


def setup(run: Run, first: Model | None, rank: int) -> TrainState:
    """A run before its first step; processes differ only in the tasks they will draw.

    Args:
        run: What to train.
        first: The model whose weights to start from, or None.
        rank: Number of this process.

    Raises:
        ConfigError: if the first model is of another method or config.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.train.seed)
        method = METHODS[run.method](run.config)
    if first is not None:
        # What has no weights may differ: the canvas, the number of views, how contexts are drawn.
        try:
            if first.method_name != run.method:
                raise RuntimeError(f"it is a {first.method_name}")
            method.load_state_dict(first.method.state_dict())
        except RuntimeError as error:
            raise ConfigError(
                f"The weights of '{run.start}' do not fit a {run.method} of the config of this run."
            ) from error
    method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(
        [p for p in method.parameters() if p.requires_grad],
        lr=run.train.learning_rate,
        weight_decay=run.train.weight_decay,
        fused=True,  # One pass over the generators' millions of weights, not a dozen.
    )
    generator = torch.Generator().manual_seed(run.train.seed + 1_000_003 * rank)
    return TrainState(method, optimizer, generator)


def learning_rate(config: TrainConfig, step: int) -> float:
    """The learning rate of a step: a linear rise, then half a cosine to zero."""
    rise = min(1.0, (step + 1) / config.warmup) if config.warmup else 1.0
    return config.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * step / config.steps))


def prepare_episode(
    fabric: Fabric, episode: Episode, config: TrainConfig, generator: torch.Generator
) -> Episode:
    """The episode, augmented and on its device."""
    support_x, query_x = episode.support_x, episode.query_x
    if config.jitter is not None and support_x.ndim == 5:
        together = torch.cat([support_x, query_x], 1)
        together = config.jitter(together, generator, config.task_jitter)
        support_x, query_x = together.split([support_x.shape[1], query_x.shape[1]], 1)
    return Episode(
        fabric.to_device(support_x),
        fabric.to_device(episode.support_y),
        fabric.to_device(query_x),
        fabric.to_device(episode.query_y),
        episode.way,
        None if episode.classes is None else fabric.to_device(episode.classes),
    )


def validate(method: Method, source: TaskSource, config: TrainConfig) -> Score:
    """Score on validation classes, on the same tasks every time."""
    return evaluate(
        method, source, config.val_shape, episodes=config.val_episodes, seed=config.seed + 1
    )


def best_model(state: TrainState, run: Run, story: TrainingRecord, score: Score) -> Model:
    """The model as it is written when it is the best so far."""
    story = replace(
        story,
        step=state.step,
        val_task=score.task,
        val_accuracy=score.accuracy,
        val_ci95=score.ci95,
        val_protocol=score.protocol,
    )
    return model_of(run, state.method, story)


def model_of(run: Run, method: Method, story: TrainingRecord) -> Model:
    """What a run has made, with its story."""
    return Model(method, run.method, story, backbone=run.backbone)


def save(fabric: Fabric, state: TrainState, run: Run, out: Path) -> None:
    """Write the state to resume from, with every process's generator."""
    generators = cast(Tensor, fabric.all_gather(state.generator.get_state()))
    if fabric.is_global_zero:
        out.mkdir(parents=True, exist_ok=True)
        generators = generators.view(fabric.world_size, -1).cpu()
        save_state(out / STATE, state, generators, run)
    fabric.barrier()
