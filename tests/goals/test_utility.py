"""Scores against published figures and hand calculation; expressions against abuse."""

import contextlib
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gensynth.errors import ConfigError
from gensynth.goals.utility import Utility, information_density, netscore

RESNET_20 = {"top1": 92.6, "params": 270_000, "macs": 40_810_000, "latency_ms": 2.0}


def test_netscore_of_mobilenet_v1() -> None:
    # By hand: 40 log10(70.6) - 10 log10(4.2 * 0.569) = 73.95 - 3.78
    assert netscore(70.6, 4.2, 0.569) == pytest.approx(70.17, abs=0.005)


def test_netscore_of_resnet_20_on_cifar_10() -> None:
    # By hand: 40 log10(92.6) - 10 log10(0.27 * 0.04081) = 78.664 + 19.578
    assert netscore(92.6, 0.27, 0.04081) == pytest.approx(98.24, abs=0.005)


def test_the_papers_camvid_ratios_give_its_netscore_gain() -> None:
    # FermiNets, section 3: accuracy 90.2 for 90.3, 3 times the information density,
    # 2.2 times fewer MACs, "exceeds that of RefineNet by ~ 8 points". 3 = r * params ratio.
    refinenet = netscore(90.3, 10.0, 10.0)
    ferminet = netscore(90.2, 10.0 / 3 * 90.2 / 90.3, 10.0 / 2.2)
    assert ferminet - refinenet == pytest.approx(8.2, abs=0.05)


def test_quartering_parameters_or_macs_adds_6_02() -> None:
    # 20 log10(4 ** 0.5) = 6.0206
    base = netscore(90.0, 1.0, 1.0)
    assert netscore(90.0, 0.25, 1.0) - base == pytest.approx(6.0206, abs=1e-4)
    assert netscore(90.0, 1.0, 0.25) - base == pytest.approx(6.0206, abs=1e-4)


def test_information_density_of_resnet_20_and_56() -> None:
    # 92.60 % / 0.27 M = 343; 94.37 % / 0.86 M = 110
    assert information_density(92.60, 0.27) == pytest.approx(343, abs=0.5)
    assert information_density(94.37, 0.86) == pytest.approx(110, abs=0.5)


def test_arrays_score_element_by_element_and_numbers_stay_floats() -> None:
    scores = netscore(np.array([70.6, 92.6]), np.array([4.2, 0.27]), np.array([0.569, 0.04081]))
    assert isinstance(scores, np.ndarray)
    np.testing.assert_allclose(scores, [70.17, 98.24], atol=0.005)
    assert type(netscore(70.6, 4.2, 0.569)) is float
    assert type(information_density(70.6, 4.2)) is float


@pytest.mark.parametrize("accuracy_pct", [0.0, -1.0, 100.5, math.nan, np.array([90.0, 101.0])])
def test_accuracy_outside_percent_is_refused(accuracy_pct: float) -> None:
    with pytest.raises(ValueError, match=r"accuracy_pct must be in \(0, 100\], got"):
        netscore(accuracy_pct, 1.0, 1.0)
    with pytest.raises(ValueError, match=r"accuracy_pct must be in \(0, 100\], got"):
        information_density(accuracy_pct, 1.0)


@pytest.mark.parametrize("cost", [0.0, -1.0, math.nan, math.inf])
def test_costs_that_are_not_positive_are_refused(cost: float) -> None:
    with pytest.raises(ValueError, match="params_m must be positive"):
        netscore(90.0, cost, 1.0)
    with pytest.raises(ValueError, match="macs_g must be positive"):
        netscore(90.0, 1.0, cost)
    with pytest.raises(ValueError, match="params_m must be positive"):
        information_density(90.0, cost)


@pytest.mark.parametrize(
    ("expression", "value", "needs"),
    [
        ("netscore", 98.24, {"top1", "params", "macs"}),
        ("information_density", 342.96, {"top1", "params"}),
        ("params_m", 0.27, {"params"}),
        ("macs_g * 1000", 40.81, {"macs"}),
        ("top1 - 10 * log10(latency_ms)", 89.59, {"top1", "latency_ms"}),
        ("-top1 + 2 ** 3 ** 2", 419.4, {"top1"}),  # powers bind from the right: 512 - 92.6
        ("min(top1, 90) / max(latency_ms, 4)", 22.5, {"top1", "latency_ms"}),
        ("log(params) + sqrt(macs)", 12.50618 + 6388.2705, {"params", "macs"}),
        ("(top1 - 90) * 1e2", 260.0, {"top1"}),
        # By hand: 270,000 parameters of 4 bytes are 1.02997 MiB.
        ("size_mib * 1000", 1029.97, {"params"}),
    ],
)
def test_an_expression_means_what_arithmetic_says(
    expression: str, value: float, needs: set[str]
) -> None:
    utility = Utility(expression)
    assert utility(RESNET_20) == pytest.approx(value, abs=0.006)
    assert utility.needs == needs


def test_a_utility_of_arrays_is_that_of_each_network() -> None:
    utility = Utility("netscore - max(0, latency_ms - 1) ** 2")
    other = {"top1": 90.13, "params": 350_000, "macs": 10_900_000, "latency_ms": 0.5}
    both = {name: np.array([RESNET_20[name], other[name]]) for name in RESNET_20}
    np.testing.assert_allclose(utility(both), [utility(RESNET_20), utility(other)], rtol=1e-12)
    assert type(utility(other)) is float


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("netscor", "unknown name 'netscor' in utility \"netscor\"; did you mean 'netscore'?"),
        (
            "top1 + img_per_j",
            "in utility \"top1 + img_per_j\"; did you mean 'img_per_joule'?",
        ),
        (
            "top1 - laten_ms@tx2",
            "unknown name 'laten_ms' in utility \"top1 - laten_ms@tx2\"; did you mean",
        ),
        (
            "netscore@tx2",
            "netscore in utility \"netscore@tx2\" is the same on every device; drop '@tx2'",
        ),
        ("log10(params@tx2)", "params in utility"),
        ("top1 - latency_ms @ tx2", "a device stands behind its metric without spaces"),
        ("top1 - latency_ms@", "cannot be read"),
        ("top1 - latency_ms@tx2@nano", "without spaces"),
        (
            "ln(top1)",
            "unknown function 'ln' in utility \"ln(top1)\"; known are log10, log, sqrt, min, max",
        ),
        ("log10(top1, 2)", 'log10 takes 1 value, got 2 in utility "log10(top1, 2)"'),
        ("3 + 4", 'utility "3 + 4" is the same for every network'),
        ("top1 +", 'utility "top1 +" cannot be read; write for example'),
        ("top1 ^ 2", "it holds 'top1 ^ 2'"),
        ("top1 * 1e999", "holds a number that is too large"),
        ("top1 * 1" + "0" * 400, "holds a number that is too large"),
        ("-" * 60 + "top1", "nested deeper than 40 levels"),
        ("top1" + " + top1" * 1000, "has 7004 characters of at most 1000"),
    ],
)
def test_what_is_not_a_utility_is_refused_with_the_reason(expression: str, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        Utility(expression)
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('true')", "top1.__class__", "(lambda: top1)()", "[top1][0]",
        "top1 if top1 else 1", "top1 and 1", "top1 < 3", "'top1'", "True + top1", "1j * top1",
        "f'{top1}'", "(x := top1)", "max(*[top1])", "min(top1, 1, key=1)", "top1 // 2", "~top1",
        "top1; top1", "import os", "", "(" * 500 + "top1", "\0",
    ],
)  # fmt: skip
def test_nothing_but_arithmetic_is_let_through(expression: str) -> None:
    with pytest.raises(ConfigError):
        Utility(expression)


@given(st.text(alphabet="top1macs+-*/() 0.9,logmin@", max_size=60))
def test_any_text_is_a_utility_or_a_refusal_and_its_value_is_finite(text: str) -> None:
    with contextlib.suppress(ConfigError):
        utility = Utility(text)
        assume(utility.needs <= RESNET_20.keys())  # the letters also spell "map"
        assert math.isfinite(utility(RESNET_20))


@pytest.mark.parametrize(
    ("expression", "value", "needs"),
    [
        # By hand: 10 log10(40) = 16.0206
        (
            "netscore + 10*log10(img_per_joule@tx2)",
            98.24 + 16.0206,
            {"top1", "params", "macs", "img_per_joule@tx2"},
        ),
        ("latency_ms@orin-nano - latency_ms@tx2", 3, {"latency_ms@orin-nano", "latency_ms@tx2"}),
        ("latency_ms@tx2 -5", -1, {"latency_ms@tx2"}),
        ("latency_ms@tx2- 5", -1, {"latency_ms@tx2"}),
        ("max(latency_ms@tx2,latency_ms@orin-nano)", 7, {"latency_ms@orin-nano", "latency_ms@tx2"}),
        ("-latency_ms@tx2 \n *2", -8, {"latency_ms@tx2"}),
        ("(latency_ms@tx2)**2", 16, {"latency_ms@tx2"}),
    ],
)
def test_a_devices_metric_is_looked_up_by_its_key(
    expression: str, value: float, needs: set[str]
) -> None:
    utility = Utility(expression)
    measured = {"img_per_joule@tx2": 40, "latency_ms@tx2": 4, "latency_ms@orin-nano": 7}
    assert utility({**RESNET_20, **measured}) == pytest.approx(value, abs=0.006)
    assert utility.needs == needs


def test_a_name_that_only_looks_like_a_key_is_unknown() -> None:
    with pytest.raises(ConfigError, match="unknown name 'latency_ms_tx2'"):
        Utility("latency_ms@tx2 + latency_ms_tx2")


def test_metrics_without_a_device_are_put_on_one_and_others_stay() -> None:
    utility = Utility("top1 - log10(latency_ms) - latency_ms@nano / throughput + params_m")
    assert utility.on("tx2").expression == (
        "top1 - log10(latency_ms@tx2) - latency_ms@nano / throughput@tx2 + params_m"
    )
    assert Utility("latency_ms-p99_ms*-power_w").on("tx2").expression == (
        "latency_ms@tx2 -p99_ms@tx2*-power_w@tx2"
    )
    assert utility.on("tx2").on("other").expression == utility.on("tx2").expression


NAMES = ["top1", "netscore", "latency_ms@tx2", "img_per_joule@orin-nano", "throughput", "2.5"]
EXPRESSIONS = st.recursive(
    st.sampled_from(NAMES),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from([" + ", "*", "/", " -", " - "]), inner).map("".join),
        inner.map(lambda text: f"throughput-{text}"),
        inner.map(lambda text: f"log10({text})"),
        inner.map(lambda text: f"({text})"),
    ),
    max_leaves=8,
)


@given(EXPRESSIONS)
def test_an_expression_that_is_printed_reads_as_itself(expression: str) -> None:
    with contextlib.suppress(ConfigError):  # the same for every network
        utility = Utility(expression)
        again = Utility(utility.on("tx2").expression)
        at = {key: f"{key}@tx2" if key == "throughput" else key for key in utility.needs}
        assert again.needs == set(at.values())
        values = {key: 3.0 + place for place, key in enumerate(sorted(utility.needs))}
        with contextlib.suppress(ConfigError):  # not finite
            assert again({at[k]: v for k, v in values.items()}) == utility(values)


def test_a_value_that_is_not_finite_is_refused_with_the_network_that_gave_it() -> None:
    with pytest.raises(ConfigError, match=r"not a finite number at top1 = 89$"):
        Utility("log10(top1 - 90)")({"top1": np.array([91.0, 89.0])})
    with pytest.raises(ConfigError, match=r"not a finite number at params = 270000$"):
        Utility("params ** 9 ** 9")(RESNET_20)
    with pytest.raises(ConfigError, match="not a finite number"):
        Utility("(0 - top1) ** 0.5")(RESNET_20)


def test_a_missing_metric_is_named() -> None:
    with pytest.raises(ValueError, match="needs \\['latency_ms'\\]"):
        Utility("top1 / latency_ms")({"top1": 90.0})
