"""The scripts for a machine with a GPU: what they check first, and a trial on the CPU."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.datasets.omniglot import omniglot, view_characters
from lgmnet.methods import METHODS
from lgmnet.model.model import load_model
from tests.support.command_line import lgmnet
from tests.support.random import seeded

ROOT = Path(__file__).parents[1]
FOLDERS = (ROOT / "scripts" / "gpu", ROOT / "benchmarks")
N_CLASSES, PER_CLASS, N_CHARACTERS = 20, 10, 6
ABOUT = {"commit": "abc1234", "images_per_class": PER_CLASS, "modules": []}
PARTS = ("embedding", "heads", "omniglot")


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, ModuleType]]:
    """The modules beside the shell scripts, which are in no package."""
    with pytest.MonkeyPatch.context() as patch:
        for folder in FOLDERS:
            patch.syspath_prepend(str(folder))
        names = ("images", "needs", "pack", "runs", "train", "weights")
        yield {name: importlib.import_module(name) for name in names}
    for name in names:
        sys.modules.pop(name, None)


def draw_dataset(n_classes: int, per_class: int, shape: tuple[int, ...], name: str) -> ClassDataset:
    images = torch.rand(n_classes * per_class, *shape, generator=seeded()).mul(255).byte()
    names = [f"alphabet{i % 2}/character{i:02d}@0" for i in range(n_classes)]
    groups = [class_name.split("/")[0] for class_name in names]
    return ClassDataset(
        images, [per_class] * n_classes, names, name=name, split="train", groups=groups
    )


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory, scripts: dict[str, Any]) -> Path:
    """A pack of noise, as small as the recipes allow."""
    folder = tmp_path_factory.mktemp("pack")
    for name, n_classes, per_class, shape in (
        ("cifar-fs", N_CLASSES, PER_CLASS, (3, 32, 32)),
        ("omniglot", N_CHARACTERS, 20, (1, 28, 28)),
    ):
        dataset = draw_dataset(n_classes, per_class, shape, name)
        scripts["images"].EncodedDataset(dataset).write(folder / f"{name}.npz", per_class)
    (folder / "pack.json").write_text(json.dumps(ABOUT))
    return folder


def run_script(name: str, *words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script of the folder ``scripts`` with this Python."""
    return subprocess.run(
        ["bash", str(ROOT / "scripts" / name), *map(str, words)],
        env={**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_images_come_back_without_loss(scripts, tmp_path):
    for shape in ((3, 32, 32), (1, 28, 28)):
        dataset = draw_dataset(4, 5, shape, "some")
        encoded = scripts["images"].EncodedDataset(dataset)
        encoded.write(tmp_path / "some.npz", 3)
        read = scripts["images"].read_dataset(tmp_path / "some.npz")
        assert torch.equal(
            read.images.unflatten(0, (4, 3)), dataset.images.unflatten(0, (4, 5))[:, :3]
        )
        assert (read.split_hash, read.name, read.split) == (dataset.split_hash, "some", "train")
        assert read.groups is not None
        assert read.groups.tolist() == [0, 1, 0, 1]


def test_as_many_images_of_each_class_are_packed_as_fit(scripts):
    encoded = scripts["images"].EncodedDataset(draw_dataset(4, 5, (1, 28, 28), "some"))
    assert encoded.largest_fitting(encoded.count_bytes(5)) == 5
    assert encoded.largest_fitting(encoded.count_bytes(3)) == 3
    assert encoded.largest_fitting(encoded.count_bytes(3) - 1) == 2
    assert encoded.largest_fitting(0) == 0


@pytest.mark.pack
def test_the_characters_of_a_pack_are_those_of_the_recipe():
    drawings = omniglot("vinyals/train", rotations=False)
    names = [name.rpartition("@")[0] for name in drawings.class_names]
    viewed = view_characters(drawings.images, names, "vinyals/train-mirrored")
    expected = omniglot("vinyals/train-mirrored")
    assert torch.equal(viewed.images, expected.images)
    assert viewed.split_hash == expected.split_hash


def test_parts_of_a_file_are_joined_and_damage_is_found(scripts, tmp_path):
    weights = scripts["weights"]
    file, data = tmp_path / "model.bin", bytes(range(256)) * 10
    file.write_bytes(data)
    assert weights.split_file(file, 4096) == []
    parts = weights.split_file(file, 1000)
    assert [part.stat().st_size for part in parts] == [1000, 1000, 560]
    assert not file.exists()
    (listed,) = tmp_path.glob("*.parts.json")
    assert weights.join_file(listed).read_bytes() == data
    parts[1].write_bytes(b"x" * 1000)
    with pytest.raises(ValueError, match="damaged"):
        weights.join_file(listed)
    parts[1].unlink()
    with pytest.raises(ValueError, match=f"missing: .*{parts[1].name}"):
        weights.join_file(listed)
    joined = subprocess.run(
        [sys.executable, ROOT / "scripts" / "gpu" / "weights.py", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert joined.returncode == 2
    assert joined.stderr.startswith("error: Parts are missing")


def test_the_runs_are_those_of_the_recipes_at_full_size(scripts):
    trainings = {training.name: training for training in scripts["runs"].plan_trainings()}
    assert trainings["omniglot-10x"].run.train.steps == 180_000
    assert trainings["resnet12-rfs-distilled"].start == "resnet12-rfs"
    for name in ("resnet12-proto-net", "resnet12-feat", "resnet12-lgm-net"):
        training = trainings[name]
        assert training.start == "resnet12-rfs-distilled"
        assert training.run.config.embedding.widths == (64, 160, 320, 640)
        assert training.run.val_split is None
    small = {training.name: training for training in scripts["runs"].plan_trainings(0.01)}
    for name, training in small.items():
        full = trainings[name].run
        assert training.run.train.steps == round(full.train.steps / 100)
        assert len(training.run.config.embedding.widths) == len(full.config.embedding.widths)
        METHODS[training.run.method](training.run.config)


def test_what_is_pure_python_is_packed_and_the_rest_is_named(scripts, tmp_path):
    pack = scripts["pack"]
    modules = {name: pack.list_files(name) for name in ("einops", "safetensors")}
    left = {"compiled": [], "modules": ["safetensors"]}
    assert pack.copy_modules(modules, [], tmp_path) == left
    assert (tmp_path / "einops" / "__init__.py").is_file()
    assert not (tmp_path / "safetensors").exists()
    brought = {"compiled": ["safetensors"], "modules": []}
    assert pack.copy_modules(modules, ["safetensors"], tmp_path) == brought
    assert (tmp_path / "safetensors" / "__init__.py").is_file()


def test_the_code_of_a_pack_is_all_that_the_script_needs(scripts, tmp_path):
    pack = scripts["pack"]
    pack.copy_code(tmp_path)
    for name in ("scripts/gpu.sh", "scripts/gpu/run.py", "src/lgmnet/__init__.py"):
        assert (tmp_path / name).is_file()
    assert pack.count_bytes(tmp_path) < 4 * 2**20
    ran = subprocess.run(
        ["bash", tmp_path / "scripts" / "gpu.sh", "--out", tmp_path / "out"],
        env=os.environ | {"PYTHON": sys.executable, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "holds no pack of the training images" in ran.stderr


@pytest.mark.parametrize(
    ("words", "about", "environment", "message"),
    [
        ([], {}, {"PYTHON": "no-such-python"}, "There is no 'no-such-python' here"),
        ([], {"modules": ["no_such_module"]}, {}, "has no no_such_module. Install it there"),
        ([], {"platform": "another", "compiled": ["no_such_module"]}, {}, "has no no_such_module"),
        ([], None, {}, "Make it with 'python scripts/gpu/pack.py'"),
        pytest.param(
            [],
            {},
            {},
            "finds no GPU here",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here"),
        ),
        (["--part", "heads", "--accelerator", "cpu"], {}, {}, "give --part embedding too"),
        (["--scale", "2", "--accelerator", "cpu"], {}, {}, "--scale must be above 0"),
    ],
    ids=["python", "module", "platform", "pack", "gpu", "part", "scale"],
)
def test_what_is_missing_is_said_in_a_sentence_before_anything_is_written(
    words, about, environment, message, tmp_path
):
    if about is not None:
        (tmp_path / "pack.json").write_text(json.dumps(ABOUT | about))
    out = tmp_path / "out"
    ran = run_script("gpu.sh", "--pack", tmp_path, "--out", out, *words, **environment)
    assert ran.returncode == 2, ran.stderr
    assert ran.stderr.startswith("error: ")
    assert message in ran.stderr
    assert not out.exists()


@pytest.mark.pack
def test_the_models_are_joined_and_scored_by_commands_that_run(tiny, tmp_path):
    """The interpreter is replaced by one that writes its arguments down."""
    results, stub, lines = tmp_path / "results", tmp_path / "stub", tmp_path / "lines"
    for name in ("omniglot-10x", "resnet12-rfs"):
        (results / "models" / name).mkdir(parents=True)
    stub.write_text(f'#!/bin/sh\necho "$@" >>{lines}\n')
    stub.chmod(0o755)
    ran = run_script("gpu_score.sh", results, tmp_path / "scores", PYTHON=str(stub), EPISODES="2")
    assert ran.returncode == 0, ran.stderr
    first, *evaluations = lines.read_text().splitlines()
    assert first == f"scripts/gpu/weights.py {results}"
    assert len(evaluations) == 4 + 4
    assert all("--data cifar-fs --split test" in line for line in evaluations[4:])
    words = evaluations[0].split()
    assert words[:3] == ["-m", "lgmnet", "evaluate"]
    words[3] = str(tiny)
    (tmp_path / "scores" / "gpu-omniglot-10x-5w1s.json").write_text("{}")
    evaluated = lgmnet(*words[2:])
    assert evaluated.code == 0, evaluated.err
    score = json.loads((tmp_path / "scores" / "gpu-omniglot-10x-5w1s.json").read_text())
    assert {"accuracy", "ci95"} <= score.keys()


def test_a_run_that_fails_is_named_and_the_others_go_on(scripts, pack, tmp_path, monkeypatch):
    train = scripts["train"]

    def fit(run: Any, *_: object) -> dict[str, Any]:
        if run.method == "rfs" and run.start:
            raise RuntimeError("out of memory")
        return {"steps": 2}

    monkeypatch.setattr(train, "train", fit)
    monkeypatch.setattr(train, "keep_weights", lambda *_: None)
    budget = train.Budget(0.0, 60.0, dict.fromkeys(PARTS, 1.0))
    results = dict(train.run_trainings(PARTS, pack, tmp_path, "cpu", 0.01, budget))
    assert len(results) == 6
    failures = {name: r["failure"] for name, r in results.items() if "failure" in r}
    assert failures.pop("resnet12-rfs-distilled") == "RuntimeError: out of memory"
    assert failures.keys() == {f"resnet12-{name}" for name in ("proto-net", "feat", "lgm-net")}
    assert all("'resnet12-rfs-distilled' failed" in reason for reason in failures.values())


def test_the_time_that_is_left_is_shared_out_again(scripts, monkeypatch):
    train = scripts["train"]
    now = [100.0]
    monkeypatch.setattr(train.time, "monotonic", lambda: now[0])
    budget = train.Budget(100.0, 60.0, {"speeds": 1.0, "embedding": 2.0, "omniglot": 1.0})
    assert budget.seconds("speeds") == 15.0
    now[0] = 130.0
    assert budget.seconds("embedding", 2) == 10.0
    assert budget.seconds("omniglot") == 30.0
    now[0] = 999.0
    assert budget.seconds("omniglot") == 0.0


@pytest.mark.slow
def test_the_code_runs_where_only_pytorch_numpy_and_pillow_are_installed(scripts, tmp_path):
    """All else that it imports is in the pack, or is named."""
    pack, needs = scripts["pack"], scripts["needs"]
    code = (
        "import json, sys; from pathlib import Path; import pack\n"
        f"out = Path({str(tmp_path)!r})\n"
        "pack.copy_code(out)\n"
        "modules = pack.find_modules()\n"
        "print(json.dumps(pack.copy_modules(modules, pack.COMPILED, out / 'packages')))"
    )
    environment = os.environ | {"PYTHONPATH": ":".join(map(str, [*FOLDERS, ROOT / "src"]))}
    packed = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    names = json.loads(packed.stdout)
    assert names == {"compiled": ["safetensors"], "modules": []}
    site = tmp_path / "site"
    site.mkdir()
    installed = {*needs.MODULES, *pack.list_modules(pack.find_distributions("torch"))}
    folder = pack.site_folder(Path(np.__file__))
    for name in (*installed, "numpy.libs", "pillow.libs"):
        for path in (folder / name, folder / f"{name}.py", *folder.glob(f"{name}-*.dist-info")):
            if path.exists():
                (site / path.name).symlink_to(path)
    code = "import needs, sys; from pathlib import Path; needs.add_packages(Path(sys.argv[1])); "
    code += "import runs, train, gpu_speed; print(len(runs.plan_trainings()))"
    folders = [site, *(tmp_path / part for part in ("src", "scripts/gpu", "benchmarks"))]
    ran = subprocess.run(
        [sys.executable, "-S", "-c", code, tmp_path],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(map(str, folders))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "6\n"


@pytest.mark.machines
@pytest.mark.timeout(900)
def test_a_hundredth_of_the_runs_on_the_cpu(pack, tmp_path):
    out = tmp_path / "out"
    small = ("--accelerator", "cpu", "--scale", "0.01", "--minutes", "0.02")
    ran = run_script("gpu.sh", "--pack", pack, "--out", out, *small)
    assert ran.returncode == 0, ran.stderr
    speeds = json.loads((out / "speeds.json").read_text())
    assert speeds["matrix_tflop_per_second"] > 0
    assert {row["network"] for row in speeds["training"]} == {"Conv-4", "ResNet-12"}
    assert all(row["episodes_per_second"] > 0 for row in speeds["training"]), speeds
    for row in speeds["adapting"]:
        assert (
            ("there are no CUDA graphs" in row["failure"]) if row["graph"] else row["milliseconds"]
        )
    names = {path.stem for path in out.glob("*.json")} - {"speeds"}
    assert names == {folder.name for folder in (out / "models").iterdir()}
    assert len(names) == 6
    for name in names:
        result = json.loads((out / f"{name}.json").read_text())
        assert 2 <= result["steps"] <= result["planned_steps"]
        assert result["commit"] == ABOUT["commit"]
        model = load_model(out / "models" / name)
        assert model.half_precision
        assert model.training.split_hash == result["split_hash"]
        answers = model.method.adapt(
            torch.zeros(1, 5, *model.inputs.shape), torch.arange(5)[None], 5
        )(torch.zeros(1, 2, *model.inputs.shape))
        assert np.isfinite(answers.detach().numpy()).all()
    again = run_script("gpu.sh", "--pack", pack, "--out", out, *small)
    assert again.returncode == 2
    assert "is not empty" in again.stderr
