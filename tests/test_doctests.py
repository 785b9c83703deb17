"""Every public object has an example in its docstring, and the examples print what they say."""

from __future__ import annotations

import doctest
import inspect
from typing import Any

import pytest

import lgmnet
import lgmnet.evaluation
import lgmnet.methods
from lgmnet.model.hub_model import HubModel

PUBLIC = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module in (lgmnet, lgmnet.evaluation, lgmnet.methods)
    for name in module.__all__
    if callable(getattr(module, name))
} | {"HubModel": HubModel}
NAMES = list({id(value): name for name, value in PUBLIC.items()}.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_public_object_has_an_example_that_runs(name: str) -> None:
    value: Any = PUBLIC[name]
    finder = doctest.DocTestFinder(recurse=False)
    module = inspect.getmodule(value)
    assert module is not None
    (test,) = finder.find(value, name, module=False, globs=dict(vars(module)))
    assert test.examples, f"{name} has no example"
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed, _ = doctest.DocTestRunner(optionflags=flags).run(test)
    assert not failed


def test_the_help_of_the_package_is_short() -> None:
    text = inspect.getdoc(lgmnet)
    assert text is not None
    assert len(text.splitlines()) <= 25
    named = ("FewShotClassifier", "load_model", "shipped_models", "evaluate", "compare", "audit")
    assert all(name in text for name in named)
