"""Draws the load figures of docs/studio.md from their result file."""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).parents[1]
START, END = "<!-- figures: drawn by scripts/studio_figures.py -->", "<!-- end of figures -->"


WORDS = (
    "Under load (`python benchmarks/studio.py`: {clients} clients on loopback for {seconds:.0f} s, "
    "on the same {cores} cores as {processes} processes of the service; nine drawings asked for "
    "each classifier of five classes forged):\n"
    "{predictions_a_second:.0f} predictions and {forged_a_second:.0f} forgings a second, {errors} "
    "errors. A prediction takes {predict[p50_ms]:.0f} ms (median; {predict[p99_ms]:.0f} at 99 %), "
    "a forging {forge[p50_ms]:.0f} ({forge[p99_ms]:.0f}), most of it waiting for its turn; the "
    "bare calls of the\n"
    "model take {bare_predict_ms:.1f} and {bare_forge_ms:.1f} ms. All in all the service adds "
    "{overhead_percent_of_model_time:.0f} % to the model's own time. Memory was "
    "{resident_mb_after_warming_up:.0f} MB after ten seconds, {resident_mb_at_the_end:.0f} MB at "
    "the end.\n"
)


def figures() -> str:
    """What the service bore, in words."""
    found = json.loads((ROOT / "benchmarks/results/studio.json").read_text(encoding="utf-8"))
    return WORDS.format(**found)


def main() -> None:
    """Write them into the page."""
    page = ROOT / "docs/studio.md"
    text = page.read_text(encoding="utf-8")
    head, rest = text.split(START)
    tail = rest.split(END)[1]
    page.write_text(f"{head}{START}\n{figures()}{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
