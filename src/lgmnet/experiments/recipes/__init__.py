"""Published runs: a function for each, returning its whole configuration."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from lgmnet.data.synthetic.plane import PLANES
from lgmnet.experiments.recipes import cifar, omniglot, photos, plane, vectors
from lgmnet.experiments.recipes.rivals import PRETRAINED, RIVALS, rival
from lgmnet.training.config import Run

OURS: dict[str, Callable[[], Run]] = {
    "omniglot": omniglot.omniglot,
    "cifar-fs": cifar.cifar_fs,
    "miniimagenet": cifar.miniimagenet,
    **{family: partial(plane.plane, family) for family in PLANES},
}
"""LGM-Net on each data, to which the rivals are compared."""


def of_rival(data: str, method: str) -> Run:
    """A rival's run, with what LGM-Net has on the same data."""
    return rival(OURS[data](), method)


RECIPES: dict[str, Callable[[], Run]] = {
    **OURS,
    "cifar-fs-resnet12": cifar.cifar_fs_resnet12,
    "cifar-fs-resnet12-proto-net": lambda: rival(cifar.cifar_fs_resnet12(), "proto-net"),
    "photos": photos.photos,
    "vectors": vectors.vectors,
    "omniglot-refined": omniglot.omniglot_refined,
    "omniglot-lake": omniglot.omniglot_lake,
    "omniglot-paper": omniglot.omniglot_paper,
    **{
        f"{data}-{method}": partial(of_rival, data, method)
        for data in OURS
        for method in RIVALS
        # Tasks in the plane have no classes that an embedding could be pretrained on.
        if data not in PLANES or method not in PRETRAINED
    },
}
