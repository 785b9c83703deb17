"""The layers of the package, read from its imports, and what `import lgmnet` loads and shows."""

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

# A subpackage imports only from layers above its own in this list, or from its own layer.
LAYERS = [
    {"errors"},
    {
        "config",
        "criterion",
        "devices",
        "input_spec",
        "io",
        "progress",
        "tensor_file",
        "versioning",
        "warning_filter",
    },
    {"episode"},
    {"engines"},
    {"data", "nn"},
    {"methods"},
    {"evaluation"},
    {"model"},
    {"training", "classifier"},
    {"estimator", "scoring"},
    {ROOT},  # lgmnet/__init__.py, the public surface
    {"experiments"},
    {"__main__", "cli", "studio"},
]
LAYER = {name: index for index, layer in enumerate(LAYERS) for name in layer}

# Imports that the layers would allow and the design does not.
FORBIDDEN = {
    ("data", "nn"),
    ("nn", "data"),
    ("methods", "data"),
    ("classifier", "training"),
    ("training", "classifier"),
    (ROOT, "training"),
}

# Libraries of one subpackage alone: no other one prints with them, parses with them or serves.
ONLY_IN = {
    "cli": {"rich", "typer", "click", "mcp"},
    "studio": {"fastapi", "prometheus_client", "sqlalchemy", "starlette", "uvicorn"},
}


def subpackage_of(path: Path) -> str:
    first = path.relative_to(SOURCE).parts[0]
    return ROOT if first == "__init__.py" else first.removesuffix(".py")


def list_imports(code: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the full name of every import, wherever in the file it stands."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute here"
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def list_wrong_imports(subpackage: str, code: str) -> list[str]:
    """List what a file of this subpackage imports and must not."""
    wrong = []
    for line, module in list_imports(code):
        head, *rest = module.split(".")
        if head == ROOT:
            other = rest[0] if rest and rest[0] in LAYER else ROOT
            refused = LAYER[other] > LAYER[subpackage] or (subpackage, other) in FORBIDDEN
        else:
            other = head
            refused = any(
                head in libraries and subpackage != owner for owner, libraries in ONLY_IN.items()
            )
        if refused:
            wrong.append(f"line {line}: {subpackage} imports {other}")
    return wrong


FILES = sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_subpackages_import_in_one_direction(path):
    assert subpackage_of(path) in LAYER, f"{path} is in no layer: add its subpackage to LAYERS"
    assert list_wrong_imports(subpackage_of(path), path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("subpackage", "code"),
    [
        ("episode", "from lgmnet.data import sampler"),
        ("data", "import lgmnet.nn.norms"),
        ("methods", "def f():\n    from lgmnet.data.task_source import TaskSource"),
        ("classifier", "from lgmnet.training.config import RunSettings"),
        ("model", "from lgmnet import Model"),
        ("evaluation", "from lgmnet import model"),
        ("progress", "from rich.progress import Progress"),
        ("classifier", "import fastapi.responses"),
        ("cli", "import uvicorn"),
    ],
)
def test_a_wrong_import_would_be_found(subpackage, code):
    assert len(list_wrong_imports(subpackage, code)) == 1


def test_no_file_is_named_after_nothing():
    names = {"utils", "util", "helpers", "misc", "common"}
    assert [path for path in SOURCE.rglob("*") if path.stem in names] == []


def loaded_by(statement: str) -> set[str]:
    """Names of all modules that a fresh interpreter has loaded after this statement."""
    code = f"{statement}; import json, sys; print(json.dumps(list(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(json.loads(ended.stdout.splitlines()[-1]))


def test_importing_lgmnet_loads_no_other_package():
    """Neither torch nor numpy, and nothing heavier."""
    loaded = loaded_by("import lgmnet")
    packages = {name.split(".")[0] for name in loaded - loaded_by("pass")}
    assert packages - set(sys.stdlib_module_names) == {ROOT}
    subpackages = {name.split(".")[1] for name in loaded if name.startswith(f"{ROOT}.")}
    assert subpackages.isdisjoint({"training", "estimator", "experiments", "cli", "studio"})


def test_completion_shows_every_public_name():
    """Also those that are loaded at first use."""
    names = list(lgmnet._MODULES)
    assert names == sorted(set(names))
    assert set(names) <= set(dir(lgmnet))
    assert all(hasattr(lgmnet, name) for name in names)
    public = {
        name
        for name, value in vars(lgmnet).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    for_typing = {"TYPE_CHECKING", "Any", "annotations", "import_module"}
    assert public - for_typing == set(names)


def test_the_version_is_that_of_the_project():
    project = SOURCE.parents[1] / "pyproject.toml"
    if not project.is_file():
        pytest.skip("the package is installed without its project")
    assert f'version = "{lgmnet.__version__}"' in project.read_text(encoding="utf-8")
