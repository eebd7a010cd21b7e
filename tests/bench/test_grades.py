"""What the grades ask for, held against MEASURING.md's protocol and the agent's own limits."""

import pytest

from gensynth.bench.grades import GRADES, Grade, find_grade
from gensynth.errors import ConfigError

LOOP, QUICK, STANDARD, REPORT = GRADES


def test_without_a_name_the_shortest_grade_serves_that_has_what_is_asked_for() -> None:
    assert find_grade(None) is QUICK
    assert find_grade(None, energy=True) is STANDARD
    assert find_grade("report", energy=True) is REPORT
    with pytest.raises(ConfigError, match="unknown grade 'repot'; did you mean 'report'"):
        find_grade("repot")


def test_quick_takes_no_energy_and_says_which_grade_does() -> None:
    with pytest.raises(ConfigError, match="grade quick takes no energy.*--grade standard"):
        QUICK.windows(0)


@pytest.mark.parametrize("grade", [STANDARD, REPORT], ids=lambda g: g.name)
def test_the_long_grades_follow_the_protocol(grade: Grade) -> None:
    # P5: 30 s, blocks of 10 s that agree within 0.5 %, at most 300 s.
    assert vars(grade.warmup) == {"min_s": 30, "block_s": 10, "agree_pct": 0.5, "cap_s": 300}
    # P11: blocks of 10 s at least; ABBABAAB is eight of them for two networks.
    assert grade.round_s >= 10
    assert grade.rounds >= 4
    # P4, P6: 20 s idle, 2.5 s settling, at least 10 windows of 10 s, polled at 20 to 50 Hz.
    windows = grade.windows(7)
    assert windows["idle_s"] == 20
    assert windows["settle_s"] == 2.5
    assert windows["windows"] >= 10
    assert windows["window_s"] >= 10
    assert 20 <= windows["rate_hz"] <= 50
    assert windows["seed"] == 7


def test_a_report_is_ten_minutes_of_each() -> None:
    windows = REPORT.windows(0)
    assert REPORT.rounds * REPORT.round_s >= 600
    assert windows["windows"] * windows["window_s"] >= 600


def test_the_expected_time_is_the_sum_of_the_parts() -> None:
    # Warm-up 3 blocks of 1 s, 8 rounds of 1 s, the reference network 3 and 8 turns of 0.1 s.
    # With energy 30 + 80, 11 turns of 0.5 s, (2.5 + 20), 10 x 12.5.
    assert QUICK.seconds(2, energy=False) == pytest.approx(2 * (3 + 8) + 1.1)
    assert STANDARD.seconds(3, energy=True) == 3 * (30 + 80) + 5.5 + 22.5 + 3 * 10 * 12.5


@pytest.mark.parametrize("grade", GRADES, ids=lambda g: g.name)
def test_a_job_is_not_given_up_while_its_warm_ups_may_still_go_on(grade: Grade) -> None:
    for networks in (1, 2, 8):
        least = networks * (grade.warmup.cap_s + grade.rounds * grade.round_s)
        assert least < grade.limit_s(networks, energy=False) <= 24 * 3600
