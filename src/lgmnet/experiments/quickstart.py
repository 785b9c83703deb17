"""Quickstart: classifiers of real digits from a few examples, compared with simple rivals."""

import statistics
import timeit
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.classifier.file import CLASSIFIER_KIND
from lgmnet.classifier.fit import fit_classifier
from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.datasets.digits import digit_pixels, digits
from lgmnet.errors import require_extra
from lgmnet.evaluation.cache import cache_embeddings
from lgmnet.evaluation.evaluate import mean_and_ci95
from lgmnet.experiments.results import check_experiment_file, open_picture
from lgmnet.io import make_folder
from lgmnet.methods.base import Method
from lgmnet.model.model import Model
from lgmnet.progress import track_progress
from lgmnet.tensor_file import check_tensor_destination

SHOTS = (1, 5)
LEARNERS = ("lgmnet", "nearest neighbour on pixels", "logistic regression on pixels")
QUERIES_PER_BATCH = 250
N_QUERIES = 500
"""Number of queries per draw; a larger one would make the quickstart longer than a minute."""
PICTURED_QUERIES = 40


@dataclass(frozen=True)
class QuickstartRow:
    """Accuracy of one learner at one number of shots."""

    learner: str
    shot: int
    accuracy: float
    """Mean over draws, in percent."""
    ci95: float
    """Half-width of its 95 % interval, in percent."""


@dataclass(frozen=True)
class QuickstartResult:
    """Scores, timings and files of a quickstart."""

    rows: tuple[QuickstartRow, ...]
    fit_ms: dict[int, float]
    """Median milliseconds from pixels to classifier, by number of shots."""
    picture: Path
    classifier: Path


def quickstart(
    model: Model, folder: Path, *, draws: int = 100, seed: int = 0, overwrite: bool = False
) -> QuickstartResult:
    """Fit classifiers of scikit-learn's digits, score them, and write a picture and a classifier.

    For each draw and number of shots, all learners get the same support drawings and classify the
    same `N_QUERIES` queries. The rivals get the original 8x8 pixels.

    Args:
        model: Model of 28x28 drawings.
        folder: Folder of the picture and the classifier; made if absent.
        draws: Number of random support sets per number of shots.
        seed: Seed of the support sets and queries.
        overwrite: If True, files of the same names are replaced even if lgmnet did not write them.

    Raises:
        UserError: if scikit-learn or matplotlib is not installed, the folder cannot be made, or
            files of others would be replaced.
    """
    make_folder(folder)
    classifier, picture = folder / "digits.safetensors", folder / "quickstart.png"
    check_tensor_destination(classifier, CLASSIFIER_KIND, overwrite=overwrite)
    check_experiment_file(picture, overwrite=overwrite)
    generator = torch.Generator().manual_seed(seed)
    dataset = digits()
    pixels = torch.from_numpy(digit_pixels()[0]).flatten(1)
    method, embedded = cache_embeddings(model.method, dataset)
    rows, fit_ms = [], {}
    with track_progress("draws", len(SHOTS) * draws) as progress:
        for shot in SHOTS:
            scores = []
            for _ in range(draws):
                support, rest = split_support(dataset, shot, generator)
                queries = rest[torch.randperm(len(rest), generator=generator)[:N_QUERIES]]
                answers = predict_with_rivals(pixels, dataset.labels, support, queries)
                answers.insert(0, predict_with_method(method, embedded, support, queries))
                correct = torch.stack(answers) == dataset.labels[queries]
                scores.append(correct.double().mean(1).tolist())
                progress.advance()
            for learner, accuracies in zip(LEARNERS, zip(*scores, strict=True), strict=True):
                accuracy, ci95 = mean_and_ci95(torch.tensor(accuracies))
                rows.append(QuickstartRow(learner, shot, 100 * accuracy, 100 * ci95))
            images, labels = dataset.images[support], dataset.labels[support].tolist()
            fit = partial(fit_classifier, model, images, labels, dataset.class_names)
            fitted = fit()  # Before the timing, as a warm-up.
            fit_ms[shot] = 1000 * statistics.median(timeit.repeat(fit, number=1, repeat=20))
    fitted.save(classifier, overwrite=overwrite)
    pictured = rest[torch.randperm(len(rest), generator=generator)[:PICTURED_QUERIES]]
    draw_picture(fitted, dataset, support, pictured, picture)
    return QuickstartResult(tuple(rows), fit_ms, picture, classifier)


def split_support(
    dataset: ClassDataset, shot: int, generator: torch.Generator
) -> tuple[Int[Tensor, " support"], Int[Tensor, " rest"]]:
    """Choose ``shot`` random images per class.

    Returns:
        Indices of the chosen images, class by class, and of all others.
    """
    # The labels keep the classes apart, the fractions shuffle the images within each class.
    shuffled = (dataset.labels + torch.rand(len(dataset.labels), generator=generator)).argsort()
    chosen = (dataset.starts[:, None] + torch.arange(shot)).flatten()
    is_rest = torch.ones(len(shuffled), dtype=torch.bool)
    is_rest[chosen] = False
    return shuffled[chosen], shuffled[is_rest]


@torch.inference_mode()
def predict_with_method(
    method: Method,
    embedded: ClassDataset,
    support: Int[Tensor, " support"],
    queries: Int[Tensor, " queries"],
) -> Int[Tensor, " queries"]:
    """Adapt a method to the support images and classify the queries, all embedded already."""
    labels = embedded.labels[support]
    classifier = method.adapt(embedded.images[support][None], labels[None], embedded.classes)
    # Batches that fit the processor's cache: all queries at once would take 100 MB per draw.
    batches = queries.split(QUERIES_PER_BATCH)
    return torch.cat([classifier(embedded.images[batch][None])[0].argmax(-1) for batch in batches])


def predict_with_rivals(
    pixels: Float[Tensor, "drawings pixels"],
    labels: Int[Tensor, " drawings"],
    support: Int[Tensor, " support"],
    queries: Int[Tensor, " queries"],
) -> list[Int[Tensor, " queries"]]:
    """Fit the rivals of `LEARNERS` to the pixels of the support, and classify the queries."""
    with require_extra("quickstart", "the rivals"):
        from sklearn.linear_model import LogisticRegression
        from sklearn.neighbors import KNeighborsClassifier
    support_x, support_y = pixels[support].numpy(), labels[support].numpy()
    rivals = (KNeighborsClassifier(n_neighbors=1), LogisticRegression(max_iter=1000))
    answers = [rival.fit(support_x, support_y).predict(pixels[queries].numpy()) for rival in rivals]
    return [torch.from_numpy(answer) for answer in answers]


def draw_picture(
    fitted: FittedClassifier,
    dataset: ClassDataset,
    support: Int[Tensor, " support"],
    queries: Int[Tensor, " queries"],
    path: Path,
) -> None:
    """Draw the support images, and the predictions for some queries, wrong ones in red."""
    shots, columns = len(support) // dataset.classes, len(queries) // dataset.classes
    probabilities = fitted.predict_proba(dataset.images[queries])
    with open_picture(path, 12.0, 9.5) as figure:
        # The labels of the last column stand outside its axes and need a margin.
        figure.set_layout_engine("constrained", rect=(0, 0, 0.98, 1))
        left, right = figure.subfigures(1, 2, width_ratios=[shots, columns * 1.6])
        left.suptitle(f"support: {shots} drawings per class")
        others = len(dataset.images) - len(support)
        right.suptitle(f"queries: {len(queries)} of the {others} others")
        support_axes = left.subplots(dataset.classes, shots, squeeze=False).ravel()
        query_axes = right.subplots(dataset.classes, columns, squeeze=False).ravel()
        for axes, index in zip([*support_axes, *query_axes], [*support, *queries], strict=True):
            axes.imshow(dataset.images[index, 0].numpy(), cmap="gray_r")
            axes.set(xticks=[], yticks=[])
        labels = dataset.labels[queries].tolist()
        for axes, truth, answer in zip(query_axes, labels, probabilities, strict=True):
            guess = int(answer.argmax())
            text = f"{dataset.class_names[guess]}  {100 * answer[guess]:.0f} %"
            if guess != truth:
                text += f"\n(is {dataset.class_names[truth]})"
            colour = "#1a7f37" if guess == truth else "#cf222e"
            axes.set_ylabel(text, rotation=0, ha="left", va="center", labelpad=4, color=colour)
            axes.yaxis.set_label_position("right")
