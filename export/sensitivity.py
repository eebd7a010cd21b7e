"""Which layers of an INT8 file stay in FP32, so that what is required of its network still holds.

    1   all layers in INT8. If no requirement falls, this is the file.
    2   Else each layer is computed in INT8 alone, and its damage measured on images:
        mean over images of |logits - logits in FP32|^2 / |logits in FP32|^2.
    3   The most damaging k layers stay in FP32, for the smallest k that holds. It is found by
        bisection, as if to keep more never did worse; what is returned was itself measured.

A requirement falls if its verdict on the search split does, from satisfied to unknown or
violated, or from unknown to violated: the verdict of the one-sided 95 % bounds of the score,
or that of the point value.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gensynth.errors import ExportError
from gensynth.export.int8 import Quantizer
from gensynth.export.parity import run_all
from gensynth.export.runtime import Rounding
from gensynth.export.source import Source, score_of_file
from gensynth.export.targets import Target
from gensynth.export.writer import Array
from gensynth.goals.requirements import Requirement
from gensynth.goals.score import Score
from gensynth.goals.verdicts import Range, Verdict, judge_all
from gensynth.graph.cost import cost

CALIBRATION_IMAGES = 512
DAMAGE_IMAGES = 128
WORST_FIRST = (Verdict.VIOLATED, Verdict.UNKNOWN, Verdict.SATISFIED)


@dataclass(frozen=True)
class Mixed:
    """A file in INT8, with some layers in FP32 if need be.

    Attributes:
        content: the file.
        score: on the search split.
        layers: all layers with weights.
        kept: layers in FP32, the most damaging first.
        fallen: requirements that would have fallen with all layers in INT8.
        damage: of every layer alone, the largest first; empty where nothing fell.
        tried: layers kept in FP32, and the score then.
    """

    content: bytes
    score: Score
    layers: tuple[str, ...]
    kept: tuple[str, ...]
    fallen: tuple[str, ...]
    damage: Mapping[str, float]
    tried: tuple[tuple[int, Score], ...]


def mix(
    quantizer: Quantizer,
    *,
    measure: Callable[[bytes], Score],
    fallen: Callable[[Score], Sequence[str]],
    exact: bytes,
    read: Array,
    rounding: Rounding,
) -> Mixed:
    """Return the file with the fewest layers in FP32 for which no requirement falls.

    Args:
        quantizer: of the network's FP32 file.
        measure: a file's score on the search split.
        fallen: the requirements that fall with such a score.
        exact: the FP32 file.
        read: normalised images that damage is measured on.
        rounding: how the file's target computes it.

    Raises:
        ExportError: if requirements fall with a single layer in INT8.
    """
    content = quantizer.write()
    score = measure(content)
    broken = tuple(fallen(score))
    if not broken:
        return Mixed(content, score, quantizer.layers, (), (), {}, ((0, score),))
    (wanted,) = run_all(exact, [read])
    damage = {
        layer: _damage(quantizer.write(only=[layer]), wanted, read, rounding)
        for layer in quantizer.layers
    }
    order = sorted(damage, key=lambda layer: -damage[layer])
    tried = {0: score}
    found: tuple[bytes, Score] | None = None
    low, high = 0, len(order)  # `low` falls; `high` holds, or is the FP32 file
    while high - low > 1:
        kept = (low + high) // 2
        content = quantizer.write(keep=order[:kept])
        tried[kept] = measure(content)
        if fallen(tried[kept]):
            low = kept
        else:
            high, found = kept, (content, tried[kept])
    if found is None:
        raise ExportError(
            f"in INT8 {' and '.join(broken)} would not hold as before, whichever layers stay in "
            "FP32; export it as fp16 or fp32"
        )
    return Mixed(
        *found,
        layers=quantizer.layers,
        kept=tuple(order[:high]),
        fallen=broken,
        damage={layer: damage[layer] for layer in order},
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


def mixed_for(source: Source, target: Target, model: bytes, before: Score | None) -> Mixed:
    """Write an FP32 file in INT8, with the layers in FP32 that its requirements need.

    Args:
        source: the network.
        target: that the file is for.
        model: the FP32 file.
        before: the network's score on the search split.

    Raises:
        ExportError: if there are no images, or INT8 would cost a requirement.
    """
    if source.calibration is None or before is None:
        raise ExportError(f"INT8 is measured on images, and there are none: {source.why_not}")
    read = source.reading(source.calibration[:CALIBRATION_IMAGES])
    counted = cost(source.network.graph)
    costs = {"params": counted.params, "macs": counted.macs}
    return mix(
        Quantizer(model, read, "tensorrt" if target.tensorrt else "processor"),
        measure=lambda content: score_of_file(source, content, target.rounding),
        fallen=lambda after: fallen_requirements(
            source.requirements, costs, before=before, after=after
        ),
        exact=model,
        read=read[:DAMAGE_IMAGES],
        rounding=target.rounding,
    )


def int8_document(mixed: Mixed, source: Source) -> dict[str, Any]:
    """Return what the manifest says of an INT8 file."""
    assert source.calibration is not None
    return {
        "method": "static, QuantizeLinear and DequantizeLinear; smallest and largest value",
        "ranges_from": {
            "split": "train",
            "images": len(source.calibration[:CALIBRATION_IMAGES]),
        },
        "kept_in_fp32": list(mixed.kept),
        "kept_for": list(mixed.fallen),
        "damage": dict(mixed.damage),
        "damage_is": "mean |change of the logits|^2 / |logits|^2 with this layer alone in INT8",
        "tried": [{"kept": kept, **score.to_document()} for kept, score in mixed.tried],
    }


def _bounds(score: Score) -> dict[str, Range]:
    return {score.metric: score.bounds(sided=1)}


def _point(score: Score) -> dict[str, Range]:
    return {score.metric: (score.value, score.value)}


def _damage(content: bytes, wanted: Array, read: Array, rounding: Rounding) -> float:
    (found,) = run_all(content, [read], rounding=rounding)
    axes = tuple(range(1, wanted.ndim))
    error = np.square(found - wanted).sum(axis=axes)
    size = np.square(wanted).sum(axis=axes)
    return float(np.mean(error / np.maximum(size, np.finfo(np.float32).tiny)))
