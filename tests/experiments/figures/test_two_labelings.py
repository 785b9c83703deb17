"""Figure of one support set that is labelled in two ways."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from lgmnet import FewShotClassifier
from lgmnet.errors import ConfigError, FileFormatError
from lgmnet.experiments.figures import two_labelings
from lgmnet.experiments.reproduce import reproduce
from lgmnet.experiments.results import RunOptions, is_experiment_file


def test_the_same_photos_are_labelled_in_two_ways_and_none_comes_twice() -> None:
    support, query = two_labelings.list_photos()
    things, looks = (two_labelings.name_labels(support, x) for x in ("things", "looks"))
    assert len(set(zip(things, looks, strict=True))) == 9
    pairs = {*zip(*(two_labelings.name_labels(query, x) for x in ("things", "looks")), strict=True)}
    assert len(pairs) == 6
    pictures = two_labelings.render([*support, *query])
    assert pictures.shape == (15, 128, 128, 3)
    assert len(np.unique(pictures, axis=0)) == 15
    # Each cast makes its own channel the strongest, compared with the same cut without a cast.
    plain = two_labelings.render([(thing, "none", cut) for thing, _, cut in support])
    change = (pictures[:9].mean((1, 2)) / plain.mean((1, 2))).argmax(1)
    assert [("red", "green", "blue")[i] for i in change] == looks


@pytest.mark.filterwarnings("ignore:The images look like photos")  # A model that is always there.
def test_the_answers_are_those_of_the_model_that_is_named(options: RunOptions) -> None:
    options = replace(options, model="omniglot")
    picture = options.pages / "figure-criteria.png"
    assert reproduce("figure-criteria", options) == [picture]
    with Image.open(picture) as image:
        assert min(image.size) > 500
        assert image.mode == "P", "colours from a palette of 256"
    assert is_experiment_file(picture)
    file = options.results / "figure-criteria.json"
    result = json.loads(file.read_text())
    assert result["model"] == "omniglot"
    support, query = map(two_labelings.render, two_labelings.list_photos())
    for labeling, answers in result["answers"].items():
        labels = two_labelings.name_labels(two_labelings.list_photos()[0], labeling)
        expected = FewShotClassifier("omniglot").fit(support, labels).predict(query)
        assert answers == expected.tolist()
    before = picture.read_bytes()
    reproduce("figure-criteria", replace(options, model="", from_results=True))
    assert picture.read_bytes() == before
    file.write_text(json.dumps(result | {"answers": {"things": ["temple"] * 6}}))
    with pytest.raises(FileFormatError, match="is damaged: 'looks'"):
        reproduce("figure-criteria", replace(options, from_results=True))


def test_only_figures_that_show_a_model_take_one(options: RunOptions) -> None:
    for name in ("figure3", "small"):
        with pytest.raises(ConfigError, match=f"{name} has no model to choose"):
            reproduce(name, replace(options, model="omniglot"))
    with pytest.raises(ConfigError, match=r"model 'photso'\. Did you mean 'photos'\?"):
        reproduce("figure-criteria", replace(options, model="photso"))
