"""The quickstart: real digits, a handful of examples, and what can be made of them at once."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lgmnet.classifier.classifier import FittedClassifier, fit_classifier
from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.datasets.digits import digit_pixels, digits
from lgmnet.errors import extra
from lgmnet.evaluation.cache import cache_embeddings
from lgmnet.evaluation.evaluate import mean_and_ci95
from lgmnet.io import atomic_write, make_folder
from lgmnet.methods.base import Method
from lgmnet.model.model import Model

SHOTS = (1, 5)
FORGED, NEAREST, LOGISTIC = LEARNERS = (
    "lgmnet, forged",
    "nearest neighbour on pixels",
    "logistic regression on pixels",
)
FORGINGS = 20
PART = 250
ASKED = 500
"""Drawings that are asked about in each draw: so few that the whole takes less than a minute."""
SHOWN_ANSWERS = 40


@dataclass(frozen=True)
class Row:
    """One learner at one number of shots."""

    learner: str
    shot: int
    accuracy: float
    """Mean over draws, in percent."""
    ci95: float
    """Half of its 95 % interval, in percent."""


@dataclass(frozen=True)
class Outcome:
    """What a quickstart found and wrote."""

    rows: tuple[Row, ...]
    forging_ms: dict[int, float]
    """Median milliseconds from pixels to classifier, by shots."""
    picture: Path
    classifier: Path


def quickstart(
    model: Model,
    folder: Path,
    *,
    draws: int = 100,
    seed: int = 0,
    progress: Callable[[int], object] = lambda done: None,
) -> Outcome:
    """Forge classifiers of scikit-learn's digits, score them, and write a picture and a file.

    For each draw and each number of shots, all learners see the same few drawings and answer the
    same `ASKED` of the others; the rivals get the original 8x8 pixels.

    Args:
        model: A model of 28x28 drawings.
        folder: Where the picture and the classifier go; made if absent.
        draws: How many random choices of support drawings, for each number of shots.
        seed: Of the choices.
        progress: Told how many draws are just done.

    Raises:
        UserError: if scikit-learn or matplotlib is not installed, or the folder cannot be made.
    """
    make_folder(folder)
    generator = torch.Generator().manual_seed(seed)
    store = digits()
    pixels = torch.from_numpy(digit_pixels()[0]).flatten(1)
    method, embedded = cache_embeddings(model.method, store)
    rows: list[Row] = []
    forging_ms: dict[int, float] = {}
    for shot in SHOTS:
        scores: dict[str, list[float]] = {learner: [] for learner in LEARNERS}
        for _ in range(draws):
            support, rest = split_store(store, shot, generator)
            asked = rest[torch.randperm(len(rest), generator=generator)[:ASKED]]
            answers = rival_answers(pixels, store.labels, support, asked)
            answers[FORGED] = forged_answers(method, embedded, support, asked)
            for learner in LEARNERS:
                right = answers[learner] == store.labels[asked]
                scores[learner].append(right.double().mean().item())
            progress(1)
        for learner in LEARNERS:
            accuracy, ci95 = mean_and_ci95(torch.tensor(scores[learner]))
            rows.append(Row(learner, shot, 100 * accuracy, 100 * ci95))
        forging_ms[shot] = median_ms(partial(fit_support, model, store, support))
    fitted = fit_support(model, store, support)
    classifier, picture = folder / "digits.safetensors", folder / "quickstart.png"
    fitted.save(classifier)
    shown = rest[torch.randperm(len(rest), generator=generator)[:SHOWN_ANSWERS]]
    draw_picture(fitted, store, support, shown, picture)
    return Outcome(tuple(rows), forging_ms, picture, classifier)


def split_store(
    store: ClassDataset, shot: int, generator: torch.Generator
) -> tuple[Int[Tensor, " support"], Int[Tensor, " rest"]]:
    """Places of ``shot`` random images of each class, class after class, and of all others."""
    # Whole numbers keep the classes apart, random parts shuffle within them.
    shuffled = (store.labels + torch.rand(len(store.labels), generator=generator)).argsort()
    chosen = (store.starts[:, None] + torch.arange(shot)).flatten()
    left = torch.ones(len(shuffled), dtype=torch.bool)
    left[chosen] = False
    return shuffled[chosen], shuffled[left]


@torch.inference_mode()
def forged_answers(
    method: Method,
    embedded: ClassDataset,
    support: Int[Tensor, " support"],
    rest: Int[Tensor, " rest"],
) -> Int[Tensor, " rest"]:
    """Answers for ``rest`` of a classifier forged from ``support``, both embedded beforehand."""
    labels = embedded.labels[support]
    classifier = method.adapt(embedded.images[support][None], labels[None], embedded.classes)
    # In parts that stay in the processor's cache: all at once would be a hundred megabytes a draw.
    parts = [classifier(embedded.images[some][None])[0].argmax(-1) for some in rest.split(PART)]
    return torch.cat(parts)


def rival_answers(
    pixels: Float[Tensor, "drawings pixels"],
    labels: Int[Tensor, " drawings"],
    support: Int[Tensor, " support"],
    rest: Int[Tensor, " rest"],
) -> dict[str, Int[Tensor, " rest"]]:
    """What scikit-learn makes of the very same drawings, from their pixels."""
    with extra("quickstart", "the rivals"):
        from sklearn.linear_model import LogisticRegression
        from sklearn.neighbors import KNeighborsClassifier
    few, classes, others = pixels[support].numpy(), labels[support].numpy(), pixels[rest].numpy()
    rivals = {
        NEAREST: KNeighborsClassifier(n_neighbors=1),
        LOGISTIC: LogisticRegression(max_iter=1000),
    }
    return {
        name: torch.from_numpy(rival.fit(few, classes).predict(others))
        for name, rival in rivals.items()
    }


def fit_support(
    model: Model, store: ClassDataset, support: Int[Tensor, " support"]
) -> FittedClassifier:
    """A classifier forged from these images of a store, from pixels."""
    return fit_classifier(
        model, store.images[support], store.labels[support].tolist(), store.class_names
    )


def median_ms(act: Callable[[], object]) -> float:
    """Median milliseconds of an act, after one that warms up."""
    act()
    seconds = []
    for _ in range(FORGINGS):
        started = time.perf_counter()
        act()
        seconds.append(time.perf_counter() - started)
    return 1000 * statistics.median(seconds)


def draw_picture(
    fitted: FittedClassifier,
    store: ClassDataset,
    support: Int[Tensor, " support"],
    shown: Int[Tensor, " shown"],
    path: Path,
) -> None:
    """Draw what the classifier was shown and some of its answers, wrong ones in red."""
    with extra("quickstart", "pictures"):
        from matplotlib.figure import Figure
    shots = len(support) // store.classes
    columns = SHOWN_ANSWERS // store.classes
    figure = Figure(figsize=(12, 9.5))
    # The words beside the last column stand outside its axes and need a margin.
    figure.set_layout_engine("constrained", rect=(0, 0, 0.98, 1))
    halves: Any = figure.subfigures(1, 2, width_ratios=[shots, columns * 1.6])
    left, right = halves
    left.suptitle(f"shown: {shots} drawings of each class")
    right.suptitle(f"asked: {len(shown)} of the {len(store.images) - len(support)} others")
    grid: Any = left.subplots(store.classes, shots, squeeze=False)
    for axes, place in zip(grid.flat, support.tolist(), strict=True):
        axes.imshow(store.images[place, 0].numpy(), cmap="gray_r")
    grid = right.subplots(store.classes, columns, squeeze=False)
    probabilities = fitted.predict_proba(store.images[shown])
    for axes, place, answer in zip(grid.flat, shown.tolist(), probabilities, strict=True):
        guess = int(answer.argmax())
        truth = int(store.labels[place])
        axes.imshow(store.images[place, 0].numpy(), cmap="gray_r")
        words = f"{store.class_names[guess]}  {100 * answer[guess]:.0f} %"
        if guess != truth:
            words += f"\n(is {store.class_names[truth]})"
        axes.set_ylabel(
            words,
            rotation=0,
            ha="left",
            va="center",
            labelpad=64,
            color="#1a7f37" if guess == truth else "#cf222e",
        )
        axes.yaxis.set_label_position("right")
        axes.yaxis.labelpad = 4
    for axes in figure.axes:
        axes.set(xticks=[], yticks=[])
    with atomic_write(path) as draft:
        figure.savefig(draft, dpi=110)
