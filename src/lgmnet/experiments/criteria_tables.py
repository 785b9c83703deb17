"""Definitions of the tables of tasks by criterion, of ordinary classes and of other domains."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lgmnet.data.datasets.domains import DOMAINS
from lgmnet.data.synthetic import (
    criterion_drawings,
    criterion_photos,
    drawing_factors,
    photo_factors,
)
from lgmnet.data.synthetic.criteria import Factor
from lgmnet.data.synthetic.photo_table import PHOTOS_BY_CRITERION
from lgmnet.experiments.recipes import RECIPES
from lgmnet.experiments.recipes.vectors import VECTOR_TRAINING
from lgmnet.experiments.table_rows import (
    LGM_NET_PAPER_CONTEXT,
    NOTHING_GENERATED,
    SEEDS,
    SEES_LABELS,
)
from lgmnet.experiments.tables import Column, Entry, Mean, Table
from lgmnet.methods import METHODS
from lgmnet.nn.embedding import vector_embedding
from lgmnet.nn.layer_statistics import LAYERS, N_LAYER_STATISTICS
from lgmnet.nn.matching import HeadConfig
from lgmnet.nn.pretrained import EFFICIENTNET_LITE0, EFFICIENTNET_LITE0_LAYERS
from lgmnet.training.config import Run

HELD_OUT_MARK = "*"
CRITERIA_SHOTS, DOMAIN_SHOTS = (1, 5, 10), (1, 5)
CRITERIA_EPISODES = 500
PHOTO_QUERIES = 6
"""Query photos per value: with them, both data sets have enough photos for 10 shots."""
DRAWING_QUERIES = 10
"""Query drawings per value: a character has 20 drawings, and the support up to 10 of them."""
MAX_PHOTO_WAY, MAX_DRAWING_WAY = 5, 3
LAST_LAYER_STRENGTH, ROOTS_STRENGTH, ALL_LAYERS_STRENGTH = 100.0, 1000.0, 1000.0
"""C of the logistic regressions, chosen on validation data (`scripts/choose_regularization.py`)."""
RIDGE_STRENGTH = 0.001
"""Strength of the ridge regression, chosen in the same way."""
LOOKS = ("place", "blur", "brightness", "compression", "noise")
"""Criteria of photos that training sees and that are no content."""
PHOTO_RECIPES = {
    SEES_LABELS: PHOTOS_BY_CRITERION,
    NOTHING_GENERATED: f"{PHOTOS_BY_CRITERION}-constant",
    LGM_NET_PAPER_CONTEXT: f"{PHOTOS_BY_CRITERION}-paper",
}
DRAWING_RECIPES = {
    SEES_LABELS: "criteria-drawings",
    NOTHING_GENERATED: "criteria-drawings-constant",
    "ProtoNet, cosine": "criteria-drawings-proto-net",
}
"""Recipes of the rows that are meta-trained."""
FORMER_PHOTOS = "photos-classes"
"""Recipe of the model for ordinary classes of photos, and name of its shipped weights."""
FORMER_TITLE = "LGM-Net for ordinary classes"
DOMAIN_TITLES = {
    "coins": "coins",
    "sign_digits": "sign digits",
    "textile": "textile",
    "cue_conflict": "cue conflict",
}
"""Sets of photos that no row was trained on."""
ABOUT_PHOTO_ROWS = (
    "All methods see the same features of EfficientNet-Lite0, which was trained on ImageNet: "
    f"either {N_LAYER_STATISTICS:,} statistics of {len(LAYERS)} layers, or (last layer) the "
    f"{LAYERS[-1][1]:,} means of the last one alone. The rows of LGM-Net are meta-trained on the "
    "same tasks of training photos, with three seeds; with nothing generated, the gains of the "
    "features are learned and equal for all tasks, and the paper's context never reads a label. "
    "How else their trainings differ is said in "
    "[does generation pay?](../concepts/does-generation-pay.md). "
    "LGM-Net for ordinary classes is the shipped `photos-classes`. All other rows learn "
    "from the support set alone; the strengths of their regularization were chosen on validation "
    "data."
)


def recipe_entries(recipes: Mapping[str, str]) -> tuple[Entry, ...]:
    """Make a row with three seeds of each published recipe, by the names of the rows."""
    return tuple(
        Entry(name, RECIPES[recipe](), seeds=SEEDS)
        for name, recipe in recipes.items()
        if recipe in RECIPES
    )


def photo_entries() -> tuple[Entry, ...]:
    """Make the rows on features of photos."""

    def untrained(name: str, method: str, *, all_layers: bool = False, **config: Any) -> Entry:
        length = N_LAYER_STATISTICS if all_layers else LAYERS[-1][1]
        run = Run(
            recipe=f"{PHOTOS_BY_CRITERION}-{method}",
            method=method,
            config=METHODS[method].config_type(embedding=vector_embedding(length), **config),
            data=PHOTOS_BY_CRITERION,
            split="train",
            val_split="val",
            train=VECTOR_TRAINING,
            backbone=EFFICIENTNET_LITE0_LAYERS if all_layers else EFFICIENTNET_LITE0,
        )
        return Entry(name, run)

    logistic = "logistic-regression"
    return (
        *recipe_entries(PHOTO_RECIPES),
        Entry(FORMER_TITLE, RECIPES[FORMER_PHOTOS](), shipped=FORMER_PHOTOS),
        untrained("Cosine prototypes, last layer", "proto-net", head=HeadConfig("means", None)),
        untrained("Logistic regression, last layer", logistic, strength=LAST_LAYER_STRENGTH),
        untrained(
            "Logistic regression, roots of the last layer",
            logistic,
            strength=ROOTS_STRENGTH,
            roots=True,
        ),
        untrained(
            "Logistic regression, all layers",
            logistic,
            all_layers=True,
            strength=ALL_LAYERS_STRENGTH,
        ),
        untrained(
            "Ridge regression, all layers",
            "ridge-regression",
            all_layers=True,
            head=HeadConfig("ridge", None, RIDGE_STRENGTH),
        ),
    )


def criterion_columns(
    data: str, split: str, contents: Sequence[str], rendered: Iterable[Factor], max_way: int
) -> tuple[Column, ...]:
    """Make the columns of tasks by each criterion, held-out ones marked and last.

    Args:
        data: Name of the data by criterion.
        split: Split to score on.
        contents: Criteria that are given with the image; they have many values.
        rendered: Factors that rendering decides.
        max_way: Limit of the way, which is else the number of values.
    """
    ways = {(name, name): max_way for name in contents}
    for factor in sorted(rendered, key=lambda factor: factor.is_held_out):
        title = factor.name + HELD_OUT_MARK * factor.is_held_out
        ways[factor.name, title] = min(max_way, len(factor.values))
    return tuple(
        Column(f"{data}:{name}", split, way, shot, title)
        for shot in CRITERIA_SHOTS
        for (name, title), way in ways.items()
    )


def mean_over(title: str, columns: Iterable[Column], has: Callable[[Column], bool]) -> Mean:
    """Make the mean over those of some columns for which a function returns True."""
    return Mean(title, tuple(dict.fromkeys(c.heading for c in columns if has(c))))


def is_held_out(column: Column) -> bool:
    """Return True if the criterion of a column never varies in training."""
    return column.title.endswith(HELD_OUT_MARK)


def table_criteria() -> tuple[Table, ...]:
    """Define the tables of tasks by criterion: photos, drawings, and ordinary classes of photos."""
    return photo_criteria(), drawing_criteria(), ordinary_classes()


def photo_criteria() -> Table:
    """Define the table of photos by criterion."""
    data, split = "criteria-photos", "test"
    columns = criterion_columns(
        data,
        split,
        criterion_photos.CONTENT_FACTORS,
        photo_factors.RENDERED_FACTORS,
        MAX_PHOTO_WAY,
    )
    return Table(
        name="table-criteria-photos",
        command="table-criteria",
        title="Photos by any criterion",
        about="Photos and classes of Caltech-101 and CIFAR-FS that no training saw, labelled by "
        "one criterion at a time ([tasks by criterion](../concepts/criteria.md)). In training, "
        "the criteria marked * "
        f"never varied. The five seen looks are {', '.join(LOOKS)}. {ABOUT_PHOTO_ROWS}",
        entries=photo_entries(),
        data=data,
        split=split,
        columns=columns,
        means=(
            mean_over("five seen looks", columns, lambda c: c.title in LOOKS),
            mean_over("held-out criteria*", columns, is_held_out),
        ),
        audited=(Column(data, split, 3, 5),),
        query=PHOTO_QUERIES,
        episodes=CRITERIA_EPISODES,
        backbone=EFFICIENTNET_LITE0_LAYERS,
        references=(SEES_LABELS,),
    )


def drawing_criteria() -> Table:
    """Define the table of drawings by criterion."""
    data, split = "criteria-drawings", "lake/test"
    columns = criterion_columns(
        data,
        split,
        criterion_drawings.CONTENT_FACTORS,
        drawing_factors.RENDERED_FACTORS,
        MAX_DRAWING_WAY,
    )
    return Table(
        name="table-criteria-drawings",
        command="table-criteria",
        title="Drawings by any criterion",
        about="Characters of alphabets that no training saw, labelled by one criterion at a time "
        "([tasks by criterion](../concepts/criteria.md)). In training, the criteria marked * never "
        "varied. All rows "
        "are trained from scratch on the same tasks, with three seeds, and have the same four "
        "layers; the gains of the row that sees labels are trained on as many tasks again whose "
        "labels follow from a random feature. With nothing generated, the gains of the features "
        "are learned and equal for all tasks. ProtoNet compares the last layer alone.",
        entries=recipe_entries(DRAWING_RECIPES),
        data=data,
        split=split,
        columns=columns,
        means=(
            mean_over("seen criteria", columns, lambda c: not is_held_out(c)),
            mean_over("held-out criteria*", columns, is_held_out),
        ),
        audited=(Column(data, split, 3, 5),),
        query=DRAWING_QUERIES,
        episodes=CRITERIA_EPISODES,
        references=(SEES_LABELS,),
    )


def ordinary_classes() -> Table:
    """Define the table of ordinary classes, which is there so that nothing is lost on them."""
    columns = tuple(
        Column(data, "test", way, shot, title)
        for shot in DOMAIN_SHOTS
        for data, title in (("caltech101", "Caltech-101"), ("cifar-fs", "CIFAR-FS"))
        for way in (5, 20)
    )
    return Table(
        name="table-criteria-classes",
        command="table-criteria",
        title="Ordinary classes of photos",
        about="Test classes of Caltech-101 and CIFAR-FS, photos as they are. " + ABOUT_PHOTO_ROWS,
        entries=photo_entries(),
        data="caltech101 and cifar-fs",
        split="test",
        columns=columns,
        means=(mean_over("all", columns, lambda c: True),),
        audited=tuple(c for c in columns if (c.way, c.shot) == (5, 1)),
        episodes=CRITERIA_EPISODES,
        backbone=EFFICIENTNET_LITE0_LAYERS,
        references=(SEES_LABELS, FORMER_TITLE),
    )


def table_domains() -> tuple[Table, ...]:
    """Define the table of other domains: sets of real photos, some labelled in two ways."""
    columns = []
    for shot in DOMAIN_SHOTS:
        for name, title in DOMAIN_TITLES.items():
            known = DOMAINS[name]
            for labeling in known.labelings:
                by = f" by {labeling}" if len(known.labelings) > 1 else ""
                mark = " (validation)" if known.split == "val" else ""
                way = 3 if name == "textile" else MAX_PHOTO_WAY
                data = f"domains:{name}/{labeling}"
                columns.append(Column(data, known.split, way, shot, title + by + mark))
    table = Table(
        name="table-domains",
        title="Photos of other domains",
        about="Sets of real photos ([tasks by criterion](../concepts/criteria.md)) that no row was "
        "trained on. "
        "Designs and settings were chosen with coins among others; the other sets are for testing "
        "alone. Groceries and clothing are not here: all their photos are training data, on which "
        f"scores say nothing. {ABOUT_PHOTO_ROWS}",
        entries=photo_entries(),
        data="domains",
        split="val and test",
        columns=tuple(columns),
        means=(mean_over("sets for testing alone", columns, lambda c: c.split == "test"),),
        audited=tuple(column for column in columns if column.shot == DOMAIN_SHOTS[0]),
        episodes=CRITERIA_EPISODES,
        backbone=EFFICIENTNET_LITE0_LAYERS,
        references=(SEES_LABELS,),
    )
    return (table,)
