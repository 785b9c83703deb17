"""Scoring of the parts of a folder on a Ray cluster."""

import importlib.util
import logging
import multiprocessing
import os
import re
import socket
import threading
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any

from lgmnet.errors import UserError, require_extra
from lgmnet.scoring.folder import ScoreFolder
from lgmnet.scoring.parts import ScoredPart, score_part
from lgmnet.scoring.scorer import Scorer
from lgmnet.warning_filter import ignore_warnings

MAX_TRIES = 5
"""Number of times that a part is tried again after the death of its worker, because an image might
cause it."""
PATIENCE_SECONDS = 10.0
Message = ScoredPart | UserError | None
"""A part that is written, the error that ended the driver, or None at the end of all parts."""


def score_on_ray(
    folder: ScoreFolder,
    scorer: Scorer,
    parts: Sequence[int],
    address: str | None = None,
    *,
    max_workers: int | None = None,
) -> Iterator[ScoredPart]:
    """Score parts on a Ray cluster and write them.

    Ray's driver runs in a process of its own, because Ray ends the driver without an exception when
    its cluster is gone.

    Args:
        folder: Folder that all machines of the cluster can write to.
        scorer: Scorer, which is sent to the workers.
        parts: Parts to score.
        address: Address of a cluster, or ``auto`` for the one that runs on this machine; None to
            start Ray on this machine alone.
        max_workers: Largest number of workers; by default one for each core of the cluster.

    Yields:
        The outcome of each part after it is written.

    Raises:
        UserError: if Ray is not installed, no cluster answers, it ends too early, or a storage
            fails; the parts that are written stay.
    """
    with require_extra("ray", "clusters"):
        if importlib.util.find_spec("ray") is None:
            raise ModuleNotFoundError(name="ray")
    context = multiprocessing.get_context("spawn")  # A fork would inherit threads and locks.
    receiver, sender = context.Pipe(duplex=False)
    arguments = (sender, folder, scorer, tuple(parts), address, max_workers)
    driver = context.Process(target=run_driver, args=arguments, daemon=True)
    driver.start()
    sender.close()
    try:
        while (message := receive(receiver)) is not None:
            if isinstance(message, UserError):
                raise message
            yield message
    finally:
        driver.terminate()
        driver.join(PATIENCE_SECONDS)
        driver.kill()


def receive(receiver: Connection) -> Message:
    """Receive the next message of the driver; an error if it has ended without a last one."""
    try:
        message: Message = receiver.recv()
    except (EOFError, OSError):  # OSError in the middle of a message.
        return UserError(
            "The Ray cluster is gone. The parts that are written stay: start the cluster again, "
            "and run the same command to go on."
        )
    return message


def run_driver(
    results: Connection,
    folder: ScoreFolder,
    scorer: Scorer,
    parts: Sequence[int],
    address: str | None,
    max_workers: int | None,
) -> None:
    """Score parts on a cluster, and send the outcome of each to the process that started this."""
    os.dup2(2, 1)  # The output of the command is on stdout.
    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        for scored in run_dataset(folder, scorer, parts, address, max_workers):
            results.send(scored)
        shut_down()
        results.send(None)
    except UserError as error:
        results.send(error)
    except Exception as error:  # Ray raises exceptions of its own.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        results.send(
            UserError(
                f"The Ray cluster failed: {reason} The parts that are written stay; run the same "
                "command to go on."
            )
        )


def shut_down() -> None:
    """Leave the cluster, or end the one that this process has started."""
    import ray

    ray.shutdown()


def end_with_parent() -> None:
    """End this process when the one that started it has ended, even if that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def run_dataset(
    folder: ScoreFolder,
    scorer: Scorer,
    parts: Sequence[int],
    address: str | None,
    max_workers: int | None,
) -> Iterator[ScoredPart]:
    """Score parts by a Ray Dataset: one block for each part, and a pool of actors that grows."""
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # This process says what failed.
    with ignore_warnings():
        import ray
        import ray.data
    connect(ray, address)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    n_cores = max(1, int(resources.get("CPU", 1)))
    n_workers = min(len(parts), max_workers or n_cores)
    dataset = ray.data.from_items(list(parts), override_num_blocks=len(parts)).map_batches(
        PartScorer,
        fn_constructor_args=(folder, scorer),
        batch_size=1,
        num_cpus=1,
        compute=ray.data.ActorPoolStrategy(
            min_size=1,
            initial_size=n_workers,
            max_size=max_workers,
        ),
        max_restarts=-1,
        max_task_retries=MAX_TRIES,
    )
    for row in dataset.iter_rows():
        if row["problem"]:
            raise UserError(row["problem"])
        yield ScoredPart(row["part"], row["n_images"], row["n_errors"])


def connect(ray: Any, address: str | None) -> None:
    """Connect to a cluster, or start Ray on this machine.

    Raises:
        UserError: if no cluster answers.
    """
    logging.getLogger("ray").setLevel(logging.ERROR)
    is_new: dict[str, Any] = {"include_dashboard": False} if address is None else {}
    try:
        check_reachable(address)
        ray.init(
            address=address or "local",
            log_to_driver=False,
            logging_level=logging.ERROR,
            **is_new,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"No Ray cluster answers at '{address or 'this machine'}'. Start one with 'ray start "
            "--head', give its address, or leave --address out to use this machine alone. "
            f"The reason: {error}"
        ) from error


def check_reachable(address: str | None) -> None:
    """Check that something listens at the address of a cluster; Ray would try for minutes.

    Raises:
        OSError: if nothing does.
    """
    match = re.fullmatch(r"(?:ray://)?\[?([^/]+?)\]?:(\d+)", address or "")
    if match is not None:
        socket.create_connection((match[1], int(match[2])), timeout=10).close()


class PartScorer:
    """Actor that scores parts; it loads the classifier once."""

    def __init__(self, folder: ScoreFolder, scorer: Scorer) -> None:
        self.folder = folder
        self.scorer = scorer

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Score the part that a batch names, and return its outcome or the problem."""
        part = int(batch["item"][0])
        scored, problem = ScoredPart(part, 0, 0), ""
        try:
            scored = score_part(self.folder, self.scorer, part)
        except UserError as error:
            problem = str(error)
        outcome = {"part": part, "n_images": scored.n_images, "n_errors": scored.n_errors}
        return {name: [value] for name, value in {**outcome, "problem": problem}.items()}
