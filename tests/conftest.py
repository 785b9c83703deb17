"""Hooks and fixtures of all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest
import torch
from hypothesis import settings

# A console keeps the size that it was made with. Parallel test runs set both variables, so the size
# of the first console would apply to all tests.
for side in ("COLUMNS", "LINES"):
    os.environ.pop(side, None)

# Commands that the tests start use one thread, as the tests do (see `few_threads`).
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The time of an example depends on the machine more than on the code.
settings.register_profile("lgmnet", deadline=None)
settings.load_profile("lgmnet")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests with the mark ``pack`` whose data archive is missing, and say how to provide it.

    ``pack`` alone means Omniglot at 28x28; the others are ``pack("cifar100")`` and so on.
    """
    # Not at the top: the type checks of the package are installed after this file is read.
    from lgmnet.data.datasets import caltech101, cifar, domains, omniglot
    from lgmnet.data.images.archives import data_folders
    from lgmnet.data.synthetic import criterion_drawings

    archives = {
        "omniglot": omniglot.OMNIGLOT_ARCHIVE,
        "cifar100": cifar.CIFAR_ARCHIVE[0],
        "caltech101": caltech101.CALTECH101_ARCHIVE,
        "omniglot105": criterion_drawings.BITS_ARCHIVE,
        "domains": domains.DOMAIN_FOLDER / "textile.npz",
    }
    skips = {}
    for name, part in archives.items():
        places = [folder / part for folder in data_folders()]
        if not any(place.is_file() for place in places):
            looked = " and ".join(map(str, places))
            skips[name] = pytest.mark.skip(
                reason=f"no {name} (looked for {looked}): set LGMNET_DATA to the folder that "
                f"holds {part}"
            )
    for item in items:
        for marker in list(item.iter_markers("pack")):
            name = marker.args[0] if marker.args else "omniglot"
            if name in skips:
                item.add_marker(skips[name])


@pytest.fixture(scope="session", autouse=True)
def cache_for_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep decoded images of tests out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        if "LGMNET_CACHE" not in os.environ:
            patch.setenv("LGMNET_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def on_torch() -> Iterator[None]:
    """Let the engine ``auto`` stand for PyTorch: to convert hundreds of tiny networks takes long.

    `lgmnet.engines` has tests of its own.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LGMNET_ENGINE", "torch")
        yield


@pytest.fixture(scope="session", autouse=True)
def few_threads() -> None:
    """Use one thread: tests are small and run in parallel, so more threads would be slower."""
    torch.set_num_threads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # For commands that tests start.


@pytest.fixture(scope="session", autouse=True)
def in_32_bits() -> Iterator[None]:
    """Compute in 32 bits, so that answers are the same on all machines.

    `lgmnet.devices.inference_autocast` has tests of its own.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lgmnet.devices.supports_bf16", lambda device: False)
        yield


@pytest.fixture(autouse=True)
def same_seed() -> None:
    """Start each test from the same seed, so that none depends on which tests ran before it."""
    torch.manual_seed(0)


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not enforce annotations, as for users, so that wrong values reach the package's checks."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a model of drawings with random weights, which fits a classifier in a moment."""
    # Not at the top: the type checks of the package are installed after this file is read.
    from lgmnet.model.model import save_model
    from tests.support.models import tiny_model

    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_model(tiny_model(), folder)
    return folder
