"""Networks of a learned generator: a row a seed and the family they are, or a row a budget."""

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gensynth.goals.certificate import is_by
from gensynth.goals.relative import as_asked
from gensynth.goals.requirements import parse
from gensynth.goals.verdicts import Verdict, combine
from gensynth.render.figures import columns, count, estimate

if TYPE_CHECKING:
    from gensynth.runs.budgets import Budget
    from gensynth.runs.family import Drawn, Family


def family(family: "Family") -> str:
    """Return the table of the drawn networks, and the family's figures below it.

    Predicted is the score in percent after full distillation, with its 95 % interval; tested is
    measured on the test split. The verdict is the predicted one until a network is tested,
    then the one by its point value.
    """
    tested = any(drawn.certificate is not None for drawn in family.drawn)
    rows = [_head(tested=tested), *(_row(drawn, tested=tested) for drawn in family.drawn)]
    return "\n".join([*columns(rows, left=0), "", *_summary(family)])


def budgets(found: "Sequence[Budget]") -> str:
    """Return the table of the best network within each of some budgets."""
    best = [budget.best for budget in found if budget.best is not None]
    tested = any(drawn.certificate is not None for drawn in best)
    head = ["within", *_head(tested=tested)]
    rows = [
        [budget.requirement, *(_row(budget.best, tested=tested) if budget.best else ["none"])]
        for budget in found
    ]
    width = max(map(len, [head, *rows]))
    padded = [[*row, *[""] * (width - len(row))] for row in [head, *rows]]
    lines = [
        *columns(padded, left=0),
        "",
        f"each the best by predicted score of {max(budget.drawn for budget in found)} seeds",
        *(budget.why for budget in found if budget.best is None),
    ]
    if not tested:
        lines.append("train and certify them with: the same command and --distil")
    lines.append("networks are in " + " ".join(shlex.quote(str(drawn.folder)) for drawn in best))
    return "\n".join(lines)


def _head(*, tested: bool) -> list[str]:
    return ["seed", "predicted", *(["tested"] if tested else []), "MACs", "params", "require"]


def _row(drawn: "Drawn", *, tested: bool) -> list[str]:
    certificate = drawn.certificate
    verdicts = drawn.verdicts if drawn.point_verdicts is None else drawn.point_verdicts
    shown = "-"
    if certificate is not None:
        low_pct, high_pct = certificate.interval_pct
        shown = estimate(low_pct, certificate.point_pct, high_pct)
    return [
        f"{drawn.seed}",
        estimate(*(100 * p for p in drawn.predicted)),
        *([shown] if tested else []),
        count(int(drawn.costs["macs"])),
        count(int(drawn.costs["params"])),
        combine(verdicts.values()).value,
    ]


def _summary(family: "Family") -> list[str]:
    networks = len(family.drawn)
    distinct = len({drawn.graph_sha256 for drawn in family.drawn})
    spread = ""
    if family.median_distance is not None:
        spread = f", median pairwise distance of relative widths {family.median_distance:.3f}"
    shapes = (
        "1 architecture" if family.architectures == 1 else f"{family.architectures} architectures"
    )
    lines = [f"{distinct} different among {networks}, of {shapes}{spread}"]
    if family.judged:
        lines.append(
            f"{family.satisfied} of {family.judged} meet the requirements by point value: at "
            f"least {100 * (family.share_lower_bound or 0):.0f} % of all seeds do,\n  at one-sided "
            "95 % by Wilson's score interval, the seeds taken as independent draws"
        )
    elif family.judged is None:
        lines.append("train and certify them with: the same command and --distil")
    how = "is predicted to meet" if family.judged is None else "is shown to meet"
    verdicts = {drawn.verdict for drawn in family.drawn}
    if verdicts == {Verdict.VIOLATED}:
        lines.append("every network violates a requirement")
    elif verdicts and Verdict.SATISFIED not in verdicts:
        lines.append(f"no network {how} every requirement, and not all violate one")
    lines += [
        f'"{as_asked(text)}" is judged by the difference from the prototype on the same test images'
        for text in _paired(family)
    ]
    folder = family.drawn[0].folder.parent if family.drawn else family.path
    return [*lines, f"networks are in {shlex.quote(str(folder))}/SEED"]


def _paired(family: "Family") -> list[str]:
    """Return the requirements that were judged by the difference from the prototype."""
    return [
        text
        for text in (family.drawn[0].verdicts if family.drawn else ())
        if any(
            one.certificate is not None and is_by(parse(text), one.certificate.difference)
            for one in family.drawn
        )
    ]
