"""Pack what scripts/gpu.sh needs on a machine without network into one folder of at most 64 MiB.

``python scripts/gpu/pack.py --out outputs/gpu-pack`` writes the code, the training images of
CIFAR-FS and Omniglot without loss, and the packages that it needs beside PyTorch, NumPy and Pillow,
as far as they are pure Python or small. Test images stay here. CIFAR-FS gets the first images of
each class, as many as fit.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from needs import ABOUT_FILE, MODULES, PACKAGES_FOLDER, describe_platform

ROOT = Path(__file__).parents[2]
MAX_BYTES = 64 * 2**20
CODE = ("src/lgmnet", "scripts/gpu", "scripts/gpu.sh", "benchmarks", "pyproject.toml", "LICENSE")
LEFT_OUT = ("src/lgmnet/pretrained/", "src/lgmnet/studio/", "benchmarks/results/")
COMPILED = ("safetensors",)
"""Compiled packages that are small enough to come along, for machines of the same platform."""
BINARY_ENDINGS = (".so", ".pyd", ".dylib")
OMNIGLOT, CIFAR_FS = "omniglot", "cifar-fs"
ENTRY_MODULES = ("train", "gpu_speed")
"""Modules whose imports tell which packages are needed."""


def copy_code(out: Path) -> None:
    """Copy the files of the code that git knows."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others"]
    listed = subprocess.run(
        [*command, "--exclude-standard", "--", *CODE],
        check=True,
        capture_output=True,
        text=True,
    )
    for name in listed.stdout.rstrip("\0").split("\0"):
        if not name.startswith(LEFT_OUT) and (ROOT / name).is_file():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, out / name)


def find_modules() -> dict[str, list[Path]]:
    """Return the third-party modules that the runs import, with the files of each.

    Those that PyTorch brings along are left out.
    """
    sys.path.append(str(ROOT / "benchmarks"))
    for name in ENTRY_MODULES:
        importlib.import_module(name)
    there = {"lgmnet", *MODULES, *list_modules(find_distributions("torch"))}
    found: dict[str, list[Path]] = {}
    for name in sorted({module.partition(".")[0] for module in sys.modules} - there):
        file = getattr(sys.modules.get(name), "__file__", None)
        if file is not None and "site-packages" in Path(file).parts:
            found[name] = list_files(name)
    return found


def find_distributions(name: str) -> set[str]:
    """Return a distribution and all that it needs, as far as they are installed."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        current = normalize(waiting.pop())
        try:
            needed = metadata.requires(current) or []
        except metadata.PackageNotFoundError:
            continue
        if current not in found:
            found.add(current)
            plain = (line for line in needed if "extra ==" not in line)
            waiting += [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in plain]
    return found


def list_modules(distributions: set[str]) -> set[str]:
    """List the modules of distributions."""
    owners = metadata.packages_distributions()
    return {
        module for module, names in owners.items() if distributions & set(map(normalize, names))
    }


def normalize(name: str) -> str:
    """Return the normal form of the name of a distribution."""
    return re.sub(r"[-_.]+", "-", name).lower()


def list_files(name: str) -> list[Path]:
    """List the files of an installed module or package, without compiled Python."""
    file = importlib.import_module(name).__file__
    assert file is not None, f"{name} has no file"
    path = Path(file)
    if path.name != "__init__.py":
        return [path]
    return [f for f in path.parent.rglob("*") if f.is_file() and "__pycache__" not in f.parts]


def list_metadata(name: str) -> list[Path]:
    """List the files about the distributions that a module belongs to, such as its version."""
    files = []
    for distribution in sorted(set(metadata.packages_distributions().get(name, ()))):
        for file in metadata.files(distribution) or ():
            if file.parts[0].endswith(".dist-info"):
                files.append(Path(str(file.locate())))
    return [file for file in files if file.is_file()]


def is_compiled(files: list[Path]) -> bool:
    """Return True if some of the files of a module are machine code."""
    return any(file.suffix in BINARY_ENDINGS for file in files)


def copy_modules(
    modules: dict[str, list[Path]], wanted: Sequence[str], out: Path
) -> dict[str, list[str]]:
    """Copy the modules that are pure Python or ``wanted``.

    Returns:
        Names of the compiled modules: under ``compiled`` those that are copied, and under
        ``modules`` those that are not.
    """
    names: dict[str, list[str]] = {"compiled": [], "modules": []}
    for name, files in modules.items():
        if is_compiled(files):
            names["compiled" if name in wanted else "modules"].append(name)
            if name not in wanted:
                continue
        for file in [*files, *list_metadata(name)]:
            place = out / file.relative_to(site_folder(file))
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, place)
    return names


def site_folder(file: Path) -> Path:
    """Return the folder ``site-packages`` that a file is in."""
    return next(parent for parent in file.parents if parent.name == "site-packages")


def count_bytes(folder: Path) -> int:
    """Count the bytes of all files of a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def pack(out: Path, wanted: list[str]) -> dict[str, object]:
    """Write the pack and return its description.

    Raises:
        ValueError: if it does not fit.
    """
    from images import EncodedDataset

    from lgmnet.data.datasets.cifar import cifar_fs
    from lgmnet.data.datasets.omniglot import omniglot
    from lgmnet.versioning import git_commit

    modules = find_modules()
    modules |= {name: list_files(name) for name in wanted if name not in modules}
    names = copy_modules(modules, wanted, out / PACKAGES_FOLDER)
    copy_code(out)
    drawings = EncodedDataset(omniglot("vinyals/train", rotations=False))
    drawings.write(out / f"{OMNIGLOT}.npz", drawings.dataset.max_count)
    photos = EncodedDataset(cifar_fs("train"))
    reserve = 2**19  # For the numbers and names beside the images, and the description.
    per_class = photos.largest_fitting(MAX_BYTES - count_bytes(out) - reserve)
    if per_class < 100:
        raise ValueError(
            f"Beside the code and the packages, only {per_class} images of each class fit into "
            f"{MAX_BYTES // 2**20} MiB. Leave out --module."
        )
    photos.write(out / f"{CIFAR_FS}.npz", per_class)
    about: dict[str, object] = {
        "commit": git_commit(),
        "images_per_class": per_class,
        "platform": describe_platform(),
        **names,
    }
    (out / ABOUT_FILE).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    assert count_bytes(out) <= MAX_BYTES, "the pack is too large"
    return about | {"bytes": count_bytes(out)}


def main() -> int:
    """Write the pack, print its description and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "gpu-pack")
    parser.add_argument(
        "--module",
        action="append",
        default=list(COMPILED),
        help="bring along this compiled package",
    )
    options = parser.parse_args()
    if options.out.exists() and any(options.out.iterdir()):
        print(f"error: '{options.out}' is not empty; choose another --out.", file=sys.stderr)
        return 2
    try:
        print(json.dumps(pack(options.out, options.module)))
    except (ValueError, OSError) as error:  # lgmnet's errors for users are ValueErrors too.
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
