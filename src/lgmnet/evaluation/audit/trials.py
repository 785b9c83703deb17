"""Repeated runs of a method under controlled randomness, and comparisons of their answers.

Every run starts from a copy of the method, with the same state of all random generators. So an
honest method gives the same answers twice, however random it is; and if answers differ after a
change, it is the change that matters. Methods whose randomness cannot be controlled are compared
by a test of means instead.
"""

import copy
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from lgmnet.episode import Episode
from lgmnet.evaluation.audit.chance import MAX_ALARM_PROBABILITY, probability_of_equal_means
from lgmnet.methods.base import Method

SAME_SHAPE_TOLERANCE = 1e-5
"""Largest difference, relative to the spread of the answers, between computations of the same
shape; on a CPU they are equal to the last bit."""
ROUNDING_TOLERANCE = 2e-3
"""The same between computations of different shapes, whose order of summation differs."""
DOUBLE_SEED = 10_000
"""Seed of the runs in 64 bits, which no other run has."""
N_REPEATS = 16
"""Runs of each kind, if the randomness of a method cannot be controlled."""
MIN_LOG_P = -1e4


@contextmanager
def fixed_randomness(seed: int) -> Iterator[None]:
    """Seed the global generators of PyTorch, NumPy and Python, and restore them at the end."""
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002


@dataclass(frozen=True)
class Difference:
    """Difference between the answers of a method before and after a change."""

    relative: float
    """Largest difference, relative to the spread of the answers."""
    is_real: bool
    """True if the change causes it."""
    is_certain: bool = True
    """False if randomness may cause it as well."""


class KeptStateError(Exception):
    """A method fails in 32 bits only after it has computed in 64: it keeps what it was given.

    Every run starts from a copy of the method, so it must be kept outside of it.
    """


class Trials:
    """Runs of one method on changed inputs.

    Args:
        method: Method in evaluation mode; it is not changed.
        draw: Function that samples the tasks on which repeatability is measured.
    """

    def __init__(self, method: Method, draw: Callable[[], Episode]) -> None:
        self.method = method
        self.draw = draw
        self.randomness_after = torch.empty(0)
        self._continued: Method | None = None
        self._is_double = False
        self._was_double = False

    def answer(
        self,
        episode: Episode,
        *,
        before: Sequence[Episode] = (),
        queries_before: Tensor | None = None,
        seed: int = 0,
    ) -> Tensor:
        """Adapt a copy of the method to an episode, and classify its queries.

        Args:
            episode: Tasks to adapt to.
            before: Tasks that the copy adapts to and classifies beforehand.
            queries_before: Queries that the classifier answers beforehand.
            seed: Seed of all global generators.

        Returns:
            Log-probabilities [tasks, query, way].

        Raises:
            KeptStateError: if the method fails only because it has computed in 64 bits before.
        """
        try:
            return self._answer(episode, before, queries_before, seed)
        except Exception as error:  # Anything that a method can raise.
            if self._was_double and not self._is_double:
                raise KeptStateError from error
            raise

    def _answer(
        self,
        episode: Episode,
        before: Sequence[Episode],
        queries_before: Tensor | None,
        seed: int,
    ) -> Tensor:
        """See `answer`."""
        with fixed_randomness(seed):
            method = self._continued or copy.deepcopy(self.method)
            if self._is_double:
                method, episode = method.double(), to_double(episode)
            for e in before:
                method.adapt(e.support_x, e.support_y, e.way)(e.query_x)
            e = episode
            classifier = method.adapt(e.support_x, e.support_y, e.way)
            if queries_before is not None:
                classifier(queries_before)
            log_p: Tensor = classifier(e.query_x)
            # Equal states after two runs mean that both have drawn equally many numbers.
            self.randomness_after = torch.rand(8)
        return log_p.detach().double().cpu().nan_to_num(neginf=MIN_LOG_P).clamp_min(MIN_LOG_P)

    @cached_property
    def is_repeatable(self) -> bool:
        """True if two runs from the same state give the same answers."""
        episode = self.draw()
        return self._are_equal(self.answer(episode), self.answer(episode))

    @cached_property
    def is_random(self) -> bool:
        """True if answers depend on the state of a generator, global or the method's own."""
        episode = self.draw()
        first = self.answer(episode)
        others = [self.answer(episode, seed=1), self.answer(episode, before=[episode])]
        return not self.is_repeatable or not all(self._are_equal(first, o) for o in others)

    @staticmethod
    def _are_equal(first: Tensor, second: Tensor) -> bool:
        return relative_difference(first, second) <= SAME_SHAPE_TOLERANCE

    def compare(
        self,
        before: Callable[[int], Tensor],
        after: Callable[[int], Tensor],
        *,
        same_shape: bool,
    ) -> Difference:
        """Compare answers before and after a change, each given the seed of its run.

        Args:
            before: Run without the change, from its seed.
            after: Run with the change, from its seed.
            same_shape: True if both runs compute tensors of the same shapes, and so draw the same
                random numbers.
        """
        first = before(0)
        drawn = self.randomness_after
        second = after(0)
        relative = relative_difference(first, second)
        tolerance = SAME_SHAPE_TOLERANCE if same_shape else ROUNDING_TOLERANCE
        if relative <= tolerance or (not same_shape and self._is_rounding(before, after)):
            return Difference(relative, is_real=False)
        has_drawn_the_same = same_shape and torch.equal(drawn, self.randomness_after)
        if not self.is_random or (self.is_repeatable and has_drawn_the_same):
            return Difference(relative, is_real=True)
        is_real = self._means_differ(before, after)
        return Difference(relative, is_real, is_certain=is_real or not same_shape)

    def _is_rounding(self, before: Callable[[int], Tensor], after: Callable[[int], Tensor]) -> bool:
        """Return True if a difference is one of rounding: in 64 bits it is gone.

        Answers that hardly differ, such as those of a method at the beginning of its training, may
        differ by no more than some roundings in 32 bits. A method that cannot compute in 64 bits
        gets no such second chance, and neither does a random one.
        """
        if self.is_random:
            return False
        self._is_double = self._was_double = True
        try:
            difference = relative_difference(before(DOUBLE_SEED), after(DOUBLE_SEED))
        except Exception:  # Anything that a method can raise that expects 32 bits.
            return False
        finally:
            self._is_double = False
        return difference <= ROUNDING_TOLERANCE

    def _means_differ(
        self, before: Callable[[int], Tensor], after: Callable[[int], Tensor]
    ) -> bool:
        """Test whether mean answers differ: half of the runs choose a direction, half test it."""
        runs = []
        self._continued = copy.deepcopy(self.method)  # A generator of its own goes on.
        try:
            for repeat in range(N_REPEATS):
                seed = 1 + 2 * repeat
                runs.append((before(seed).exp().flatten(), after(seed + 1).exp().flatten()))
        finally:
            self._continued = None
        first, second = (torch.stack(side) for side in zip(*runs, strict=True))
        half = N_REPEATS // 2
        direction = second[:half].mean(0) - first[:half].mean(0)
        a, b = first[half:] @ direction, second[half:] @ direction
        return probability_of_equal_means(a, b) < MAX_ALARM_PROBABILITY


def relative_difference(a: Tensor, b: Tensor) -> float:
    """Largest difference of log-probabilities, relative to their spread over classes and queries.

    Differences far below the precision of 32 bits count as none.
    """
    spread = (a - a.mean(-1, keepdim=True)).std().item() if a.numel() > 1 else 0.0
    difference = (a - b).abs().max().item()
    rounding = 2e-7 * max(1.0, a.abs().max().item())
    if difference <= rounding:
        return 0.0
    return difference / max(spread, rounding)


def to_double(episode: Episode) -> Episode:
    """Convert the samples of an episode to 64 bits."""
    samples = {"support_x": episode.support_x.double(), "query_x": episode.query_x.double()}
    return Episode.unchecked(**{**vars(episode), **samples})
