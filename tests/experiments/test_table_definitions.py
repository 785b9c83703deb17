"""The defined tables can be trained and compare rows fairly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lgmnet.experiments.recipes.rivals import UNTRAINED
from lgmnet.experiments.results import RunOptions
from lgmnet.experiments.run_tables import draw_page
from lgmnet.experiments.table_definitions import TABLES
from lgmnet.experiments.table_rows import AUXILIARY, EXTRA_LAYERS, LGM_NET, SEEDS, with_auxiliary
from lgmnet.methods import LGMNetConfig
from lgmnet.methods.metric import MetricConfig

ROOT = Path(__file__).parents[2]
COMPARED = ("table1", "table2")
"""Tables of all methods whose results are stored."""
PAPER = "LGM-Net, the paper's configuration"


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_table_compares_rows_that_can_be_trained(name: str) -> None:
    for table in TABLES[name]():
        assert len({entry.name for entry in table.entries}) == len(table.entries) > 1
        assert len(table.columns) == len({(c.data, c.way, c.shot) for c in table.columns}) > 0
        for entry in table.entries:
            # Without an embedding there is nothing to pretrain.
            embedding = getattr(entry.run.config, "embedding", None)
            has_no_embedding = embedding is None or not embedding.widths
            assert entry.is_trainable or has_no_embedding or entry.run.method in UNTRAINED
            assert entry.run.split != table.split


@pytest.mark.parametrize("name", COMPARED)
def test_near_rows_differ_in_nothing_but_what_their_names_say(name: str) -> None:
    """The same embedding, tasks, steps and seeds; each with and without the auxiliary loss."""
    (table,) = TABLES[name]()
    rows = {entry.name: entry for entry in table.entries if len(entry.seeds) > 1}
    ours = rows[LGM_NET].run
    for entry in rows.values():
        assert entry.seeds == SEEDS
        assert entry.run.train.steps == ours.train.steps
        if entry.name != PAPER:
            assert entry.run.train == ours.train
            assert entry.episodes is None or entry.run.method == "rfs"
            depth = len(entry.run.config.embedding.widths) - len(ours.config.embedding.widths)
            has_target = getattr(entry.run.config, "target", None) is not None
            is_deep = EXTRA_LAYERS in entry.name or isinstance(entry.run.config, LGMNetConfig)
            assert (depth == 2 or has_target) == is_deep, entry.name
        is_metric = isinstance(entry.run.config, MetricConfig) and entry.start is None
        if is_metric and entry.name != PAPER and "skip" not in entry.name:
            other = rows[with_auxiliary(entry.name.removesuffix(f", {AUXILIARY}"))]
            assert other.run.config.auxiliary is not None
            plain = replace(entry.run.config, auxiliary=None)
            assert plain == replace(other.run.config, auxiliary=None)
            assert (entry.run.config.auxiliary is None) == (entry.name != other.name)
    distant = [entry for entry in table.entries if len(entry.seeds) == 1]
    assert {entry.run.method for entry in distant} >= {"maml", "fine-tune", *UNTRAINED}
    assert max(entry.run.train.steps for entry in distant) == 2 * ours.train.steps


def test_rows_of_the_ablation_are_those_of_the_other_tables_where_these_have_them() -> None:
    for base_name, ablation in zip(COMPARED, TABLES["table3"](), strict=True):
        (base,) = TABLES[base_name]()
        by_name = {entry.name: entry for entry in base.entries}
        shared = [entry for entry in ablation.entries if entry.name in by_name]
        assert len(shared) == 5
        for entry in shared:
            assert replace(entry, title="") == by_name[entry.name]
        assert ablation.results == base.name
        assert len({entry.folder for entry in ablation.entries}) == len(ablation.entries) == 10


@pytest.mark.parametrize("name", ["table1", "table2", "table3", "table-photos", "table-plane"])
def test_the_pages_are_those_of_the_result_files(name: str) -> None:
    options = RunOptions(results=ROOT / "results")
    for table in TABLES[name]():
        page = (ROOT / "docs" / "results" / f"{table.name}.md").read_text(encoding="utf-8")
        assert page == draw_page(table, options), f"update: lgmnet reproduce {name} --from-results"
