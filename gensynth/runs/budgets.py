"""Several budgets of one search: of each the best network that a learned generator draws.

Under each budget the same seeds are drawn, and the one of the highest predicted score stands for
it; the networks stand in RUN/generated, as those of `family` do. A budget that is less than the
search has learned of has no network, and says so; nor has a peak of activations that none of the
seeds is within, since a generator obeys limits on counts alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from gensynth.errors import ConfigError, UnreachableError
from gensynth.goals.budgets import read_budgets
from gensynth.goals.requirements import parse
from gensynth.goals.verdicts import Verdict
from gensynth.progress import SILENT, Listener
from gensynth.runs import family_training
from gensynth.runs.family import Drawn, generate


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
        UnreachableError: if there is a network within none of them.
        GensynthError: as `generate` and `family_training.distil`.
    """
    seeds, found = list(dict.fromkeys(seeds)), list[Budget]()
    if not seeds:
        raise ConfigError("the best within a budget is one of some seeds, got none")
    for text in read_budgets(budgets):
        asked = (*requirements, text)
        try:
            drawn = generate(path, seeds, requirements=asked, listener=listener).drawn
        except UnreachableError as error:
            found.append(Budget(text, None, 0, str(error)))
            continue
        inside = [one for one in drawn if _is_within(one, text)]
        if not inside:
            least = f"{len(drawn)} networks that were drawn; draw more of them by --seeds"
            found.append(Budget(text, None, len(drawn), f"{text} holds of none of the {least}"))
            continue
        best = max(inside, key=_merit)
        if distil:
            (best,) = family_training.distil(
                Path(path), [best.seed], requirements=asked, prototype=prototype, dataset=dataset,
                trust=trust, listener=listener,
            ).drawn  # fmt: skip
        found.append(Budget(text, best, len(drawn)))
    if all(budget.best is None for budget in found):
        raise UnreachableError(found[-1].why)
    return tuple(found)


def _is_within(drawn: Drawn, budget: str) -> bool:
    metric = parse(budget).metric
    verdicts = drawn.verdicts.items()
    return all(v is not Verdict.VIOLATED for text, v in verdicts if parse(text).metric == metric)


def _merit(drawn: Drawn) -> tuple[bool, float, float]:
    """Return what makes one network better than another: whether it may do, its score, its cost."""
    return drawn.verdict is not Verdict.VIOLATED, drawn.predicted[1], -drawn.costs["macs"]
