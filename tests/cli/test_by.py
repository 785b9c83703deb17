"""``--by`` of ``lgmnet forge``, and what its classifiers judge by."""

from __future__ import annotations

from pathlib import Path

import pytest

from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.model.model import save_model
from tests.support.command_line import lgmnet, listing
from tests.support.criterion_models import drawing_model
from tests.support.images import symbols


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> Path:
    """Folder of a model that knows things from looks."""
    folder = tmp_path_factory.mktemp("models") / "toy"
    save_model(drawing_model(), folder)
    return folder


def test_forge_keeps_what_counts(toy, folder_of_symbols, tmp_path):
    path = tmp_path / "c.safetensors"
    first = {}
    for by in ("things", "looks", "auto"):
        ran = lgmnet("forge", folder_of_symbols, "-o", path, "--model", toy, "--by", by)
        assert ran.code == 0, ran.err
        fitted = FittedClassifier.load(path)
        assert fitted.by == by
        first[by] = fitted.judged_by()["things"]
    assert first["things"] > first["auto"] > first["looks"]


def test_edit_keeps_what_counts(toy, folder_of_symbols, tmp_path):
    path, more = tmp_path / "c.safetensors", symbols(tmp_path / "more", {"tree": 2})
    words = ("forge", folder_of_symbols, "-o", path, "--model", toy, "--by", "looks")
    assert lgmnet(*words).code == 0
    before = FittedClassifier.load(path).judged_by()
    ran = lgmnet("edit", path, "--add", more, "--remove", "tree", "--model", toy)
    assert ran.code == 0, ran.err
    after = FittedClassifier.load(path)
    assert after.by == "looks"
    assert after.judged_by() == pytest.approx(before)


@pytest.mark.parametrize("by", ["things", "looks"])
def test_a_model_without_profiles_refuses(tiny, folder_of_symbols, tmp_path, by):
    words = ("-o", tmp_path / "c.safetensors", "--model", tiny, "--by", by)
    ran = lgmnet("forge", folder_of_symbols, *words)
    assert ran.code == 2
    assert f"does not know things from looks, so it cannot judge by '{by}'" in ran.err
    assert listing(tmp_path) == {}


def test_an_unknown_word_is_refused_with_the_known_ones(toy, folder_of_symbols, tmp_path):
    words = ("-o", tmp_path / "c.safetensors", "--model", toy, "--by", "thing")
    ran = lgmnet("forge", folder_of_symbols, *words)
    assert ran.code == 2
    assert "'thing' is not one of 'auto', 'things', 'looks'" in ran.err
    assert listing(tmp_path) == {}
