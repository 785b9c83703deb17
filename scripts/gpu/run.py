"""Run all parts on one GPU within a number of minutes; `scripts/gpu.sh` starts it.

Every result is a JSON file in the folder of the results, written as soon as its part is finished.
Weights are stored in 16 bits, in parts of at most 15 MiB. Each training first measures how long a
step takes, and then makes as many as fit into its time, at most those of its plan.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from needs import NeedsError, check_needs

ROOT = Path(__file__).parents[2]
PACK = ROOT if (ROOT / "pack.json").is_file() else ROOT / "outputs" / "gpu-pack"
SHARES = {"speeds": 0.15, "embedding": 0.5, "heads": 0.2, "omniglot": 0.15}
"""Share of the time that each part gets if all are run."""
SPEED_SECONDS_SHARE = 0.01
"""Share of the time of the speeds that one of their measurements fills."""


def parse_options() -> argparse.Namespace:
    """Parse the options of the command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/gpu.sh", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--pack", type=Path, default=PACK, help="folder of scripts/gpu/pack.py")
    parser.add_argument("--out", type=Path, required=True, help="new folder of the results")
    parser.add_argument("--part", action="append", choices=SHARES, help="only this part")
    parser.add_argument("--minutes", type=float, default=9.0, help="time of all parts together")
    parser.add_argument("--accelerator", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--scale", type=float, default=1.0, help="fraction of the full size")
    options = parser.parse_args()
    options.part = [part for part in SHARES if part in (options.part or SHARES)]
    return options


def check_options(options: argparse.Namespace) -> None:
    """Check the options.

    Raises:
        NeedsError: if one does not fit.
    """
    if not 0 < options.scale <= 1:
        raise NeedsError(f"--scale must be above 0 and at most 1, but is {options.scale:g}.")
    if "heads" in options.part and "embedding" not in options.part:
        raise NeedsError("The part 'heads' starts from 'embedding'; give --part embedding too.")
    if options.out.exists() and any(options.out.iterdir()):
        raise NeedsError(f"'{options.out}' is not empty. Name a new folder with --out.")


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a result, completely or not at all."""
    draft = path.with_name(f".{path.name}")
    draft.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(draft, path)
    print(f"wrote {path}", flush=True)


def measure_speeds(accelerator: str, scale: float, seconds: float) -> dict[str, Any]:
    """Measure the speeds; if that fails, return the reason, and the training goes on."""
    import torch
    from gpu_speed import measure_all

    try:
        return measure_all(torch.device(accelerator), scale=scale, seconds=seconds)
    except Exception as error:
        traceback.print_exc()
        return {"failure": f"{type(error).__name__}: {error}"}


def main() -> int:
    """Run the parts and return the exit code."""
    options = parse_options()
    started = time.monotonic()
    try:
        check_options(options)
        about = check_needs(options.pack, options.accelerator)
        options.out.mkdir(parents=True, exist_ok=True)
    except (NeedsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    from train import Budget, run_trainings  # What they import is there now.

    budget = Budget(started, 60 * options.minutes, {p: SHARES[p] for p in options.part})
    shared = {"commit": about["commit"], "images_per_class": about["images_per_class"]}
    shared |= {"scale": options.scale, "minutes": options.minutes}
    failed: list[str] = []
    try:
        if "speeds" in options.part:
            seconds = budget.seconds("speeds") * SPEED_SECONDS_SHARE
            measured = measure_speeds(options.accelerator, options.scale, seconds)
            write_json(options.out / "speeds.json", shared | measured)
            failed += ["speeds"] if "failure" in measured else []
        for name, result in run_trainings(
            options.part, options.pack, options.out, options.accelerator, options.scale, budget
        ):
            write_json(options.out / f"{name}.json", shared | result)
            failed += [name] if "failure" in result else []
    except KeyboardInterrupt:
        print("Stopped. Finished parts have their results.", file=sys.stderr)
        return 130
    print(f"All parts took {time.monotonic() - started:.0f} s.")
    if failed:
        print(
            f"error: These runs failed: {', '.join(failed)}; their files say why.", file=sys.stderr
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
