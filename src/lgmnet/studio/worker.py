"""The one thread in which networks compute: what waits together is answered together."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
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
    """Samples that somebody wants answered."""

    fitted: FittedClassifier
    samples: Num[Tensor, "samples *feature"]
    answer: Future[QueryAnalysis] = field(default_factory=Future)


@dataclass
class Task:
    """Something else that computes, such as forging."""

    act: Callable[[], Any]
    done: Future[Any] = field(default_factory=Future)


class Worker:
    """Computes one thing at a time, on all cores, and questions to one classifier at once.

    Several networks at a time would take each other's cores.

    Args:
        answered: Told how many samples were answered at once, and how many questions.
    """

    def __init__(
        self, answered: Callable[[int, int], object] = lambda samples, asked: None
    ) -> None:
        self.answered = answered
        self.waiting: queue.SimpleQueue[PredictJob | Task | None] = queue.SimpleQueue()
        self.thread: threading.Thread | None = None
        self.lock = threading.Lock()

    def start(self) -> None:
        """Begin, or begin again after `stop`."""
        with self.lock:
            if self.thread is None:
                self.thread = threading.Thread(target=self._work, name="networks", daemon=True)
                self.thread.start()

    def ask(
        self, fitted: FittedClassifier, samples: Num[Tensor, "samples *feature"]
    ) -> Future[QueryAnalysis]:
        """All that a classifier will say of samples; a DataError if it does not know their kind."""
        question = PredictJob(fitted, samples)
        self._put(question)
        return question.answer

    def run(self, act: Callable[[], T]) -> Future[T]:
        """What an act will give, or raise, that is done in the thread."""
        task = Task(act)
        self._put(task)
        return task.done

    def stop(self) -> None:
        """End, when all that waits is done."""
        with self.lock:
            if self.thread is not None:
                self.waiting.put(None)
                self.thread.join()
                self.thread = None

    def _put(self, item: PredictJob | Task) -> None:
        # Under the lock, so that nothing is put behind the end, where it would wait for ever.
        with self.lock:
            assert self.thread is not None, "the worker has not been started, or has been stopped"
            self.waiting.put(item)

    def _work(self) -> None:
        while (first := self.waiting.get()) is not None:
            stopping = False
            questions: list[PredictJob] = []
            tasks: list[Task] = []
            taken: PredictJob | Task | None = first
            while True:
                if taken is None:
                    stopping = True
                elif isinstance(taken, Task):
                    if taken.done.set_running_or_notify_cancel():  # Else nobody waits any more.
                        tasks.append(taken)
                elif taken.answer.set_running_or_notify_cancel():
                    questions.append(taken)
                if stopping or sum(len(q.samples) for q in questions) >= BATCH_SIZE:
                    break
                try:
                    taken = self.waiting.get_nowait()
                except queue.Empty:
                    break
            self._answer(questions)
            for task in tasks:
                resolve(task.done, task.act)
            if stopping:
                return

    def _answer(self, questions: list[PredictJob]) -> None:
        """Answer questions, those to one classifier in one pass."""
        by_classifier: dict[int, list[PredictJob]] = {}
        for question in questions:
            by_classifier.setdefault(id(question.fitted), []).append(question)
        for some in by_classifier.values():
            try:
                answers = some[0].fitted.analyze(torch.cat([q.samples for q in some]))
            except Exception:
                for question in some:  # One by one, so that each hears of its own samples.
                    resolve(question.answer, partial(question.fitted.analyze, question.samples))
                continue
            start = 0
            for question in some:
                end = start + len(question.samples)
                question.answer.set_result(part_of(answers, start, end))
                start = end
            self.answered(start, len(some))


def part_of(answers: QueryAnalysis, start: int, end: int) -> QueryAnalysis:
    """The answers for some of the samples."""
    cut = [
        None if of is None else of[start:end]
        for of in (answers.similarity, answers.support_attention, answers.embedding)
    ]
    return QueryAnalysis(answers.log_p[start:end], *cut)


def resolve(future: Future[T], act: Callable[[], T]) -> None:
    """Give a future what an act gives, or raises."""
    try:
        future.set_result(act())
    except BaseException as error:  # Whoever waits shall hear of it, whatever it is.
        future.set_exception(error)
