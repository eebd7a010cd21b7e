"""Figures of a bench's record and of documents."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gensynth.goals import metrics
from gensynth.goals.figure import Figure
from gensynth.goals.readings import of_interval, of_record, read_figure

NETWORK: dict[str, Any] = {
    "latency": {
        "p50_ms": 4.1, "p50_ci95_ms": [4.0, 4.2], "p99_ms": 6.0, "p99_ci95_ms": [5.5, 6.5],
        "img_per_s": 240.0, "img_per_s_ci95": [230.0, 250.0],
    },
    "energy": {
        "j_per_img": 0.05, "ci95": [0.04, 0.06], "img_per_j": 20.0,
        "img_per_j_ci95": [1 / 0.06, 25.0], "p_mean_w": 12.0, "p_mean_ci95_w": [11.0, 13.0],
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "interval"),
    [
        ("latency_ms", 4.1, (4.0, 4.2)),
        ("p99_ms", 6.0, (5.5, 6.5)),
        ("throughput", 240.0, (230.0, 250.0)),
        ("joule_per_img", 0.05, (0.04, 0.06)),
        ("img_per_joule", 20.0, (1 / 0.06, 25.0)),
        ("power_w", 12.0, (11.0, 13.0)),
    ],
)
def test_every_metric_of_a_device_is_read_from_a_record(
    name: str, value: float, interval: tuple[float, float]
) -> None:
    figure = of_record(metrics.find(name, "this test"), NETWORK, "simulated")
    assert figure is not None
    assert (figure.value, figure.interval95, figure.provenance) == (value, interval, "simulated")


def test_the_registry_has_no_device_metric_that_is_not_read() -> None:
    for name in metrics.names("device"):
        figure = of_record(metrics.find(name, "this test"), NETWORK, "measured")
        assert figure is not None, name


@pytest.mark.parametrize("network", [{}, {"latency": None}, {"latency": {"p50_ms": 4.1}}])
def test_what_was_not_measured_or_has_no_interval_is_no_figure(network: dict[str, Any]) -> None:
    assert of_record(metrics.LATENCY, network, "measured") is None
    assert of_record(metrics.POWER, {**network, "energy": None}, "measured") is None


def test_an_80_percent_interval_is_narrower_as_a_normal_distributions_is() -> None:
    # By hand: 1.281552 / 1.959964 = 0.653865 of log 2.
    assert of_interval(1.0, (0.5, 2.0)).interval80[1] == pytest.approx(2**0.653865, rel=1e-5)


@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.floats(1e-6, 1e6))
def test_an_interval_is_widened_until_it_holds_its_value(value: float, a: float, b: float) -> None:
    figure = of_interval(value, (min(a, b), max(a, b)))
    assert figure.interval95[0] <= value <= figure.interval95[1]
    assert read_figure(figure.to_document()) == figure


def test_a_figure_is_read_as_it_was_written_with_what_it_does_not_know() -> None:
    figure = Figure(4.1, (3.3, 5.2), (2.9, 6.1), "estimate", unknown=("GridSample",))
    assert read_figure(figure.to_document()) == figure


@pytest.mark.parametrize(
    "wrong",
    [
        {"value": -1.0}, {"value": math.inf}, {"interval80": [1.0]}, {"provenance": "guess"},
        {"interval95": [5.0, 6.0]}, {"measurements": "many"},
    ],
)  # fmt: skip
def test_a_damaged_figure_is_refused(wrong: dict[str, Any]) -> None:
    figure = Figure(4.1, (3.3, 5.2), (2.9, 6.1), "estimate")
    with pytest.raises(ValueError, match="."):
        read_figure({**figure.to_document(), **wrong})
