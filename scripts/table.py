"""Draws the documents' tables from the result files; ``--check`` only says if they are true."""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
START, END = "<!-- table: drawn by scripts/table.py -->", "<!-- end of table -->"
TASKS = ((5, 1), (5, 5), (20, 1), (20, 5))
ROWS = {"omniglot": "Vinyals", "omniglot-lake-refined": "Lake (new alphabets)"}


def scores() -> str:
    """The scores of the models on Omniglot, as Markdown."""
    titles = [f"{way}-way {shot}-shot" for way, shot in TASKS]
    lines = [
        f"| model | Omniglot split (classes) | {' | '.join(titles)} |",
        "|---|---|" + "---|" * len(TASKS),
    ]
    protocols = set()
    for model, split_name in ROWS.items():
        results = [
            json.loads((ROOT / f"results/{model}-{way}w{shot}s.json").read_text())
            for way, shot in TASKS
        ]
        cells = [f"{r['accuracy']:.2f} ± {r['ci95']:.2f}" for r in results]
        split = f"{split_name}, `{results[0]['split']}` (`{results[0]['split_hash']}`)"
        lines.append(f"| `{model}` | {split} | {' | '.join(cells)} |")
        protocols |= {
            f"{r['protocol']}, {r['episodes']:,} episodes of {r['query']} queries a class, "
            f"seed {r['seed']}"
            for r in results
        }
    note = "Accuracy in %, mean and 95 % interval; " + "; ".join(sorted(protocols)) + "."
    return "\n".join([*lines, "", note])


def leak() -> str:
    """What pure noise is scored at, by protocol, as Markdown."""
    result = json.loads((ROOT / "results/leak.json").read_text())
    lines = ["| test images | accuracy on pure noise, % |", "|---|---|"]
    lines += [
        f"| {row['protocol']} | {row['accuracy']:.1f} ± {row['ci95']:.1f} |"
        for row in result["rows"]
    ]
    note = (
        f"{result['way']}-way {result['shot']}-shot, {result['episodes']:,} episodes, "
        f"{result['steps']} training steps, seed {result['seed']}; the command is in "
        "[`scripts/leak.sh`](../scripts/leak.sh)."
    )
    return "\n".join([*lines, "", note])


DRAWN = {"README.md": scores, "docs/leak.md": leak}


def main() -> int:
    """Draw or check; returns the exit code."""
    untrue = []
    for name, table in DRAWN.items():
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        before, rest = text.split(START)
        drawn = f"{before}{START}\n{table()}\n{END}{rest.split(END)[1]}"
        if drawn != text:
            untrue.append(name)
            if "--check" not in sys.argv[1:]:
                path.write_text(drawn, encoding="utf-8")
    return int(bool(untrue) and "--check" in sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
