"""What tests of several rooms share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import jaxtyping
import pytest
import torch
from hypothesis import settings

# A console made while both are set keeps that size for all tests; tests side by side have them set.
for side in ("COLUMNS", "LINES"):
    os.environ.pop(side, None)

# How long an example takes says more about the machine than about the code.
settings.register_profile("lgmnet", deadline=None)
settings.load_profile("lgmnet")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked ``pack`` where its data is not found, saying how to have it found.

    ``pack`` alone means Omniglot; ``pack("cifar100")`` and ``pack("caltech101")`` the others.
    """
    # Not above: the type checks of the package are hooked in after this file is read.
    from lgmnet.data.datasets import caltech101, cifar, omniglot
    from lgmnet.data.images.archives import data_folders

    archives = {
        "omniglot": omniglot.OMNIGLOT_ARCHIVE,
        "cifar100": cifar.CIFAR_ARCHIVE[0],
        "caltech101": caltech101.CALTECH101_ARCHIVE,
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
    """Decoded images of tests are not kept in the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        if "LGMNET_CACHE" not in os.environ:
            patch.setenv("LGMNET_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def few_threads() -> None:
    """Tests are tiny and run side by side: more threads cost more than they give."""
    torch.set_num_threads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # For the commands that tests start.


@pytest.fixture(scope="session", autouse=True)
def in_32_bits() -> Iterator[None]:
    """Classifiers answer alike on all machines; `inference_autocast` has tests of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lgmnet.devices.supports_bf16", lambda device: False)
        yield


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Annotations are not enforced, as users have it: what is wrong reaches our own checks."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
