"""The error tree: what may be caught as what, and sentences that help."""

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
    extra,
    unknown_name,
)
from tests.cli.making import lgmnet

TREE = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, Exception) and kind.__module__ == errors.__name__
]
USER_ERRORS = [EpisodeError, DataError, ImageError, ConfigError, FileFormatError]


def test_the_drawing_of_the_tree_is_whole():
    drawing = inspect.getdoc(errors) or ""
    assert set(TREE) == {LgmnetError, UserError, *USER_ERRORS}
    for kind in TREE:
        assert kind.__name__ in drawing


@pytest.mark.parametrize("kind", USER_ERRORS)
def test_what_a_user_can_mend_is_a_value_error(kind):
    assert issubclass(kind, UserError)
    assert issubclass(kind, ValueError)
    assert issubclass(kind, LgmnetError)


def test_a_bad_image_is_bad_data():
    assert issubclass(ImageError, DataError)


@pytest.mark.parametrize("kind", [UserError, *USER_ERRORS])
def test_any_of_them_ends_a_command_with_code_2(kind, monkeypatch):
    def fails() -> list[str]:
        raise kind("The [cup] is :broken:.")

    monkeypatch.setattr("lgmnet.model.model.shipped_models", fails)
    ran = lgmnet("models", "--json")
    assert (ran.code, ran.out, ran.err) == (2, "", "error: The [cup] is :broken:.\n")


def test_our_own_mistakes_are_not_dressed_up(monkeypatch):
    def fails() -> list[str]:
        raise AssertionError("an invariant of ours")

    monkeypatch.setattr("lgmnet.model.model.shipped_models", fails)
    with pytest.raises(AssertionError, match="an invariant of ours"):
        lgmnet("models")


def test_ctrl_c_ends_a_command_with_code_130(monkeypatch):
    def stopped() -> list[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr("lgmnet.model.model.shipped_models", stopped)
    ran = lgmnet("models", "--json")
    assert (ran.code, ran.out, ran.err) == (130, "", "Stopped.\n")


def test_an_unknown_name_suggests_the_nearest_and_lists_all():
    error = unknown_name("model", "omniglt", ["letters", "omniglot"])
    assert isinstance(error, ConfigError)
    assert str(error) == (
        "There is no model 'omniglt'. Did you mean 'omniglot'? Known: letters, omniglot."
    )
    assert "Did you mean" not in str(unknown_name("model", "zzz", ["omniglot"]))
    assert str(unknown_name("model", "x", [])) == "There is no model 'x'. Known: none."


def test_a_missing_package_is_named_with_the_line_that_installs_it():
    with pytest.raises(UserError) as caught, extra("train", "training runs"):
        import no_such_package  # type: ignore[import-not-found]  # noqa: F401
    assert str(caught.value) == (
        "Training runs need the package 'no_such_package', which is not installed; "
        "pip install 'lgmnet[train]'."
    )


def test_examples_in_docstrings_hold():
    results = doctest.testmod(errors)
    assert results.attempted >= 1
    assert results.failed == 0
