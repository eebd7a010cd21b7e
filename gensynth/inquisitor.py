"""The inquisitor I(G; theta_I): what was observed, and how the generator changes for it.

theta_I holds three kinds of insight, each learned from responses, utility and
requirements of the networks that were generated:

- the *information* of every channel and block, in nats: the prototype's responses first,
  then each generated network's own, which tell what a channel is worth where fewer are left;
- the *degradation curve*: by what power of its relative width a group's channels gain worth;
- the *regression* of logit accuracy on predicted degradation, cost, widths and blocks, at
  two fidelities: after the short distillation of a cycle, and after a finalist's.

`change` turns them into Delta theta_G: saliency follows the information, and offsets, block
gains, sharpness, curvature, tilt and budget follow an evolution strategy on what the
regression predicts. Nothing is trained or measured here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gensynth.probe import Responses
from gensynth.regression import Posterior, fit, logit
from gensynth.space import Points, Space

SHORT, FULL = 0, 1
"""Fidelities: accuracy after a cycle's short distillation, after a finalist's."""

FLOOR_NATS = 1e-5
"""Least information of a channel: below it, the draw of the stimuli decides."""

LEARNING_RATE = 0.3
"""Share of a network's new responses in the consolidated information."""

CURVE_WEIGHT = 4.0
"""How many networks' worth of evidence the first curvature stands for."""


@dataclass(frozen=True)
class Observation:
    """One network's measured accuracy on the search split.

    Attributes:
        widths, bits: the network as a point of the space.
        fidelity: `SHORT` or `FULL`.
        correct, n: images classified correctly, of how many.
    """

    widths: tuple[int, ...]
    bits: tuple[bool, ...]
    fidelity: int
    correct: int
    n: int


@dataclass(frozen=True)
class Insight:
    """What responses taught: theta_I without the regression, which follows from it.

    Attributes:
        channel_nats: for each group (size,) the information of its channels.
        block_nats: (blocks,) the information of the residual branches.
        dimension: (groups,) effective dimension in the prototype.
        curvature: exponent by which a channel's information grows as its group shrinks.
        networks: how many networks have taught it, the prototype included.
    """

    channel_nats: tuple[np.ndarray, ...]
    block_nats: np.ndarray
    dimension: np.ndarray
    curvature: float
    networks: int = 1

    def log_saliency(self) -> tuple[np.ndarray, ...]:
        """Return u: the log information of every channel, in nats, with a floor."""
        return tuple(np.log(np.maximum(nats, FLOOR_NATS)) for nats in self.channel_nats)


def first_insight(responses: Responses) -> Insight:
    """Return the insight of the prototype's own responses."""
    return Insight(
        channel_nats=tuple(np.nan_to_num(nats) for nats in responses.channel_nats),
        block_nats=np.nan_to_num(responses.block_nats),
        dimension=np.nan_to_num(responses.dimension, nan=1.0),
        curvature=1.0,
    )


def consolidate(insight: Insight, space: Space, points: Points, responses: Responses) -> Insight:
    """Return the insight after one generated network's responses.

    In a narrower network every channel carries more. With r = n_g / k_g,

        log I_network[c] = log I[c] + curvature * log r_g + level + rest

    is solved for curvature and level by least squares over the groups; the rest, what
    this network says of a channel beyond being narrow, moves the channel's information by
    the share `LEARNING_RATE`. Channels that the network does not have stay as they are.

    Args:
        insight: so far.
        space: of the prototype.
        points: one point, the network that answered.
        responses: its.
    """
    known = insight.log_saliency()
    seen = [np.log(np.maximum(nats, FLOOR_NATS)) for nats in responses.channel_nats]
    present = [np.isfinite(values) for values in seen]
    groups = [g for g, mask in enumerate(present) if mask.any()]
    if not groups:
        return insight
    shrink = np.array([np.log(space.sizes[g] / points.widths[0, g]) for g in groups])
    shift = np.array([(seen[g] - known[g])[present[g]].mean() for g in groups])
    centred = shrink - shrink.mean()
    evidence = float(centred @ centred)
    # A ridge toward the curvature so far: a network that is narrow everywhere tells little.
    weight = CURVE_WEIGHT * insight.networks / 10
    curvature = float(
        np.clip((centred @ shift + weight * insight.curvature) / (evidence + weight), 0.0, 3.0)
    )
    level = float((shift - curvature * shrink).mean())
    updated = []
    for g, nats in enumerate(insight.channel_nats):
        values = nats.copy()
        if present[g].any():
            at = present[g]
            expected = seen[g][at] - curvature * np.log(space.sizes[g] / points.widths[0, g])
            moved = (1 - LEARNING_RATE) * known[g][at] + LEARNING_RATE * (expected - level)
            values[at] = np.exp(moved)
        updated.append(values)
    alive = np.isfinite(responses.block_nats)
    scale = np.exp(-level)
    blocks = insight.block_nats.copy()
    blocks[alive] += LEARNING_RATE * (scale * responses.block_nats[alive] - blocks[alive])
    return replace(
        insight,
        channel_nats=tuple(updated),
        block_nats=blocks,
        curvature=curvature,
        networks=insight.networks + 1,
    )


class Features:
    """What the regression sees of a network, from its point and the insight alone.

    Columns: 1; fidelity; log MACs and log parameters relative to the prototype; log of the
    removed information; mean log of the kept share of information; rank deficit; log of the
    removed blocks' information; fidelity times removed information; then, with a small
    prior, log relative width of each group and absence of each block.
    """

    NAMES = ("one", "full", "macs", "params", "removed", "kept", "rank", "blocks", "full removed")
    PRIOR_MEAN = np.array([1.0, 1.0, 0.2, 0.2, -0.3, 0.3, -0.1, -0.1, 0.2])
    PRIOR_SD = np.array([2.0, 0.7, 0.5, 0.5, 0.4, 0.4, 0.3, 0.3, 0.2])

    def __init__(self, space: Space, insight: Insight) -> None:
        self.space = space
        self._insight = insight
        self._removed = []
        self._log_kept = []
        for nats in insight.channel_nats:
            best_first = np.sort(nats)[::-1]
            kept = np.concatenate([[0.0], np.cumsum(best_first)])
            self._removed.append(kept[-1] - kept)
            self._log_kept.append(np.log(np.maximum(kept, FLOOR_NATS) / max(kept[-1], FLOOR_NATS)))
        totals = np.array([nats.sum() for nats in insight.channel_nats])
        self._weight = np.sqrt(totals) / max(np.sqrt(totals).sum(), FLOOR_NATS)

    @property
    def small(self) -> np.ndarray:
        """Return which columns have the small prior."""
        count = len(self.space.sizes) + self.space.owners.shape[1]
        return np.concatenate([np.zeros(len(self.NAMES), bool), np.ones(count, bool)])

    @property
    def prior(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of the regression weights' prior."""
        rest = np.zeros(int(self.small.sum()))
        return np.concatenate([self.PRIOR_MEAN, rest]), np.concatenate([self.PRIOR_SD, rest + 1])

    def __call__(self, points: Points, fidelity: np.ndarray | int) -> np.ndarray:
        """Return (networks, features)."""
        space, insight = self.space, self._insight
        alive = space.living(points)
        costs = np.log(space.costs(points) / space.prototype)
        columns = range(len(space.sizes))
        removed = np.stack([self._removed[g][points.widths[:, g]] for g in columns], axis=1)
        kept = np.stack([self._log_kept[g][points.widths[:, g]] for g in columns], axis=1)
        deficit = np.maximum(0.0, np.log(insight.dimension / points.widths))
        lost_blocks = (~points.bits) @ insight.block_nats
        lost = np.log1p((removed * alive).sum(axis=1))
        full = np.broadcast_to(np.asarray(fidelity, dtype=float), (len(points),))
        width = np.where(alive, np.log(points.widths / space.sizes), 0.0)
        return np.column_stack(
            [
                np.ones(len(points)),
                full,
                costs,
                lost,
                (kept * alive) @ self._weight,
                (deficit * alive).mean(axis=1),
                np.log1p(lost_blocks),
                full * lost,
                width,
                ~points.bits,
            ]
        )


class Inquisitor:
    """Observations and insight of one run, and what they predict.

    Args:
        space: of the prototype.
        insight: from the prototype's responses.
        observations: accuracies seen so far.
    """

    def __init__(
        self, space: Space, insight: Insight, observations: tuple[Observation, ...] = ()
    ) -> None:
        self.space = space
        self.insight = insight
        self.observations = observations
        self._features = Features(space, insight)
        self.posterior = self._fit()

    def observe(self, observation: Observation) -> "Inquisitor":
        """Return an inquisitor that has also seen this accuracy."""
        return Inquisitor(self.space, self.insight, (*self.observations, observation))

    def consolidate(self, points: Points, responses: Responses) -> "Inquisitor":
        """Return an inquisitor that has also heard these responses."""
        insight = consolidate(self.insight, self.space, points, responses)
        return Inquisitor(self.space, insight, self.observations)

    def predict(self, points: Points, fidelity: int) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of logit accuracy: (networks,) each."""
        return self.posterior.predict(self._features(points, fidelity))

    def draw(self, points: Points, fidelity: int, normal: np.ndarray) -> np.ndarray:
        """Return logit accuracies under one draw of the regression weights (Thompson).

        Args:
            points: the networks.
            fidelity: `SHORT` or `FULL`.
            normal: (features,) a standard normal draw.
        """
        drawn: np.ndarray = self._features(points, fidelity) @ self.posterior.draw(normal)
        return drawn

    @property
    def width(self) -> int:
        """How many features the regression has."""
        return len(self._features.small)

    def _fit(self) -> Posterior:
        mean, sd = self._features.prior
        seen = self.observations
        points = Points(
            np.array([o.widths for o in seen], dtype=np.int64).reshape(
                len(seen), len(self.space.sizes)
            ),
            np.array([o.bits for o in seen], dtype=bool).reshape(
                len(seen), len(self.space.coupling.blocks)
            ),
        )
        if not seen:
            features = np.zeros((0, len(mean)))
            logits = variances = np.zeros(0)
        else:
            features = self._features(points, np.array([o.fidelity for o in seen]))
            logits, variances = logit(
                np.array([o.correct for o in seen]), np.array([o.n for o in seen])
            )
        return fit(
            features, logits, variances,
            prior_mean=mean, prior_sd=sd, small=self._features.small,
        )  # fmt: skip

    def to_document(self) -> dict[str, Any]:
        """Return theta_I as JSON values."""
        return {
            "channel_nats": [nats.tolist() for nats in self.insight.channel_nats],
            "block_nats": self.insight.block_nats.tolist(),
            "dimension": self.insight.dimension.tolist(),
            "curvature": self.insight.curvature,
            "networks": self.insight.networks,
            "observations": [
                [list(o.widths), list(o.bits), o.fidelity, o.correct, o.n]
                for o in self.observations
            ],
        }

    @staticmethod
    def from_document(document: Mapping[str, Any], space: Space) -> "Inquisitor":
        """Read theta_I that `to_document` wrote."""
        insight = Insight(
            channel_nats=tuple(np.array(nats) for nats in document["channel_nats"]),
            block_nats=np.array(document["block_nats"]),
            dimension=np.array(document["dimension"]),
            curvature=document["curvature"],
            networks=document["networks"],
        )
        observations = tuple(
            Observation(tuple(widths), tuple(bits), fidelity, correct, n)
            for widths, bits, fidelity, correct, n in document["observations"]
        )
        return Inquisitor(space, insight, observations)
