"""Accuracy and calibration of a method over many episodes, with the protocol."""

import dataclasses
import math
import time
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.sampler import Sampler
from lgmnet.data.task_source import TaskSource, check_source
from lgmnet.episode import EpisodeShape
from lgmnet.errors import ConfigError
from lgmnet.evaluation.cache import cache_embeddings, is_worth_caching
from lgmnet.methods.base import Method
from lgmnet.methods.ensemble import Ensemble
from lgmnet.progress import track_progress

EVALUATION_BATCH_SIZE = 2048
ECE_BINS = 15


@dataclass(frozen=True)
class Score:
    """Accuracy of a method on one kind of task, with everything needed to measure it again.

    >>> protocol, accuracy = ("test", "", "inductive", 5, 1, 15, 2, 0), (75.0, 49.0)
    >>> Score("digits", *protocol, *accuracy, seconds=0.1, scores=(1.0, 0.5)).task
    '5-way 1-shot'
    """

    data: str
    split: str
    split_hash: str
    protocol: str
    """Inductive (each query is classified on its own) or transductive, and the number of draws."""
    way: int
    shot: int
    query: int
    episodes: int
    seed: int
    accuracy: float
    """Mean over episodes, in percent."""
    ci95: float
    """Half-width of the 95 % interval of that mean, in percent."""
    seconds: float
    scores: tuple[float, ...]
    """Accuracy of each episode, 0..1, in the order of drawing."""
    calibration_error: float | None = None
    """Expected calibration error of the probabilities (`calibration_error`), in percent."""

    @property
    def task(self) -> str:
        """Kind of task, such as ``5-way 1-shot``."""
        return f"{self.way}-way {self.shot}-shot"


@torch.inference_mode()
def evaluate(
    method: Method,
    source: TaskSource,
    shape: EpisodeShape,
    *,
    episodes: int = 1000,
    seed: int = 0,
    draws: int = 0,
) -> Score:
    """Score a method on new episodes, without training it.

    The training or evaluation mode of the method is restored. ``shape.tasks`` is ignored: the batch
    size follows from the size of a task. If ``draws`` is not 0, the prediction is the mean over so
    many random draws, and else the single best guess of the method.

    Raises:
        EpisodeError: if the source does not have enough classes or samples.
        ConfigError: if there are too few episodes for an interval.
        DataError: if ``source`` is no source, but a name.

    >>> from lgmnet import load_model
    >>> from lgmnet.data.synthetic.vectors import SyntheticVectors
    >>> method = load_model("vectors").method
    >>> score = evaluate(method, SyntheticVectors("test"), EpisodeShape(5, 1, 5), episodes=4)
    >>> score.protocol
    'inductive'
    """
    if episodes < 2:
        raise ConfigError(f"'episodes' must be at least 2 for an interval, but is {episodes}.")
    check_source(source)
    source.check(shape)
    device = method.device
    draw_generator = torch.Generator(device).manual_seed(seed)
    batch_size = tasks_per_batch(shape)
    start = time.perf_counter()
    training = method.training
    method.eval()
    scores: list[float] = []
    confidence, correct = [], []
    try:
        adapter = method
        if isinstance(source, ClassDataset) and is_worth_caching(method, source, shape, episodes):
            adapter, source = cache_embeddings(method, source)
        sampler = Sampler(source, torch.Generator().manual_seed(seed))
        with track_progress("episodes", episodes) as progress:
            while len(scores) < episodes:
                tasks = min(batch_size, episodes - len(scores))
                e = sampler.sample(dataclasses.replace(shape, tasks=tasks)).to(device)
                classifier = (
                    Ensemble(adapter, e.support_x, e.support_y, e.way, draws, draw_generator)
                    if draws
                    else adapter.adapt(e.support_x, e.support_y, e.way)
                )
                best = classifier(e.query_x).max(-1)
                correct.append(best.indices == e.query_y)
                confidence.append(best.values.exp())
                scores += correct[-1].double().mean(1).tolist()
                progress.advance(tasks)
    finally:
        method.train(training)
    accuracy, ci95 = mean_and_ci95(torch.tensor(scores, dtype=torch.float64))
    error = calibration_error(torch.cat(confidence).flatten(), torch.cat(correct).flatten())
    return Score(
        data=source.name,
        split=source.split,
        split_hash=source.split_hash,
        protocol=describe_protocol(method, draws),
        way=shape.way,
        shot=shape.shot,
        query=shape.query,
        episodes=episodes,
        seed=seed,
        accuracy=100 * accuracy,
        ci95=100 * ci95,
        seconds=time.perf_counter() - start,
        scores=tuple(scores),
        calibration_error=100 * error,
    )


def tasks_per_batch(shape: EpisodeShape) -> int:
    """Compute the number of tasks that are drawn and classified at once.

    With the same seed, whole batches of a shorter evaluation are the first tasks of a longer one.
    """
    return max(1, EVALUATION_BATCH_SIZE // (shape.way * shape.per_class))


def describe_protocol(method: Method, draws: int = 0) -> str:
    """Describe how queries are classified, in the words that stand beside every score.

    >>> from lgmnet.methods import ProtoNet, ProtoNetConfig
    >>> describe_protocol(ProtoNet(ProtoNetConfig()))
    'inductive'
    """
    kind = "transductive" if method.is_transductive else "inductive"
    return f"{kind}, mean of {draws} draws" if draws else kind


def mean_and_ci95(scores: Float[Tensor, " episodes"]) -> tuple[float, float]:
    """Mean over episodes and half-width of its 95 % interval, 1.96 standard errors.

    >>> mean, ci95 = mean_and_ci95(torch.tensor([0.5, 1.0]))
    >>> mean, round(ci95, 2)
    (0.75, 0.49)
    """
    return scores.mean().item(), 1.96 * scores.std().item() / math.sqrt(len(scores))


def calibration_error(
    confidence: Float[Tensor, " queries"], correct: Bool[Tensor, " queries"]
) -> float:
    """Expected calibration error (Naeini et al., AAAI 2015; Guo et al., ICML 2017), 0 to 1.

    Predictions are sorted by confidence into 15 bins of equal width. In each bin, the mean
    confidence is compared with the share of correct predictions::

        ECE = sum over bins of |bin| / n * |accuracy(bin) - confidence(bin)|

    ``confidence`` is the largest probability of each prediction.
    """
    bins = (confidence.double() * ECE_BINS).ceil().long().sub(1).clamp(0, ECE_BINS - 1)
    differences = torch.zeros(ECE_BINS, dtype=torch.float64, device=confidence.device)
    differences.index_add_(0, bins, confidence.double() - correct.double())
    return float(differences.abs().sum() / len(confidence))
