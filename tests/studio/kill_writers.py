"""Kill processes that write to a store at random moments, and check what is left.

``python -m tests.studio.kill_writers FOLDER TIMES``: each time a child process adds, replaces and
removes classifiers, and acknowledges each operation, until it is killed. Then everything that it
acknowledged must be true, and every stored file must be complete. The children are forked, so that
none of them has to import anything.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import sys
import time
from pathlib import Path

from lgmnet.io import atomic_write
from lgmnet.studio.index import Metadata, Record
from lgmnet.studio.store import Store, store_urls


def file_content(seed: int) -> bytes:
    """Make the content of a file, which begins with its own checksum."""
    body = random.Random(seed).randbytes(60_000)
    return hashlib.sha256(body).digest() + body


def is_complete(data: bytes) -> bool:
    return hashlib.sha256(data[32:]).digest() == data[:32]


def write_forever(folder: Path, pipe: int, seed: int) -> None:
    """Change classifiers without end, and write a line to the pipe for each operation."""
    store, rng = Store(*store_urls(folder), n_undo=2), random.Random(seed)
    records: list[Record] = []

    def write(path: Path) -> None:
        with atomic_write(path) as draft:
            draft.write_bytes(file_content(rng.randrange(10**9)))

    metadata = Metadata("name", "model", ("a", "b"), (1, 1))
    while True:
        choice = rng.random()
        if not records or choice < 0.5:
            record = store.add(metadata, write)
            records.append(record)
            os.write(pipe, f"stored {record.id} {record.version}\n".encode())
        elif choice < 0.85:
            i = rng.randrange(len(records))
            os.write(pipe, f"changing {records[i].id}\n".encode())
            records[i] = store.replace(records[i], metadata, write)
            os.write(pipe, f"stored {records[i].id} {records[i].version}\n".encode())
        else:
            record = records.pop(rng.randrange(len(records)))
            os.write(pipe, f"changing {record.id}\n".encode())
            store.remove(record.id)
            os.write(pipe, f"removed {record.id}\n".encode())


def main() -> None:
    """Kill as many processes as the command line says, then print a summary."""
    folder, times = Path(sys.argv[1]), int(sys.argv[2])
    Store(*store_urls(folder)).close()
    versions: dict[str, str] = {}
    n_acknowledged = 0
    for seed in range(times):
        read_end, write_end = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(read_end)
            write_forever(folder, write_end, seed)
        os.close(write_end)
        # Wait for some lines first: on a busy machine a process needs long to begin.
        rng = random.Random(-seed - 1)
        output, n_lines = b"", rng.randrange(8)
        while output.count(b"\n") < n_lines:
            chunk = os.read(read_end, 4096)
            assert chunk, "the process that writes ended by itself"
            output += chunk
        time.sleep(rng.uniform(0.005, 0.07))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        with os.fdopen(read_end, "rb") as pipe:
            lines = (output + pipe.read()).decode().splitlines()
        # The operation in progress may or may not have been done; all others must have been.
        in_progress = lines[-1].split()[1] if lines and lines[-1].startswith("changing") else None
        for line in lines:
            word, id, *version = line.split()
            if word == "stored":
                versions[id] = version[0]
            elif word == "removed":
                del versions[id]
            n_acknowledged += word != "changing"
        store = Store(*store_urls(folder))
        records: dict[str, Record] = {}
        after = None
        while page := store.page(100, after):
            assert all(isinstance(record, Record) for record in page)
            records |= {record.id: record for record in page if isinstance(record, Record)}
            after = (page[-1].created, page[-1].id)
        for id, expected in versions.items():
            if id == in_progress:
                continue
            assert id in records, f"{id} was acknowledged and is missing"
            assert records[id].version == expected, f"{id} has an earlier version"
        for record in records.values():
            with store.file(record) as path:
                assert is_complete(path.read_bytes()), f"{record.id} is incomplete"
        if in_progress is not None and in_progress not in records:
            versions.pop(in_progress, None)
        versions = {id: records[id].version for id in records}
        for id in [*versions][:-20]:  # Keep the store small, so that checking all of it is fast.
            store.remove(id)
            del versions[id]
        store.close()
    print(f"{times} killed, {n_acknowledged} acknowledged, all present and complete")


if __name__ == "__main__":
    main()
