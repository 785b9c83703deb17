"""``--no-support`` of ``lgmnet forge``, and the commands on such a file."""

from __future__ import annotations

import pytest

from lgmnet.classifier.classifier import FittedClassifier
from tests.support.command_line import lgmnet
from tests.support.images import symbols

SENTENCE = "This classifier was saved without its support set; forge it again without --no-support."


@pytest.fixture(scope="module")
def bare(tiny, folder_of_symbols, tmp_path_factory):
    """File of the classifier of the fixture `classifier`, without its support."""
    path = tmp_path_factory.mktemp("bare") / "symbols.safetensors"
    ran = lgmnet("forge", folder_of_symbols, "-o", path, "--model", tiny, "--no-support", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["classes"] == {"moon": 1, "star": 2, "sun": 4}
    assert ran.json["leave_one_out"]["asked"] == 6, "the estimate still has the images"
    return path


def test_the_file_is_smaller_and_answers_the_same(classifier, bare, folder_of_symbols):
    samples = FittedClassifier.load(classifier).support.samples
    assert classifier.stat().st_size - bare.stat().st_size >= samples.numel()
    answers = [
        lgmnet("predict", path, folder_of_symbols, "--json").json["predictions"]
        for path in (classifier, bare)
    ]
    assert answers[0] == answers[1]


def test_inspect_says_that_the_support_is_absent(classifier, bare):
    ran = lgmnet("inspect", bare)
    assert ran.code == 0
    assert "7 samples of shape [1, 28, 28]" in ran.out
    assert ", without its support set" in ran.out
    for path, expected in ((bare, False), (classifier, True)):
        assert lgmnet("inspect", path, "--json").json["has_support"] is expected


def test_report_does_what_it_can(classifier, bare, folder_of_symbols, tiny, tmp_path):
    page = tmp_path / "report.html"
    for extra in ((), ("--model", tiny, "-o", page)):
        ran = lgmnet("report", bare, folder_of_symbols, "--json", *extra)
        assert ran.code == 0, ran.err
        assert f"The support images are not checked: {SENTENCE}" in ran.err
        assert ran.json["suspects"] is None
        expected = lgmnet("report", classifier, folder_of_symbols, "--json").json
        assert ran.json["confusion"] == expected["confusion"]
    assert page.exists()


def test_edit_refuses_and_leaves_the_file(bare, tiny, tmp_path):
    before, more = bare.read_bytes(), symbols(tmp_path / "more", {"tree": 2})
    for change in (("--add", more), ("--remove", "moon")):
        ran = lgmnet("edit", bare, *change, "--model", tiny)
        assert ran.code == 2
        assert SENTENCE in ran.err
        assert bare.read_bytes() == before


def test_a_class_is_renamed_without_the_support(bare, tmp_path):
    path = tmp_path / "renamed.safetensors"
    assert lgmnet("edit", bare, "--rename", "moon=crescent", "-o", path).code == 0
    renamed = FittedClassifier.load(path)
    assert renamed.classes[0] == "crescent"
    assert not renamed.support.has_samples
