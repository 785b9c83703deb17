"""Pack what scripts/gpu.sh needs on a machine without network into one folder of at most 64 MiB.

``python scripts/gpu/pack.py --out outputs/gpu-pack`` writes the code, the training images of
CIFAR-FS and Omniglot without loss, and the packages that it needs beside PyTorch, as far as they
are pure Python. Test images stay here. CIFAR-FS gets the first images of each class, as many as
fit.
"""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from needs import ABOUT_FILE, MODULES, PACKAGES_FOLDER

ROOT = Path(__file__).parents[2]
MAX_BYTES = 64 * 2**20
CODE = ("src/lgmnet", "scripts/gpu", "scripts/gpu.sh", "benchmarks", "pyproject.toml", "LICENSE")
LEFT_OUT = ("src/lgmnet/pretrained/", "src/lgmnet/studio/", "benchmarks/results/")
BINARY_ENDINGS = (".so", ".pyd", ".dylib")
OMNIGLOT, CIFAR_FS = "omniglot", "cifar-fs"
TRAINED_BY = ("runs", "gpu_speed")
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
    """Return the third-party modules that the runs import, with the files of each."""
    importlib.import_module("torch")  # Whatever it needs is where it is.
    before = set(sys.modules)
    sys.path.append(str(ROOT / "benchmarks"))
    for name in TRAINED_BY:
        importlib.import_module(name)
    found: dict[str, list[Path]] = {}
    for name in sorted({module.partition(".")[0] for module in set(sys.modules) - before}):
        module = sys.modules.get(name)
        file = getattr(module, "__file__", None)
        is_installed = file is not None and "site-packages" in Path(file).parts
        if is_installed and name not in (*MODULES, "lgmnet"):
            found[name] = list_files(name)
    return found


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


def copy_modules(modules: dict[str, list[Path]], wanted: list[str], out: Path) -> list[str]:
    """Copy the modules that are pure Python or ``wanted``; return those that are not copied."""
    left = []
    for name, files in modules.items():
        is_pure = not any(file.suffix in BINARY_ENDINGS for file in files)
        if not is_pure and name not in wanted:
            left.append(name)
            continue
        for file in [*files, *list_metadata(name)]:
            place = out / file.relative_to(site_folder(file))
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, place)
    return left


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
    left = copy_modules(modules, wanted, out / PACKAGES_FOLDER)
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
        "modules": left,
        "python": sys.version.split()[0],
    }
    (out / ABOUT_FILE).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    assert count_bytes(out) <= MAX_BYTES, "the pack is too large"
    return about | {"bytes": count_bytes(out)}


def main() -> int:
    """Write the pack, print its description and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "gpu-pack")
    parser.add_argument("--module", action="append", default=[], help="bring along this package")
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
