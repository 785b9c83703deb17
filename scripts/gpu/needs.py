"""Check what a machine needs for the runs on a GPU. Needs nothing but Python itself."""

from __future__ import annotations

import importlib.util
import json
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

ABOUT_FILE = "pack.json"
PACKAGES_FOLDER = "packages"
PYTHON_VERSION = (3, 11)
MODULES = ("torch", "numpy", "PIL")
"""Modules that a pack does not bring along."""
DISTRIBUTIONS = {"PIL": "Pillow", "torch": "PyTorch", "numpy": "NumPy"}


class NeedsError(Exception):
    """Something that the machine lacks, as a sentence."""


def describe_platform() -> str:
    """Describe what compiled packages depend on: system, processor and version of Python."""
    return f"{sysconfig.get_platform()}, Python {sys.version_info[0]}.{sys.version_info[1]}"


def add_packages(pack: Path) -> None:
    """Let Python find the packages of a pack, after those of the machine."""
    sys.path.append(str(pack / PACKAGES_FOLDER))


def check_python() -> None:
    """Check the version of Python.

    Raises:
        NeedsError: if it is too old.
    """
    if sys.version_info < PYTHON_VERSION:
        came = ".".join(map(str, sys.version_info[:2]))
        wanted = ".".join(map(str, PYTHON_VERSION))
        raise NeedsError(
            f"'{sys.executable}' is Python {came}; the runs need {wanted} or newer. Name another "
            "one with PYTHON=/its/path."
        )


def read_about(pack: Path) -> dict[str, object]:
    """Read the description of a pack.

    Raises:
        NeedsError: if there is none.
    """
    try:
        about: dict[str, object] = json.loads((pack / ABOUT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NeedsError(
            f"'{pack}' holds no pack of the training images ({ABOUT_FILE}: {error}). Make it with "
            "'python scripts/gpu/pack.py' on a machine that has the data, and name its folder "
            "with --pack."
        ) from error
    return about


def check_modules(modules: Sequence[str]) -> None:
    """Check that modules can be imported.

    Raises:
        NeedsError: naming all that are missing.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        names = " and ".join(DISTRIBUTIONS.get(name, name) for name in missing)
        raise NeedsError(
            f"'{sys.executable}' has no {names}. Install it there, or, if it fits, bring it along "
            f"in the pack: 'python scripts/gpu/pack.py --module {missing[0]}'."
        )


def check_accelerator(accelerator: str) -> None:
    """Check that PyTorch computes on the accelerator.

    Raises:
        NeedsError: if it does not.
    """
    if accelerator == "cpu":
        return
    import torch

    if not torch.cuda.is_available():
        built = torch.version.cuda or "none"
        raise NeedsError(
            f"PyTorch {torch.__version__} (CUDA: {built}) finds no GPU here. Run it on a machine "
            "with one; '--accelerator cpu --scale 0.01' is a trial without."
        )


def check_needs(pack: Path, accelerator: str) -> dict[str, object]:
    """Check everything, and return the description of the pack.

    Raises:
        NeedsError: if something is missing.
    """
    check_python()
    about = read_about(pack)
    if about.get("platform") != describe_platform():  # Compiled packages of the pack are of no use.
        check_modules(list_texts(about.get("compiled")))
    add_packages(pack)
    check_modules([*MODULES, *list_texts(about.get("modules"))])
    check_accelerator(accelerator)
    return about


def list_texts(value: object) -> list[str]:
    """Return a list of a pack's description; empty if there is none."""
    return [str(item) for item in value] if isinstance(value, list) else []
