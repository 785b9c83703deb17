"""Cost and limits of scoring 100 million photos, computed from ``benchmarks/results/scoring.json``.

``benchmarks/page.py`` writes them into docs/how-to/scale.md.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from harness import RESULTS, ROOT

PAGE = ROOT / "docs" / "how-to" / "scale.md"
START, END = "<!-- figures: drawn by benchmarks/page.py -->", "<!-- end of figures -->"
N_PHOTOS = 100_000_000
CORES = 16
MACHINES = (1, 10, 100)
NETWORK_BITS = 10e9
"""Bits per second of the network of one machine."""
REQUESTS_PER_SECOND = 5_500
"""Reads per second that S3 documents for one prefix."""


@dataclass(frozen=True)
class Prices:
    """Prices in dollars, which the reader can change (`python benchmarks/page.py --help`)."""

    core_hour: float = 0.04
    requests: float = 0.0004
    """Price of 1,000 read requests."""


def describe_scale(result: dict[str, Any] | None, prices: Prices) -> str:
    """Describe the cost and the next limit in Markdown; without a result, how to get one."""
    if result is None:
        return (
            "These figures are not measured yet: `python benchmarks/scoring.py` measures them, and "
            "`make bench-page` writes them here."
        )
    rate, n_bytes = result["photos per second, 1 worker"], result["bytes of a photo"]
    scaling = min(1.0, result["scaling from 1 to 2 workers, %"] / 100)
    core_hours = N_PHOTOS / (rate * scaling) / 3600
    rows = [f"| {n} | {n * CORES:,} | {core_hours / (n * CORES):,.1f} |" for n in MACHINES]
    cost, requests = core_hours * prices.core_hour, N_PHOTOS / 1000 * prices.requests
    per_core = rate * n_bytes
    network_cores = NETWORK_BITS / 8 / per_core
    request_cores = REQUESTS_PER_SECOND / rate
    is_by_requests = request_cores < network_cores
    nearest = "the requests are" if is_by_requests else "the network of a machine is"
    return f"""One core scores {rate:,.1f} photos per second ({result["machine"]["processor"]},
JPEGs of 640 x 480 with {n_bytes / 1000:,.0f} kB), and two workers reach
{result["scaling from 1 to 2 workers, %"]:.0f} % of twice that. So 100 million photos take
{core_hours:,.0f} core hours. At {prices.core_hour:g} dollars per core hour that is
{cost:,.0f} dollars, on however many machines, and {requests:,.0f} dollars for the read requests at
{prices.requests:g} dollars per 1,000. For other prices: core hours x price, or
`python benchmarks/page.py --core-hour {prices.core_hour:g} --requests {prices.requests:g}`.

| machines of {CORES} cores | workers | hours |
|---:|---:|---:|
{chr(10).join(rows)}

**The next limit is reading.** A core reads {per_core / 1e6:,.1f} MB per second. A network of
{NETWORK_BITS / 1e9:.0f} Gbit/s therefore feeds {network_cores:,.0f} cores of one machine. S3
answers {REQUESTS_PER_SECOND:,} reads per second for one prefix, which is {request_cores:,.0f}
cores; spread the photos over several prefixes for more. With photos of this size,
{nearest} the first limit. Photos of phones are ten times as large: then the network feeds
{network_cores / 10:,.0f} cores. A worker holds
{result["memory of a worker after a quarter of the time, MB"]:,.0f} MB after a quarter of the time
and {result["memory of a worker at the end, MB"]:,.0f} MB at the end."""


def write_figures(prices: Prices) -> None:
    """Write the figures between the marks of the page."""
    path = RESULTS / "scoring.json"
    result = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    before, rest = PAGE.read_text(encoding="utf-8").split(START)
    text = f"{before}{START}\n{describe_scale(result, prices)}\n{END}{rest.split(END)[1]}"
    PAGE.write_text(text, encoding="utf-8")
