"""CUDA graphs: all kernels of a computation are recorded once and then launched in one call."""

import threading
from collections.abc import Callable

import torch
from torch import Tensor

Compute = Callable[[Tensor], Tensor]
"""Computation on one batch, whose kernels depend on its shape and type alone."""
MAX_GRAPHS = 4
"""Shapes of batches for which graphs are kept; each needs memory for all its results."""
N_WARM_UPS = 3


class GraphCache:
    """Graphs of one computation, by the shape of its batches.

    A shape is recorded when it comes for the second time. So a single batch, or the last and
    smaller one of many, costs no recording. What cannot be recorded is computed as it comes.

    Args:
        record: Function that records a computation on an example and returns its replay.
    """

    def __init__(self, record: Callable[[Compute, Tensor], Compute] | None = None) -> None:
        self.record = record or record_graph
        self.replays: dict[object, Compute | None] = {}
        self.lock = threading.Lock()

    def run(self, compute: Compute, batch: Tensor, weights: Tensor) -> Tensor:
        """Compute on a batch, by a graph if there is one.

        Args:
            compute: The computation; the same one each time.
            batch: Batch on the GPU.
            weights: Weight of the network. A graph reads weights where they were when it was
                recorded; if this one has moved, there are new graphs.
        """
        key = (tuple(batch.shape), batch.dtype, batch.device, weights.data_ptr())
        with self.lock:  # Replays of a graph share their memory.
            if key not in self.replays:
                if len(self.replays) < MAX_GRAPHS:
                    self.replays[key] = None
                return compute(batch)
            replay = self.replays[key]
            if replay is None:
                try:
                    replay = self.record(compute, batch)
                except RuntimeError:  # It copies to the CPU, for instance.
                    replay = compute
                self.replays[key] = replay
            return replay(batch)


def record_graph(compute: Compute, example: Tensor) -> Compute:
    """Record a computation on the GPU.

    Args:
        compute: The computation, without any copy to the CPU and without gradients.
        example: Batch on the GPU.

    Returns:
        Function that replays it on other batches of the same shape and type.

    Raises:
        RuntimeError: if it cannot be recorded.
    """
    with torch.cuda.device(example.device):
        batch = example.clone()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # Libraries choose their algorithms before the recording.
            for _ in range(N_WARM_UPS):
                compute(batch)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = compute(batch)

    def replay(other: Tensor) -> Tensor:
        batch.copy_(other)
        graph.replay()
        return result.clone()

    return replay
