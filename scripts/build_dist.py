"""Build the sdist and the wheel into a folder, twice, and check that both builds are the same.

The wheel is built from the unpacked sdist too, as a package index's users may do, and must again be
the same. SOURCE_DATE_EPOCH is the time that all files in the archives carry.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def build(source: Path, folder: Path, *targets: str) -> dict[str, str]:
    """Build targets (``sdist``, ``wheel``) from a source tree, and return the hash of each file."""
    words = [word for target in targets for word in ("--target", target)]
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder), *words]
    subprocess.run(command, cwd=source, check=True, stdout=subprocess.DEVNULL)
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def main() -> int:
    """Build, compare, and copy the files to the folder of the first argument."""
    destination = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as temporary:
        first, second, third = (Path(temporary, name) for name in ("1", "2", "3"))
        hashes = build(ROOT, first, "sdist", "wheel")
        again = build(ROOT, second, "sdist", "wheel")
        sdist = next(first.glob("*.tar.gz"))
        with tarfile.open(sdist) as archive:
            archive.extractall(temporary, filter="data")
        again |= build(Path(temporary, sdist.name.removesuffix(".tar.gz")), third, "wheel")
        if hashes != again:
            print(f"Two builds differ: {hashes} and {again}.", file=sys.stderr)
            return 1
        shutil.copytree(first, destination, dirs_exist_ok=True)
    for name, value in hashes.items():
        print(f"{value}  {destination / name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
