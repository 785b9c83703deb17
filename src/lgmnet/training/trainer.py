"""The trainer: set up, fit, validate, save. Any method, any source, one or many processes."""

import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float
from lightning_fabric import Fabric
from torch import Tensor, nn

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.sampler import Sampler
from lgmnet.data.synthetic.criterion_pool import CriterionPool
from lgmnet.data.task_source import TaskSource, check_feature_shape
from lgmnet.devices import freed_memory_kept
from lgmnet.episode import Episode
from lgmnet.errors import ConfigError, UserError
from lgmnet.evaluation.evaluate import Score, evaluate
from lgmnet.io import make_folder
from lgmnet.methods import METHODS
from lgmnet.methods.base import Method, TrainingFactors
from lgmnet.model.model import Model, load_model, save_model
from lgmnet.model.registry import WEIGHTS_FILE
from lgmnet.model.training_record import TrainingRecord
from lgmnet.progress import set_progress_display, show_nothing, track_progress
from lgmnet.training.config import Run, TrainConfig
from lgmnet.training.progress import StopRequest, TrainingMetrics
from lgmnet.training.state import TrainState, load_state, save_state
from lgmnet.warning_filter import ignore_warnings

STATE_FILE = "training.safetensors"


class TrainingStep(nn.Module):
    """One step of a method as a module, so that Fabric wraps it.

    Fabric refuses frozen dataclasses as arguments, so the fields of the episode come one by one.
    """

    def __init__(self, method: Method, generator: torch.Generator) -> None:
        super().__init__()
        self.method = method
        self.generator = generator

    def forward(self, **episode: Any) -> tuple[Float[Tensor, ""], Float[Tensor, "tasks query way"]]:
        """Compute the loss and the log-probabilities (see `Method.learn`)."""
        return self.method.learn(Episode.unchecked(**episode), self.generator)


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

    Every process draws its own tasks. Fabric averages the gradients over all processes, and
    intertask normalization takes its statistics over all of them.

    Args:
        fabric: Launched Fabric, with device, precision, processes and loggers.
        run: Method, data and settings.
        train_source: Training classes.
        val_source: Validation classes, disjoint from them; or None.
        out: Folder of the model and of the training state.
        resume: If True, continue the run in ``out``; on CPU the result equals that of an
            uninterrupted run bit for bit.

    Returns:
        The model that is kept, as it stands in ``out``; None on all processes but the first.

    Raises:
        ConfigError: if ``out`` holds a run already, or none to resume.
        DataError: if the method does not take samples of this shape.
        EpisodeError: if a source cannot give tasks of this shape.
        UserError: if the loss or its gradient is NaN or infinite; what was saved before is kept.
    """
    config = run.train
    check_feature_shape(train_source, run.feature_shape)
    train_source.check(config.shape)
    if val_source is not None:
        val_source.check(config.validation.shape)
    if not METHODS[run.method](run.config).is_trainable:  # Saved, so that all commands take it.
        record = training_record(run, train_source, None, None)
        save_best(fabric, METHODS[run.method](run.config), run, record, out)
        fabric.barrier()
        return load_model(out) if fabric.is_global_zero else None
    first = load_model(run.start) if run.start is not None else None
    state, embedded = set_up(run, first, train_source, fabric.global_rank)
    trained = state.method
    if embedded is not None and isinstance(train_source, CriterionPool):
        train_source = train_source.with_samples(embedded)
        trained = state.method.without_embedding()
    step, optimizer = fabric.setup(TrainingStep(trained, state.generator), state.optimizer)
    if resume:
        load_state(out / STATE_FILE, state, run, fabric.global_rank, fabric.world_size)
    elif (out / STATE_FILE).exists():
        raise run_exists_error(out)
    make_folder(out)
    record = training_record(run, train_source, val_source, first)
    if isinstance(train_source, ClassDataset) and train_source.groups is not None:
        train_source = train_source.with_same_group_fraction(config.same_group_fraction)
    sampler = Sampler(train_source, state.generator)
    state.method.train()
    read_clock = choose_clock(fabric.device)
    started = read_clock() - state.seconds
    metrics = TrainingMetrics(config.tasks * fabric.world_size)
    if not fabric.is_global_zero:  # The first process shows the progress, for all of them.
        set_progress_display(show_nothing)
    with (
        track_progress("training", config.steps) as progress,
        StopRequest(fabric) as stop,
        freed_memory_kept(),
    ):
        progress.advance(state.step)
        while state.step < config.steps and not stop.reached_any():
            rate = learning_rate(config, state.step)
            for group in optimizer.param_groups:
                group["lr"] = rate
            shape = config.draw_shape(state.generator)
            episode = prepare_episode(fabric, sampler.sample(shape), config, state.generator)
            loss, log_p = step(**vars(episode))
            fabric.backward(loss)
            norm = fabric.clip_gradients(
                step, optimizer, max_norm=config.optimizer.clip, error_if_nonfinite=False
            )
            loss_value, norm_value = float(loss.detach()), float(cast(Tensor, norm))
            if not (math.isfinite(loss_value) and math.isfinite(norm_value)):
                raise diverged_error(state.step + 1, loss_value, rate, out)
            optimizer.step()
            optimizer.zero_grad()
            state.step += 1
            state.images += shape.samples * fabric.world_size
            state.seconds = read_clock() - started
            metrics.add_step(loss, log_p, episode.query_y)
            detail = ""
            if state.step % config.log_every == 0:
                values = metrics.compute(learning_rate(config, state.step))
                fabric.log_dict(values, state.step)
                detail = (
                    f"{values['train/episodes_per_second']:.0f} episodes/s  "
                    f"loss {values['train/loss']:.3f}  accuracy {values['train/accuracy']:.1f} %"
                )
            progress.advance(1, detail)
            is_last = state.step == config.steps
            if val_source is None:
                if is_last:
                    save_best(fabric, state.method, run, replace(record, step=state.step), out)
            elif state.step % config.validation.every == 0 or is_last:
                score = validate(state.method, val_source, config)
                fabric.log_dict({"val/accuracy": score.accuracy}, state.step)
                progress.print(
                    f"step {state.step:,}: validation {score.task} "
                    f"{score.accuracy:.2f} ± {score.ci95:.2f} %"
                )
                if score.accuracy > state.best_accuracy:
                    state.best_accuracy = score.accuracy
                    best = add_score(replace(record, step=state.step), score)
                    save_best(fabric, state.method, run, best, out)
            if state.step % config.save_every == 0 or is_last:
                state.seconds = read_clock() - started
                save(fabric, state, run, out)
        if state.step < config.steps:
            save(fabric, state, run, out)
            progress.print(
                f"Stopped after step {state.step:,}; the same command with --resume continues the "
                f"run in '{out}'."
            )
            raise KeyboardInterrupt
    fabric.barrier()
    return load_model(out) if fabric.is_global_zero else None


def choose_clock(device: torch.device) -> Callable[[], float]:
    """Choose the clock of the cost of training (see `TrainingCost`)."""
    return time.process_time if device.type == "cpu" else time.perf_counter


def run_exists_error(out: Path) -> ConfigError:
    """Create the error for a folder that holds a run already."""
    return ConfigError(
        f"'{out}' holds a run already; continue it with --resume, or choose another --out."
    )


def training_record(
    run: Run, train_source: TaskSource, val_source: TaskSource | None, first: Model | None
) -> TrainingRecord:
    """Describe a run before its first step, for the model card."""
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


def set_up(
    run: Run, first: Model | None, train_source: TaskSource, rank: int
) -> tuple[TrainState, Tensor | None]:
    """Set up a run before its first step; processes differ only in the tasks they will draw.

    Weights start from those of the model ``first``, if it is not None.

    Returns:
        The run, and the training samples if the method has embedded them already.
    """
    embedded = None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.train.seed)
        method = METHODS[run.method](run.config)
        if first is not None:
            load_weights(method, first, run)
        if isinstance(train_source, ClassDataset):
            method.prepare(train_source.images, train_source.labels, train_source.groups)
        elif isinstance(train_source, CriterionPool):
            factors = training_factors(train_source)
            embedded = method.prepare_for_criteria(train_source.samples, factors)
    method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(
        [p for p in method.parameters() if p.requires_grad],
        lr=run.train.optimizer.learning_rate,
        weight_decay=run.train.optimizer.weight_decay,
        fused=True,  # One pass over the generators' millions of weights, not a dozen.
    )
    generator = torch.Generator().manual_seed(run.train.seed + 1_000_003 * rank)
    return TrainState(method, optimizer, generator), embedded


def training_factors(pool: CriterionPool) -> TrainingFactors:
    """Return the factors of a pool's samples in the form that methods take."""
    table = pool.table
    names = tuple(factor.name for factor in table.factors)
    return TrainingFactors(names, table.values, table.images, table.groups)


def load_weights(method: Method, first: Model, run: Run) -> None:
    """Load the weights to start from (see `Method.start_from`).

    Raises:
        ConfigError: if they belong to another method or config.
    """
    try:
        method.start_from(first.method)
    except RuntimeError as error:
        raise ConfigError(
            f"The weights of '{run.start}' do not fit a {run.method} with the config of this run."
        ) from error


def learning_rate(config: TrainConfig, step: int) -> float:
    """Compute the learning rate of a step: a linear rise, then half a cosine to zero."""
    optimizer = config.optimizer
    rise = min(1.0, (step + 1) / optimizer.warmup) if optimizer.warmup else 1.0
    return optimizer.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * step / config.steps))


def diverged_error(step: int, loss: float, rate: float, out: Path) -> UserError:
    """Create the error for a step whose loss or gradient is NaN or infinite."""
    saved = "no model was saved yet"
    if (out / WEIGHTS_FILE).is_file():
        saved = f"'{out}' keeps the best model before it, from which --from '{out}' can start"
    return UserError(
        f"The loss of step {step:,} is {loss:g}, or its gradient is not finite, so the run stopped "
        f"before this step; {saved}. Train into another --out with a lower learning rate than "
        f"{rate:.1e} (--set learning_rate=...), more warm-up (--set warmup=...) or, if it computes "
        "in bf16, with --set precision=32-true."
    )


def prepare_episode(
    fabric: Fabric, episode: Episode, config: TrainConfig, generator: torch.Generator
) -> Episode:
    """Augment an episode and move it to its device."""
    support_x, query_x = episode.support_x, episode.query_x
    if config.jitter is not None and support_x.ndim == 5:
        images = torch.cat([support_x, query_x], 1)
        images = config.jitter(images, generator, config.task_jitter)
        support_x, query_x = images.split([support_x.shape[1], query_x.shape[1]], 1)
        episode = episode.with_samples(support_x, query_x)
    return episode.to(fabric.device)


def validate(method: Method, source: TaskSource, config: TrainConfig) -> Score:
    """Score a method on validation classes, on the same tasks every time."""
    shape, episodes = config.validation.shape, config.validation.episodes
    return evaluate(method, source, shape, episodes=episodes, seed=config.seed + 1)


def add_score(record: TrainingRecord, score: Score) -> TrainingRecord:
    """Add the validation score to the record of a training."""
    return replace(
        record,
        val_task=score.task,
        val_accuracy=score.accuracy,
        val_ci95=score.ci95,
        val_protocol=score.protocol,
    )


def save_best(fabric: Fabric, method: Method, run: Run, record: TrainingRecord, out: Path) -> None:
    """Save the best model so far with the record of its training; the first process writes."""
    if fabric.is_global_zero:
        # The folder was checked when the run began, and holds its logs since.
        save_model(Model(method, run.method, record, backbone=run.backbone), out, overwrite=True)


def save(fabric: Fabric, state: TrainState, run: Run, out: Path) -> None:
    """Write the training state, with every process's generator."""
    with ignore_warnings():  # Fabric calls a function of torch by an old name.
        generators = cast(Tensor, fabric.all_gather(state.generator.get_state()))
    if fabric.is_global_zero:
        make_folder(out)
        generators = generators.view(fabric.world_size, -1).cpu()
        save_state(out / STATE_FILE, state, generators, run)
    fabric.barrier()
