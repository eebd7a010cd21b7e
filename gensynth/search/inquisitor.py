"""The inquisitor I(G; theta_I): what was observed, and what it predicts.

theta_I is learned in two stages from the networks that were generated:

- the *degradation* model predicts how far a network's answers shift from the prototype's
  before any training, log KL(p_phi || p_network) on the stimuli, from its shape, its cost and
  the information it lacks. Probing is cheap, so it sees many networks a cycle;
- the *accuracy* model predicts logit accuracy from that degradation, cost and shape, at two
  fidelities: after a cycle's short distillation and after a finalist's.

Both are Bayesian, so every prediction has its uncertainty. How the generator changes for
them stands in `evolution`. Nothing is trained or measured here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gensynth.probing.probe import Responses
from gensynth.search.features import Features
from gensynth.search.importance import Insight, consolidate
from gensynth.search.regression import Posterior, fit, logit
from gensynth.space.points import Points
from gensynth.space.space import Space

SHORT, FULL = 0, 1
"""Fidelities: accuracy after a cycle's short distillation, after a finalist's."""

SHIFT_VARIANCE = 0.05**2
"""Sampling variance of a log shift on a few hundred stimuli."""

AGEING = 0.05**2
"""Variance that a log shift gains a cycle: shared weights move on."""

# Small, because all of these say the same of a network, one after the other; what is known at
# first of their sum must not carry a prediction far from the networks that were seen.
_ACCURACY_PRIOR = {
    "one": (1.0, 2.0), "macs": (0.2, 0.5), "params": (0.2, 0.5), "width": (0.1, 0.15),
    "removed": (-0.1, 0.15), "kept": (0.1, 0.15), "rank": (-0.05, 0.15), "blocks": (-0.05, 0.15),
    "operators": (-0.05, 0.15),
}  # fmt: skip
_EXTRA_PRIOR = ((-0.3, 0.25), (1.0, 0.7), (0.2, 0.2))
"""Of the log shift, of full distillation, of both together: it mends what was shifted."""


@dataclass(frozen=True)
class Observation:
    """One network's measured accuracy on the search split.

    Attributes:
        widths, bits: the network as a point of the space.
        fidelity: `SHORT` or `FULL`.
        correct, n: images classified correctly, of how many.
        operators: of its convolutions; none where the space has no sites.
    """

    widths: tuple[int, ...]
    bits: tuple[bool, ...]
    fidelity: int
    correct: int
    n: int
    operators: tuple[int, ...] = ()


@dataclass(frozen=True)
class Shift:
    """How far one untrained network's answers are from the prototype's.

    Attributes:
        widths, bits: the network as a point of the space.
        nats: KL(p_phi || p_network), mean over the stimuli.
        cycle: when it was probed.
        operators: of its convolutions; none where the space has no sites.
    """

    widths: tuple[int, ...]
    bits: tuple[bool, ...]
    nats: float
    cycle: int
    operators: tuple[int, ...] = ()


class Inquisitor:
    """Observations and insight of one run, and what they predict.

    Args:
        space: of the prototype.
        insight: from responses.
        shifts: of networks probed before training.
        observations: accuracies seen so far.
    """

    def __init__(
        self,
        space: Space,
        insight: Insight,
        shifts: tuple[Shift, ...] = (),
        observations: tuple[Observation, ...] = (),
    ) -> None:
        self.space = space
        self.insight = insight
        self.shifts = shifts
        self.observations = observations
        self._features = Features(space, insight)

    def shifted(self, points: Points, nats: list[float], cycle: int) -> "Inquisitor":
        """Return an inquisitor that also knows these untrained networks' shifts."""
        new = tuple(
            Shift(widths, bits, float(value), cycle, operators)
            for value, (widths, bits, operators) in zip(nats, points.rows(), strict=True)
        )
        return Inquisitor(self.space, self.insight, self.shifts + new, self.observations)

    def observe(self, observation: Observation) -> "Inquisitor":
        """Return an inquisitor that has also seen this accuracy."""
        seen = (*self.observations, observation)
        return Inquisitor(self.space, self.insight, self.shifts, seen)

    def consolidate(self, points: Points, responses: Responses) -> "Inquisitor":
        """Return an inquisitor that has also heard one network's responses."""
        insight = consolidate(self.insight, self.space, points, responses)
        return Inquisitor(self.space, insight, self.shifts, self.observations)

    def predict(self, points: Points, fidelity: int) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of logit accuracy: (networks,) each."""
        features = self._features(points)
        shift, shift_sd = self._log_shift(points, features)
        mean, sd = self.posterior.predict(_extend(features, shift, fidelity))
        return mean, np.hypot(sd, self._slope(fidelity) * shift_sd)

    def predict_shift(self, points: Points) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of the log shift: (networks,) each."""
        return self._degradation.predict(self._features(points))

    def draw(self, points: Points, fidelity: int, normal: np.ndarray) -> np.ndarray:
        """Return logit accuracies under one draw of both models' weights (Thompson).

        Args:
            points: the networks.
            fidelity: `SHORT` or `FULL`.
            normal: (`width`,) a standard normal draw.
        """
        count = self._features.count
        features = self._features(points)
        shift = features @ self._degradation.draw(normal[:count])
        weights = self.posterior.draw(normal[count:])
        drawn: np.ndarray = _extend(features, shift, fidelity) @ weights
        return drawn

    @property
    def width(self) -> int:
        """How many normal numbers a draw takes."""
        return 2 * self._features.count + len(_EXTRA_PRIOR)

    def _slope(self, fidelity: int) -> float:
        shift, _, both = self.posterior.mean[self._features.count :]
        return float(shift + fidelity * both)

    def _log_shift(self, points: Points, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what is known of each network's log shift: probed where it was, else predicted.

        A probed shift that is older than the newest counts less (`AGEING`).
        """
        mean, sd = self._degradation.predict(features)
        newest = max((s.cycle for s in self.shifts), default=0)
        for i, key in enumerate(_keys(points)):
            found = self._known.get(key)
            if found is not None:
                noise = SHIFT_VARIANCE + AGEING * (newest - found.cycle)
                gain = sd[i] ** 2 / (sd[i] ** 2 + noise)
                mean[i] += gain * (np.log(max(found.nats, 1e-6)) - mean[i])
                sd[i] *= np.sqrt(1 - gain)
        return mean, sd

    @cached_property
    def _known(self) -> dict[bytes, Shift]:
        """The newest shift of every network that was probed."""
        return dict(zip(_keys(_points(self.shifts, self.space)), self.shifts, strict=True))

    @cached_property
    def _degradation(self) -> Posterior:
        count, small = self._features.count, self._features.small
        newest = max((s.cycle for s in self.shifts), default=0)
        points = _points(self.shifts, self.space)
        age = np.array([newest - s.cycle for s in self.shifts], dtype=float)
        mean = np.zeros(count)
        mean[self._features.names.index("removed")] = 1.0  # the shift is what is removed, in nats
        return fit(
            self._features(points),
            np.log([max(s.nats, 1e-6) for s in self.shifts]),
            SHIFT_VARIANCE + AGEING * age,
            prior_mean=mean,
            prior_sd=np.ones(count),
            small=small,
        )

    @cached_property
    def posterior(self) -> Posterior:
        """What is believed of the accuracy model's weights."""
        named = [_ACCURACY_PRIOR[name] for name in self._features.names]
        single = [(0.0, 1.0)] * int(self._features.small.sum())
        prior = np.array([*named, *single, *_EXTRA_PRIOR])
        seen = self.observations
        points = _points(seen, self.space)
        fidelity = np.array([o.fidelity for o in seen], dtype=float)
        features = self._features(points)
        columns = _extend(features, self._log_shift(points, features)[0], fidelity)
        logits, variances = logit(
            np.array([o.correct for o in seen], dtype=float),
            np.array([o.n for o in seen], dtype=float),
        )
        return fit(
            columns,
            logits,
            variances,
            prior_mean=prior[:, 0],
            prior_sd=prior[:, 1],
            small=np.concatenate([self._features.small, np.zeros(len(_EXTRA_PRIOR), bool)]),
        )

    def to_document(self) -> dict[str, Any]:
        """Return theta_I as JSON values."""
        document: dict[str, Any] = {
            "channel_nats": [nats.tolist() for nats in self.insight.channel_nats],
            "block_nats": self.insight.block_nats.tolist(),
            "dimension": self.insight.dimension.tolist(),
            "curvature": self.insight.curvature,
            "networks": self.insight.networks,
            "shifts": [[list(s.widths), list(s.bits), s.nats, s.cycle] for s in self.shifts],
            "observations": [
                [list(o.widths), list(o.bits), o.fidelity, o.correct, o.n]
                for o in self.observations
            ],
        }
        if len(self.space.sites):
            document["operator_nats"] = self.insight.operator_nats.tolist()
            for line, shift in zip(document["shifts"], self.shifts, strict=True):
                line.append(list(shift.operators))
            for line, observed in zip(document["observations"], self.observations, strict=True):
                line.append(list(observed.operators))
        return document

    @staticmethod
    def from_document(document: Mapping[str, Any], space: Space) -> "Inquisitor":
        """Read theta_I that `to_document` wrote."""
        insight = Insight(
            channel_nats=tuple(np.array(nats) for nats in document["channel_nats"]),
            block_nats=np.array(document["block_nats"]),
            dimension=np.array(document["dimension"]),
            curvature=document["curvature"],
            networks=document["networks"],
            operator_nats=np.array(document.get("operator_nats", ())).reshape(
                len(space.sites), len(space.sites.words)
            ),
        )
        shifts = tuple(
            Shift(tuple(widths), tuple(bits), nats, cycle, *map(tuple, operators))
            for widths, bits, nats, cycle, *operators in document["shifts"]
        )
        observations = tuple(
            Observation(tuple(widths), tuple(bits), fidelity, correct, n, *map(tuple, operators))
            for widths, bits, fidelity, correct, n, *operators in document["observations"]
        )
        return Inquisitor(space, insight, shifts, observations)


def _extend(features: np.ndarray, shift: np.ndarray, fidelity: int | np.ndarray) -> np.ndarray:
    """Append log shift, fidelity and their product."""
    full = np.broadcast_to(np.asarray(fidelity, dtype=float), shift.shape)
    return np.column_stack([features, shift, full, full * shift])


def _points(entries: tuple[Observation, ...] | tuple[Shift, ...], space: Space) -> Points:
    count = len(entries)
    widths = np.array([e.widths for e in entries], dtype=np.int64)
    bits = np.array([e.bits for e in entries], dtype=bool)
    operators = None
    if len(space.sites):
        operators = np.array([e.operators for e in entries], dtype=np.int8)
        operators = operators.reshape(count, len(space.sites))
    return Points(
        widths.reshape(count, len(space.sizes)),
        bits.reshape(count, space.owners.shape[1]),
        operators,
    )


def _keys(points: Points) -> list[bytes]:
    """Return something equal for equal networks."""
    rows = [w.tobytes() + b.tobytes() for w, b in zip(points.widths, points.bits, strict=True)]
    if points.operators is None:
        return rows
    return [row + own.tobytes() for row, own in zip(rows, points.operators, strict=True)]
