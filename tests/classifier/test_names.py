"""Names of classes: what shows nothing is refused, in the shell as in the studio."""

from __future__ import annotations

import shutil
import sys

import pytest

from lgmnet.classifier.edit import rename_class
from lgmnet.classifier.fit import fit_classifier
from lgmnet.errors import ConfigError
from tests.support.command_line import lgmnet, listing
from tests.support.images import symbols
from tests.support.models import drawings, tiny_model

INVISIBLE = ("\u00a0", "\u200b", "\u2800\u3164", "\ufeff", "\u202e", "\u034f")


@pytest.mark.parametrize("name", ["", " ", "\t", *INVISIBLE], ids=ascii)
def test_a_name_that_shows_nothing_is_refused(name):
    model, images = tiny_model(), drawings(2, 1)[:, 0]
    with pytest.raises(ConfigError, match="not blank"):
        fit_classifier(model, images, [0, 1], ["a", name])
    fitted = fit_classifier(model, images, [0, 1], ["a", "b"])
    with pytest.raises(ConfigError, match="not blank"):
        rename_class(fitted, "b", name)


@pytest.mark.parametrize(
    "name", ["\u00e9", "\u6708", "a\u200bb", "\U0001f319", "\u0e31", "\U0001fae9"], ids=ascii
)
def test_a_name_in_any_language_is_accepted(name):
    fitted = fit_classifier(tiny_model(), drawings(2, 1)[:, 0], [0, 1], ["a", name])
    assert rename_class(fitted, "a", name + name).classes == (name + name, name)


@pytest.mark.skipif(sys.platform == "win32", reason="such folders cannot be made there")
def test_the_shell_refuses_it_in_every_way(tiny, tmp_path):
    blank, file = INVISIBLE[1], tmp_path / "c.safetensors"
    good = symbols(tmp_path / "good", {"moon": 2, "star": 2})
    bad = shutil.copytree(good, tmp_path / "bad")
    (bad / "star").rename(bad / blank)
    table = tmp_path / "t.csv"
    table.write_text(f"file,label\ngood/moon/0.png,moon\ngood/star/0.png,{blank}\n", "utf-8")
    assert lgmnet("forge", good, "-o", file, "--model", tiny).code == 0
    before = listing(tmp_path)
    for words in (
        ("forge", bad, "-o", tmp_path / "new.safetensors"),
        ("forge", "--labels", table, "-o", tmp_path / "new.safetensors"),
        ("edit", file, "--add", bad),
        ("edit", file, "--rename", f"moon={blank}"),
    ):
        ran = lgmnet(*words, "--model", tiny)
        assert ran.code == 2, words
        assert "not blank, but one has '\\u200b'" in ran.err
    assert listing(tmp_path) == before
