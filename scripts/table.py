"""Write the tables in README.md, docs/concepts/leak.md and docs/results/best-cifar-fs.md.

They come from the result files.

With ``--check``, write nothing and exit with code 1 if a table differs from its result files.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
START, END = "<!-- table: drawn by scripts/table.py -->", "<!-- end of table -->"
TASKS = ((5, 1), (5, 5), (20, 1), (20, 5))
MODELS = {"omniglot": "Vinyals", "omniglot-lake-refined": "Lake (new alphabets; does not ship)"}


def make_accuracy_table() -> str:
    """Return the Markdown table of the models' accuracy on Omniglot."""
    titles = [f"{way}-way {shot}-shot" for way, shot in TASKS]
    lines = [
        f"| model | Omniglot split (classes) | {' | '.join(titles)} |",
        "|---|---|" + "---|" * len(TASKS),
    ]
    protocols = set()
    for model, split_name in MODELS.items():
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


CIFAR_MODELS = {
    "cifar-fs-ensemble": "two Conv-4 of 64 channels, nothing generated",
    "cifar-fs-proto-net": "ProtoNet, cosine, auxiliary loss, 6,000 steps",
}
"""Models on CIFAR-FS and what they are."""


def make_cifar_table() -> str:
    """Return the Markdown table of the most accurate Conv-4 on CIFAR-FS, and of one to compare."""
    rows, about = [], set()
    for model, title in CIFAR_MODELS.items():
        files = [ROOT / f"results/{model}-5w{shot}s.json" for shot in (1, 5)]
        results = [json.loads(file.read_text()) for file in files]
        cells = [f"{r['accuracy']:.2f} ± {r['ci95']:.2f}" for r in results]
        (commit,) = {r["commit"] for r in results}
        rows.append(f"| {title} | {' | '.join(cells)} | `{commit}` |")
        about |= {
            f"{r['protocol']}, {r['episodes']:,} episodes of {r['query']} queries a class, seed "
            f"{r['seed']}; split `{r['split']}` (`{r['split_hash']}`)"
            for r in results
        }
    titles = [f"{r['way']}-way {r['shot']}-shot" for r in results]
    lines = [f"| CIFAR-FS | {' | '.join(titles)} | commit |", "|---|---|---|---|", *rows]
    note = "Accuracy in %, mean and 95 % interval; " + "; ".join(sorted(about)) + "."
    return "\n".join([*lines, "", note])


def make_leak_table() -> str:
    """Return the Markdown table of the accuracy on pure noise under each test protocol."""
    result = json.loads((ROOT / "results/leak.json").read_text())
    lines = ["| test images | accuracy on pure noise, % |", "|---|---|"]
    lines += [
        f"| {row['protocol']} | {row['accuracy']:.1f} ± {row['ci95']:.1f} |"
        for row in result["rows"]
    ]
    note = (
        f"{result['way']}-way {result['shot']}-shot, {result['episodes']:,} episodes, "
        f"{result['steps']} training steps, seed {result['seed']}; the command is in "
        "[`scripts/leak.sh`](../../scripts/leak.sh)."
    )
    return "\n".join([*lines, "", note])


TABLES = {
    "README.md": make_accuracy_table,
    "docs/concepts/leak.md": make_leak_table,
    "docs/results/best-cifar-fs.md": make_cifar_table,
}


def main() -> int:
    """Write or check all tables and return the exit code."""
    check = "--check" in sys.argv[1:]
    outdated = []
    for name, make_table in TABLES.items():
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        before, rest = text.split(START)
        updated = f"{before}{START}\n{make_table()}\n{END}{rest.split(END)[1]}"
        if updated != text:
            outdated.append(name)
            if not check:
                path.write_text(updated, encoding="utf-8")
    return int(check and bool(outdated))


if __name__ == "__main__":
    sys.exit(main())
