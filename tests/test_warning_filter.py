"""Warnings that are ignored in some threads and shown in others."""

from __future__ import annotations

import threading
import warnings

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from lgmnet.data.images.pixels import read_pixels
from lgmnet.warning_filter import ignore_warnings


def test_warnings_are_shown_again_after_the_last_thread_has_left():
    """Two threads whose times overlap in part; the filters of before are restored in the end."""
    before = list(warnings.filters)
    first_is_in, second_is_in, first_is_out = (threading.Event() for _ in range(3))

    def be_second() -> None:
        first_is_in.wait(10)
        with ignore_warnings():
            second_is_in.set()
            first_is_out.wait(10)
            warnings.warn("in the second thread", stacklevel=1)  # An error unless it is ignored.

    second = threading.Thread(target=be_second)
    second.start()
    with ignore_warnings():
        first_is_in.set()
        second_is_in.wait(10)
    first_is_out.set()
    second.join()
    assert warnings.filters == before
    with pytest.warns(UserWarning, match="shown"):
        warnings.warn("shown", stacklevel=1)


def test_an_error_inside_restores_the_filters():
    before = list(warnings.filters)
    with pytest.raises(KeyError), ignore_warnings():
        raise KeyError
    assert warnings.filters == before


def test_reading_images_in_threads_leaves_the_filters_as_they_were(tmp_path, monkeypatch):
    """Readers that overlap: the first stays inside until the second is inside, and leaves first."""
    Image.new("L", (30, 30)).save(tmp_path / "a.png")
    before = list(warnings.filters)
    inside, is_out = threading.Barrier(2, timeout=10), threading.Event()
    decode, readers = PngImageFile.load, []

    def load(image):
        if (reader := threading.current_thread()) not in readers:  # It is called more than once.
            readers.append(reader)
            if inside.wait() == 1:  # The second one to come in leaves last.
                is_out.wait(10)
        return decode(image)

    monkeypatch.setattr(PngImageFile, "load", load)
    threads = [
        threading.Thread(target=read_pixels, args=(tmp_path / "a.png", (1, 28, 28)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    while all(thread.is_alive() for thread in threads):
        threads[0].join(0.01)
    is_out.set()
    for thread in threads:
        thread.join()
    assert warnings.filters == before
