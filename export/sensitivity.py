"""Which layers of a file stay in FP32, so that what is required of its network still holds.

    1   All layers in INT8 or FP16, but for those that cannot be. If nothing falls, that is it.
    2   Else each layer is computed so alone, and its damage measured on images:
        mean over images of |outputs - those in FP32|^2 / |those in FP32|^2.
    3   The most damaging k layers stay in FP32, for the smallest k that holds. It is found by
        bisection, as if to keep more never did worse; what is returned was itself measured.

A requirement falls if its verdict on the search split does, from satisfied to unknown or
violated, or from unknown to violated: the verdict of the one-sided 95 % bounds of the score,
or that of the point value.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from gensynth.errors import ExportError
from gensynth.export.parity import run_all
from gensynth.export.runtime import Rounding
from gensynth.export.writer import Array
from gensynth.goals.requirements import Requirement
from gensynth.goals.score import Score
from gensynth.goals.verdicts import Range, Verdict, judge_all

DAMAGE_IMAGES = 128
WORST_FIRST = (Verdict.VIOLATED, Verdict.UNKNOWN, Verdict.SATISFIED)

Judgement = tuple[Score | None, Sequence[str]]
"""A file's score on the search split, None where there is none; what would fall with it."""


class Lower(Protocol):
    """A file that can be written in a lower precision, layer by layer."""

    @property
    def layers(self) -> tuple[str, ...]:
        """Every layer that may be in the lower precision, by node name."""

    def write(self, *, keep: Collection[str] = (), only: Collection[str] | None = None) -> bytes:
        """Return the file with `keep` in FP32, or with nothing but `only` in less."""


@dataclass(frozen=True)
class Mixed:
    """A file in a lower precision, with some layers in FP32 if need be.

    Attributes:
        content: the file.
        score: on the search split; None where there is none.
        layers: all layers that might be in the lower precision.
        kept: layers in FP32: those that cannot be in less, then the most damaging first.
        fallen: what would have fallen otherwise.
        damage: of every other layer alone, the largest first; empty where nothing fell.
        tried: layers kept in FP32, and the score then.
    """

    content: bytes
    score: Score | None
    layers: tuple[str, ...]
    kept: tuple[str, ...]
    fallen: tuple[str, ...]
    damage: Mapping[str, float]
    tried: tuple[tuple[int, Score | None], ...]


def mix(
    lower: Lower,
    *,
    precision: str,
    judge: Callable[[bytes], Judgement],
    exact: bytes,
    read: Array,
    shown: Callable[[bytes], bytes] = bytes,
    rounding: Rounding = "as_written",
    cannot: Sequence[str] = (),
    because: Sequence[str] = (),
) -> Mixed:
    """Return the file with the fewest layers in FP32 with which nothing falls.

    Args:
        lower: the network's FP32 file, to be written in less.
        precision: what `lower` writes, for messages.
        judge: what becomes of a file.
        exact: the FP32 file.
        read: normalised images that damage is measured on.
        shown: the file that a processor runs to show what a file computes.
        rounding: how the file's target computes it.
        cannot: layers that stay in FP32 in any case.
        because: why they do.

    Raises:
        ExportError: if something falls with a single layer in the lower precision.
    """
    first = len(cannot)
    content = lower.write(keep=cannot)
    score, broken = judge(content)
    tried = {first: score}
    if not broken:
        return Mixed(content, score, lower.layers, (*cannot,), (*because,), {}, ((first, score),))
    wanted = run_all(exact, [read])
    damage = {
        layer: _damage(shown(lower.write(only=[layer])), wanted, read, rounding)
        for layer in lower.layers
        if layer not in cannot
    }
    order = [*cannot, *sorted(damage, key=lambda layer: -damage[layer])]
    found: tuple[bytes, Score | None] | None = None
    low, high = first, len(order)  # `low` falls; `high` holds, or is the FP32 file
    while high - low > 1:
        kept = (low + high) // 2
        content = lower.write(keep=order[:kept])
        tried[kept], falls = judge(content)
        if falls:
            low = kept
        else:
            high, found = kept, (content, tried[kept])
    if found is None:
        raise ExportError(
            f"in {precision.upper()} {' and '.join(broken)} would not hold as before, whichever "
            f"layers stay in FP32; export it as {'fp16 or ' * (precision == 'int8')}fp32"
        )
    return Mixed(
        *found,
        layers=lower.layers,
        kept=tuple(order[:high]),
        fallen=(*because, *broken),
        damage={layer: damage[layer] for layer in order[first:]},
        tried=tuple(sorted(tried.items())),
    )


def fallen_requirements(
    requirements: Sequence[Requirement],
    costs: Mapping[str, float],
    *,
    before: Score,
    after: Score,
) -> tuple[str, ...]:
    """Return the requirements whose verdict is worse after than before.

    Args:
        requirements: of the network.
        costs: its exact "params" and "macs".
        before, after: scores on the same images.
    """
    fell = []
    for of in (_bounds, _point):
        first, second = (judge_all(requirements, of(s), costs) for s in (before, after))
        fell += [t for t in first if WORST_FIRST.index(second[t]) < WORST_FIRST.index(first[t])]
    return tuple(dict.fromkeys(fell))


def _bounds(score: Score) -> dict[str, Range]:
    return {score.metric: score.bounds(sided=1)}


def _point(score: Score) -> dict[str, Range]:
    return {score.metric: (score.value, score.value)}


def _damage(content: bytes, wanted: list[Array], read: Array, rounding: Rounding) -> float:
    found = run_all(content, [read], rounding=rounding)
    gaps = [f - w for f, w in zip(found, wanted, strict=True)]
    error, size = (
        np.sum([np.square(each).reshape(len(each), -1).sum(axis=1) for each in maps], axis=0)
        for maps in (gaps, wanted)
    )
    damage = float(np.mean(error / np.maximum(size, np.finfo(np.float32).tiny)))
    return damage if np.isfinite(damage) else float("inf")
