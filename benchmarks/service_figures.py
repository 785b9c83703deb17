"""The paragraph on load in docs/how-to/studio.md, from ``benchmarks/results/service.json``.

``benchmarks/page.py`` writes it.
"""

from __future__ import annotations

import json

from harness import RESULTS, ROOT

PAGE = ROOT / "docs" / "how-to" / "studio.md"
START, END = "<!-- figures: drawn by benchmarks/page.py -->", "<!-- end of figures -->"


def describe_load() -> str:
    """Describe the load test in Markdown."""
    r = json.loads((RESULTS / "service.json").read_text(encoding="utf-8"))
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


def write_load() -> None:
    """Replace the paragraph between the two markers."""
    before, rest = PAGE.read_text(encoding="utf-8").split(START)
    _, after = rest.split(END)
    PAGE.write_text(f"{before}{START}\n{describe_load()}{END}{after}", encoding="utf-8")
