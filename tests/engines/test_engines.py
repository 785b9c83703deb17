"""Engines: the same features as PyTorch's, converted once, and PyTorch where an engine fails."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lgmnet.engines import engine as engine_module
from lgmnet.engines.engine import MIN_COSINE, load_engine
from lgmnet.engines.names import ENGINES
from lgmnet.engines.runtimes import RUNTIMES, Run, Runtime, check_engine, warn_of_absence
from lgmnet.errors import ConfigError
from lgmnet.estimator import FewShotClassifier
from lgmnet.model.feature_cache import embed_photos
from lgmnet.nn.pretrained import Backbone, draw_test_photos, load_backbone
from tests.support.command_line import lgmnet
from tests.support.images import symbols

INSTALLED: list[Any] = [name for name, runtime in RUNTIMES.items() if runtime.version]
EACH_RUNTIME = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(name not in INSTALLED, reason=f"{name} is not installed"),
    )
    for name in RUNTIMES
]
pytestmark = pytest.mark.skipif(not INSTALLED, reason="no engine beside PyTorch is installed")


def tiny_backbone() -> Backbone:
    generator = torch.Generator().manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 12, 3))
    for parameter in layers.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    return Backbone("tiny", layers, 16, (0.5,) * 3, (0.5,) * 3)


@pytest.fixture(scope="module")
def converted(tmp_path_factory) -> Path:
    """A cache folder with the tiny backbone, converted and tried on all engines."""
    folder: Path = tmp_path_factory.mktemp("converted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LGMNET_CACHE", str(folder))
        patch.delenv("LGMNET_ENGINE")
        tiny_backbone().on_engine()
    return folder


@pytest.fixture
def cache(converted, tmp_path, monkeypatch) -> Path:
    """A copy of that folder as the cache, and no engine named by the environment."""
    folder: Path = tmp_path / "cache"
    shutil.copytree(converted, folder)
    monkeypatch.setenv("LGMNET_CACHE", str(folder))
    monkeypatch.delenv("LGMNET_ENGINE")
    return folder


@pytest.fixture
def no_conversion(monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network is converted again")

    monkeypatch.setattr(engine_module, "convert_to_onnx", refuse)


def replace_runtime(monkeypatch, name: str, load: Callable[[Path, int], Run]) -> None:
    monkeypatch.setitem(RUNTIMES, name, dataclasses.replace(RUNTIMES[name], load=load))


def forget_trials(cache: Path) -> None:
    for path in cache.glob("engines/*.json"):
        path.unlink()


@pytest.mark.parametrize("name", EACH_RUNTIME)
@pytest.mark.parametrize("threads", [1, 2])
def test_features_are_those_of_torch_for_any_number_of_photos(
    name, threads, cache, no_conversion, monkeypatch
):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    backbone = tiny_backbone()
    engine = backbone.on_engine(name)
    assert (engine.name, engine.precision) == (name, "f32")
    photos = draw_test_photos(16).flip(0)
    with torch.inference_mode():
        expected = backbone(photos)
    for n in (1, 3, 8):
        torch.testing.assert_close(engine(photos[:n]), expected[:n], rtol=1e-4, atol=1e-4)


def test_the_outcome_is_stored_once_beside_the_network(cache, no_conversion):
    (network,) = cache.glob("engines/*.onnx")
    trials = json.loads(network.with_suffix(".json").read_text())
    assert {name.split()[0] for name in trials} == {"torch", *INSTALLED}
    assert all(trial["cosine"] >= MIN_COSINE for trial in trials.values())
    fastest = min(trials, key=lambda name: trials[name]["milliseconds"])
    assert tiny_backbone().on_engine().name == fastest.split()[0]
    trials[fastest]["milliseconds"] = 1e6
    network.with_suffix(".json").write_text(json.dumps(trials))
    assert tiny_backbone().on_engine().name != fastest.split()[0]


def test_another_network_is_not_taken_for_the_converted_one(cache, monkeypatch):
    backbone, others = tiny_backbone(), tiny_backbone()
    next(others.network.parameters()).add_(1)
    wider = Backbone("tiny", backbone.network, 16, (0.4,) * 3, (0.5,) * 3)
    examples = draw_test_photos(16)
    paths = {engine_module.converted_path(b, examples) for b in (backbone, others, wider)}
    assert len(paths) == 3
    assert engine_module.converted_path(tiny_backbone(), examples) in paths


@pytest.mark.parametrize("name", EACH_RUNTIME)
def test_an_engine_with_other_features_is_named_once_and_not_used(name, cache, monkeypatch):
    def load(path: Path, threads: int) -> Run:
        return lambda batch: np.flip(RUNTIMES_BEFORE[name].load(path, threads)(batch), 1).copy()

    for other in INSTALLED:
        if other != name:
            monkeypatch.delitem(RUNTIMES, other)
    replace_runtime(monkeypatch, name, load)
    forget_trials(cache)
    title = RUNTIMES[name].title
    with pytest.warns(UserWarning, match=rf"{title} fails the parity check: the cosine .* 0\.9999"):
        assert tiny_backbone().on_engine().name == "torch"
    with warnings.catch_warnings(action="error"):
        assert tiny_backbone().on_engine().name == "torch"
    named = tiny_backbone()
    with pytest.warns(UserWarning, match=rf"{title} fails the parity check: the cosine"):
        assert named.on_engine(name).name == "torch"
    with warnings.catch_warnings(action="error"):
        assert named.on_engine(name).name == "torch", "it is named once"
    forget_trials(cache)
    with pytest.warns(UserWarning, match=title) as caught:
        assert tiny_backbone().on_engine(name).name == "torch"
    assert len(caught) == 1, "also where it is tried for the first time"


RUNTIMES_BEFORE = dict(RUNTIMES)


@pytest.mark.parametrize("name", EACH_RUNTIME)
def test_an_engine_that_cannot_run_a_network_is_named(name, cache, monkeypatch):
    def load(path: Path, threads: int) -> Run:
        raise RuntimeError("no such operator\nand more")

    replace_runtime(monkeypatch, name, load)
    forget_trials(cache)
    title = RUNTIMES[name].title
    with pytest.warns(UserWarning, match=f"{title} cannot run the network: no such operator\\.$"):
        assert tiny_backbone().on_engine().name != name


def test_a_network_that_cannot_be_converted_runs_on_torch(cache):
    class Unknown(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2).requires_grad_(False)
            nn.init.eye_(self.layer.weight)
            nn.init.zeros_(self.layer.bias)

        def forward(self, images: Tensor) -> Tensor:
            features: Tensor = self.layer(images) * float(images.numpy().mean())
            return features

    examples = torch.rand(4, 2, generator=torch.Generator().manual_seed(0))
    with pytest.warns(UserWarning, match="torch cannot convert it to ONNX"):
        assert load_engine(Unknown().eval(), lambda: examples).name == "torch"
    with warnings.catch_warnings(action="error"):
        assert load_engine(Unknown().eval(), lambda: examples).name == "torch"


@pytest.mark.filterwarnings("default:The engine:UserWarning")
@pytest.mark.parametrize("name", list(RUNTIMES))
def test_torch_takes_the_place_of_an_engine_that_is_not_installed(
    name, cache, monkeypatch, tiny, folder_of_drawings, tmp_path
):
    absent = Runtime("lgmnet-absent", "Absent", RUNTIMES[name].extra, RUNTIMES[name].load)
    for other in RUNTIMES:
        monkeypatch.setitem(RUNTIMES, other, absent)
    warn_of_absence.cache_clear()
    message = rf"'{name}' is not installed, so PyTorch .*pip install 'lgmnet\[{absent.extra}\]'"
    with pytest.warns(UserWarning, match=message):
        assert check_engine(name) == "torch"
    with warnings.catch_warnings(action="error"):
        assert tiny_backbone().on_engine(name).name == "torch", "it is named once"
        assert tiny_backbone().on_engine().name == "torch"
    with pytest.raises(ConfigError, match=r"no engine 'openvin'\. Did you mean 'openvino'"):
        check_engine("openvin")
    file = tmp_path / "c.safetensors"
    assert lgmnet("forge", folder_of_drawings, "-o", file, "--model", tiny).code == 0
    by_torch = lgmnet("predict", file, folder_of_drawings, "--json")
    warn_of_absence.cache_clear()
    done = lgmnet("predict", file, folder_of_drawings, "--json", "--engine", name)
    assert (done.code, done.out) == (0, by_torch.out)
    assert done.err.count(f"The engine '{name}' is not installed") == 1


def test_the_environment_names_the_engine_that_auto_stands_for(cache, monkeypatch):
    for name in ("torch", *INSTALLED):
        monkeypatch.setenv("LGMNET_ENGINE", name)
        assert tiny_backbone().on_engine().name == name
        assert tiny_backbone().on_engine("torch").name == "torch"
    monkeypatch.setenv("LGMNET_ENGINE", "fastest")
    with pytest.raises(ConfigError, match=r"no engine 'fastest'\. .* variable LGMNET_ENGINE\."):
        tiny_backbone().on_engine()
    monkeypatch.setenv("LGMNET_ENGINE", "")
    assert check_engine("auto") == "auto"


def test_a_fault_of_the_machine_is_no_damage_of_a_classifier(
    cache, monkeypatch, tiny, folder_of_drawings, tmp_path
):
    file = tmp_path / "c.safetensors"
    words = ("forge", folder_of_drawings, "-o", file, "--model", tiny)
    assert lgmnet(*words).code == 0
    monkeypatch.setenv("LGMNET_ENGINE", "fastest")
    for command in (("predict", file, folder_of_drawings), words, ("serve",)):
        ran = lgmnet(*command)
        assert ran.code == 2
        assert ran.err.startswith("error: There is no engine 'fastest'.")
    monkeypatch.setenv("LGMNET_ENGINE", INSTALLED[0])
    monkeypatch.setenv("LGMNET_CACHE", str(file))
    ran = lgmnet("predict", file, folder_of_drawings)
    assert ran.code == 2
    assert ran.err.startswith("error: There is no folder for cached files: Cannot make the folder")


def test_features_of_two_engines_are_cached_apart(cache, monkeypatch):
    backbone = tiny_backbone()
    runs: list[str] = []

    def count(name: str, path: Path, threads: int) -> Run:
        run = RUNTIMES_BEFORE[name].load(path, threads)

        def counted(batch: np.ndarray) -> np.ndarray:
            runs.append(name)
            return run(batch)

        return counted

    for name in INSTALLED:
        replace_runtime(monkeypatch, name, partial(count, name))
    photos = draw_test_photos(16)
    by_torch = embed_photos(backbone, photos, engine="torch")
    for name in INSTALLED:
        runs.clear()
        features = embed_photos(backbone, photos, engine=name)
        assert torch.equal(embed_photos(backbone, photos, engine=name), features)
        assert runs == [name]
        torch.testing.assert_close(features, by_torch, rtol=0.05, atol=0.05)
    assert torch.equal(embed_photos(backbone, photos, engine="torch"), by_torch)


def test_of_two_processes_one_converts(tmp_path):
    """Both give the same features, and no draft is left."""
    code = (
        "import sys; sys.path.insert(0, '.')\n"
        "from lgmnet.engines import engine\n"
        "from tests.engines.test_engines import tiny_backbone\n"
        "convert, calls = engine.convert_to_onnx, []\n"
        "engine.convert_to_onnx = lambda *a: (calls.append(a), convert(*a))[1]\n"
        f"tiny_backbone().on_engine({INSTALLED[0]!r})\n"
        "print(len(calls))"
    )
    environment = os.environ | {"LGMNET_CACHE": str(tmp_path)}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    outputs = [process.communicate()[0] for process in started]
    assert sorted(output.strip() for output in outputs) == ["0", "1"]
    left = {path.suffix for path in (tmp_path / "engines").iterdir() if path.suffix != ".lock"}
    assert left == {".onnx", ".json"}
    assert len(list((tmp_path / "engines").glob("*.onnx"))) == 1


@pytest.fixture
def folder_of_drawings(tmp_path) -> Path:
    folder: Path = tmp_path / "images"
    return symbols(folder, {"moon": 3, "star": 3})


def test_drawings_run_on_each_engine_in_python_and_in_the_shell(
    folder_of_drawings, tiny, tmp_path, cache
):
    paths = sorted(folder_of_drawings.glob("*/*.png"))
    labels = [path.parent.name for path in paths]
    expected = FewShotClassifier(tiny, engine="torch").fit(paths, labels).predict_proba(paths)
    before = sorted(cache.glob("engines/*.onnx"))
    by_auto = FewShotClassifier(tiny).fit(paths, labels).predict_proba(paths)
    np.testing.assert_array_equal(by_auto, expected)
    assert sorted(cache.glob("engines/*.onnx")) == before, "auto leaves drawings to PyTorch"
    for name in INSTALLED:
        estimator = FewShotClassifier(tiny, engine=name).fit(paths, labels)
        assert estimator.classifier_.engine == name
        np.testing.assert_allclose(estimator.predict_proba(paths), expected, atol=1e-4)
        file = tmp_path / f"{name}.safetensors"
        forge = ("forge", folder_of_drawings, "-o", file, "--model", tiny, "--engine", name)
        assert lgmnet(*map(str, forge)).code == 0
        predict = ("predict", file, folder_of_drawings, "--engine", name, "--json")
        done = lgmnet(*map(str, predict))
        rows = json.loads(done.out)["predictions"]
        answers = [[row["probabilities"][c] for c in ("moon", "star")] for row in rows]
        np.testing.assert_allclose(answers, expected, atol=1e-4)
        loaded = FewShotClassifier.load(file, model=tiny, engine=name)
        assert loaded.get_params()["engine"] == name
        np.testing.assert_allclose(loaded.predict_proba(paths), expected, atol=1e-4)
    assert len(sorted(cache.glob("engines/*.onnx"))) == len(before) + 1, "one file for all engines"


def test_every_name_is_an_option():
    help_text = lgmnet("predict", "--help").out
    assert all(name in "".join(help_text.split()).replace("│", "") for name in ENGINES)


@pytest.mark.long
def test_the_statistics_of_layers_pass_the_parity_check(cache):
    backbone = load_backbone("efficientnet-lite0-layers")
    photos = draw_test_photos(224)[:2].flip(-1)
    with torch.inference_mode():
        expected = backbone(photos)
    for name in INSTALLED:
        features = backbone.on_engine(name)(photos)
        assert nn.functional.cosine_similarity(features, expected).min() >= MIN_COSINE


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system does not tell cores")
@pytest.mark.skipif("openvino" not in INSTALLED, reason="openvino is not installed")
def test_no_thread_of_an_engine_is_bound_to_one_core(cache):
    """Or processes that run beside each other would all have their engines on the same core."""
    code = """
import os, threading
from tests.engines.test_engines import tiny_backbone
from lgmnet.nn.pretrained import draw_test_photos
engine, photos = tiny_backbone().on_engine("openvino"), draw_test_photos(16).repeat(200, 1, 1, 1)
runner = threading.Thread(target=engine, args=(photos,))
runner.start()
bound, own = set(), os.sched_getaffinity(0)
while runner.is_alive():
    for thread in os.listdir("/proc/self/task"):
        try:
            if os.sched_getaffinity(int(thread)) != own:
                bound.add(thread)
        except ProcessLookupError:  # It has ended.
            pass
print(len(bound))
"""
    root = Path(__file__).parents[2]
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert ran.stdout == "0\n"
