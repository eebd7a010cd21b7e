"""Several limits on one cost, written as one text.

"macs <= 2M, 4M, 8M"  ->  macs <= 2M, macs <= 4M, macs <= 8M
"params <= 50%, 1/4"  ->  params <= 50%, params <= 1/4
"""

import re

from gensynth.errors import ConfigError
from gensynth.goals import metrics
from gensynth.goals.requirements import parse

_GRAMMAR = re.compile(r"\s*(?P<metric>[A-Za-z]\w*)[^<>=≤≥]*(?P<sign>[<>=≤≥]+)(?P<limits>.*)", re.S)


def read_budgets(text: str) -> tuple[str, ...]:
    """Return the limits that one text has, as requirements, each once.

    Raises:
        ConfigError: if it has none or cannot be read, its metric does not follow from the network
            alone, or it is about several.

    Example:
        >>> read_budgets("macs <= 2M, 4M")
        ('macs <= 2M', 'macs <= 4M')
    """
    match = _GRAMMAR.fullmatch(text)
    if match is None:
        raise ConfigError(_asked(text))
    metric = metrics.find(match["metric"], text)
    if metric.of != "network":
        over = ", ".join(metrics.names("network"))
        raise ConfigError(
            f"a budget is over a cost that a network has on every machine, one of {over}, got "
            f'{metric.name} in "{text}"; for others: gensynth synth --from RUN --require'
        )
    if re.search("[<>=≤≥]", match["limits"]):
        raise ConfigError(
            f'budgets are over one cost, got "{text}"; ask for a limit on another beside them, by '
            "--require"
        )
    limits = [limit.strip() for limit in match["limits"].split(",") if limit.strip()]
    if match["sign"] not in ("<=", "<") or not limits:
        raise ConfigError(_asked(text))
    start = text[: match.start("limits")].strip()
    found = tuple(dict.fromkeys(f"{start} {limit}" for limit in limits))
    for one in found:
        parse(one)
    return found


def _asked(text: str) -> str:
    return f'budgets are limits on a cost of networks, such as "macs <= 2M, 4M", got "{text}"'
