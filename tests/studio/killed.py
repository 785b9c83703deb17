"""Kills processes that write to a store, at random moments, and looks at what is left.

``python -m tests.studio.killed FOLDER TIMES``: each time a child adds, replaces and removes
classifiers, saying each time that it was done, until it is killed; then all that it said must be
true, and all that is kept must be whole. It forks, so that no child has to import anything.
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
from lgmnet.studio.store import Metadata, Record, Store


def content(seed: int) -> bytes:
    """A file that says itself whether it is whole."""
    body = random.Random(seed).randbytes(60_000)
    return hashlib.sha256(body).digest() + body


def is_whole(data: bytes) -> bool:
    return hashlib.sha256(data[32:]).digest() == data[:32]


def child(folder: Path, say: int, seed: int) -> None:
    """Write without end, and say what is done."""
    store, chance = Store.in_folder(folder), random.Random(seed)
    mine: list[Record] = []

    def write(path: Path) -> None:
        with atomic_write(path) as draft:
            draft.write_bytes(content(chance.randrange(10**9)))

    about = Metadata("name", "model", ("a", "b"), (1, 1))
    while True:
        what = chance.random()
        if not mine or what < 0.5:
            record = store.add(about, write)
            mine.append(record)
            os.write(say, f"there {record.id} {record.version}\n".encode())
        elif what < 0.85:
            place = chance.randrange(len(mine))
            os.write(say, f"may-change {mine[place].id}\n".encode())
            mine[place] = store.replace(mine[place], about, write)
            os.write(say, f"there {mine[place].id} {mine[place].version}\n".encode())
        else:
            record = mine.pop(chance.randrange(len(mine)))
            os.write(say, f"may-change {record.id}\n".encode())
            store.remove(record.id)
            os.write(say, f"gone {record.id}\n".encode())


def main() -> None:
    """Kill so many, then say what was found."""
    folder, times = Path(sys.argv[1]), int(sys.argv[2])
    Store.in_folder(folder).close()
    there: dict[str, str] = {}
    acknowledged = 0
    for seed in range(times):
        listen, say = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(listen)
            child(folder, say, seed)
        os.close(say)
        time.sleep(random.Random(-seed - 1).uniform(0.005, 0.07))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        with os.fdopen(listen, "rb") as heard:
            lines = heard.read().decode().splitlines()
        # What was under way when it was killed may have been done or not; all else must be so.
        open_end = lines[-1].split()[1] if lines and lines[-1].startswith("may-change") else None
        for line in lines:
            word, id, *version = line.split()
            if word == "there":
                there[id] = version[0]
            elif word == "gone":
                del there[id]
            acknowledged += word != "may-change"
        store = Store.in_folder(folder)
        kept: dict[str, Record] = {}
        after = None
        while some := store.page(100, after):
            kept |= {record.id: record for record in some}
            after = (some[-1].created, some[-1].id)
        for id, expected in there.items():
            if id == open_end:
                continue
            assert id in kept, f"{id} was acknowledged and is gone"
            assert kept[id].version == expected, f"{id} is of an earlier version"
        for record in kept.values():
            with store.file(record) as path:
                assert is_whole(path.read_bytes()), f"{record.id} is half there"
        if open_end is not None and open_end not in kept:
            there.pop(open_end, None)
        there = {id: kept[id].version for id in kept}
        for id in [*there][:-20]:  # So that looking at all of them stays quick.
            store.remove(id)
            del there[id]
        store.close()
    print(f"{times} killed, {acknowledged} acknowledged, all there and whole")


if __name__ == "__main__":
    main()
