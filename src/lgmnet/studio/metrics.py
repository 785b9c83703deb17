"""Metrics of the service, for Prometheus."""

from __future__ import annotations

import os
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector


class Metrics:
    """Counters and histograms of requests and predictions."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        common: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter(
            "lgmnet_requests", "HTTP requests.", ["method", "route", "status"], **common
        )
        self.seconds = Histogram(
            "lgmnet_request_seconds", "Time from a request to its response.", ["route"], **common
        )
        self.in_flight = Gauge(
            "lgmnet_requests_in_flight",
            "Requests in progress.",
            multiprocess_mode="livesum",
            **common,
        )
        self.images = Counter("lgmnet_images_answered", "Images predicted.", **common)
        self.jobs_per_pass = Histogram(
            "lgmnet_predict_jobs_per_pass",
            "Prediction jobs in one pass of a network.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            **common,
        )

    def export(self) -> bytes:
        """Return all metrics in Prometheus's text format, summed over all worker processes."""
        registry = self.registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    def count_pass(self, samples: int, jobs: int) -> None:
        """Count a pass of a network."""
        self.images.inc(samples)
        self.jobs_per_pass.observe(jobs)
