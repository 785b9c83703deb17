"""The audit fails methods that use other queries, other tasks, their past or hidden labels."""

from __future__ import annotations

import pytest

from tests.audit.leaking_methods import METHODS, TRANSFORMS, ReadsGlobalState, TellingSource
from tests.audit.samples import (
    METHOD_CHECKS,
    SOURCE_CHECKS,
    choose,
    conv_net,
    dataset,
    explain,
    pixels,
    run_checks,
)


@pytest.mark.parametrize("kind", choose(METHODS))
def test_a_leaking_method_fails(kind):
    result = run_checks(METHOD_CHECKS, METHODS[kind](), is_leaking=True)
    assert result.outcome == "failed", explain(result)


def test_labels_in_a_global_variable_are_noticed():
    method, source = conv_net(kind=ReadsGlobalState), dataset(pixels(), kind=TellingSource)
    result = run_checks(METHOD_CHECKS, method, source, is_leaking=True)
    assert result.outcome == "failed", explain(result)


@pytest.mark.parametrize("kind", choose(TRANSFORMS))
def test_a_leaking_transform_fails(kind):
    result = run_checks(SOURCE_CHECKS, transform=TRANSFORMS[kind], is_leaking=True, episodes=200)
    assert result.outcome == "failed", explain(result)
