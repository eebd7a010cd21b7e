"""Several budgets of one search: of each the best network that a learned generator draws.

    "macs <= 2M, 4M, 8M"  ->  macs <= 2M, macs <= 4M, macs <= 8M

Under each budget the same seeds are drawn, and the one of the highest predicted score stands for
it; the networks stand in RUN/generated, as those of `family` do. A budget that is less than the
search has learned of has no network, and says so.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from gensynth.errors import ConfigError, UnreachableError
from gensynth.goals.requirements import parse
from gensynth.goals.verdicts import Verdict
from gensynth.progress import SILENT, Listener
from gensynth.runs import family_training
from gensynth.runs.family import Drawn, generate

_ASKED = 'budgets are limits on a cost of networks, such as "macs <= 2M, 4M", got "{}"'


@dataclass(frozen=True)
class Budget:
    """One budget, and the best network within it.

    Attributes:
        requirement: such as "macs <= 2M".
        best: None where the search has not learned of networks as small.
        drawn: networks that it is the best of.
        why: there is none; empty where there is one.
    """

    requirement: str
    best: Drawn | None
    drawn: int
    why: str = ""


def within(
    path: str | Path,
    budgets: str,
    seeds: Iterable[int] = range(8),
    *,
    distil: bool = False,
    requirements: Iterable[str] = (),
    prototype: nn.Module | None = None,
    dataset: Any = None,
    trust: bool = False,
    listener: Listener = SILENT,
) -> tuple[Budget, ...]:
    """Return the best network within each of some budgets.

    Args:
        path: of a finished run.
        budgets: limits on one cost, such as "macs <= 2M, 4M, 8M".
        seeds: that are drawn under each.
        distil: whether the best of each is also distilled and certified.
        requirements: in place of the run's on the same metrics, of every budget.
        prototype, dataset, trust: see `family_training.distil`.
        listener: hears of the progress.

    Raises:
        ConfigError: if the budgets cannot be read, or are no limits on a cost.
        UnreachableError: if the search has learned of no network within any of them.
        GensynthError: as `generate` and `family_training.distil`.
    """
    seeds, found = list(dict.fromkeys(seeds)), list[Budget]()
    if not seeds:
        raise ConfigError("the best within a budget is one of some seeds, got none")
    refusal: UnreachableError | None = None
    for text in read_budgets(budgets):
        asked = (*requirements, text)
        try:
            drawn = generate(path, seeds, requirements=asked, listener=listener).drawn
        except UnreachableError as error:
            refusal = error
            found.append(Budget(text, None, 0, str(error)))
            continue
        best = max(drawn, key=_merit)
        if distil:
            (best,) = family_training.distil(
                Path(path), [best.seed], requirements=asked, prototype=prototype, dataset=dataset,
                trust=trust, listener=listener,
            ).drawn  # fmt: skip
        found.append(Budget(text, best, len(drawn)))
    if refusal is not None and all(budget.best is None for budget in found):
        raise refusal
    return tuple(found)


def read_budgets(text: str) -> tuple[str, ...]:
    """Return the limits that one text has, as requirements.

    Raises:
        ConfigError: if it is none, or its metric is no cost of a network.

    Example:
        >>> read_budgets("macs <= 2M, 4M")
        ('macs <= 2M', 'macs <= 4M')
    """
    read = re.fullmatch(r"\s*(\w+)\s*(<=?)\s*(.+)", text)
    if read is None:
        raise ConfigError(_ASKED.format(text.strip()))
    metric, sign, numbers = read.groups()
    limits = tuple(
        dict.fromkeys(f"{metric} {sign} {n.strip()}" for n in numbers.split(",") if n.strip())
    )
    for limit in limits:
        if parse(limit).of != "network":
            raise ConfigError(_ASKED.format(limit))
    return limits


def _merit(drawn: Drawn) -> tuple[bool, float, float]:
    """Return what makes one network better than another: whether it may do, its score, its cost."""
    return drawn.verdict is not Verdict.VIOLATED, drawn.predicted[1], -drawn.costs["macs"]
