"""Published runs: a function for each, returning its whole configuration."""

from __future__ import annotations

from collections.abc import Callable

from lgmnet.recipes import omniglot
from lgmnet.training.config import Run

RECIPES: dict[str, Callable[[], Run]] = {
    "omniglot": omniglot.omniglot,
    "omniglot-refined": omniglot.omniglot_refined,
    "omniglot-lake": omniglot.omniglot_lake,
    "omniglot-paper": omniglot.omniglot_paper,
}
