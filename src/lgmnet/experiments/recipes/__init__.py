"""Published runs: one function each, which returns the whole configuration."""

from collections.abc import Callable
from functools import partial

from lgmnet.data.synthetic.plane import PLANES
from lgmnet.experiments.recipes import cifar, criteria, omniglot, vectors
from lgmnet.experiments.recipes.rivals import PRETRAINED, RIVALS, rival
from lgmnet.training.config import Run

LGM_NET_RECIPES: dict[str, Callable[[], Run]] = {
    "omniglot": omniglot.omniglot,
    "cifar-fs": cifar.cifar_fs,
    "miniimagenet": cifar.miniimagenet,
    **{family: partial(vectors.plane, family) for family in PLANES},
}
"""LGM-Net on each data set, with which the rivals are compared."""


def rival_recipe(data: str, method: str) -> Run:
    """Describe a rival's run with what LGM-Net has on the same data."""
    return rival(LGM_NET_RECIPES[data](), method)


RECIPES: dict[str, Callable[[], Run]] = {
    **LGM_NET_RECIPES,
    "cifar-fs-constant": cifar.cifar_fs_constant,
    "cifar-fs-resnet12": cifar.cifar_fs_resnet12,
    "cifar-fs-resnet12-proto-net": lambda: rival(cifar.cifar_fs_resnet12(), "proto-net"),
    "photos-classes": vectors.photos_classes,
    "vectors": vectors.vectors,
    "criteria-drawings": criteria.criteria_drawings,
    "criteria-drawings-constant": criteria.criteria_drawings_constant,
    "criteria-drawings-proto-net": criteria.criteria_drawings_proto_net,
    "photos-by-criterion": criteria.photos_by_criterion,
    "photos-by-criterion-constant": criteria.photos_by_criterion_constant,
    "photos-by-criterion-paper": criteria.photos_by_criterion_paper,
    "omniglot-refined": omniglot.omniglot_refined,
    "omniglot-lake": omniglot.omniglot_lake,
    "omniglot-paper": omniglot.omniglot_paper,
    "cifar-fs-paper": lambda: cifar.with_paper_config(cifar.cifar_fs()),
    **{
        f"{data}-{method}": partial(rival_recipe, data, method)
        for data in LGM_NET_RECIPES
        for method in RIVALS
        # Tasks in the plane have no fixed classes to pretrain an embedding on.
        if data not in PLANES or method not in PRETRAINED
    },
}
"""All published runs by name."""
