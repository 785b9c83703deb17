"""The audit fails sources whose own draw, or whose data, gives the classes away."""

from __future__ import annotations

import pytest

from lgmnet.methods import ProtoNetConfig
from tests.audit.leaking_sources import SOURCES
from tests.audit.samples import COLOURED, SOURCE_CHECKS, choose, conv_net, explain, run_checks
from tests.support.models import build_method


@pytest.mark.parametrize("kind", choose(SOURCES, 3))
def test_a_leaking_source_fails(kind):
    source = SOURCES[kind]()
    is_photo = source.feature_shape[0] == 3
    method = build_method("proto-net", ProtoNetConfig(COLOURED)) if is_photo else conv_net()
    result = run_checks(SOURCE_CHECKS, method, source, is_leaking=True)
    assert result.outcome == "failed", explain(result)
