"""The error tree, and messages that say how to mend what is wrong."""

from __future__ import annotations

import doctest
import inspect

import pytest

from lgmnet import errors
from lgmnet.errors import (
    ConfigError,
    DataError,
    EpisodeError,
    FileFormatError,
    ImageError,
    LgmnetError,
    UserError,
    require_extra,
    unknown_name_error,
)
from tests.support.command_line import lgmnet

TREE = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, Exception) and kind.__module__ == errors.__name__
]
USER_ERRORS = [EpisodeError, DataError, ImageError, ConfigError, FileFormatError]


def test_the_docstring_shows_every_error():
    docstring = inspect.getdoc(errors) or ""
    assert set(TREE) == {LgmnetError, UserError, *USER_ERRORS}
    for kind in TREE:
        assert kind.__name__ in docstring


@pytest.mark.parametrize("kind", USER_ERRORS)
def test_user_errors_are_value_errors(kind):
    assert issubclass(kind, UserError)
    assert issubclass(kind, ValueError)
    assert issubclass(kind, LgmnetError)


def test_an_image_error_is_a_data_error():
    assert issubclass(ImageError, DataError)


@pytest.mark.parametrize("kind", [UserError, *USER_ERRORS])
def test_a_user_error_ends_a_command_with_code_2(kind, monkeypatch):
    def fail() -> list[str]:
        raise kind("The [cup] is :broken:.")

    monkeypatch.setattr("lgmnet.model.registry.shipped_models", fail)
    ran = lgmnet("models", "--json")
    assert (ran.code, ran.out, ran.err) == (2, "", "error: The [cup] is :broken:.\n")


def test_internal_errors_are_not_turned_into_user_errors(monkeypatch):
    def fail() -> list[str]:
        raise AssertionError("a broken invariant")

    monkeypatch.setattr("lgmnet.model.registry.shipped_models", fail)
    with pytest.raises(AssertionError, match="a broken invariant"):
        lgmnet("models")


def test_ctrl_c_ends_a_command_with_code_130(monkeypatch):
    def interrupt() -> list[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr("lgmnet.model.registry.shipped_models", interrupt)
    ran = lgmnet("models", "--json")
    assert (ran.code, ran.out, ran.err) == (130, "", "Stopped.\n")


def test_an_unknown_name_error_suggests_the_nearest_name_and_lists_all():
    error = unknown_name_error("model", "omniglt", ["letters", "omniglot"])
    assert isinstance(error, ConfigError)
    assert str(error) == (
        "There is no model 'omniglt'. Did you mean 'omniglot'? Known: letters, omniglot."
    )
    assert "Did you mean" not in str(unknown_name_error("model", "zzz", ["omniglot"]))
    assert "There is no engine 'None'." in str(unknown_name_error("engine", None, ["torch"]))
    assert str(unknown_name_error("model", "x", [])) == "There is no model 'x'. Known: none."


def test_a_missing_package_error_says_how_to_install_it():
    with pytest.raises(UserError) as caught, require_extra("train", "training runs"):
        import no_such_package  # type: ignore[import-not-found]  # noqa: F401
    assert str(caught.value) == (
        "Training runs need the package 'no_such_package', which is not installed; "
        "pip install 'lgmnet[train]'."
    )


def test_docstring_examples_are_correct():
    results = doctest.testmod(errors)
    assert results.attempted >= 1
    assert results.failed == 0
