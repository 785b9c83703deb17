"""Every public object has an example in its docstring, and the examples print what they say."""

from __future__ import annotations

import doctest
import inspect
import pydoc
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import lgmnet
from lgmnet.model.hub_model import HubModel

DOCS = Path(__file__).parents[1] / "docs"
PUBLIC_PACKAGES = ("", ".classifier", ".evaluation", ".methods", ".scoring")
PUBLIC = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module in (import_module(f"lgmnet{package}") for package in PUBLIC_PACKAGES)
    for name in getattr(module, "__all__", lgmnet._MODULES)
    if callable(getattr(module, name))
} | {"HubModel": HubModel}
NAMES = list({id(value): name for name, value in PUBLIC.items()}.values())
SCREEN = 24
"""Lines of the smallest terminal in use."""
MAX_HELP_LINES = 4 * SCREEN


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


def test_the_public_packages_are_named_in_the_reference() -> None:
    page = (DOCS / "reference" / "api" / "index.md").read_text(encoding="utf-8")
    (sentence,) = re.findall(r"^Public is .*?\n\n", page, flags=re.S | re.M)
    named = re.findall(r"`(lgmnet[\w.]*)`", sentence)
    assert named == [f"lgmnet{package}" for package in PUBLIC_PACKAGES]


def read_reference() -> set[int]:
    """Return the ids of the objects that the pages of the reference describe."""
    pages = [page.read_text(encoding="utf-8") for page in (DOCS / "reference" / "api").glob("*.md")]
    described = set()
    for kind, name in re.findall(r"^\.\. auto(\w+):: (\S+)", "\n".join(pages), flags=re.M):
        package, _, attribute = name.rpartition(".")
        if kind != "module":
            described.add(id(getattr(import_module(package), attribute)))
            continue
        module = import_module(name)
        own = [key for key, value in vars(module).items() if inspect.getmodule(value) is module]
        described |= {id(getattr(module, key)) for key in getattr(module, "__all__", own)}
    return described


def test_every_public_object_is_in_the_reference() -> None:
    described = read_reference()
    assert not [name for name, value in PUBLIC.items() if id(value) not in described]


def test_the_help_of_the_package_is_short_and_names_what_a_person_needs() -> None:
    lines = pydoc.plain(pydoc.text.document(lgmnet)).splitlines()
    assert len(lines) <= MAX_HELP_LINES
    first_screen = "\n".join(lines[:SCREEN])
    named = ("FewShotClassifier", "load_model", "shipped_models", "evaluate", "compare", "audit")
    assert all(name in first_screen for name in named)
    assert "lgmnet.methods" in first_screen
