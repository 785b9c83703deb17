"""Classifier files that somebody made on purpose: refused with a sentence, or harmless.

Their checksums are right, so that nothing but the checks of their content can refuse them.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from lgmnet import tensor_file
from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.classifier.edit import rename_class
from lgmnet.classifier.file import CLASSIFIER_KIND, CLASSIFIER_VERSION, load_classifier
from lgmnet.classifier.fit import fit_classifier
from lgmnet.errors import ConfigError, DataError, FileFormatError, UserError
from lgmnet.estimator import FewShotClassifier
from lgmnet.model.model import Model
from lgmnet.nn import pretrained
from lgmnet.nn.classification import AuxiliaryConfig
from lgmnet.tensor_file import check_format, read_tensors, write_tensors
from tests.classifier.conftest import CLASSES, LABELS, support_images
from tests.contract.cases import CASES, build_episode, build_shared_method
from tests.support.models import tiny_model

Tensors = dict[str, Tensor]
Metadata = dict[str, str]
JSON_FIELDS = ("config", "classes", "sources", "rejections", "notes")
REJECTION = {
    "way": 3,
    "shot": 1,
    "threshold": 0.5,
    "chosen_on": "a:val",
    "measured_on": "a:test",
    "false_accept": 1.0,
    "false_reject": 1.0,
}

pytestmark = pytest.mark.usefixtures("unchecked")


@pytest.fixture
def content(fitted, tmp_path) -> tuple[Tensors, Metadata]:
    fitted.save(tmp_path / "good.safetensors")
    return read_tensors(tmp_path / "good.safetensors", CLASSIFIER_KIND, CLASSIFIER_VERSION)


def write(path: Path, tensors: Tensors, metadata: Metadata) -> Path:
    write_tensors(path, tensors, CLASSIFIER_KIND, CLASSIFIER_VERSION, metadata)
    return path


def replace_entry(name: str, change: Callable[[Any], Any]) -> Callable[[Tensors, Metadata], None]:
    """Change a tensor, a text or, with a dotted name, a value of a JSON text of the metadata."""

    def change_content(tensors: Tensors, metadata: Metadata) -> None:
        field, *path = name.split("/")
        if field in tensors:
            tensors[field] = change(tensors[field]).contiguous()
        elif field in JSON_FIELDS:
            values = json.loads(metadata[field])
            level: Any = {"": values}
            for key in ["", *path][:-1]:
                level = level[key]
            last = ["", *path][-1]
            level[last] = change(level[last])
            metadata[field] = json.dumps(level[""] if not path else values)
        else:
            metadata[field] = change(metadata.get(field))

    return change_content


def set_to(value: Any) -> Callable[[Any], Any]:
    return lambda _: value


def with_nan(tensor: Tensor) -> Tensor:
    changed = tensor.clone()
    changed.view(-1)[0] = torch.nan
    return changed


FAULTS: dict[str, tuple[str, Callable[[Any], Any], str]] = {
    "NaN weights": ("weight_0", with_nan, "'weight_0' holds NaN or infinity"),
    "infinite weights": ("bias_0", lambda b: b + torch.inf, "'bias_0' holds NaN or infinity"),
    "weights of another type": ("weight_0", lambda w: w.long(), "'weight_0' has the type"),
    "negative variance": (
        "embedding.2.running_var",
        lambda v: -v - 1,
        "its numbers overflow",
    ),
    "float labels": ("support.labels", lambda y: y.float(), "type torch.float32"),
    "labels of 32 bits": ("support.labels", lambda y: y.int(), "type torch.int32"),
    "label too large": ("support.labels", lambda y: y.clamp(min=9), "not those of 3 classes"),
    "class without samples": ("support.labels", lambda y: y.clamp(max=1), "not those of 3 classes"),
    "labels in two axes": ("support.labels", lambda y: y[None], r"labels of shape \(1, 6\)"),
    "other key labels": ("support_y", lambda y: y.flip(1), "differs from the labels"),
    "float key labels": ("support_y", lambda y: y.float(), "'support_y' has the type"),
    "keys cut": ("keys", lambda k: k[..., :10], "is a damaged classifier"),
    "keys for fewer samples": ("keys", lambda k: k[:, :5], "'keys' has the shape"),
    "vector scale": ("scale", lambda s: s.expand(6), "'scale' has the shape"),
    "scale in an axis": ("scale", lambda s: s[None], "'scale' has the shape"),
    "bias in one axis less": ("bias_0", lambda b: b[:, :1], "is a damaged classifier"),
    "samples without pixels": ("support.samples", lambda x: x[:, :, :0], r"shape \(1, 0, 28\)"),
    "no samples": ("support.samples", lambda x: x[:0], "0 samples"),
    "float samples": ("support.samples", lambda x: x / 255, "samples are torch.float32"),
    "larger samples": ("support.samples", lambda x: x.repeat(1, 1, 2, 2), r"shape \(1, 56, 56\)"),
    "wide embedding": ("config/embedding/widths", set_to([6000, 6000]), "is a damaged classifier"),
    "wide target": ("config/target/widths", set_to([10**9, 10**9]), "a layer would give"),
    "huge width": ("config/target/widths", set_to([10**30, 8]), "a layer would give"),
    "huge canvas": (
        "config/embedding/alignment",
        set_to({"canvas": 1_000_000}),
        "a layer would give",
    ),
    "many layers": (
        "config/target",
        set_to({"widths": [8] * 5000, "pooled": False}),
        "5002 layers are described",
    ),
    "huge temperature": ("config/head/temperature", set_to(10**400), "must be a number"),
    "infinite temperature": ("config/head/temperature", set_to(float("inf")), "is not JSON"),
    "config of another type": ("config", set_to([1, 2]), "must be a JSON object"),
    "unknown method": ("method", set_to("magic"), "magic"),
    "half a surrogate pair": ("classes", set_to(["a", "b", "\ud800"]), "surrogates not allowed"),
    "source of half a pair": ("sources", set_to(["\udc80"] * 6), "surrogates not allowed"),
    "control characters": ("classes", set_to(["a", "b", "\x1b[31mred"]), "control characters"),
    "line break": ("classes", set_to(["a", "b", "c\nd"]), "control characters"),
    "blank name": ("classes", set_to(["a", "b", " "]), "not blank"),
    "same name twice": ("classes", set_to(["a", "b", "a"]), "two classes 'a'"),
    "name that is no text": ("classes", set_to(["a", "b", 5]), "must have a text"),
    "one class": ("classes", set_to(["a"]), "not those of 1 classes"),
    "no class": ("classes", set_to([]), "not those of 0 classes"),
    "more classes": ("classes", set_to(["a", "b", "c", "d"]), "not those of 4 classes"),
    "source that is no text": ("sources", set_to([1] * 6), "a source is no text"),
    "note that is no text": ("notes", set_to({"name": 7}), "JSON object of texts"),
    "notes that are no object": ("notes", set_to([["a", "b"]]), "JSON object of texts"),
    "no shot": ("rejections", set_to([REJECTION | {"shot": 0}]), "'shot' must be at least 1"),
    "one way": ("rejections", set_to([REJECTION | {"way": 1}]), "'way' must be at least 2"),
    "deep nesting": ("notes_text", set_to("[" * 100_000), "nested too deeply"),
    "many values": ("notes_text", set_to("[" + "[]," * 1_000_000 + "[]]"), "more than 1,000,000"),
    "a name twice": ("notes_text", set_to('{"a": "b", "a": "c"}'), "a name occurs twice"),
    "unknown backbone": ("backbone", set_to("resnet"), "no backbone 'resnet'"),
    "backbone of drawings": ("backbone", set_to("efficientnet-lite0"), "that takes a drawing"),
}


@pytest.mark.parametrize(("name", "change", "message"), FAULTS.values(), ids=FAULTS)
def test_a_file_with_one_fault_is_refused(name, change, message, content, tmp_path):
    tensors, metadata = content
    if name == "notes_text":
        metadata["notes"] = change(None)
    else:
        replace_entry(name, change)(tensors, metadata)
    path = write(tmp_path / "bad.safetensors", tensors, metadata)
    with pytest.raises((FileFormatError, ConfigError), match=message) as caught:
        load_classifier(path)
    assert len(str(caught.value)) < 1000


def test_missing_and_additional_entries_are_refused(content, tmp_path):
    tensors, metadata = content
    for name in tensors:
        rest = {other: tensor for other, tensor in tensors.items() if other != name}
        with pytest.raises(FileFormatError):
            load_classifier(write(tmp_path / "bad.safetensors", rest, metadata))
    for name in metadata.keys() - {"format", "version", "profiles", "by", "has_samples"}:
        texts = {other: text for other, text in metadata.items() if other != name}
        with pytest.raises(FileFormatError):
            load_classifier(write(tmp_path / "bad.safetensors", tensors, texts))
    more = {**tensors, "more": torch.zeros(2)}
    with pytest.raises(FileFormatError, match="more"):
        load_classifier(write(tmp_path / "bad.safetensors", more, metadata))


def test_the_number_of_tensors_is_bounded(content, tmp_path, monkeypatch):
    tensors, metadata = content
    path = write(tmp_path / "c.safetensors", tensors, metadata)
    monkeypatch.setattr(tensor_file, "MAX_TENSORS", len(tensors) - 1)
    with pytest.raises(FileFormatError, match=f"expected at most {len(tensors) - 1}"):
        load_classifier(path)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x08", (10**15).to_bytes(8, "little"), (2).to_bytes(8, "little") + b"[]"],
    ids=["empty", "short", "huge header", "no object"],
)
def test_a_header_that_is_none_is_refused(data, tmp_path):
    (tmp_path / "c.safetensors").write_bytes(data)
    with pytest.raises(FileFormatError, match="cannot be read as a file of the format lgmnet"):
        load_classifier(tmp_path / "c.safetensors")


def test_names_that_no_file_can_have_are_refused_when_fitting(fitted):
    for name, message in (("a\nb", "control"), ("\udc80", "UTF-8"), ("", "blank"), ("star", "two")):
        with pytest.raises(ConfigError, match=message):
            fit_classifier(tiny_model(), support_images(), LABELS, ["moon", "star", name])
    with pytest.raises(ConfigError, match="control"):
        rename_class(fitted, "star", "a\x00b")


def test_sources_that_are_not_utf_8_are_stored_escaped(tmp_path):
    sources = ["caf\udce9.png"] * 6
    fitted = fit_classifier(tiny_model(), support_images(), LABELS, CLASSES, sources=sources)
    fitted.save(tmp_path / "c.safetensors")
    assert load_classifier(tmp_path / "c.safetensors").support.sources == (r"caf\udce9.png",) * 6


def test_an_answer_that_overflows_is_refused_with_a_sentence(fitted):
    fitted.classifier.scale = torch.tensor(torch.nan)
    for predict in (fitted.predict_proba, fitted.analyze):
        with pytest.raises(DataError, match="its numbers overflow"):
            predict(support_images())


def test_another_config_than_the_models_is_refused(fitted):
    config = dataclasses.replace(fitted.config, auxiliary=AuxiliaryConfig(0.5))
    altered = dataclasses.replace(fitted, config=config)
    fitted.check_model(tiny_model())
    with pytest.raises(ConfigError, match="another method, config or backbone than 'tiny'"):
        altered.check_model(tiny_model())


def test_the_estimator_refuses_labels_of_another_kind(content, tmp_path):
    tensors, metadata = content
    for kind in ("i", "?"):
        metadata["notes"] = json.dumps({"labels": kind})
        path = write(tmp_path / "c.safetensors", tensors, metadata)
        with pytest.raises(FileFormatError, match=re.escape(f"of the kind '{kind}', but")):
            FewShotClassifier.load(path, model="omniglot")


def check_without_support(fitted: FittedClassifier, samples: Tensor, path: Path) -> None:
    """Check that a file without the support gives the same answers, bit for bit."""
    fitted.save(path, support=False)
    bare = load_classifier(path)
    answers, expected = bare.analyze(samples), fitted.analyze(samples)
    assert torch.equal(answers.log_p, expected.log_p)
    assert answers.support_attention is None
    assert (answers.similarity is None) == (expected.similarity is None)
    if answers.similarity is not None and expected.similarity is not None:
        assert torch.equal(answers.similarity, expected.similarity)
    assert (bare.shots, bare.inputs) == (fitted.shots, fitted.inputs)


@pytest.mark.parametrize("case", CASES)
def test_classifiers_of_every_method_pass_all_checks(case, tmp_path):
    name, _ = CASES[case]
    method = copy.deepcopy(build_shared_method(case)).float().eval()
    dtype = torch.float64 if method.inputs.any_length else torch.float32
    episode = build_episode(method, tasks=1, dtype=dtype)
    samples = episode.support_x[0]
    if samples.ndim == 4:
        samples = (samples.clamp(-1, 1) * 127 + 128).to(torch.uint8)
    model = Model(method, name, tiny_model().training, name="some")
    labels = episode.support_y[0].tolist()
    fitted = fit_classifier(model, samples, labels, [str(i) for i in range(episode.way)])
    fitted.save(tmp_path / "c.safetensors")
    loaded = load_classifier(tmp_path / "c.safetensors")
    torch.testing.assert_close(loaded.predict_proba(samples), fitted.predict_proba(samples))
    check_without_support(loaded, samples, tmp_path / "bare.safetensors")
    tensors, metadata = read_tensors(
        tmp_path / "c.safetensors", CLASSIFIER_KIND, CLASSIFIER_VERSION
    )
    for entry, tensor in tensors.items():
        changed = {**tensors, entry: torch.cat([tensor.reshape(-1)] * 2)}
        with pytest.raises(FileFormatError):
            load_classifier(write(tmp_path / "bad.safetensors", changed, metadata))


MEMORY_PROGRAM = """
import re, sys
from pathlib import Path
from lgmnet.classifier.file import load_classifier
from lgmnet.errors import FileFormatError
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
good, *bad = map(Path, sys.argv[1:])
load_classifier(good)
before = peak()
for path in bad:
    try:
        load_classifier(path)
    except FileFormatError:
        continue
    sys.exit(f"{path} was accepted")
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is in /proc")
def test_a_config_never_makes_memory_rise(content, fitted, tmp_path):
    """Embedding and TargetNet would need 0.9 GB and more."""
    fitted.save(tmp_path / "good.safetensors")
    paths = []
    for i, (name, widths) in enumerate(
        {
            "config/embedding/widths": [6000, 6000],
            "config/target/widths": [10**9, 10**9],
        }.items()
    ):
        tensors, metadata = dict(content[0]), dict(content[1])
        replace_entry(name, set_to(widths))(tensors, metadata)
        paths.append(write(tmp_path / f"{i}.safetensors", tensors, metadata))
    many = dict(content[1]) | {"notes": "[" + "[]," * 3_000_000 + "[]]"}
    paths.append(write(tmp_path / "many.safetensors", content[0], many))
    ran = subprocess.run(
        [sys.executable, "-c", MEMORY_PROGRAM, tmp_path / "good.safetensors", *paths],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) < 100_000, "less than 100 MB, of which 40 are the file of many values"


def test_a_file_that_is_replaced_while_it_is_read_is_whole(fitted, tmp_path, monkeypatch):
    """A second opening would find another version, or none."""
    path = tmp_path / "c.safetensors"
    fitted.save(path)
    other = fit_classifier(tiny_model(seed=1), support_images(), LABELS, CLASSES)
    other.save(tmp_path / "other")

    def replace_first(*args: Any) -> None:
        (tmp_path / "other").replace(path)
        check_format(*args)
        path.unlink()

    monkeypatch.setattr(tensor_file, "check_format", replace_first)
    assert load_classifier(path).fingerprint == fitted.fingerprint
    assert not path.exists()


class FakeTimm(SimpleNamespace):
    """Stand-in for timm that knows one network and counts its downloads."""

    def __init__(self, weights: str | None) -> None:
        config = SimpleNamespace(hf_hub_id="timm/small", custom_load=False)
        super().__init__(weights=weights, downloads=0, get_pretrained_cfg=lambda name: config)

    def is_model_pretrained(self, name: str) -> bool:
        return name == "small"

    def list_models(self, pattern: str = "*") -> list[str]:
        return ["small"]

    def create_model(self, name: str, **options: Any) -> Any:
        if "file" not in options.get("pretrained_cfg_overlay", {}):
            self.downloads += 1
        config = {"input_size": (3, 8, 8), "mean": (0.5,) * 3, "std": (0.5,) * 3}
        network: Any = torch.nn.Conv2d(3, 3, 8)
        network.pretrained_cfg = config
        return network


@pytest.fixture
def install_timm(monkeypatch):
    """Install a `FakeTimm` whose weights are, or are not, on this machine."""

    def install(weights: str | None) -> FakeTimm:
        timm = FakeTimm(weights)
        hub = SimpleNamespace(try_to_load_from_cache=lambda repo, file: weights)
        monkeypatch.setitem(sys.modules, "timm", timm)
        monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
        return timm

    pretrained.load_backbone.cache_clear()
    yield install
    pretrained.load_backbone.cache_clear()


def features_file(path: Path, backbone: str) -> Path:
    """Write a classifier of features that states a backbone."""
    method = copy.deepcopy(build_shared_method("lgm-net-features")).float().eval()
    episode = build_episode(method, tasks=1, dtype=torch.float32)
    model = Model(method, "lgm-net-features", tiny_model().training, name="some")
    labels = episode.support_y[0].tolist()
    fit_classifier(model, episode.support_x[0], labels, ["a", "b", "c"]).save(path)
    tensors, metadata = read_tensors(path, CLASSIFIER_KIND, CLASSIFIER_VERSION)
    return write(path, tensors, metadata | {"backbone": backbone})


def test_a_backbone_in_a_file_never_starts_a_download(tmp_path, install_timm):
    path = features_file(tmp_path / "c.safetensors", "timm:small")
    timm = install_timm(None)
    with pytest.raises(ConfigError, match=r"network 'small' of timm.*A file never starts a down"):
        load_classifier(path)
    timm = install_timm("/cache/model.safetensors")
    loaded = load_classifier(path)
    assert loaded.inputs.shape == (3, 8, 8)
    assert timm.downloads == 0
    for name in ("timm:unknown", "timm:../x", "timm:"):
        with pytest.raises(ConfigError, match=r"not on this machine|no backbone"):
            load_classifier(features_file(path, name))
    # Its photos have 3 features, but the support samples have 8.
    with pytest.raises(DataError, match=r"\[vectors, 8\]"):
        loaded.predict_proba(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children),
    max_leaves=4,
)


def paths_in(values: Any, prefix: str) -> list[str]:
    """List the paths of all values in a JSON value."""
    keys = values.keys() if isinstance(values, dict) else ()
    return [prefix, *(path for key in keys for path in paths_in(values[key], f"{prefix}/{key}"))]


TENSOR_CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "shorter": lambda t: t[..., : t.shape[-1] // 2] if t.ndim else t[None],
    "first axis": lambda t: t[:1] if t.ndim else t.expand(3),
    "another axis": lambda t: t[None],
    "flat": lambda t: t.reshape(-1),
    "empty": lambda t: t.reshape(-1)[:0],
    "double": lambda t: t.double(),
    "half": lambda t: t.half(),
    "bytes": lambda t: t.to(torch.uint8),
    "whole numbers": lambda t: t.long(),
    "truth values": lambda t: t.bool(),
    "large": lambda t: t * 1000,
    "zero": torch.zeros_like,
    "negative": lambda t: -t if t.dtype != torch.bool else t,
    "NaN": lambda t: with_nan(t) if t.is_floating_point() and t.numel() else t,
}


@settings(
    max_examples=150,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_change_is_refused_or_leaves_probabilities(data, content, queries, tmp_path):
    tensors, metadata = dict(content[0]), dict(content[1])
    paths = [path for f in JSON_FIELDS for path in paths_in(json.loads(metadata[f]), f)]
    for _ in range(data.draw(st.integers(1, 2))):
        if data.draw(st.booleans()):
            name = data.draw(st.sampled_from(sorted(tensors)))
            change = TENSOR_CHANGES[data.draw(st.sampled_from(sorted(TENSOR_CHANGES)))]
            tensors[name] = change(tensors[name]).contiguous()
        else:
            name, value = data.draw(st.sampled_from(paths)), data.draw(json_values)
            try:
                replace_entry(name, set_to(value))(tensors, metadata)
            except (KeyError, TypeError):
                continue  # The first change has removed this place.
    path = write(tmp_path / "changed.safetensors", tensors, metadata)
    try:
        probabilities = load_classifier(path).predict_proba(queries)
    except UserError:
        return
    assert probabilities.isfinite().all()
    torch.testing.assert_close(probabilities.sum(1), torch.ones(len(queries)).to(probabilities))


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(header=json_values)
def test_any_header_is_refused(header, tmp_path_factory):
    text = json.dumps(header).encode()
    path = tmp_path_factory.mktemp("header") / "c.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(100))
    with pytest.raises(FileFormatError):
        FittedClassifier.load(path)
