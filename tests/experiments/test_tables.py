"""Slow rows are scored on fewer tasks, in whole batches."""

from __future__ import annotations

import dataclasses

from tests.experiments.small_table import define_small_table


def test_each_column_of_a_slow_row_may_have_its_own_number_of_tasks() -> None:
    (table,) = define_small_table()
    entry = dataclasses.replace(table.entries[-1], episodes=(34, 128))
    assert table.count_episodes(entry, 2000) == [34, 128]
    assert table.count_episodes(entry, 64) == [34, 64]
    assert table.count_episodes(table.entries[0], 64) == [64, 64]
