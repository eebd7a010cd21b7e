"""Log-normal quantities, against the conjugate formulas of normal ones."""

import numpy as np
import pytest

from gensynth.bench.estimate.boards.beliefs import Belief, Beliefs, Measured

PRIOR = Beliefs({"launch": Belief(0.03, 0.4, "told"), "call": Belief(0.1, 0.5, "told")})


def test_draws_have_the_median_and_the_spread_that_is_believed() -> None:
    logarithms = np.log(PRIOR.draws(20_000)["launch"])
    assert np.median(logarithms) == pytest.approx(np.log(0.03), abs=0.02)
    assert np.std(logarithms) == pytest.approx(0.4, rel=0.03)


def test_draws_are_the_same_each_time() -> None:
    assert np.array_equal(PRIOR.draws(5)["call"], PRIOR.draws(5)["call"])


def test_a_measurement_of_one_quantity_weighs_by_precision() -> None:
    # Two normals: precisions 1 / 0.4^2 and 1 / 0.2^2 add up, means weigh by them.
    after = PRIOR.updated([Measured(0.06, lambda q: q["launch"], 0.2)])
    precision = 1 / 0.4**2 + 1 / 0.2**2
    mean = (np.log(0.03) / 0.4**2 + np.log(0.06) / 0.2**2) / precision
    assert np.log(after.medians()["launch"][0]) == pytest.approx(mean)
    assert after.spread("launch") == pytest.approx(precision**-0.5)


def test_a_quantity_that_is_not_measured_stays() -> None:
    after = PRIOR.updated([Measured(0.06, lambda q: q["launch"], 0.2)])
    assert after.medians()["call"][0] == pytest.approx(0.1)
    assert after.spread("call") == pytest.approx(0.5)


def test_a_measured_sum_ties_its_parts_together() -> None:
    # What the one has more, the other has less: their product is surer than either.
    after = PRIOR.updated([Measured(0.4, lambda q: 10 * q["launch"] + q["call"], 0.02)])
    draws = after.draws(4000)
    assert np.corrcoef(np.log(draws["launch"]), np.log(draws["call"]))[0, 1] < -0.5
    assert np.std(np.log(10 * draws["launch"] + draws["call"])) < 0.1


def test_without_measurements_nothing_changes() -> None:
    assert PRIOR.updated([]) is PRIOR
