"""What is measured is what may change which network is taken."""

import numpy as np

from gensynth.runs.hardware.worth import ranked


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
