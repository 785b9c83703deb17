"""Cost and limits of scoring 100 million photos, computed from ``benchmarks/results/scoring.json``.

``benchmarks/page.py`` writes them into docs/how-to/scale.md.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Any

from harness import RESULTS, ROOT
from page_parts import read_json, write_between_marks

PAGE = ROOT / "docs" / "how-to" / "scale.md"
N_PHOTOS = 100_000_000
CORES = 16
MACHINES = (1, 10, 100)
NETWORK_BITS = 10e9
"""Bits per second of the network of one machine."""
REQUESTS_PER_SECOND = 5_500
"""Reads per second that S3 documents for one prefix."""


REQUESTS_PER_PHOTO = 2
"""Requests of s3fs for one photo: it asks for the size first."""


@dataclass(frozen=True)
class Prices:
    """Prices in dollars, which the reader can change (`python benchmarks/page.py --help`)."""

    core_hour: float = 0.04
    requests: float = 0.0004
    """Price of 1,000 read requests."""


def describe_scale(result: dict[str, Any] | None, prices: Prices) -> str:
    """Describe the cost and the next limit in Markdown; without a result, how to get one."""
    if result is None:
        return wrap(
            "These figures are not measured yet: `python benchmarks/scoring.py` measures them, and "
            "`make bench-page` writes them here."
        )
    rate, n_bytes = result["photos per second, 1 worker"], result["bytes of a photo"]
    scaling = result["scaling from 1 to 2 workers, %"]
    core_hours = N_PHOTOS / (rate * min(1.0, scaling / 100)) / 3600
    requests = N_PHOTOS * REQUESTS_PER_PHOTO / 1000 * prices.requests
    speed = f"""One core scores {rate:,.1f} photos per second ({result["machine"]["processor"]},
        JPEGs of 640 x 480 with {n_bytes / 1000:,.0f} kB), and two workers reach {scaling:.0f} % of
        twice that. So 100 million photos take {core_hours:,.0f} core hours."""
    cost = f"""At {prices.core_hour:g} dollars per core hour that is
        {core_hours * prices.core_hour:,.0f} dollars, on however many machines, and
        {requests:,.0f} dollars for {REQUESTS_PER_PHOTO} requests to read each photo, at
        {prices.requests:g} dollars per 1,000. For other prices: core hours x price, or `python
        benchmarks/page.py --core-hour {prices.core_hour:g} --requests {prices.requests:g}`."""
    rows = [f"| {n} | {n * CORES:,} | {core_hours / (n * CORES):,.1f} |" for n in MACHINES]
    table = [f"| machines of {CORES} cores | workers | hours |", "|---:|---:|---:|", *rows]
    paragraphs = [wrap(speed), wrap(cost), "\n".join(table), wrap(describe_limits(result))]
    return "\n\n".join(paragraphs)


def describe_limits(result: dict[str, Any]) -> str:
    """Describe what limits the speed of many machines, and the memory of a worker."""
    rate, n_bytes = result["photos per second, 1 worker"], result["bytes of a photo"]
    network_cores = NETWORK_BITS / 8 / (rate * n_bytes)
    request_cores = REQUESTS_PER_SECOND / REQUESTS_PER_PHOTO / rate
    early, late = (
        result[f"memory of a worker {when}, MB"]
        for when in ("after a quarter of the time", "at the end")
    )
    growth = "hardly grows" if late < 1.05 * early else "grows"
    return f"""**The next limit is reading.** A core reads {rate * n_bytes / 1e6:,.1f} MB per
        second. A network of {NETWORK_BITS / 1e9:.0f} Gbit/s therefore feeds {network_cores:,.0f}
        cores of one machine, and {network_cores / 10:,.0f} if photos are ten times as large, as
        those of phones. S3 answers {REQUESTS_PER_SECOND:,} requests per second for one prefix,
        which is enough for {request_cores:,.0f} cores: spread the photos over several prefixes for
        more. Memory {growth}: a worker holds {early:,.0f} MB after a quarter of the time and
        {late:,.0f} MB at the end."""


def wrap(text: str) -> str:
    """Wrap a paragraph."""
    options = {"break_long_words": False, "break_on_hyphens": False}
    return textwrap.fill(" ".join(text.split()), 100, **options)


def write_figures(prices: Prices) -> None:
    """Write the figures between the marks of the page."""
    write_between_marks(PAGE, describe_scale(read_json(RESULTS / "scoring.json"), prices))
