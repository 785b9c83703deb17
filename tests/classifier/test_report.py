"""Reports: numbers, suspect support images, and the page."""

from __future__ import annotations

import base64
import io
import re

import pytest
import torch
from PIL import Image

from lgmnet import load_model
from lgmnet.classifier.fit import fit_classifier
from lgmnet.classifier.report import (
    MAX_GALLERY_PICTURES,
    Prediction,
    Report,
    check_page_destination,
    make_gallery,
    report_on,
    write_page,
)
from lgmnet.errors import ConfigError, UserError
from tests.support.models import drawings, tiny_model

REPORT = Report(
    ("a", "<b>", "c"),
    ((3, 1, 0), (2, 4, 0), (0, 0, 0)),
    (
        Prediction("<b>/0.png", "<b>", "a", 0.9),
        Prediction("<b>/1.png", "<b>", "a", 0.6),
        Prediction("a/0.png", "a", "<b>", 0.5),
    ),
    (Prediction("a/7.png", "a", "c", 0.99),),
)


def picture(prediction: Prediction) -> Image.Image | None:
    """A small picture of every prediction but one."""
    return None if prediction.source == "a/0.png" else Image.new("RGB", (8, 8), "red")


def test_numbers_of_a_report():
    assert (REPORT.n_images, REPORT.n_correct, REPORT.accuracy) == (10, 7, 70)
    assert REPORT.per_class == [("a", 4, 3), ("<b>", 6, 4)]
    assert REPORT.confused == [("<b>", "a", 2), ("a", "<b>", 1)]
    # Wilson's interval of 7 in 10.
    assert REPORT.interval == pytest.approx((39.68, 89.22), abs=0.01)


def test_a_report_as_json():
    values = REPORT.as_json()
    assert values["asked"] == 10
    assert values["per_class"] == {"a": [3, 4], "<b>": [4, 6]}
    assert values["wrong"][0] == {
        "source": "<b>/0.png",
        "label": "<b>",
        "answered": "a",
        "probability": 0.9,
    }
    assert len(values["suspects"]) == 1


def test_predictions_are_compared_with_labels(fitted):
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7], [0.2, 0.5, 0.3]])
    labels, sources = ["moon", "moon", "sun ☀"], ["0.png", "1.png", "2.png"]
    report = report_on(fitted, probabilities, labels, sources)
    assert report.confusion == ((1, 0, 1), (0, 0, 0), (0, 1, 0))
    assert [(p.source, p.label, p.predicted) for p in report.wrong] == [
        ("1.png", "moon", "sun ☀"),
        ("2.png", "sun ☀", "star"),
    ]
    assert report.suspects is None, "the support is searched only with a model"
    with pytest.raises(UserError, match="expected at least one"):
        report_on(fitted, probabilities[:0], [], [])
    with pytest.raises(ConfigError, match="no class 'comet'"):
        report_on(fitted, probabilities[:1], ["comet"], [""])
    with pytest.raises(ConfigError, match="was forged by 'tiny'"):
        report_on(fitted, probabilities, labels, sources, tiny_model(seed=1))


def test_a_mislabelled_support_image_is_suspect():
    model = load_model("omniglot")
    images = drawings(4, 6)
    support = torch.cat([images[:, :5].flatten(0, 1), images[3, 5:]])
    labels = [*(i // 5 for i in range(20)), 1]
    fitted = fit_classifier(model, support, labels, "abcd", sources=[f"{i}.png" for i in range(21)])
    report = report_on(fitted, torch.eye(4)[:1], ["a"], ["x.png"], model)
    assert report.suspects
    first = report.suspects[0]
    assert (first.source, first.label, first.predicted) == ("20.png", "b", "d")


def test_the_page_contains_its_pictures_and_escapes_names(tmp_path):
    path = tmp_path / "report.html"
    write_page(REPORT, path, "<script>", picture, picture)
    page = path.read_text(encoding="utf-8")
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(pictures) == 1 + 2 + 1, "the confusion matrix, two of three errors, one suspect"
    for encoded in pictures:
        Image.open(io.BytesIO(base64.b64decode(encoded))).verify()
    assert page.startswith("<!doctype html>")
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "&lt;b&gt;/0.png" in page
    assert "http" not in page
    for words in ("70.0 %", "39.7 to 89.2 %", "3 of 4", "Possibly mislabelled"):
        assert words in page


def test_a_page_without_errors_or_suspects_has_no_sections_for_them(tmp_path):
    path = tmp_path / "report.html"
    write_page(Report(("a", "b"), ((1, 0), (0, 1)), (), ()), path, "c", picture, picture)
    check_page_destination(path)
    page = path.read_text(encoding="utf-8")
    for words in ("Most frequent errors", "Possibly mislabelled", "Misclassified"):
        assert words not in page


def test_a_page_does_not_replace_another(tmp_path):
    path = tmp_path / "notes.html"
    path.write_text("<!doctype html><title>my notes about lgmnet report</title>")
    before = path.read_bytes()
    with pytest.raises(UserError, match="exists and is no page of 'lgmnet report'"):
        write_page(REPORT, path, "c", picture, picture)
    assert path.read_bytes() == before
    write_page(REPORT, path, "c", picture, picture, overwrite=True)
    write_page(REPORT, path, "c", picture, picture)


def test_a_gallery_is_limited():
    gallery = make_gallery(REPORT.wrong * 30, picture)
    assert len(gallery["pictures"]) == MAX_GALLERY_PICTURES
    assert gallery["n_others"] == 90 - MAX_GALLERY_PICTURES
