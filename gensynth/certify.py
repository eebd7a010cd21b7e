"""What a finalist's accuracy is shown to be, and the record that it was looked at once.

    Certificate     counts on the test split -> point value, bounds, verdict
    certify         counts, requirements, how many share the confidence -> Certificate
    verdicts        certificate and costs -> a verdict a requirement
    Ledger          every touch of the test split, one JSON object a line

A test split that is looked at again and again until a network passes certifies nothing.
The ledger therefore answers a repeated question from the record, without touching the
images. Nothing here runs a network: the caller counts.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gensynth import durable
from gensynth.data.dataset import Split
from gensynth.errors import ConfigError, RunError
from gensynth.intervals import lower_bound, shared, wilson
from gensynth.requirements import (
    ACCURACIES,
    COUNTS,
    SCORES,
    Requirement,
    Verdict,
    accuracy_limit,
    judge,
    judge_accuracy,
    judge_cost,
)
from gensynth.utility import Utility

TABLE_CONFIDENCE = 0.95
"""Of the two-sided interval that stands beside every point value."""


@dataclass(frozen=True)
class Certificate:
    """The accuracy of one network on one split, and what may be claimed from it.

    Attributes:
        correct: images classified correctly.
        n: images in all.
        requirement: the inequality it was judged by; None if accuracy is not limited.
        confidence: that all certificates sharing it hold together.
        sharing: networks certified together.
        metric: what was measured.
        split: where; none of its images was used to train or to choose the network.
        provenance: always "measured": counted, not predicted.
    """

    correct: int
    n: int
    requirement: Requirement | None = None
    confidence: float = 0.95
    sharing: int = 1
    metric: str = "top1"
    split: str = "test"
    provenance: str = "measured"

    @property
    def point_pct(self) -> float:
        """Share of the images that are right, in percent: the paper's own criterion."""
        return 100 * self.correct / self.n

    @property
    def low_pct(self) -> float:
        """Lower end of the two-sided 95 % Wilson interval, in percent, not shared."""
        return 100 * wilson(self.correct, self.n, TABLE_CONFIDENCE)[0]

    @property
    def high_pct(self) -> float:
        """Upper end of the two-sided 95 % Wilson interval, in percent, not shared."""
        return 100 * wilson(self.correct, self.n, TABLE_CONFIDENCE)[1]

    @property
    def lower_bound_pct(self) -> float:
        """The accuracy that is certified: one-sided, at the shared confidence."""
        return 100 * lower_bound(self.correct, self.n, shared(self.confidence, self.sharing))

    @property
    def verdict(self) -> Verdict | None:
        """Whether the requirement is met, by the one-sided bounds; None without one."""
        if self.requirement is None:
            return None
        return judge_accuracy(self.requirement, self.correct, self.n, self.confidence, self.sharing)

    def to_json(self) -> dict[str, Any]:
        """Return all of it, the derived figures included, as JSON values for a card."""
        verdict = self.verdict
        return {
            "metric": self.metric,
            "split": self.split,
            "provenance": self.provenance,
            "correct": self.correct,
            "n": self.n,
            "point_pct": self.point_pct,
            "low_pct": self.low_pct,
            "high_pct": self.high_pct,
            "lower_bound_pct": self.lower_bound_pct,
            "confidence": self.confidence,
            "sharing": self.sharing,
            "requirement": None if self.requirement is None else self.requirement.text,
            "verdict": None if verdict is None else verdict.value,
        }


def certifiable(
    requirement: Requirement, n: int, *, sharing: int = 1, confidence: float = 0.95
) -> Requirement:
    """Return a requirement on accuracy with the limit that a network must reach to be certified.

    The limit is the smallest share of n images whose one-sided bound satisfies the requirement.
    Nothing but the number of images is asked of the test split.

    Raises:
        ConfigError: if n images are too few to certify even a network that is always right.

    Example:
        >>> from gensynth.requirements import parse
        >>> certifiable(parse("top1 >= 89%"), 10_000, sharing=3).limit
        89.67
    """
    if judge_accuracy(requirement, n, n, confidence, sharing) is not Verdict.SATISFIED:
        raise ConfigError(
            f'no network can be certified for "{requirement}" by {n:,} test images, not even one '
            'that is always right; use more of them, or aim = "point"'
        )
    low, high = 0, n
    while low < high:
        middle = (low + high) // 2
        verdict = judge_accuracy(requirement, middle, n, confidence, sharing)
        low, high = (low, middle) if verdict is Verdict.SATISFIED else (middle + 1, high)
    limit = 100 * low / n
    text = f"{requirement} ({limit:.2f} % for a certificate)"
    return replace(requirement, comparison=">=", limit=limit, text=text)


def certify(
    correct: int,
    n: int,
    requirements: Sequence[Requirement] = (),
    *,
    sharing: int = 1,
    confidence: float = 0.95,
) -> Certificate:
    """Decide what the counts on the test split show about a finalist's accuracy.

    Args:
        correct: test images it classifies correctly.
        n: test images.
        requirements: all of the run's; the one on accuracy is judged.
        sharing: finalists certified together, whether or not they pass.
        confidence: that no false "satisfied" is among them.

    Raises:
        ValueError: if the counts, the sharing or the confidence are impossible.
    """
    lower_bound(correct, n, shared(confidence, sharing))  # refuses what is impossible
    return Certificate(correct, n, accuracy_limit(requirements), confidence, sharing)


def verdicts(
    certificate: Certificate,
    requirements: Sequence[Requirement],
    costs: Mapping[str, float],
    measured: Mapping[str, tuple[float, float]] | None = None,
) -> dict[str, Verdict]:
    """Judge every requirement on a certified network.

    Scores grow with accuracy, so the accuracy's bounds at the shared confidence are
    bounds of the score. What was not measured is unknown.

    Args:
        certificate: of the network.
        requirements: of the run.
        costs: its exact "params" and "macs".
        measured: (low, high) of what a device measured, such as "latency_ms@local".

    Returns:
        A verdict by the requirement's text, in the order given.
    """
    found: dict[str, Verdict] = {}
    for requirement in requirements:
        if requirement.metric in COUNTS:
            verdict = judge_cost(requirement, costs[requirement.metric])
        elif requirement.metric in ACCURACIES:
            verdict = judge_accuracy(
                requirement,
                certificate.correct,
                certificate.n,
                certificate.confidence,
                certificate.sharing,
            )
        elif requirement.metric in SCORES:
            verdict = _judge_score(requirement, certificate, costs)
        else:
            bounds = (measured or {}).get(f"{requirement.metric}@{requirement.device}")
            verdict = Verdict.UNKNOWN if bounds is None else judge(requirement, *bounds)
        found[requirement.text] = verdict
    return found


def weights_sha256(path: Path) -> str:
    """Return the SHA-256 of a weights file: the key of a network in the ledger."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def split_sha256(split: Split) -> str:
    """Return the SHA-256 of a split's shape, images and labels: its key in the ledger."""
    digest = hashlib.sha256(repr(split.images.shape).encode())
    digest.update(split.images.tobytes())
    digest.update(split.labels.astype("<i8").tobytes())
    return digest.hexdigest()


class Ledger:
    """The touches of a test split, append-only, on disk before and after each.

    A touch is two lines, "touch" before the images are looked at and "result" with the
    counts after. A process killed in between leaves a touch without a result: nobody saw
    one, so the same network may be counted again, and the record shows both touches.

    Example:
        >>> ledger = Ledger(path)  # doctest: +SKIP
        >>> ledger.count(network, split, look, n=len(test))  # doctest: +SKIP
        2871
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def recorded(self, network: str, split: str) -> tuple[int, int] | None:
        """Return the (correct, n) on record for a network and a split, by their SHA-256.

        Raises:
            RunError: if the ledger cannot be read or a line of it is damaged.
        """
        for entry in self.entries():
            if (entry["event"], entry["network"], entry["split"]) == ("result", network, split):
                return entry["correct"], entry["n"]
        return None

    def count(self, network: str, split: str, counted: Callable[[], int], *, n: int) -> int:
        """Return how many images of a split a network gets right, looking at most once.

        Args:
            network: SHA-256 of its weights file.
            split: SHA-256 of the split.
            counted: looks at the images and returns how many are right; called only if
                there is no result on record.
            n: images of the split.

        Raises:
            RunError: if the ledger cannot be read or written, or is damaged; the images are
                not touched then.
            ValueError: if `counted` returns what cannot be, or `n` is not the recorded one.
        """
        known = self.recorded(network, split)
        if known is not None:
            if known[1] != n:
                raise ValueError(f"n must be the recorded {known[1]}, got {n}")
            return known[0]
        self._append({"event": "touch", "network": network, "split": split, "n": n})
        correct = counted()
        if not 0 <= correct <= n:
            raise ValueError(f"correct must be in [0, {n}], got {correct}")
        self._append(
            {"event": "result", "network": network, "split": split, "n": n, "correct": correct}
        )
        return correct

    def entries(self) -> list[dict[str, Any]]:
        """Return all lines; a last one without its end, torn by a kill, is left out.

        Raises:
            RunError: if the ledger cannot be read or another line is damaged.
        """
        entries: list[dict[str, Any]] = []
        for number, line in enumerate(self._whole_lines().splitlines(), start=1):
            try:
                entries.append(_entry(line))
            except (ValueError, KeyError, TypeError) as error:
                raise RunError(
                    f"{self.path} is damaged in line {number}; the record of the test split "
                    "is not complete without it: put the file back from a copy"
                ) from error
        return entries

    def _whole_lines(self) -> bytes:
        content = self._content()
        return content[: content.rfind(b"\n") + 1]

    def _content(self) -> bytes:
        try:
            return self.path.read_bytes() if self.path.exists() else b""
        except OSError as error:
            raise RunError(f"{self.path} cannot be read: {error.strerror}") from error

    def _append(self, entry: dict[str, Any]) -> None:
        line = json.dumps(entry, sort_keys=True).encode() + b"\n"
        try:
            whole = self._whole_lines()
            if whole != self._content():  # a torn last line, which the next would join
                durable.write_bytes(self.path, whole)
            durable.append(self.path, line)
        except OSError as error:
            raise RunError(
                f"{self.path} cannot be written: {error.strerror}; the test split is only "
                "looked at where that can be recorded"
            ) from error


def _judge_score(
    requirement: Requirement, certificate: Certificate, costs: Mapping[str, float]
) -> Verdict:
    confidence = shared(certificate.confidence, certificate.sharing)
    low, high = wilson(certificate.correct, certificate.n, confidence, sided=1)
    score = Utility(requirement.metric)
    # A score of no accuracy at all is below every limit; NetScore's logarithm has no value.
    worst = score({**costs, "top1": 100 * low}) if low > 0 else float("-inf")
    return judge(requirement, worst, score({**costs, "top1": 100 * high}))


def _entry(line: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = json.loads(line)
    needed = {"network", "split", "n"} | ({"correct"} if entry["event"] == "result" else set())
    if not needed <= entry.keys():
        raise KeyError(", ".join(needed - entry.keys()))
    return entry
