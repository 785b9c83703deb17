"""Write the paragraph on load in docs/how-to/studio.md from `benchmarks/results/service.json`."""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).parents[1]
START, END = "<!-- figures: drawn by scripts/studio_figures.py -->", "<!-- end of figures -->"


def make_paragraph() -> str:
    """Return the paragraph."""
    r = json.loads((ROOT / "benchmarks/results/service.json").read_text(encoding="utf-8"))
    predict, create, added = r["predict"], r["create"], r["time added to the model's own, %"]
    return (
        f"Load test (`python benchmarks/service.py`): {r['clients']} clients send requests over "
        f"loopback for {r['duration, s']:.0f} s. They share {r['machine']['cores']} cores with "
        f"{r['server processes']} server processes. For each classifier of five classes that a "
        "client creates, it requests nine predictions of one image each.\n\n"
        f"The service handles {r['predictions per second']:.0f} predictions and creates "
        f"{r['classifiers created per second']:.0f} classifiers per second, with {r['errors']} "
        f"errors. A prediction takes {predict['p50_ms']:.0f} ms (median; 99 % quantile "
        f"{predict['p99_ms']:.0f} ms) and a new classifier {create['p50_ms']:.0f} ms (99 % "
        f"quantile {create['p99_ms']:.0f} ms). Most of that is waiting in the queue. Without the "
        f"service, the model needs {r['predict without the service, ms']:.1f} and "
        f"{r['fit without the service, ms']:.1f} ms. In total the service adds "
        f"{added:.0f} % to the model's own time. Memory is "
        f"{r['memory after the warm-up, MB']:.0f} MB after ten seconds and "
        f"{r['memory at the end, MB']:.0f} MB at the end.\n"
    )


def main() -> None:
    """Replace the paragraph between the two markers."""
    page = ROOT / "docs/how-to/studio.md"
    before, rest = page.read_text(encoding="utf-8").split(START)
    _, after = rest.split(END)
    page.write_text(f"{before}{START}\n{make_paragraph()}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
