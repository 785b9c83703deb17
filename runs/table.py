"""Draws the README's table from the result files; ``--check`` only says whether it is true."""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
START, END = "<!-- table: drawn by runs/table.py -->", "<!-- end of table -->"
TASKS = ((5, 1), (5, 5), (20, 1), (20, 5))
ROWS = {"omniglot": "Vinyals", "omniglot-lake-refined": "Lake (new alphabets)"}


def table() -> str:
    """The table as Markdown."""
    titles = [f"{way}-way {shot}-shot" for way, shot in TASKS]
    lines = [
        f"| model | Omniglot split (classes) | {' | '.join(titles)} |",
        "|---|---|" + "---|" * len(TASKS),
    ]
    protocols = set()
    for model, split_name in ROWS.items():
        results = [
            json.loads((ROOT / f"runs/results/{model}-{way}w{shot}s.json").read_text())
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


def main() -> int:
    """Draw or check; returns the exit code."""
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    before, rest = text.split(START)
    after = rest.split(END)[1]
    drawn = f"{before}{START}\n{table()}\n{END}{after}"
    if "--check" in sys.argv[1:]:
        return int(drawn != text)
    readme.write_text(drawn, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
