"""Counters and histograms of the server, in Prometheus's text format."""

import os
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Methods that have a label of their own. A client can make up any other, and each label stays in
memory for ever."""
OTHER = "other"


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

    def count_request(self, method: str, route: str | None, status: int, seconds: float) -> None:
        """Count a request.

        Args:
            method: Method of the request, as the client sent it.
            route: Template of the route that answered, None if there is none.
            status: Status code of the response.
            seconds: Time from the request to the end of the response.
        """
        route = route or OTHER
        self.requests.labels(method if method in METHODS else OTHER, route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)

    def count_pass(self, samples: int, jobs: int) -> None:
        """Count a pass of a network."""
        self.images.inc(samples)
        self.jobs_per_pass.observe(jobs)
