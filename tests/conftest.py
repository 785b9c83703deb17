"""What tests of several rooms share."""

from __future__ import annotations

import jaxtyping
import pytest
import torch
from hypothesis import settings

# How long an example takes says more about the machine than about the code.
settings.register_profile("lgmnet", deadline=None)
settings.load_profile("lgmnet")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked ``pack`` where Omniglot is not found, saying how to have it found."""
    # Not above: the type checks of the package are hooked in after this file is read.
    from lgmnet.data.omniglot import PACK, data_folders

    places = [folder / PACK for folder in data_folders()]
    if any(place.is_file() for place in places):
        return
    looked = " and ".join(str(place) for place in places)
    skip = pytest.mark.skip(
        reason=f"no Omniglot (looked for {looked}): set LGMNET_DATA to the folder that holds {PACK}"
    )
    for item in items:
        if item.get_closest_marker("pack"):
            item.add_marker(skip)


@pytest.fixture(scope="session", autouse=True)
def few_threads() -> None:
    """Tests are tiny: more threads cost more than they give."""
    torch.set_num_threads(min(2, torch.get_num_threads()))


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Annotations are not enforced, as users have it: what is wrong reaches our own checks."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
