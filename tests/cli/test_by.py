"""``--by`` of ``lgmnet forge``, and what its classifiers judge by."""

from __future__ import annotations

from typing import cast

import pytest

from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.cli.classifiers import format_judged_by
from lgmnet.model.model import save_model
from tests.support.command_line import lgmnet, listing
from tests.support.criterion_models import drawing_model
from tests.support.images import symbols


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
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


def test_the_line_says_what_a_classifier_judges_by(toy, folder_of_symbols, tmp_path):
    path = tmp_path / "c.safetensors"
    forge = ("forge", folder_of_symbols, "-o", path, "--model", toy)
    data = lgmnet(*forge, "--json").json["judged_by"]
    assert data == pytest.approx(FittedClassifier.load(path).judged_by())
    shown = [f"{aspect} {100 * share:.0f} %" for aspect, share in data.items() if share >= 0.01]
    line = f"judges by: {', '.join(shown)}"
    assert shown
    rename = ("edit", path, "--rename", "moon=crescent")
    for words in (forge, ("inspect", path), rename):
        ran = lgmnet(*words)
        assert ran.code == 0, ran.err
        assert line in ran.out.splitlines()
    assert lgmnet("inspect", path, "--json").json["judged_by"] == pytest.approx(data)
    back = ("edit", path, "--rename", "crescent=moon", "--json")
    assert lgmnet(*back).json["judged_by"] == pytest.approx(data)


def test_shares_under_one_percent_are_left_out():
    class Stub:
        def judged_by(self):
            return {"things": 0.92, "place and size": 0.0704, "texture": 0.0096}

    fitted = cast("FittedClassifier", Stub())
    assert format_judged_by(fitted) == ["judges by: things 92 %, place and size 7 %"]


def test_a_model_without_profiles_says_nothing(classifier):
    ran = lgmnet("inspect", classifier)
    assert ran.code == 0
    assert "judges by" not in ran.out
    assert lgmnet("inspect", classifier, "--json").json["judged_by"] == {}


def test_forge_hints_at_by_where_one_image_cannot_tell(toy, tiny, tmp_path):
    one = symbols(tmp_path / "one", {"moon": 1, "star": 1})
    two = symbols(tmp_path / "two", {"moon": 1, "star": 2})
    hint = "Say it with --by things or --by looks"
    for folder, model, by, is_shown in (
        (one, toy, "auto", True),
        (one, toy, "things", False),
        (two, toy, "auto", False),
        (one, tiny, "auto", False),
    ):
        words = ("-o", tmp_path / "c.safetensors", "--model", model, "--by", by)
        ran = lgmnet("forge", folder, *words)
        assert ran.code == 0, ran.err
        assert (hint in ran.err) is is_shown
