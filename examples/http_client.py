"""Make and use a classifier over HTTP, as a client of `lgmnet serve`.

With the address of a server as argument it uses that one, else it starts one of its own. A token is
read from LGMNET_TOKEN. Needs httpx, and `pip install 'lgmnet[studio]'` on the server's side.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from lgmnet.data.examples import write_example


@contextmanager
def own_server(store: Path) -> Iterator[str]:
    """Start a server on a free port, yield its address, and stop it."""
    words = [sys.executable, "-m", "lgmnet", "serve", "--port", "0", "--store", store, "--json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        address = json.loads(server.stdout.readline())["address"]
        try:
            yield address.removesuffix("/docs")
        finally:
            server.terminate()


def use(address: str, images: Path) -> None:
    """Make a classifier, add a class, ask it, and remove it."""
    token = os.environ.get("LGMNET_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with httpx.Client(base_url=address, headers=headers, timeout=60) as client:
        response = client.post("/v1/classifiers", **form(images / "symbols", name="symbols"))
        response.raise_for_status()
        classifier = response.json()
        path = f"/v1/classifiers/{classifier['id']}"
        # The etag says to which version the change applies; another person's change is not lost.
        response = client.patch(
            path, headers={"If-Match": classifier["etag"]}, **form(images / "more")
        )
        response.raise_for_status()
        files = [("images", (p.name, p.read_bytes())) for p in sorted(images.glob("new/*"))]
        response = client.post(f"{path}/predict", files=files)
        response.raise_for_status()
        for prediction in response.json()["predictions"]:
            print(prediction["label"], prediction["probabilities"])
        etag = client.get(path).json()["etag"]
        client.delete(path, headers={"If-Match": etag}).raise_for_status()


def form(folder: Path, **fields: str) -> dict[str, object]:
    """Return the images of a folder of classes as the fields of a form."""
    paths = sorted(folder.glob("*/*"))
    return {
        "data": {**fields, "labels": [path.parent.name for path in paths]},
        "files": [("images", (path.name, path.read_bytes())) for path in paths],
    }


def main() -> None:
    """Use the server of the first argument, or one of our own."""
    with tempfile.TemporaryDirectory() as folder:
        write_example("drawings", Path(folder, "images"))
        if len(sys.argv) > 1:
            use(sys.argv[1], Path(folder, "images"))
        else:
            with own_server(Path(folder, "store")) as address:
                use(address, Path(folder, "images"))


if __name__ == "__main__":
    main()
