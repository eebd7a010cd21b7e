"""Metrics by name: those that ship, those that a task brings, and what stands in for the latter."""

import pytest

from gensynth.errors import ConfigError
from gensynth.goals import metrics
from gensynth.goals.metrics import Metric, find, register, stand_in
from gensynth.goals.requirements import parse
from gensynth.goals.score import read_score


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_METRICS", dict(metrics._METRICS))
    monkeypatch.setattr(metrics, "_STAND_INS", set(metrics._STAND_INS))


def test_a_record_of_a_task_of_ones_own_is_read_without_its_code() -> None:
    with pytest.raises(ConfigError, match="unknown metric 'within'"):
        parse("within >= 40%")
    score = read_score({"metric": "within", "correct": 30, "n": 60})
    assert (score.metric, score.value) == ("within", 0.5)
    assert parse("within >= 40%").allows(50)
    assert find("within", "a card").title == "within"


def test_the_task_that_brings_a_metric_takes_the_place_of_what_stood_in_for_it() -> None:
    stand_in("within")
    own = Metric("within", "points within 2 pixels", "%", "higher", "task")
    assert register(own) is own
    stand_in("within")
    assert find("within", "a card") is own
    with pytest.raises(ValueError, match="another metric is named 'within'"):
        register(Metric("within", "other", "%", "higher", "task"))


@pytest.mark.parametrize("name", ["", "a b", "1st", "a" * 41, "top1; rm"])
def test_what_is_no_name_is_no_metric(name: str) -> None:
    with pytest.raises(ValueError, match="the metric of a score must be a name, got"):
        read_score({"metric": name, "correct": 1, "n": 2})
