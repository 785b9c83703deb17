"""Split files into parts that are small enough to travel, and join them again.

``python scripts/gpu/weights.py FOLDER`` joins all files below a folder.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

PART_BYTES = 15 * 2**20
"""Size of a part; files of up to 16 MiB may travel."""
LIST_ENDING = ".parts.json"


def split_file(path: Path, size: int = PART_BYTES) -> list[Path]:
    """Replace a file by its parts, beside a list of them with a checksum.

    A file that is small enough stays as it is.

    Returns:
        Paths of the parts; none if the file stays.
    """
    data = path.read_bytes()
    if len(data) <= size:
        return []
    parts = []
    for number, start in enumerate(range(0, len(data), size)):
        parts.append(path.with_name(f"{path.name}.part-{number:03d}"))
        parts[-1].write_bytes(data[start : start + size])
    content = {"parts": [part.name for part in parts], "sha256": hashlib.sha256(data).hexdigest()}
    path.with_name(path.name + LIST_ENDING).write_text(json.dumps(content), encoding="utf-8")
    path.unlink()
    return parts


def join_file(listed: Path) -> Path:
    """Join the parts of a file that are beside their list, which stays with them.

    Returns:
        Path of the file.

    Raises:
        ValueError: if a part is missing or damaged.
    """
    content = json.loads(listed.read_text(encoding="utf-8"))
    parts = [listed.with_name(name) for name in content["parts"]]
    if missing := [str(part) for part in parts if not part.is_file()]:
        raise ValueError(f"Parts are missing: {', '.join(missing)}. Fetch them again.")
    data = b"".join(part.read_bytes() for part in parts)
    if hashlib.sha256(data).hexdigest() != content["sha256"]:
        raise ValueError(f"The parts of '{listed}' are damaged. Fetch them again.")
    path = listed.with_name(listed.name.removesuffix(LIST_ENDING))
    path.write_bytes(data)
    return path


def main() -> int:
    """Join all files below a folder and return the exit code."""
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        print("error: Expected one folder, with the results of scripts/gpu.sh.", file=sys.stderr)
        return 2
    try:
        for listed in sorted(Path(sys.argv[1]).rglob(f"*{LIST_ENDING}")):
            print(join_file(listed))
    except (ValueError, KeyError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
