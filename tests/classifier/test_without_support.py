"""Classifier files without support samples: the same answers, and sentences for what needs them."""

from __future__ import annotations

import copy
import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image

from lgmnet.classifier import edit
from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.classifier.cross_validation import leave_one_out
from lgmnet.classifier.export import export
from lgmnet.classifier.file import CLASSIFIER_KIND, CLASSIFIER_VERSION
from lgmnet.classifier.fit import fit_classifier
from lgmnet.classifier.report import find_suspects, report_on
from lgmnet.classifier.thumbnails import PICTURES_NOTE, THUMBNAILS_NOTE
from lgmnet.errors import ConfigError, EpisodeError, FileFormatError
from lgmnet.estimator import FewShotClassifier
from lgmnet.evaluation.rejection import Rejection
from lgmnet.model.model import Model, save_model
from lgmnet.tensor_file import read_tensors, write_tensors
from tests.classifier.conftest import CLASSES, LABELS, support_images
from tests.contract.cases import CASES, build_episode, build_shared_method
from tests.support.criterion_models import drawing_model
from tests.support.models import tiny_model

SENTENCE = (
    r"^This classifier was saved without its support set; forge it again without --no-support\.$"
)
REJECTION = Rejection(3, 1, 0.5, "a:val", "a:test", 1.0, 1.0)


def strip(fitted, folder) -> FittedClassifier:
    fitted.save(folder / "stripped.safetensors", support=False)
    return FittedClassifier.load(folder / "stripped.safetensors")


@pytest.fixture
def stripped(fitted, tmp_path) -> FittedClassifier:
    return strip(fitted, tmp_path)


def test_the_file_is_smaller_by_the_samples_and_holds_none_of_them(fitted, tmp_path):
    sources = tuple(f"patient{i}.png" for i in range(6))
    notes = {THUMBNAILS_NOTE: "{}", PICTURES_NOTE: "{}", "made": "here"}
    support = dataclasses.replace(fitted.support, sources=sources)
    fitted = dataclasses.replace(fitted, support=support, notes=notes)
    sizes = []
    for keep in (True, False):
        path = tmp_path / f"{keep}.safetensors"
        fitted.save(path, support=keep)
        sizes.append(path.stat().st_size)
    assert sizes[0] - sizes[1] >= fitted.support.samples.numel()
    assert b"patient" not in path.read_bytes()
    stripped = FittedClassifier.load(path)
    assert stripped.notes == {"made": "here"}
    assert stripped.support.samples.shape == (0, 1, 28, 28)
    assert fitted.support.has_samples, "saving changes nothing"


def test_what_needs_no_support_works(fitted, queries, tmp_path):
    fitted = dataclasses.replace(fitted, rejections=(REJECTION,))
    stripped = strip(fitted, tmp_path)
    assert torch.equal(stripped.fits(queries), fitted.fits(queries))
    assert stripped.threshold == fitted.threshold
    assert edit.rename_class(stripped, "moon", "crescent").classes[0] == "crescent"
    labels = [stripped.predict(queries[:1])[0]]
    report = report_on(stripped, stripped.predict_proba(queries[:1]), labels, [""], tiny_model())
    assert (report.accuracy, report.suspects) == (100, None)
    assert torch.equal(
        strip(stripped, tmp_path).predict_proba(queries), fitted.predict_proba(queries)
    )


def test_a_classifier_by_criterion_still_tells_what_it_judges_by(queries, tmp_path):
    fitted = fit_classifier(drawing_model(), support_images(), LABELS, CLASSES, by="looks")
    stripped = strip(fitted, tmp_path)
    assert stripped.judged_by() == fitted.judged_by() != {}
    assert stripped.by == "looks"
    assert torch.equal(stripped.predict_proba(queries), fitted.predict_proba(queries))
    with pytest.raises(ConfigError, match=SENTENCE):
        stripped.explain(queries)


def test_the_export_gives_the_same_answers(fitted, stripped, queries, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    assert export(stripped, tmp_path / "c.onnx") < 1e-4
    session = onnxruntime.InferenceSession(tmp_path / "c.onnx")
    (answers,) = session.run(None, {"images": queries.numpy()})
    np.testing.assert_allclose(answers, fitted.predict_proba(queries), atol=1e-4)


@pytest.mark.parametrize(
    "use",
    [
        lambda c, m, x: c.explain(x),
        lambda c, m, x: c.spread(m, x),
        lambda c, m, x: leave_one_out(m, c.support, 3),
        lambda c, m, x: find_suspects(c, m),
        lambda c, m, x: edit.add_samples(c, m, x, ["moon"] * len(x)),
        lambda c, m, x: edit.remove_samples(c, m, [5]),
        lambda c, m, x: edit.remove_class(c, m, "moon"),
    ],
    ids=["explain", "spread", "leave-one-out", "suspects", "add", "remove samples", "remove class"],
)
def test_what_needs_the_support_says_so(use, stripped, queries):
    with pytest.raises(ConfigError, match=SENTENCE):
        use(stripped, tiny_model(), queries)


@pytest.mark.usefixtures("unchecked")
def test_no_samples_at_all_is_another_mistake():
    with pytest.raises(EpisodeError):
        fit_classifier(tiny_model(), support_images()[:0], [], CLASSES)


def test_the_estimator_says_what_needs_the_support(tmp_path):
    save_model(tiny_model(), tmp_path / "tiny")
    images = [Image.fromarray(255 - x[0].numpy()) for x in support_images()]
    labels = ["a", "b", "b", "c", "c", "c"]
    fitted = FewShotClassifier(tmp_path / "tiny").fit(images, labels)
    fitted.save(tmp_path / "c.safetensors", support=False)
    loaded = FewShotClassifier.load(tmp_path / "c.safetensors", model=tmp_path / "tiny")
    np.testing.assert_array_equal(loaded.predict_proba(images), fitted.predict_proba(images))
    assert loaded.report(images, labels).suspects is None
    assert loaded.rename_class("a", "aa").predict(images).tolist() != []
    for use in (
        lambda: loaded.explain(images),
        lambda: loaded.spread(images),
        lambda: loaded.partial_fit(images, labels),
        lambda: loaded.remove_class("b"),
        lambda: loaded.rename_class("b", "z"),  # The column moves, so it fits again.
    ):
        with pytest.raises(ConfigError, match=SENTENCE):
            use()
    assert loaded.classes_.tolist() == ["aa", "b", "c"], "nothing changed"


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("entry", "change", "message"),
    [
        ("support.labels", lambda y: y.clamp(max=1), "not those of 3 classes"),
        ("support.labels", lambda y: y[:5], "6 sources, 0 samples"),
        ("support.labels", lambda y: y.float(), "type torch.float32"),
        ("support_y", lambda y: y.flip(1), "differs from the labels"),
        ("support.samples", lambda x: x.new_zeros(6, *x.shape[1:]), "6 sources, 6 samples"),
        ("support.samples", lambda x: x[..., :5], r"shape \(1, 28, 5\)"),
        ("support.samples", lambda x: x.float(), "samples are torch.float32"),
        ("has_samples", "true", "6 sources, 0 samples"),
        ("has_samples", "no", "is a damaged classifier"),
        ("sources", json.dumps([]), "0 sources"),
    ],
)
def test_hostile_files_are_refused(fitted, tmp_path, entry, change, message):
    path = tmp_path / "c.safetensors"
    fitted.save(path, support=False)
    tensors, metadata = read_tensors(path, CLASSIFIER_KIND, CLASSIFIER_VERSION)
    if entry in tensors:
        tensors[entry] = change(tensors[entry]).contiguous()
    else:
        metadata[entry] = change
    fields = {k: v for k, v in metadata.items() if k not in ("format", "version")}
    write_tensors(path, tensors, CLASSIFIER_KIND, CLASSIFIER_VERSION, fields)
    with pytest.raises(FileFormatError, match=message):
        FittedClassifier.load(path)


def test_an_empty_tensor_cannot_state_huge_samples(tmp_path):
    """A trial answer to vectors of this length would need 8 GB."""
    case = next(c for c, (name, _) in CASES.items() if name == "lgm-net-vectors")
    method = copy.deepcopy(build_shared_method(case)).float().eval()
    samples = build_episode(method, tasks=1, dtype=torch.float64).support_x[0][:2]
    model = Model(method, "lgm-net-vectors", tiny_model().training, name="some")
    path = tmp_path / "c.safetensors"
    fit_classifier(model, samples, [0, 1], ["a", "b"]).save(path, support=False)
    tensors, metadata = read_tensors(path, CLASSIFIER_KIND, CLASSIFIER_VERSION)
    tensors["support.samples"] = torch.empty(0, 10**9, dtype=torch.float64)
    fields = {k: v for k, v in metadata.items() if k not in ("format", "version")}
    write_tensors(path, tensors, CLASSIFIER_KIND, CLASSIFIER_VERSION, fields)
    with pytest.raises(FileFormatError, match="a sample would have 1,000,000,000 values"):
        FittedClassifier.load(path)
