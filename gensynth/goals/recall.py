"""The smallest of the classes' recalls: how a network does on the class that it knows least.

    value     min over classes of correct_c / n_c
    bounds    min over classes of Wilson's bounds, whose error the classes share (Bonferroni)

Each class's recall lies within its bounds, all of them together at the stated confidence, whichever
class turns out to be the smallest; so the smallest lies within the smallest bounds.
"""

import math
from dataclasses import dataclass
from typing import Any

from gensynth.goals.intervals import bonferroni, wilson


@dataclass(frozen=True)
class SmallestRecall:
    """The smallest share of a class's own images that are right.

    Attributes:
        metric: "smallest_recall".
        correct: images of each class that are right, in label order.
        counts: images of each class; one without images is left out of the smallest.
    """

    metric: str
    correct: tuple[int, ...]
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.correct) != len(self.counts) or not any(self.counts):
            raise ValueError(
                "every class must have its images counted, and one of them some, got "
                f"{len(self.correct)} and {len(self.counts)} counts"
            )
        if any(not 0 <= right <= n for right, n in zip(self.correct, self.counts, strict=True)):
            raise ValueError("no class can have more images that are right than it has images")

    @property
    def n(self) -> int:
        """Images of all classes."""
        return sum(self.counts)

    @property
    def value(self) -> float:
        """The smallest recall, in [0, 1]."""
        right, n = self._smallest()
        return right / n

    @property
    def method(self) -> str:
        """Whose bounds they are."""
        return "Wilson"

    def bounds(self, confidence: float = 0.95, *, sided: int = 2) -> tuple[float, float]:
        """Return the smallest lower and the smallest upper bound of a class's recall."""
        pairs = self._pairs()
        each = bonferroni(confidence, len(pairs))
        lows, highs = zip(*(wilson(right, n, each, sided=sided) for right, n in pairs), strict=True)
        return min(lows), min(highs)

    def logit(self) -> tuple[float, float]:
        """Return the empirical logit of the smallest recall and its counting variance."""
        right, n = self._smallest()
        wrong = n - right
        return (
            math.log((right + 0.5) / (wrong + 0.5)),
            1 / (right + 0.5) + 1 / (wrong + 0.5),
        )

    def to_document(self) -> dict[str, Any]:
        """Return the counts."""
        return {"correct_of_class": list(self.correct), "n_of_class": list(self.counts)}

    def _pairs(self) -> list[tuple[int, int]]:
        return [(right, n) for right, n in zip(self.correct, self.counts, strict=True) if n]

    def _smallest(self) -> tuple[int, int]:
        return min(self._pairs(), key=lambda pair: (pair[0] / pair[1], -pair[1]))
