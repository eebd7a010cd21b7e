"""Several limits on one cost in one text: what is read, and what is refused with which way out."""

import re

import pytest

from gensynth.errors import ConfigError
from gensynth.goals.budgets import read_budgets

OTHERS = (
    "a budget is over a cost that a network has on every machine, one of params, macs, size_mib, "
    'peak_mib, got {} in "{}"; for others: gensynth synth --from RUN --require'
)
SEVERAL = (
    'budgets are over one cost, got "macs <= 2M, params <= 1M"; ask for a limit on another beside '
    "them, by --require"
)
LIMITS = 'budgets are limits on a cost of networks, such as "macs <= 2M, 4M", got "{}"'


def test_limits_on_one_cost_are_requirements_each_once() -> None:
    assert read_budgets("macs <= 2M, 4M,2M") == ("macs <= 2M", "macs <= 4M")
    assert read_budgets(" params < 50%, 1/4 ") == ("params < 50%", "params < 1/4")
    assert read_budgets("peak_mib<=0.5") == ("peak_mib<= 0.5",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("top1 <= 3M", OTHERS.format("top1", "top1 <= 3M")),
        ("top1 >= 80%, 90%", OTHERS.format("top1", "top1 >= 80%, 90%")),
        ("latency_ms@local <= 3, 4", OTHERS.format("latency_ms", "latency_ms@local <= 3, 4")),
        ("netscore >= 3", OTHERS.format("netscore", "netscore >= 3")),
        ("mac <= 3M", "unknown metric 'mac' in \"mac <= 3M\"; did you mean 'macs'?"),
        (
            "macs <= 2M, params <= 1M",
            SEVERAL,
        ),
        *((text, LIMITS.format(text)) for text in ("", "2M, 4M", "macs", "macs <=", "macs <= , ")),
        *((text, LIMITS.format(text)) for text in ("macs >= 2M", "macs = 2M", "macs ≤ 2M")),
        (
            "macs <= 2M, 4X",
            'macs takes a number with k, K, M, G or nothing behind it, got 4X in "macs <= 4X"',
        ),
        ("macs@tx2 <= 2M", "macs in \"macs@tx2 <= 2M\" is the same on every device; drop '@tx2'"),
    ],
)
def test_what_is_no_budget_is_refused_with_what_one_is(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        read_budgets(text)
