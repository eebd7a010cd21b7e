"""The greedy descent from the prototype to a network that its cost limits allow.

Many networks descend side by side as rows of arrays. Each gives up, move by move, whatever
loses least gain for the relative cost it saves, until every target itself holds; then it
takes back what still fits. Nothing is assumed of the costs: savings are exact differences.
"""

from dataclasses import dataclass

import numpy as np

from gensynth.space import Points, Space
from gensynth.theta import Draw, Theta, grid


@dataclass(frozen=True)
class Targets:
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


class Gains:
    """f_g(k) of many networks, tabulated: values[network, group, k]."""

    def __init__(self, space: Space, thetas: list[Theta], draws: list[Draw]) -> None:
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
            u = grid([t.u[g] for t in thetas]) + noises[:, start : start + size]
            best_first = -np.sort(-grid(u), axis=1)  # (networks, size)
            returns = curvature * np.log(size / np.arange(1, size + 1))
            log_step = sharpness * best_first + returns + offsets[:, g : g + 1]
            steps[:, g, 1 : size + 1] = np.exp(log_step)
            start += int(size)
        self.values = grid(np.cumsum(steps, axis=2) * 2.0**10)  # (networks, groups, widest + 1)
        blocks = np.stack([t.block for t in thetas]) + tilt[:, groups:]
        self.blocks = grid(np.exp(blocks) * 2.0**10)  # (networks, blocks)

    def at(self, widths: np.ndarray) -> np.ndarray:
        """Return (networks, groups) gains at these widths."""
        return np.take_along_axis(self.values, widths[:, :, None], axis=2)[:, :, 0]


class Descent:
    """Many greedy descents side by side."""

    def __init__(self, space: Space, gains: Gains, targets: Targets) -> None:
        self.space, self.gains, self.targets = space, gains, targets
        whole = space.whole(len(gains.values))
        self.widths, self.bits = whole.widths, whole.bits
        self._excess = targets.excess(space.costs(whole), space.prototype)

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

        Far from the target several moves are made at once, and wide groups give up more
        channels in one; close to it, one aligned step at a time.
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
        self._excess = self.targets.excess(costs, space.prototype)
        count = np.maximum(1, (self._excess * prices.shape[1] / 4).astype(int))
        ranks = prices.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
        unfinished = np.asarray(unmet.any(axis=1))[:, None]
        chosen = (ranks < count[:, None]) & np.isfinite(prices) & unfinished
        groups = len(space.sizes)
        self.widths = self.widths - steps * chosen[:, :groups]
        self.bits = self.bits & ~chosen[:, groups:]
        return bool(chosen.any())

    def _narrowing(self) -> np.ndarray:
        """Return how many channels the next move takes away from each group."""
        align, sizes = self.space.align, self.space.sizes
        steps = np.maximum(1, (self._excess[:, None] * sizes / (8 * align)).astype(np.int64))
        narrower = ((self.widths - 1) // align - (steps - 1)) * align
        return self.widths - np.maximum(narrower, self.space.floors)

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
        rows = np.flatnonzero(worth.max(axis=1, initial=-1.0) > 0)
        if len(rows) == 0:
            return False
        choice = worth[rows].argmax(axis=1)
        self.widths[rows, choice] += steps[rows, choice]
        return True


def _prices(lost: np.ndarray, saved: np.ndarray) -> np.ndarray:
    """Return gain lost per cost saved; infinite where nothing is saved."""
    return np.divide(lost, saved, out=np.full_like(lost, np.inf), where=saved > 0)
