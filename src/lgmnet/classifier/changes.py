"""Comparison of the answers of two classifiers to the same labelled images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from lgmnet.evaluation.interval import wilson_interval


@dataclass(frozen=True)
class Change:
    """Image that two classifiers answer differently."""

    source: str
    label: str
    before: str
    """Answer of the first classifier."""
    after: str
    """Answer of the second classifier."""


@dataclass(frozen=True)
class Changes:
    """Answers of two classifiers to the same labelled images."""

    n_images: int
    n_correct: tuple[int, int]
    """Number of correct answers of the first and of the second classifier."""
    improved: tuple[Change, ...]
    """Images that only the second classifier answers correctly."""
    worsened: tuple[Change, ...]
    """Images that only the first classifier answers correctly."""
    other: tuple[Change, ...]
    """Images that both answer wrongly, with different answers."""

    @property
    def improved_share(self) -> tuple[float, float] | None:
        """95 % interval of the share of `improved` among images that one answers correctly.

        If it contains 50 %, neither classifier is ahead (a sign test). None without such images.
        """
        n = len(self.improved) + len(self.worsened)
        return wilson_interval(len(self.improved) / n, n) if n else None

    def as_json(self) -> dict[str, Any]:
        """Convert to plain numbers and texts."""
        interval = self.improved_share
        lists = {name: getattr(self, name) for name in ("improved", "worsened", "other")}
        return {
            "asked": self.n_images,
            "right": list(self.n_correct),
            "improved_share": interval and list(interval),
            **{name: [vars(change) for change in changes] for name, changes in lists.items()},
        }


def compare_answers(
    labels: Sequence[str],
    sources: Sequence[str],
    first: tuple[Sequence[str], Float[Tensor, "images classes"]],
    second: tuple[Sequence[str], Float[Tensor, "images other_classes"]],
) -> Changes:
    """Compare the answers of two classifiers, each given as its classes and its probabilities."""
    before, after = ([names[i] for i in p.argmax(1).tolist()] for names, p in (first, second))
    changes = [Change(*row) for row in zip(sources, labels, before, after, strict=True)]
    changed = [change for change in changes if change.before != change.after]
    return Changes(
        len(changes),
        (sum(c.before == c.label for c in changes), sum(c.after == c.label for c in changes)),
        tuple(c for c in changed if c.after == c.label),
        tuple(c for c in changed if c.before == c.label),
        tuple(c for c in changed if c.label not in (c.before, c.after)),
    )
