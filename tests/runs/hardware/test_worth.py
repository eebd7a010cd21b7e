"""What is measured is what may change which network is taken."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from gensynth.runs.hardware.worth import order, ranked


def test_a_network_near_its_limit_that_would_be_the_best_comes_first() -> None:
    # Levels by rows. The first is sure; the second is better if it is within its limit; the third
    # is worse whatever it takes; the fourth may be a little better.
    value = np.array([[1.0, -5.0, 0.2, 0.8], [1.0, 3.0, 0.9, 1.1]])
    # By hand: E = 1, -1, 0.55, 0.95. Worth of the second (1 + 3) / 2 - 1 = 1, of the fourth
    # (1 + 1.1) / 2 - 1 = 0.05, of the others 0.
    assert ranked(value) == [1, 3]


def test_the_best_is_worth_measuring_if_it_may_be_worse_than_the_second() -> None:
    # E = 2, 1.5: worth of the first (1.5 + 4) / 2 - 2 = 0.75, of the second 0.
    assert ranked(np.array([[0.0, 1.5], [4.0, 1.5]])) == [0]
    assert ranked(np.array([[1.6, 1.5], [2.4, 1.5]])) == []


def test_a_network_beyond_its_limit_is_worth_as_little_as_the_worst() -> None:
    # Utility is the score. The first is within the limit for sure, the second may be, and the
    # third, which would be the best, surely is not: so only the second's time may change anything.
    score, costs = np.array([0.5, 0.6, 0.7, 0.1]), np.array([[1.0], [2.1], [9.0], [1.0]])
    objective = SimpleNamespace(
        fidelity=0, violation=lambda mean, sd: np.zeros(4), utilities=lambda score, costs: score
    )
    space = SimpleNamespace(names=["latency_ms@tx2"], costs=lambda points: costs)
    known = SimpleNamespace(predict=lambda points, fidelity: (np.log(score / (1 - score)), 0))
    state = SimpleNamespace(generator=SimpleNamespace(space=space), inquisitor=known, penalty=0.0)
    settings: Any = SimpleNamespace(objective=objective)
    known_of: Any = state
    points: Any = None

    def ordered(limits: dict[str, float]) -> list[int]:
        return order(settings, known_of, points, {"latency_ms@tx2": 0.1}, limits)

    assert ordered({"latency_ms@tx2": 2.2}) == [1]
    assert ordered({}) == []  # the third is taken, whatever it takes
