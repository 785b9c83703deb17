"""Thread that runs all networks, and predicts waiting images of one classifier in one pass."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import torch
from jaxtyping import Num
from torch import Tensor

from lgmnet.classifier.classifier import BATCH_SIZE, FittedClassifier
from lgmnet.methods.base import QueryAnalysis

T = TypeVar("T")


@dataclass
class PredictJob:
    """Samples that wait for their prediction."""

    fitted: FittedClassifier
    samples: Num[Tensor, "samples *feature"]
    result: Future[QueryAnalysis] = field(default_factory=Future)


@dataclass
class Job:
    """Any other computation, such as fitting a classifier."""

    function: Callable[[], Any]
    result: Future[Any] = field(default_factory=Future)


class Worker:
    """Thread that runs one computation at a time, on all cores.

    Networks that run at the same time would compete for the cores. Prediction jobs that wait for
    the same classifier are joined into one pass. After each pass, ``on_pass`` is called with the
    number of samples and of prediction jobs.
    """

    def __init__(self, on_pass: Callable[[int, int], object] = lambda samples, jobs: None) -> None:
        self.on_pass = on_pass
        self.jobs: queue.SimpleQueue[PredictJob | Job | None] = queue.SimpleQueue()
        self.thread: threading.Thread | None = None
        self.lock = threading.Lock()

    def start(self) -> None:
        """Start the thread; it can be started again after `stop`."""
        with self.lock:
            if self.thread is None:
                self.thread = threading.Thread(target=self._work, name="networks", daemon=True)
                self.thread.start()

    def submit_prediction(
        self, fitted: FittedClassifier, samples: Num[Tensor, "samples *feature"]
    ) -> Future[QueryAnalysis]:
        """Queue `FittedClassifier.analyze`; the future raises what that raises."""
        return self._put(PredictJob(fitted, samples))

    def submit(self, function: Callable[[], T]) -> Future[T]:
        """Queue a function; the future gives what it returns, or raises what it raises."""
        return self._put(Job(function))

    def stop(self) -> None:
        """Stop the thread once all queued jobs are done."""
        with self.lock:
            if self.thread is not None:
                self.jobs.put(None)
                self.thread.join()
                self.thread = None

    def _put(self, job: PredictJob | Job) -> Future[Any]:
        # The lock keeps jobs from being queued after the end marker, where they would never run.
        with self.lock:
            assert self.thread is not None, "the worker has not been started, or has been stopped"
            self.jobs.put(job)
        return job.result

    def _work(self) -> None:
        """Take all waiting jobs at a time: first the predictions, then the other jobs."""
        while (next_job := self.jobs.get()) is not None:
            predict_jobs: list[PredictJob] = []
            other_jobs: list[Job] = []
            with suppress(queue.Empty):
                while next_job is not None:
                    if next_job.result.set_running_or_notify_cancel():  # False if cancelled
                        if isinstance(next_job, PredictJob):
                            predict_jobs.append(next_job)
                        else:
                            other_jobs.append(next_job)
                    if sum(len(job.samples) for job in predict_jobs) >= BATCH_SIZE:
                        break
                    next_job = self.jobs.get_nowait()
            self._predict(predict_jobs)
            for job in other_jobs:
                set_outcome(job.result, job.function)
            if next_job is None:
                return

    def _predict(self, jobs: list[PredictJob]) -> None:
        """Run prediction jobs, those of one classifier in one pass."""
        by_classifier: dict[int, list[PredictJob]] = {}
        for job in jobs:
            by_classifier.setdefault(id(job.fitted), []).append(job)
        for group in by_classifier.values():
            try:
                analysis = group[0].fitted.analyze(torch.cat([job.samples for job in group]))
            except Exception:
                for job in group:  # One by one, so that each job gets only its own error.
                    set_outcome(job.result, partial(job.fitted.analyze, job.samples))
                continue
            self.on_pass(len(analysis.log_p), len(group))  # Before anybody gets a result.
            start = 0
            for job in group:
                end = start + len(job.samples)
                job.result.set_result(slice_analysis(analysis, start, end))
                start = end


def slice_analysis(analysis: QueryAnalysis, start: int, end: int) -> QueryAnalysis:
    """Return the analysis of the samples from ``start`` up to ``end``."""
    optional = (
        None if values is None else values[start:end]
        for values in (analysis.similarity, analysis.support_attention, analysis.embedding)
    )
    return QueryAnalysis(analysis.log_p[start:end], *optional)


def set_outcome(future: Future[T], function: Callable[[], T]) -> None:
    """Call a function and give its result, or its error, to a future."""
    try:
        future.set_result(function())
    except BaseException as error:  # Every error must reach the waiting caller.
        future.set_exception(error)
