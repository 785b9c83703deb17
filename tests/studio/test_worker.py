"""The worker joins prediction jobs, and an error or a cancelled job affects no other job."""

from __future__ import annotations

import threading
import time

import torch

from lgmnet.methods.base import QueryAnalysis
from lgmnet.studio.worker import Worker
from tests.studio.conftest import block
from tests.support.models import drawings


def test_waiting_predictions_are_made_in_one_pass(client, sky):
    fitted = client.app.state.service.get(sky["id"]).fitted
    passes: list[tuple[int, int]] = []
    worker = Worker(lambda samples, jobs: passes.append((samples, jobs)))
    images = drawings(12, 1, seed=2)[:, 0]
    expected = fitted.analyze(images)
    results: dict[int, QueryAnalysis] = {}
    release = block(worker)

    def predict(i: int) -> None:
        results[i] = worker.submit_prediction(fitted, images[i : i + 1]).result()

    threads = [threading.Thread(target=predict, args=(i,)) for i in range(12)]
    for thread in threads:
        thread.start()
    while worker.jobs.qsize() < 12:
        time.sleep(0.001)
    release.set()
    for thread in threads:
        thread.join()
    worker.stop()
    assert passes == [(12, 12)]
    for i, result in results.items():
        assert isinstance(result, QueryAnalysis)
        torch.testing.assert_close(result.log_p, expected.log_p[i : i + 1])
        torch.testing.assert_close(result.support_attention, expected.support_attention[i : i + 1])


def test_cancelled_jobs_do_not_affect_others(client, sky):
    fitted = client.app.state.service.get(sky["id"]).fitted
    worker = Worker()
    release = block(worker)
    images = drawings(1, 1)[:, 0]
    cancelled, job = worker.submit_prediction(fitted, images), worker.submit(lambda: 1)
    other = worker.submit_prediction(fitted, images)
    assert cancelled.cancel()
    assert job.cancel()
    release.set()
    assert isinstance(other.result(30), QueryAnalysis)
    worker.stop()


def test_a_prediction_that_fails_does_not_affect_others(client, sky):
    fitted = client.app.state.service.get(sky["id"]).fitted
    worker = Worker()
    release = block(worker)
    outcomes: dict[str, object] = {}

    def predict(name: str, samples: torch.Tensor) -> None:
        try:
            outcomes[name] = worker.submit_prediction(fitted, samples).result()
        except ValueError as error:
            outcomes[name] = error

    good, bad = drawings(1, 1)[:, 0], torch.zeros(1, 1, 5, 5, dtype=torch.uint8)
    threads = [
        threading.Thread(target=predict, args=args) for args in (("good", good), ("bad", bad))
    ]
    for thread in threads:
        thread.start()
    while worker.jobs.qsize() < 2:
        time.sleep(0.001)
    release.set()
    for thread in threads:
        thread.join()
    worker.stop()
    assert isinstance(outcomes["good"], QueryAnalysis)
    assert isinstance(outcomes["bad"], ValueError)
