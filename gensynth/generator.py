"""The generator G(s; theta): from parameters and a seed to a network's graph.

A network's worth is modelled as a sum of *gains*: each coupled group earns for the
channels it keeps, each residual block for being there. A seed tilts the gains of all groups
together, along learned directions. From the prototype downward the generator gives up
whatever loses least gain for the cost it saves, until every cost requirement itself holds,
and then takes back what still fits. Parameters and MACs are exact at every step, so cost
requirements hold for every seed by construction; accuracy is the inquisitor's to predict.

The gain of group g at width k, the best k channels kept, is

    f_g(k) = exp(offset[g] + direction[g] . (exp(tilt) * xi)) * sum over j <= k of
                 exp(sharpness * u[g, (j)]) * (n_g / j) ^ curvature

with u the log-saliency of its channels in descending order and xi the seed's normal draw.
Its steps shrink as k grows, so f_g is concave and the greedy descent is sound.
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gensynth.errors import UnreachableError
from gensynth.graph import Graph
from gensynth.randomness import stream
from gensynth.space import COSTS, Points, Space

FORMAT = 1
GRID = 2.0**-20
"""Fixed point in which parameters and gains are kept, so that every machine compares equal."""

NEAR_TIE = 0.05
"""Spread of a seed's noise on log-saliency: channels closer than this change places."""


@dataclass(frozen=True)
class Theta:
    """The generator's parameters theta_G, the shared weights left out.

    Attributes:
        u: for each group, the log-saliency of its channels in nats.
        offset: (groups,) log-gain of each group relative to its channels' saliency.
        block: (blocks,) log-gain of each removable block.
        directions: (groups + blocks, d) how a seed's d normal draws tilt the log-gains.
        tilt: (d,) log-scale of each direction: how far the seeds of a family lie apart.
        sharpness: how much a channel's saliency counts: 0 not at all, 1 in full.
        curvature: exponent of diminishing returns in relative width.
        budget: (mean, spread) of the seed's log cost: the geometric mean of parameters and
            MACs relative to the prototype, in nats; the mean is at most 0. Spread 0 and mean 0 leave the limits
            alone to decide.
    """

    u: tuple[np.ndarray, ...]
    offset: np.ndarray
    block: np.ndarray
    directions: np.ndarray
    tilt: np.ndarray
    sharpness: float = 1.0
    curvature: float = 1.0
    budget: tuple[float, float] = (0.0, 0.0)

    def vector(self) -> np.ndarray:
        """Return all that a search may change but saliency and directions, as one vector."""
        scalars = [self.sharpness, self.curvature, self.budget[0]]
        return np.concatenate([self.offset, self.block, self.tilt, scalars])

    def with_vector(self, vector: np.ndarray) -> "Theta":
        """Return these parameters with `vector` in place of what `vector()` gives."""
        groups, blocks = len(self.offset), len(self.block)
        return replace(
            self,
            offset=_grid(vector[:groups]),
            block=_grid(vector[groups : groups + blocks]),
            tilt=_grid(np.clip(vector[groups + blocks : -3], -4.0, 1.0)),
            sharpness=float(_grid(np.clip(vector[-3], 0.0, 3.0))),
            curvature=float(_grid(np.clip(vector[-2], 0.0, 4.0))),
            budget=(float(_grid(np.minimum(vector[-1], 0.0))), self.budget[1]),
        )


@dataclass(frozen=True)
class Generator:
    """A learned generator: it needs the prototype's graph, and no weights.

    Attributes:
        space: the networks it can express.
        theta: its parameters.
        limits: largest allowed cost, by name in `COSTS`; costs not named are free.
    """

    space: Space
    theta: Theta
    limits: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        floor = self.space.costs(self.space.smallest())[0]
        for name, limit in self.limits.items():
            if floor[COSTS.index(name)] > limit:
                raise UnreachableError(
                    f"no network of this prototype has {name} <= {limit:,.0f}: the smallest "
                    f"has {floor[COSTS.index(name)]:,.0f} and the prototype "
                    f"{self.space.prototype[COSTS.index(name)]:,.0f}; relax the requirement"
                )

    def points(self, seeds: list[int] | range, theta: Theta | None = None) -> Points:
        """Return the networks of many seeds at once, as points of the space."""
        return self.points_of([theta or self.theta] * len(seeds), list(seeds))

    def points_of(self, thetas: list[Theta], seeds: list[int]) -> Points:
        """Return one network for each pair of parameters and seed."""
        gains = _Gains(self.space, thetas, [_draw(self.theta, s) for s in seeds])
        descent = _Descent(self.space, gains, self._targets(thetas, seeds))
        return descent.run()

    def generate(self, seed: int) -> Graph:
        """Return the network N_s of one seed.

        The graph depends on the parameters and the seed alone, byte for byte.
        """
        return self.graph(self.points([seed]), 0, seed)

    def graph(self, points: Points, index: int, seed: int) -> Graph:
        """Return the graph of one of many points that came from `points`."""
        selection = self.space.selection(points, index, self.ranking(seed))
        return self.space.coupling.apply(selection)

    def ranking(self, seed: int) -> list[np.ndarray]:
        """Return each group's channels, the first to be kept first, as a seed sees them."""
        noise = _draw(self.theta, seed).noise
        splits = np.cumsum([len(u) for u in self.theta.u])[:-1]
        return [
            np.argsort(-_grid(u + e), kind="stable")
            for u, e in zip(self.theta.u, np.split(noise, splits), strict=True)
        ]

    def to_json(self) -> str:
        """Return parameters and limits as text; the prototype's graph is kept beside it."""
        theta = self.theta
        names = [group.name for group in self.space.coupling.groups]
        return (
            json.dumps(
                {
                    "format": FORMAT,
                    "prototype": self.space.coupling.graph.sha256,
                    "align": self.space.align,
                    "limits": dict(self.limits),
                    "u": {n: _grid(u).tolist() for n, u in zip(names, theta.u, strict=True)},
                    "offset": theta.offset.tolist(),
                    "block": theta.block.tolist(),
                    "directions": theta.directions.tolist(),
                    "tilt": theta.tilt.tolist(),
                    "sharpness": theta.sharpness,
                    "curvature": theta.curvature,
                    "budget": list(theta.budget),
                },
                indent=1,
                sort_keys=True,
            )
            + "\n"
        )

    @staticmethod
    def from_json(text: str, space: Space) -> "Generator":
        """Read a generator that `to_json` wrote for the same prototype.

        Raises:
            ValueError: if it belongs to another prototype, or is of another format.
        """
        document: dict[str, Any] = json.loads(text)
        if document["format"] != FORMAT:
            raise ValueError(f"generator has format {document['format']}, not {FORMAT}")
        if document["prototype"] != space.coupling.graph.sha256:
            raise ValueError("this generator was learned for another prototype")
        names = [group.name for group in space.coupling.groups]
        return Generator(
            space,
            Theta(
                u=tuple(np.array(document["u"][name]) for name in names),
                offset=np.array(document["offset"]),
                block=np.array(document["block"]),
                directions=np.array(document["directions"]).reshape(
                    len(document["offset"]) + len(document["block"]), -1
                ),
                tilt=np.array(document["tilt"]),
                sharpness=document["sharpness"],
                curvature=document["curvature"],
                budget=(document["budget"][0], document["budget"][1]),
            ),
            document["limits"],
        )

    def _targets(self, thetas: list[Theta], seeds: list[int]) -> "_Targets":
        limits = np.array([self.limits.get(name, np.inf) for name in COSTS])
        shares = [
            min(0.0, t.budget[0] + t.budget[1] * _draw(t, s).budget)
            for t, s in zip(thetas, seeds, strict=True)
        ]
        floor = np.log(self.space.costs(self.space.smallest())[0] / self.space.prototype).mean()
        return _Targets(limits, np.maximum(_grid(np.array(shares)), floor + GRID))


def initial_theta(
    space: Space,
    u: tuple[np.ndarray, ...],
    block_gain: np.ndarray,
    *,
    seed: int,
    directions: int,
    spread: float,
    budget: tuple[float, float],
) -> Theta:
    """Return theta_G,0 from the probe's responses of the prototype.

    Args:
        space: the networks to express.
        u: log-saliency of every channel, in nats.
        block_gain: (blocks,) information that each block carries, in nats.
        seed: of the run; the directions are drawn from it.
        directions: how many independent draws tilt a network.
        spread: standard deviation of the tilt of one log-gain.
        budget: mean and spread of the log cost.
    """
    rows = len(space.sizes) + len(space.coupling.blocks)
    draw = stream(seed, "directions").standard_normal((rows, directions))
    return Theta(
        u=tuple(_grid(values) for values in u),
        offset=np.zeros(len(space.sizes)),
        block=_grid(np.log(np.maximum(block_gain, 1e-6))),
        directions=_grid(draw * spread / np.sqrt(directions)),
        tilt=np.zeros(directions),
        budget=budget,
    )


@dataclass(frozen=True)
class _Draw:
    xi: np.ndarray
    noise: np.ndarray
    budget: float


def _draw(theta: Theta, seed: int) -> _Draw:
    """Return all randomness of one network."""
    return _drawn(seed, theta.directions.shape[1], sum(len(u) for u in theta.u))


@functools.lru_cache(maxsize=4096)
def _drawn(seed: int, directions: int, channels: int) -> _Draw:
    random = stream(seed, "network")
    xi = random.standard_normal(directions)
    budget = float(np.clip(random.standard_normal(), -2.0, 2.0))
    noise = NEAR_TIE * random.standard_normal(channels)
    return _Draw(xi, noise, budget)


def _grid(values: np.ndarray) -> np.ndarray:
    """Round to fixed point."""
    return np.round(np.asarray(values) / GRID) * GRID


@dataclass(frozen=True)
class _Targets:
    """What must hold before the descent stops.

    Attributes:
        limits: (len(COSTS),) inclusive; inf where a cost is free.
        log_cost: (networks,) the mean log cost relative to the prototype.
    """

    limits: np.ndarray
    log_cost: np.ndarray

    def unmet(self, costs: np.ndarray, prototype: np.ndarray) -> np.ndarray:
        """Return which costs must still fall: (networks, len(COSTS)), bool."""
        mean = np.log(costs / prototype).mean(axis=-1)
        target = self.log_cost.reshape(-1, *[1] * (costs.ndim - 2))
        return (costs > self.limits) | (mean > target)[..., None]

    def excess(self, costs: np.ndarray, prototype: np.ndarray) -> np.ndarray:
        """Return by how much the worst cost must still fall: (networks,), a log ratio."""
        over_limit = (np.log(costs) - np.log(self.limits)).max(axis=1)
        over_budget = np.log(costs / prototype).mean(axis=1) - self.log_cost
        return np.maximum(np.maximum(over_limit, over_budget), 0.0)


class _Gains:
    """f_g(k) of many networks, tabulated: values[network, group, k]."""

    def __init__(self, space: Space, thetas: list[Theta], draws: list[_Draw]) -> None:
        widest = int(space.sizes.max(initial=1))
        groups = len(space.sizes)
        steps = np.zeros((len(thetas), groups, widest + 1))
        tilt = np.stack(
            [t.directions @ (np.exp(t.tilt) * d.xi) for t, d in zip(thetas, draws, strict=True)]
        )
        offsets = np.stack([t.offset for t in thetas]) + tilt[:, :groups]
        sharpness = np.array([t.sharpness for t in thetas])[:, None]
        curvature = np.array([t.curvature for t in thetas])[:, None]
        noises = np.stack([d.noise for d in draws])
        start = 0
        for g, size in enumerate(space.sizes):
            u = np.stack([t.u[g] for t in thetas]) + noises[:, start : start + size]
            best_first = -np.sort(-_grid(u), axis=1)  # (networks, size)
            returns = curvature * np.log(size / np.arange(1, size + 1))
            log_step = sharpness * best_first + returns + offsets[:, g : g + 1]
            steps[:, g, 1 : size + 1] = np.exp(log_step)
            start += int(size)
        self.values = _grid(np.cumsum(steps, axis=2) * 2.0**10)  # (networks, groups, widest + 1)
        blocks = np.stack([t.block for t in thetas]) + tilt[:, groups:]
        self.blocks = _grid(np.exp(blocks) * 2.0**10)  # (networks, blocks)

    def at(self, widths: np.ndarray) -> np.ndarray:
        """Return (networks, groups) gains at these widths."""
        return np.take_along_axis(self.values, widths[:, :, None], axis=2)[:, :, 0]


class _Descent:
    """Many greedy descents side by side."""

    def __init__(self, space: Space, gains: _Gains, targets: _Targets) -> None:
        self.space, self.gains, self.targets = space, gains, targets
        whole = space.whole(len(gains.values))
        self.widths, self.bits = whole.widths, whole.bits

    def run(self) -> Points:
        """Descend until every target holds, then take back what fits."""
        while self._descend():
            pass
        while self._take_back():
            pass
        return self._points()

    def _points(self) -> Points:
        return Points(self.widths, self.bits)

    def _descend(self) -> bool:
        """Make the cheapest moves of every network that still costs too much.

        Far from the target several moves are made at once, close to it one.
        """
        space, points, steps = self.space, self._points(), self._narrowing()
        costs, width_saved, block_saved = space.moves(points, steps)
        unmet = self.targets.unmet(costs, space.prototype)
        if not unmet.any():
            return False
        urgency = unmet / costs  # a saving counts relative to what is there
        saved = np.concatenate([width_saved, block_saved], axis=1) @ urgency[:, :, None]
        lost = self.gains.at(self.widths) - self.gains.at(self.widths - steps)
        lost = np.concatenate([lost, self._block_losses(points)], axis=1)
        prices = _prices(lost, saved[:, :, 0])  # (networks, groups + blocks)
        excess = self.targets.excess(costs, space.prototype)
        count = np.maximum(1, (excess * prices.shape[1] / 4).astype(int))
        ranks = prices.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
        chosen = (ranks < count[:, None]) & np.isfinite(prices) & unmet.any(axis=1)[:, None]
        groups = len(space.sizes)
        self.widths = self.widths - steps * chosen[:, :groups]
        self.bits = self.bits & ~chosen[:, groups:]
        return bool(chosen.any())

    def _narrowing(self) -> np.ndarray:
        """Return how many channels the next narrower aligned width takes away."""
        align = self.space.align
        narrower = np.maximum((self.widths - 1) // align * align, self.space.floors)
        return self.widths - narrower

    def _widening(self) -> np.ndarray:
        align = self.space.align
        wider = np.minimum((self.widths // align + 1) * align, self.space.sizes)
        return wider - self.widths

    def _block_losses(self, points: Points) -> np.ndarray:
        """Return what each block's removal loses, its inner groups included."""
        within = self.gains.at(self.widths) * self.space.living(points)
        losses: np.ndarray = self.gains.blocks + within @ self.space.owners
        return losses

    def _take_back(self) -> bool:
        """Widen the most worthwhile group of every network in which one still fits."""
        space, points = self.space, self._points()
        steps = self._widening()
        added = -space.width_savings(points, -steps)  # (networks, groups, costs)
        costs = space.costs(points)[:, None] + added
        fits = ~self.targets.unmet(costs, space.prototype).any(axis=2)
        gained = self.gains.at(self.widths + steps) - self.gains.at(self.widths)
        spent = (added / space.prototype).sum(axis=2)
        worth = np.where(fits & (steps > 0) & (spent > 0), gained / np.maximum(spent, 1e-12), -1.0)
        choice = worth.argmax(axis=1)
        rows = np.flatnonzero(worth.max(axis=1, initial=-1.0) > 0)
        self.widths[rows, choice[rows]] += steps[rows, choice[rows]]
        return len(rows) > 0


def _prices(lost: np.ndarray, saved: np.ndarray) -> np.ndarray:
    """Return gain lost per cost saved; infinite where nothing is saved."""
    return np.divide(lost, saved, out=np.full_like(lost, np.inf), where=saved > 0)
