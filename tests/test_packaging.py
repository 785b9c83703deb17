"""Metadata of the package, the workflow of a release, and the checks of the built site."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from lgmnet import __version__
from scripts.check_site import find_faults

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def hatch_build() -> ModuleType:
    """Load the hook of the build, which lies beside pyproject.toml."""
    pytest.importorskip("hatchling")
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_links_of_the_long_text_are_absolute(hatch_build: ModuleType) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    absolute = hatch_build.make_links_absolute(text, "https://example.org/x")
    targets = re.findall(r"\]\(([^)\s]+)\)", absolute)
    assert len(targets) > 15
    assert all(re.match(r"https://|#", target) for target in targets)
    assert "](https://example.org/x/raw/main/docs/results/figure-criteria.png)" in absolute


def test_an_unpacked_sdist_keeps_the_address_of_its_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hatch_build: ModuleType
) -> None:
    monkeypatch.delenv("LGMNET_REPOSITORY", raising=False)
    assert hatch_build.find_repository(tmp_path) == hatch_build.PLACEHOLDER
    record = "Metadata-Version: 2.4\nProject-URL: Repository, https://example.org/a\n\nlong text\n"
    (tmp_path / "PKG-INFO").write_text(record)
    assert hatch_build.find_repository(tmp_path) == "https://example.org/a"
    monkeypatch.setenv("LGMNET_REPOSITORY", "https://example.org/b/")
    assert hatch_build.find_repository(tmp_path) == "https://example.org/b"


def test_the_versions_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert project["version"] == citation["version"] == __version__
    assert project["license"] == citation["license"]
    assert {"cff-version", "title", "message", "authors"} <= citation.keys()


def test_every_extra_is_explained_and_in_all() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    page = (ROOT / "docs" / "how-to" / "install.md").read_text(encoding="utf-8")
    (everything,) = extras["all"]
    named = set(re.findall(r"[\w-]+", everything)) - {"lgmnet"}
    assert named == set(extras) - {"all"}
    assert all(f"`{extra}`" in page for extra in extras)


def test_a_release_is_published_without_a_password_and_with_attestations() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8"))
    publish = workflow["jobs"]["publish"]
    assert publish["permissions"]["id-token"] == "write"
    assert publish["permissions"]["attestations"] == "write"
    assert "secrets." not in str(workflow)
    assert any("gh-action-pypi-publish" in step["uses"] for step in publish["steps"])
    assert "make dist" in str(workflow["jobs"]["build"])


def test_every_command_of_ci_is_a_target_of_make() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    rows = workflow["jobs"]["test"]["strategy"]["matrix"]["include"]
    commands = {row["run"] for row in rows}
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    kinds = (
        "docs",
        "test-examples",
        "test-highest",
        "test-long",
        "test-lowest",
        "test-machines",
        "test-wheel",
    )
    assert {"bash .ci/run", *(f"make {kind}" for kind in kinds)} == commands
    assert all(c.split()[1] in targets for c in commands if c.startswith("make "))


def test_the_check_of_the_site_finds_dead_links_and_what_comes_from_elsewhere(
    tmp_path: Path,
) -> None:
    (tmp_path / "index.html").write_text(
        "<a href=other.html>1</a> <a href=other.html#here>2</a> <a href=other.html#lost>3</a>"
        "<a href=absent.html>4</a> <a href=https://example.org/>5</a>"
        "<script src=https://example.org/a.js></script> <link rel=canonical href=//example.org>"
    )
    (tmp_path / "other.html").write_text("<h1 id=here>x</h1>")
    (tmp_path / "a.css").write_text("@import 'https://example.org/b.css'; a { color: red }")
    faults = [fault.partition(": ")[2] for fault in find_faults(tmp_path)]
    assert faults == [
        "loads https://example.org/a.js",
        "the link to other.html#lost names no place of that page",
        "the link to absent.html is dead",
        "loads https://example.org/b.css",
    ]
