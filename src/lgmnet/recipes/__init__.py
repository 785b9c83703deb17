"""Published runs: a function for each, returning its whole configuration."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from lgmnet.data.planes import PLANES
from lgmnet.recipes import omniglot, planes, rivals
from lgmnet.training.config import Run

RECIPES: dict[str, Callable[[], Run]] = {
    "omniglot": omniglot.omniglot,
    "omniglot-refined": omniglot.omniglot_refined,
    "omniglot-lake": omniglot.omniglot_lake,
    "omniglot-paper": omniglot.omniglot_paper,
    "omniglot-proto-net": rivals.omniglot_proto_net,
    "omniglot-matching-net": rivals.omniglot_matching_net,
    "omniglot-maml": rivals.omniglot_maml,
    **{family: partial(planes.plane, family) for family in PLANES},
}
