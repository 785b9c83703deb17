"""The paragraph on load in docs/how-to/studio.md, from ``benchmarks/results/service.json``.

``benchmarks/page.py`` writes it.
"""

from __future__ import annotations

from harness import ROOT
from page_parts import read_result, write_between_marks

PAGE = ROOT / "docs" / "how-to" / "studio.md"


def describe_load() -> str:
    """Describe the load test in Markdown."""
    r = read_result("service")
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
        f"{r['memory at the end, MB']:.0f} MB at the end."
    )


def write_load() -> None:
    """Write the paragraph between the marks of the page."""
    write_between_marks(PAGE, describe_load())
