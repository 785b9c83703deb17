"""Cache of decoded images: decoded once, complete, and by one process at a time."""

from __future__ import annotations

import contextvars
import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from lgmnet.data.images.cache import load_decoded
from lgmnet.errors import UserError
from lgmnet.io import cache_folder
from lgmnet.progress import set_progress_display

SHAPE = (5, 1, 4, 4)


def numbered() -> Iterator[np.ndarray]:
    for i in range(SHAPE[0]):
        yield np.full(SHAPE[1:], i, np.uint8)


def never() -> Iterator[np.ndarray]:
    return (pytest.fail("decoded again") for _ in range(SHAPE[0]))


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LGMNET_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "source"
    file.write_bytes(b"encoded")
    return file


def test_images_are_decoded_once(source: Path) -> None:
    first = load_decoded("numbers", [source], SHAPE, numbered())
    second = load_decoded("numbers", [source], SHAPE, never())
    assert first.dtype == torch.uint8
    assert first.shape == SHAPE
    assert first[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(first, second)


def test_a_changed_source_is_decoded_again(source: Path) -> None:
    load_decoded("numbers", [source], SHAPE, numbered())
    source.write_bytes(b"something else")
    changed = load_decoded("numbers", [source], SHAPE, (9 - image for image in numbered()))
    assert changed[0, 0, 0, 0] == 9


def test_a_failure_half_way_leaves_nothing_behind(source: Path) -> None:
    def failing() -> Iterator[np.ndarray]:
        yield from list(numbered())[:2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_decoded("numbers", [source], SHAPE, failing())
    assert not list(cache_folder().glob("*.npy"))
    assert load_decoded("numbers", [source], SHAPE, numbered())[4, 0, 0, 0] == 4


def killed_half_way(source: Path) -> None:
    def dying() -> Iterator[np.ndarray]:
        yield from list(numbered())[:2]
        os._exit(9)

    load_decoded("numbers", [source], SHAPE, dying())


def test_files_of_a_killed_process_are_removed(source: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=killed_half_way, args=[source])
    process.start()
    process.join()
    assert process.exitcode == 9
    assert len(list(cache_folder().glob(".*.npy"))) == 1
    assert load_decoded("numbers", [source], SHAPE, numbered())[4, 0, 0, 0] == 4
    assert list(cache_folder().glob(".*.npy")) == []


def slowly(source: Path, log: Path) -> None:
    def pixels() -> Iterator[np.ndarray]:
        with log.open("a") as file:
            file.write("decoded\n")
        for image in numbered():
            time.sleep(0.05)
            yield image

    assert load_decoded("numbers", [source], SHAPE, pixels())[4, 0, 0, 0] == 4


def test_one_of_two_processes_decodes_and_both_read(source: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    fork = multiprocessing.get_context("fork")
    both = [fork.Process(target=slowly, args=[source, log]) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert log.read_text() == "decoded\n"


def test_the_error_for_an_impossible_cache_folder_names_it(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LGMNET_CACHE", str(source / "inside-a-file"))
    with pytest.raises(UserError, match="inside-a-file"):
        load_decoded("numbers", [source], SHAPE, numbered())


def test_decoding_reports_its_progress(source: Path) -> None:
    reports: list[tuple[str, int | None, int]] = []

    @contextmanager
    def display(description: str, total: int | None) -> Iterator[Any]:
        steps: list[int] = []
        yield SimpleNamespace(advance=lambda n=1: steps.append(n))
        reports.append((description, total, sum(steps)))

    context = contextvars.copy_context()
    context.run(set_progress_display, display)
    context.run(load_decoded, "numbers", [source], SHAPE, numbered())
    context.run(load_decoded, "numbers", [source], SHAPE, never())
    assert reports == [("decoded images of numbers", 5, 5)]
