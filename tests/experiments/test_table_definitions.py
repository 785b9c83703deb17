"""The defined tables can be trained and compare rows fairly."""

from __future__ import annotations

import pytest

from lgmnet.experiments.recipes.rivals import UNTRAINED
from lgmnet.experiments.table_definitions import TABLES


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_table_compares_rows_that_can_be_trained(name: str) -> None:
    for table in TABLES[name]():
        assert len({entry.name for entry in table.entries}) == len(table.entries) > 1
        assert len(table.tasks) > 0
        for entry in table.entries:
            # Without an embedding there is nothing to pretrain.
            embedding = getattr(entry.run.config, "embedding", None)
            has_no_embedding = embedding is None or not embedding.widths
            assert entry.is_trainable or has_no_embedding or entry.run.method in UNTRAINED
            assert entry.run.split != table.split
