"""Memory that training keeps for its next steps is returned when it ends."""

import subprocess
import sys

import pytest

PROGRAM = """
import torch
from lgmnet.devices import freed_memory_kept

def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

torch.zeros(1)
with freed_memory_kept():
    start = resident()
    blocks = [torch.ones(2**22) for _ in range(16)]  # 16 MB each.
    del blocks
    kept = resident() - start
print(kept, resident() - start)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a setting of Linux's C library")
def test_freed_memory_is_kept_within_the_context_and_returned_at_its_end() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    kept, left = map(int, done.stdout.split())
    assert kept > 200e6
    assert left < 50e6
