"""The map of the package, read from its imports, and what `import lgmnet` costs and shows."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

import lgmnet

SOURCE = Path(lgmnet.__file__).parent
ROOT = "lgmnet"

# A room imports only from floors above its own, or from rooms of its own floor.
FLOORS = [
    {"errors"},
    {"config", "devices", "input_spec", "io", "progress", "versioning"},
    {"episode"},
    {"data", "nn"},
    {"methods"},
    {"evaluation"},
    {"model"},
    {"training", "classifier"},
    {"estimator"},
    {ROOT},  # lgmnet/__init__.py, the public surface
    {"experiments"},
    {"cli", "studio"},
]
FLOOR = {room: height for height, floor in enumerate(FLOORS) for room in floor}

# What the floors would allow and the design does not.
FORBIDDEN = {
    ("data", "nn"),
    ("nn", "data"),
    ("methods", "data"),
    ("classifier", "training"),
    ("training", "classifier"),
    (ROOT, "training"),
}

# What `import lgmnet` may load besides the standard library.
LIGHT = ("torch", "numpy", "einops", "jaxtyping", "safetensors.torch")


def room_of(path: Path) -> str:
    first = path.relative_to(SOURCE).parts[0]
    return ROOT if first == "__init__.py" else first.removesuffix(".py")


def imported_rooms(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The line and the room of every import from the package, wherever in the file it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute here"
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for module in modules:
            head, *rest = module.split(".")
            if head == ROOT:
                yield node.lineno, rest[0] if rest and rest[0] in FLOOR else ROOT


def trespasses(room: str, code: str) -> list[str]:
    """What a file of this room imports and must not."""
    return [
        f"line {line}: {room} imports {other}"
        for line, other in imported_rooms(ast.parse(code))
        if FLOOR[other] > FLOOR[room] or (room, other) in FORBIDDEN
    ]


FILES = [path for path in sorted(SOURCE.rglob("*.py")) if path.parent.name != "snippets"]
"""Snippets are printed, not imported."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_rooms_import_in_one_direction(path):
    assert room_of(path) in FLOOR, f"{path} is in no room of the map: give it a floor"
    assert trespasses(room_of(path), path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("room", "code"),
    [
        ("episode", "from lgmnet.data import sampler"),
        ("data", "import lgmnet.nn.intertask_norm"),
        ("methods", "def f():\n    from lgmnet.data.task_source import TaskSource"),
        ("classifier", "from lgmnet.training.config import Run"),
        ("model", "from lgmnet import Model"),
        ("evaluation", "from lgmnet import model"),
    ],
)
def test_a_trespass_would_be_found(room, code):
    assert len(trespasses(room, code)) == 1


def test_there_is_no_drawer_for_everything():
    names = {"utils", "util", "helpers", "misc", "common"}
    assert [path for path in SOURCE.rglob("*") if path.stem in names] == []


def loaded_by(statement: str) -> set[str]:
    """Names of all modules that a fresh interpreter has loaded after this statement."""
    code = f"{statement}; import json, sys; print(json.dumps(list(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(json.loads(ended.stdout.splitlines()[-1]))


def test_importing_lgmnet_loads_torch_and_nothing_heavier():
    """No lightning_fabric, matplotlib, sklearn, tensorboard, typer, scipy, pandas ..."""
    loaded = loaded_by("import lgmnet")
    allowed = loaded_by(f"import {', '.join(LIGHT)}")
    packages = {name.split(".")[0] for name in loaded - allowed}
    assert packages - set(sys.stdlib_module_names) == {ROOT}
    rooms = {name.split(".")[1] for name in loaded if name.startswith(f"{ROOT}.")}
    assert rooms.isdisjoint({"training", "estimator", "experiments", "cli", "studio"})


def test_the_public_surface_is_all():
    public = {
        name
        for name, thing in vars(lgmnet).items()
        if not name.startswith("_") and not isinstance(thing, types.ModuleType)
    }
    typing_alone = {"TYPE_CHECKING", "Any", "annotations"}
    when_asked_for = {"FewShotClassifier"}
    assert public - typing_alone == set(lgmnet.__all__) - when_asked_for
    assert all(hasattr(lgmnet, name) for name in lgmnet.__all__)
    assert lgmnet.__all__ == sorted(set(lgmnet.__all__), key=lambda n: (not n.isupper(), n))


def test_the_version_is_that_of_the_project():
    project = SOURCE.parents[1] / "pyproject.toml"
    if not project.is_file():
        pytest.skip("the package is installed without its project")
    assert f'version = "{lgmnet.__version__}"' in project.read_text(encoding="utf-8")
