"""Figure 4: scores are paired, and picture and page are drawn again from the result file."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from PIL import Image

from lgmnet.data.synthetic.plane import PLANES
from lgmnet.errors import ConfigError, FileFormatError
from lgmnet.experiments.reproduce import reproduce
from lgmnet.experiments.results import RunOptions


@pytest.mark.long
def test_boundaries_are_drawn_again_from_their_results(options: RunOptions) -> None:
    options = replace(options, steps=2, episodes=3)
    picture, page = options.pages / "figure4.png", options.pages / "figure4.md"
    assert reproduce("figure4", options) == [picture, page]
    with Image.open(picture) as image:
        image.verify()
        assert min(image.size) > 500
    before = picture.read_bytes(), page.read_bytes()
    picture.unlink()
    page.unlink()
    reproduce("figure4", replace(options, from_results=True))
    assert (picture.read_bytes(), page.read_bytes()) == before
    result = json.loads((options.results / "figure4.json").read_text())
    families = {family["name"]: family for family in result["families"]}
    assert list(families) == list(PLANES) == ["blobs", "lines", "spirals", "circles"]
    for family in families.values():
        scores = {score["method"]: score for score in family["scores"]}
        assert len(scores) == 3
        ours, direct = scores["LGM-Net"], scores["direct training"]
        assert ours["difference"] == 0
        assert direct["difference"] == pytest.approx(direct["accuracy"] - ours["accuracy"])
        assert direct["accuracy"] > 40, "better than chance at 3-way"
        text = f"| {ours['accuracy']:.1f} ± {ours['ci95']:.1f} | {-direct['difference']:+.1f} ±"
        assert text in page.read_text()
    del result["families"][1]["truth"]
    (options.results / "figure4.json").write_text(json.dumps(result))
    with pytest.raises(FileFormatError, match="is damaged: it has no 'truth'"):
        reproduce("figure4", replace(options, from_results=True))


def test_a_figure_has_no_rows(options: RunOptions) -> None:
    with pytest.raises(ConfigError, match="figure4 has no rows"):
        reproduce("figure4", replace(options, from_results=True, rows=("blobs",)))
