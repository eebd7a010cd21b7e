"""The inquisitor I(G; theta_I): what was observed, and what it predicts.

theta_I is learned in two stages from the networks that were generated:

- the *degradation* model predicts how far a network's answers are from the prototype's
  before any training, log KL(p_phi || p_network) on the stimuli, from its shape, its cost and
  the information it lacks. Probing is cheap, so it sees many networks a cycle;
- the *score* model predicts the logit of the task's score from that divergence, cost and shape,
  at two fidelities: after a cycle's short distillation and after a finalist's.

Both are Bayesian, so every prediction has its uncertainty. How the generator changes for
them stands in `evolution`. Nothing is trained or measured here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, NotRequired, TypeAlias

import numpy as np
from pydantic import Field
from typing_extensions import TypedDict

from gensynth.goals.score import Score, of_counts, read_score
from gensynth.outside import Form, Natural, Positive
from gensynth.probing.probe import Responses
from gensynth.search.features import Features
from gensynth.search.importance import Importance, consolidate
from gensynth.search.regression import Posterior, fit, sigmoid
from gensynth.space.points import Point, Points
from gensynth.space.space import Space

SHORT, FULL = 0, 1
Fidelity = Literal[0, 1]
"""Fidelities: the score after a cycle's short distillation, after a finalist's."""

PROBE_VARIANCE = 0.05**2
"""Sampling variance of a log divergence on a few hundred stimuli."""

AGEING = 0.05**2
"""Variance that a log divergence gains a cycle: shared weights move on."""

# Small, because all of these say the same of a network, one after the other; what is known at
# first of their sum must not carry a prediction far from the networks that were seen.
_SCORE_PRIOR = {
    "one": (1.0, 2.0), "macs": (0.2, 0.5), "params": (0.2, 0.5), "width": (0.1, 0.15),
    "removed": (-0.1, 0.15), "kept": (0.1, 0.15), "rank": (-0.05, 0.15), "blocks": (-0.05, 0.15),
    "substitutes": (-0.05, 0.15),
}  # fmt: skip
_EXTRA_PRIOR = ((-0.3, 0.25), (1.0, 0.7), (0.2, 0.2))
"""Of the log divergence, of full distillation, of both together: it mends what diverged."""


_Nats = Annotated[float, Field(ge=0, le=1e9)]
_Widths: TypeAlias = list[Positive]
_Kept: TypeAlias = list[bool]
_Chosen: TypeAlias = list[Natural]
_Score: TypeAlias = dict[str, Any]  # `read_score` holds it against its own form


class Document(TypedDict):
    """theta_I as JSON, of this version ("divergences", "scores") or of version 0.1."""

    channel_nats: list[list[_Nats]]
    block_nats: list[_Nats]
    dimension: list[_Nats]
    curvature: Annotated[float, Field(ge=0, le=16)]
    networks: Positive
    operator_nats: NotRequired[list[list[_Nats]]]
    divergences: NotRequired[
        list[tuple[_Widths, _Kept, _Nats, Natural] | tuple[_Widths, _Kept, _Chosen, _Nats, Natural]]
    ]
    scores: NotRequired[
        list[
            tuple[_Widths, _Kept, Fidelity, _Score]
            | tuple[_Widths, _Kept, _Chosen, Fidelity, _Score]
        ]
    ]
    shifts: NotRequired[
        list[tuple[_Widths, _Kept, _Nats, Natural] | tuple[_Widths, _Kept, _Nats, Natural, _Chosen]]
    ]
    observations: NotRequired[
        list[
            tuple[_Widths, _Kept, Fidelity, Natural, Positive]
            | tuple[_Widths, _Kept, Fidelity, Natural, Positive, _Chosen]
        ]
    ]


FORM: Form[Document] = Form(Document)


@dataclass(frozen=True)
class Observation:
    """One network's measured score on the search split.

    Attributes:
        point: the network.
        fidelity: `SHORT` or `FULL`.
        score: what was measured.
    """

    point: Point
    fidelity: int
    score: Score


@dataclass(frozen=True)
class Divergence:
    """How far one untrained network's answers are from the prototype's.

    Attributes:
        point: the network.
        nats: KL(p_phi || p_network), mean over the stimuli.
        cycle: when it was probed.
    """

    point: Point
    nats: float
    cycle: int


class Inquisitor:
    """Observations and importance of one run, and what they predict.

    Args:
        space: of the prototype.
        importance: from responses.
        divergences: of networks probed before training.
        observations: scores seen so far.
    """

    def __init__(
        self,
        space: Space,
        importance: Importance,
        divergences: tuple[Divergence, ...] = (),
        observations: tuple[Observation, ...] = (),
    ) -> None:
        self.space = space
        self.importance = importance
        self.divergences = divergences
        self.observations = observations
        self._features = Features(space, importance)

    def hear(self, points: Points, nats: list[float], cycle: int) -> "Inquisitor":
        """Return an inquisitor that also knows how far these untrained networks diverge."""
        new = tuple(Divergence(points[i], float(value), cycle) for i, value in enumerate(nats))
        known = self.divergences + new
        return Inquisitor(self.space, self.importance, known, self.observations)

    def observe(self, observation: Observation) -> "Inquisitor":
        """Return an inquisitor that has also seen this score."""
        seen = (*self.observations, observation)
        return Inquisitor(self.space, self.importance, self.divergences, seen)

    def consolidate(self, points: Points, responses: Responses) -> "Inquisitor":
        """Return an inquisitor that has also heard one network's responses."""
        importance = consolidate(self.importance, self.space, points, responses)
        return Inquisitor(self.space, importance, self.divergences, self.observations)

    def predict(self, points: Points, fidelity: int) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of the score's logit: (networks,) each."""
        features = self._features(points)
        log_nats, log_nats_sd = self._log_divergence(points, features)
        mean, sd = self.posterior.predict(_extend(features, log_nats, fidelity))
        return mean, np.hypot(sd, self._slope(fidelity) * log_nats_sd)

    def interval(self, points: Points, fidelity: int) -> tuple[float, float, float]:
        """Return (low, middle, high) of the first network's predicted score, at 95 %."""
        mean, sd = self.predict(points, fidelity)
        low, middle, high = sigmoid(mean[0] + sd[0] * np.array([-1.96, 0.0, 1.96]))
        return float(low), float(middle), float(high)

    def predict_divergence(self, points: Points) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of the log divergence: (networks,) each."""
        return self._degradation.predict(self._features(points))

    def draw(self, points: Points, fidelity: int, normal: np.ndarray) -> np.ndarray:
        """Return logits of the score under one draw of both models' weights (Thompson).

        Args:
            points: the networks.
            fidelity: `SHORT` or `FULL`.
            normal: (`width`,) a standard normal draw.
        """
        count = self._features.count
        features = self._features(points)
        log_nats = features @ self._degradation.draw(normal[:count])
        weights = self.posterior.draw(normal[count:])
        drawn: np.ndarray = _extend(features, log_nats, fidelity) @ weights
        return drawn

    @property
    def width(self) -> int:
        """How many normal numbers a draw takes."""
        return 2 * self._features.count + len(_EXTRA_PRIOR)

    def _slope(self, fidelity: int) -> float:
        log_nats, _, both = self.posterior.mean[self._features.count :]
        return float(log_nats + fidelity * both)

    def _log_divergence(
        self, points: Points, features: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return what is known of each log divergence: probed where it was, else predicted.

        A probed one that is older than the newest counts less (`AGEING`).
        """
        mean, sd = self._degradation.predict(features)
        newest = max((d.cycle for d in self.divergences), default=0)
        for i in range(len(points)):
            found = self._known.get(points[i])
            if found is not None:
                noise = PROBE_VARIANCE + AGEING * (newest - found.cycle)
                gain = sd[i] ** 2 / (sd[i] ** 2 + noise)
                mean[i] += gain * (np.log(max(found.nats, 1e-6)) - mean[i])
                sd[i] *= np.sqrt(1 - gain)
        return mean, sd

    @cached_property
    def _known(self) -> dict[Point, Divergence]:
        """The newest divergence of every network that was probed."""
        return {found.point: found for found in self.divergences}

    @cached_property
    def _degradation(self) -> Posterior:
        count, small = self._features.count, self._features.small
        newest = max((d.cycle for d in self.divergences), default=0)
        points = self.space.points([d.point for d in self.divergences])
        age = np.array([newest - d.cycle for d in self.divergences], dtype=float)
        mean = np.zeros(count)
        mean[self._features.names.index("removed")] = 1.0  # what is removed, in nats
        return fit(
            self._features(points),
            np.log([max(d.nats, 1e-6) for d in self.divergences]),
            PROBE_VARIANCE + AGEING * age,
            prior_mean=mean,
            prior_sd=np.ones(count),
            small=small,
        )

    @cached_property
    def posterior(self) -> Posterior:
        """What is believed of the score model's weights."""
        named = [_SCORE_PRIOR[name] for name in self._features.names]
        single = [(0.0, 1.0)] * int(self._features.small.sum())
        prior = np.array([*named, *single, *_EXTRA_PRIOR])
        seen = self.observations
        points = self.space.points([o.point for o in seen])
        fidelity = np.array([o.fidelity for o in seen], dtype=float)
        features = self._features(points)
        columns = _extend(features, self._log_divergence(points, features)[0], fidelity)
        logits = np.array([o.score.logit() for o in seen], dtype=float).reshape(len(seen), 2)
        return fit(
            columns,
            logits[:, 0],
            logits[:, 1],
            prior_mean=prior[:, 0],
            prior_sd=prior[:, 1],
            small=np.concatenate([self._features.small, np.zeros(len(_EXTRA_PRIOR), bool)]),
        )

    def to_document(self) -> dict[str, Any]:
        """Return theta_I as JSON values."""
        document: dict[str, Any] = {
            "channel_nats": [nats.tolist() for nats in self.importance.channel_nats],
            "block_nats": self.importance.block_nats.tolist(),
            "dimension": self.importance.effective_rank.tolist(),
            "curvature": self.importance.curvature,
            "networks": self.importance.networks,
            "divergences": [[*_plain(d.point), d.nats, d.cycle] for d in self.divergences],
            "scores": [
                [*_plain(o.point), o.fidelity, {"metric": o.score.metric, **o.score.to_document()}]
                for o in self.observations
            ],
        }
        if len(self.space.sites):
            document["operator_nats"] = self.importance.substitute_nats.tolist()
        return document

    @staticmethod
    def from_document(document: Mapping[str, Any], space: Space) -> "Inquisitor":
        """Read theta_I that `to_document` wrote, or version 0.1.

        Raises:
            ValueError: if it is damaged, or belongs to another space.
        """
        read: Any = FORM.check(document)  # entries have two lengths each
        sites, words = len(space.sites), len(space.sites.substitutes)
        sizes = [group.size for group in space.coupling.groups]
        if [len(nats) for nats in read["channel_nats"]] != sizes:
            raise ValueError("channel_nats must have a number for each channel of every group")
        importance = Importance(
            channel_nats=tuple(np.array(nats) for nats in read["channel_nats"]),
            block_nats=_row(read["block_nats"], len(space.coupling.blocks), "block_nats"),
            effective_rank=_row(read["dimension"], len(sizes), "dimension"),
            curvature=read["curvature"],
            networks=read["networks"],
            substitute_nats=_row(
                [n for row in read.get("operator_nats", ()) for n in row],
                sites * words,
                "operator_nats",
            ).reshape(sites, words),
        )
        if "divergences" not in read or "scores" not in read:  # version 0.1, operators last
            divergences = tuple(
                Divergence(read_point(space, widths, kept, *operators), nats, cycle)
                for widths, kept, nats, cycle, *operators in read.get("shifts", ())
            )
            observations = tuple(
                Observation(
                    read_point(space, widths, kept, *operators), fidelity, of_counts(right, n)
                )
                for widths, kept, fidelity, right, n, *operators in read.get("observations", ())
            )
            return Inquisitor(space, importance, divergences, observations)
        divergences = tuple(
            Divergence(read_point(space, *point), nats, cycle)
            for *point, nats, cycle in read["divergences"]
        )
        observations = tuple(
            Observation(read_point(space, *point), fidelity, read_score(score))
            for *point, fidelity, score in read["scores"]
        )
        return Inquisitor(space, importance, divergences, observations)


def _extend(features: np.ndarray, log_nats: np.ndarray, fidelity: int | np.ndarray) -> np.ndarray:
    """Append log divergence, fidelity and their product."""
    full = np.broadcast_to(np.asarray(fidelity, dtype=float), log_nats.shape)
    return np.column_stack([features, log_nats, full, full * log_nats])


def _plain(point: Point) -> list[list[Any]]:
    """Return a point as JSON values: widths, kept blocks and, where there are any, substitutes."""
    plain: list[list[Any]] = [
        list(point.widths), list(point.kept_blocks), list(point.substitutes)
    ]  # fmt: skip
    return plain if point.substitutes else plain[:2]


def _row(values: Sequence[float], length: int, what: str) -> np.ndarray:
    if len(values) != length:
        raise ValueError(f"{what} must have {length} numbers, got {len(values)}")
    return np.array(values, dtype=float)


def read_point(
    space: Space, widths: Sequence[int], kept: Sequence[bool], operators: Sequence[int] = ()
) -> Point:
    """Return a point that a file keeps, once it is seen to be one of the space.

    Raises:
        ValueError: if it is none.
    """
    fits = (
        len(widths) == len(space.sizes)
        and all(0 < w <= size for w, size in zip(widths, space.sizes, strict=True))
        and len(kept) == len(space.coupling.blocks)
        and len(operators) in (0, len(space.sites))
        and all(choice <= len(space.sites.substitutes) for choice in operators)
    )
    if not fits:
        raise ValueError("it saw a network that is none of this prototype's")
    return Point(tuple(widths), tuple(kept), tuple(operators) or (0,) * len(space.sites))
