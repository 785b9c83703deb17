"""Warnings of other packages that nobody can act on, ignored in a way that suits threads."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_lock = threading.Lock()
_stack = ExitStack()
_n_inside = 0


@contextmanager
def ignore_warnings() -> Iterator[None]:
    """Ignore all warnings, until the last of the threads that are inside has left.

    `warnings.catch_warnings` restores what it found, which is another thread's filter if their
    times overlap in part. Then no warning would ever be shown again.
    """
    global _n_inside  # noqa: PLW0603  (the filters are global, too)
    with _lock:
        if _n_inside == 0:
            _stack.enter_context(warnings.catch_warnings(action="ignore"))
        _n_inside += 1
    try:
        yield
    finally:
        with _lock:
            _n_inside -= 1
            if _n_inside == 0:
                _stack.close()
