"""A whole run against a simulated board: real sshd, real agent, rails that live.

All four arms with more cycles are an experiment, `experiments/hardware/simulated_board.py`.
"""

import shutil
from collections.abc import Iterable

import numpy as np
import pytest

from experiments.hardware import simulated_board
from gensynth.bench import control, grades
from tests.fakes.board import NO_SSH, SSHD


@pytest.mark.slow
@pytest.mark.realtime
@pytest.mark.skipif(SSHD is None or shutil.which("ssh") is None, reason=NO_SSH)
def test_a_search_meets_both_limits_on_a_board_that_is_not_what_was_believed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(grades, "_BY_NAME", dict(grades._BY_NAME))
    monkeypatch.setattr(control, "GRADE", control.GRADE)
    record = simulated_board.run("undisturbed", cycles=1)
    assert record["leftovers"] == []
    for finalist in record["finalists"]:
        figures = finalist["figures"]
        assert figures["latency_ms@tx2"]["value"] <= simulated_board.LIMIT_MS
        least = simulated_board.LEAST_IMAGES_PER_JOULE
        assert figures["img_per_joule@tx2"]["value"] >= least
    assert record["measured_twice"] == 0
    # What was believed before the first measurement is far off, and what it taught is not. Whom
    # the machine that plays the board disturbs has no figures, or some that scatter; and all that
    # a cycle would measure may be known.
    first, *later = (entry["measured"] for entry in record["cycles"])
    taught = [*_off(entry for entries in later for entry in entries), *_off(record["after"])]
    assert np.median(_off(first)) > 0.5
    assert not taught or np.median(taught) < 0.25


def _off(entries: Iterable[dict[str, dict[str, float]]]) -> list[float]:
    measured = [one for one in entries if "latency_ms" in one["figures"]]
    return [
        abs(one["figures"]["latency_ms"] / one["estimated"]["latency_ms"] - 1) for one in measured
    ]
