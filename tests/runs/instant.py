"""A run's own latency in an instant, where how steady this machine is decides nothing."""

from collections.abc import Iterator

import pytest

from gensynth.bench import latency
from gensynth.bench.grades import Warmup


@pytest.fixture(autouse=True, scope="module")
def instant_warm_up() -> Iterator[None]:
    """Three blocks of two milliseconds agree, whatever they take."""
    instant = Warmup(min_s=0.0, block_s=0.002, agree_pct=1000.0, cap_s=0.01)
    options = latency.measure.__kwdefaults__
    assert options is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(options, "warmup", instant)
        yield
