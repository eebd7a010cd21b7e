"""Exact costs by their names, and the one limit that is no sum over vertices."""

import pytest
import torch

from gensynth.errors import UnreachableError
from gensynth.goals.exact import check_peak, exact_costs, peak_limit
from gensynth.goals.requirements import parse_all
from gensynth.prototypes.resnet import resnet20
from gensynth.space.coupling import couple
from gensynth.space.space import Space
from gensynth.trace import trace


@pytest.fixture(scope="module")
def space() -> Space:
    return Space(couple(trace(resnet20(), torch.zeros(1, 3, 32, 32), name="resnet20")), 8)


def test_resnet_20_by_hand(space: Space) -> None:
    # He et al. give it 0.27 M parameters, of 4 bytes each: 272,474 x 4 / 2^20 = 1.0394 MiB; its
    # peak are three values of 16 x 32 x 32 in the first stage: 196,608 bytes.
    found = exact_costs(space.coupling.graph)
    assert (found["params"], found["macs"]) == (272_474, 40_813_184)
    assert found["size_mib"] == pytest.approx(1.0394, abs=5e-5)
    assert found["peak_mib"] == 196_608 / 2**20 == 0.1875


def test_the_stricter_of_two_limits_on_a_peak_counts() -> None:
    limit = peak_limit(parse_all(["peak_mib <= 2", "macs <= 4M", "peak_mib < 2"]))
    assert str(limit) == "peak_mib < 2"
    assert peak_limit(parse_all(["macs <= 4M"])) is None


def test_a_peak_that_no_network_is_within_is_refused(space: Space) -> None:
    # The stem of least width reads 3 x 32 x 32 and writes 8 x 32 x 32: 45,056 bytes.
    check_peak(parse_all(["peak_mib <= 44KiB"]), space)
    with pytest.raises(UnreachableError, match=r"the prototype's 0\.1875 MiB"):
        check_peak(parse_all(["peak_mib < 44KiB"]), space)
