"""The greedy descent from the prototype to a network that its cost limits allow.

Many networks descend side by side as rows of arrays. Each gives up, move by move, whatever
loses least gain for the relative cost it saves, until every target itself holds; then it
takes back what still fits. Nothing is assumed of the costs: savings are exact differences.

A move narrows a group, removes a block or gives one convolution a substitute; what is
taken back are channels, and substitutes that lose less. Where costs are estimates of hardware,
and so staircases, groups also move by whole steps of them (`ladder`).
"""

from dataclasses import dataclass

import numpy as np

from gensynth.search.gains import Gains
from gensynth.space.ladder import every_step, stairs
from gensynth.space.points import Points
from gensynth.space.space import Space

JUMPS = (1, 2, 4)
"""Steps of a staircase that a move may take: a higher one may save more for what it loses."""


@dataclass(frozen=True)
class Targets:
    """What must hold before the descent stops.

    Attributes:
        limits: (costs,) inclusive; inf where a cost is free.
        log_cost: (networks,) the mean log of the budgeted costs relative to the prototype.
        budgeted: (costs,) bool, which costs the mean is over.
    """

    limits: np.ndarray
    log_cost: np.ndarray
    budgeted: np.ndarray

    def unmet(self, costs: np.ndarray, prototype: np.ndarray) -> np.ndarray:
        """Return which costs must still fall: (networks, costs), bool."""
        mean = np.log(costs / prototype)[..., self.budgeted].mean(axis=-1)
        target = self.log_cost.reshape(-1, *[1] * (costs.ndim - 2))
        return (costs > self.limits) | ((mean > target)[..., None] & self.budgeted)

    def excess(self, costs: np.ndarray, prototype: np.ndarray) -> np.ndarray:
        """Return by how much the worst cost must still fall: (networks,), a log ratio."""
        over_limit = (np.log(costs) - np.log(self.limits)).max(axis=1)
        over_budget = np.log(costs / prototype)[:, self.budgeted].mean(axis=1) - self.log_cost
        return np.maximum(np.maximum(over_limit, over_budget), 0.0)

    @property
    def counting(self) -> np.ndarray:
        """Which costs are worth saving: (costs,), bool."""
        return np.isfinite(self.limits) | self.budgeted


class Descent:
    """Many greedy descents side by side."""

    def __init__(self, space: Space, gains: Gains, targets: Targets) -> None:
        self.space, self.gains, self.targets = space, gains, targets
        counted, estimated = targets.counting & space.exact, targets.counting & ~space.exact
        # Costs that are counted rise with every channel, and gains are concave: one step is best.
        self._jumps: tuple[int, ...] = JUMPS if estimated.any() else ()
        self._steps = self._stairs = every_step(space)
        if self._jumps:
            self._stairs = stairs(space, estimated)
        if self._jumps and not counted.any():
            self._steps, self._jumps = self._stairs, JUMPS[1:]
        whole = space.whole(len(gains.values))
        self.widths, self.kept_blocks = whole.widths, whole.kept_blocks
        self.substitutes = space.chosen(whole).copy()
        self._excess = targets.excess(space.costs(whole), space.prototype)
        self._ended = np.full(len(gains.values), -np.inf)  # gain of the best of `_ends`
        self._ends = Points(self.widths.copy(), self.kept_blocks.copy(), self.substitutes.copy())

    def run(self) -> Points:
        """Descend until every target holds, then take back what fits.

        Where moves are whole steps of a staircase the last may save far more than was needed. So
        the best network that one move ended in, earlier on, is filled up as well.
        """
        while self._descend():
            pass
        while self._take_back():
            pass
        if (other := self._ended > -np.inf).any():
            self._fill_up(np.flatnonzero(other))
        return self.space.canonical(self._points())

    def _fill_up(self, rows: np.ndarray) -> None:
        """Take back in what `_ends` has of these networks, and keep it where it is better."""
        own, gained = self._points(), self._gained()
        ends = self._ends.take(rows.tolist())
        parts = ("widths", "kept_blocks", "substitutes")
        for name in parts:
            setattr(self, name, np.array(getattr(self, name)))
            getattr(self, name)[rows] = getattr(ends, name)
        while self._take_back():
            pass
        worse = self._gained() <= gained
        for name in parts:
            values = getattr(own, name)
            if values is not None:
                getattr(self, name)[worse] = values[worse]

    def _gained(self) -> np.ndarray:
        """Return the gain that is left: (networks,)."""
        within = self.gains.at(self.widths) * self.space.living(self._points())
        whole = within.sum(axis=1) + (self.gains.blocks * self.kept_blocks).sum(axis=1)
        left: np.ndarray = whole - self.gains.lost(self.substitutes).sum(axis=1)
        return left

    def _points(self) -> Points:
        return Points(
            self.widths, self.kept_blocks, self.substitutes if len(self.space.sites) else None
        )

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
        steps, lost, ratios, width_saved = self._narrowed(points, steps, width_saved, urgency)
        saved, block_losses = block_saved @ urgency[:, :, None], self._block_losses(points)
        if self._jumps:
            left = costs[:, None] - np.concatenate([width_saved, block_saved], axis=1)
            self._note_ends(unmet, left, steps, np.concatenate([lost, block_losses], axis=1))
        of_blocks = _ratios(block_losses, saved[:, :, 0])
        ratios = np.concatenate([ratios, of_blocks], axis=1)  # (networks, groups + blocks)
        switched = self.substitutes
        if len(space.sites):
            switched, switching = self._switches(points, urgency)
            ratios = np.concatenate([ratios, switching], axis=1)  # sites behind
        if len(space.sites) or not space.exact.all():
            # Grouped convolutions and whole blocks cost the same at several widths: over such
            # steps for nothing.
            stuck = ~np.isfinite(ratios).any(axis=1)
            onward = stuck[:, None] & (steps > 0) & space.living(points)
            ratios[:, : steps.shape[1]][onward] = lost[onward]
        self._excess = self.targets.excess(costs, space.prototype)
        count = np.maximum(1, (self._excess * ratios.shape[1] / 4).astype(int))
        ranks = ratios.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
        unfinished = np.asarray(unmet.any(axis=1))[:, None]
        chosen = (ranks < count[:, None]) & np.isfinite(ratios) & unfinished
        ends = np.cumsum([len(space.sizes), len(space.coupling.blocks)])
        narrowed, removed, replaced = np.split(chosen, ends, axis=1)
        self.widths = self.widths - steps * narrowed
        self.kept_blocks = self.kept_blocks & ~removed
        gone = (~self.kept_blocks[:, None, :] & space.site_owners).any(axis=2)
        self.substitutes = np.where(gone, 0, np.where(replaced, switched, self.substitutes))
        return bool(chosen.any())

    def _switches(self, points: Points, urgency: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the best other substitute of every site, and its ratio: (networks, sites) each."""
        saved = self.space.substitute_savings(points)
        saved = np.where(np.isfinite(saved), saved, 0.0) @ urgency[:, None, :, None]
        lost = self.gains.losses - self.gains.lost(self.substitutes)[:, :, None]
        ratios = _ratios(lost, saved[..., 0])  # (networks, sites, 1 + substitutes)
        return ratios.argmin(axis=2).astype(np.int8), ratios.min(axis=2)

    def _note_ends(
        self, unmet: np.ndarray, left: np.ndarray, steps: np.ndarray, lost: np.ndarray
    ) -> None:
        """Keep the best network that one more move would end in, where it beats earlier ones."""
        ends = ~self.targets.unmet(left, self.space.prototype).any(axis=2)
        unfinished = np.asarray(unmet.any(axis=1))[:, None]
        after = np.where(ends & unfinished, self._gained()[:, None] - lost, -np.inf)
        move, most = after.argmax(axis=1), after.max(axis=1)
        rows = np.flatnonzero(most > self._ended)
        self._ended[rows] = most[rows]
        chosen = np.arange(after.shape[1]) == move[rows, None]
        narrowed, removed = np.split(chosen, [steps.shape[1]], axis=1)
        self._ends.widths[rows] = self.widths[rows] - steps[rows] * narrowed
        kept = self.kept_blocks[rows] & ~removed
        self._ends.kept_blocks[rows] = kept
        gone = (~kept[:, None, :] & self.space.site_owners).any(axis=2)
        substitutes = self._ends.substitutes
        assert substitutes is not None
        substitutes[rows] = np.where(gone, 0, self.substitutes[rows])

    def _narrowed(
        self, points: Points, steps: np.ndarray, saved: np.ndarray, urgency: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return each group's best step down, what it loses, and its ratio: (networks, groups).

        The price of a step on a staircase is taken over the whole of it. Last comes what the step
        saves: (networks, groups, costs).
        """
        lost = self.gains.at(self.widths) - self.gains.at(self.widths - steps)
        ratios = _ratios(lost, (saved @ urgency[:, :, None])[:, :, 0])
        for jump in self._jumps:
            down = self._stairs.below(self.widths, jump)
            other = self.widths - down
            others = self.space.width_savings(points, other)
            then = self.gains.at(self.widths) - self.gains.at(down)
            better = _ratios(then, (others @ urgency[:, :, None])[:, :, 0])
            taken = better < ratios
            steps, lost = np.where(taken, other, steps), np.where(taken, then, lost)
            saved = np.where(taken[:, :, None], others, saved)
            ratios = np.where(taken, better, ratios)
        return steps, lost, ratios, saved

    def _narrowing(self) -> np.ndarray:
        """Return how many channels the next move takes away from each group."""
        count = np.maximum(1, (self._excess[:, None] * self._steps.counts / 8).astype(np.int64))
        return self.widths - self._steps.below(self.widths, count)

    def _widening(self) -> np.ndarray:
        """Return how many channels may be taken back: (possibilities, networks, groups)."""
        wider = [self._steps.above(self.widths)]
        wider += [self._stairs.above(self.widths, jump) for jump in self._jumps]
        return np.array(wider) - self.widths

    def _block_losses(self, points: Points) -> np.ndarray:
        """Return what each block's removal loses, its inner groups included.

        What its convolutions have lost already is not lost again.
        """
        within = self.gains.at(self.widths) * self.space.living(points)
        losses: np.ndarray = self.gains.blocks + within @ self.space.owners
        if len(self.space.sites):
            losses = losses - self.gains.lost(self.substitutes) @ self.space.site_owners
        return losses

    def _take_back(self) -> bool:
        """Take back what is most worthwhile of every network in which something still fits."""
        space, points = self.space, self._points()
        living, now = space.living(points), self.gains.at(self.widths)
        steps = self._widening()
        added = np.concatenate([-space.width_savings(points, -one) for one in steps], axis=1)
        gained = np.concatenate(
            [(self.gains.at(self.widths + one) - now) * living for one in steps], axis=1
        )  # (networks, possibilities * groups)
        widenings = added.shape[1]
        if len(space.sites):
            options = -space.substitute_savings(points)
            better = self.gains.lost(self.substitutes)[:, :, None] - self.gains.losses
            better = np.where(space.sites.allowed, better, 0.0)
            added = np.concatenate(
                [added, options.reshape(len(points), -1, len(space.names))], axis=1
            )
            gained = np.concatenate([gained, better.reshape(len(points), -1)], axis=1)
        fits = ~self.targets.unmet(space.costs(points)[:, None] + added, space.prototype).any(
            axis=2
        )
        shares = (added / space.prototype)[:, :, self.targets.counting]
        spent = np.maximum(shares.sum(axis=2), 1e-12)
        worth = np.where(fits & (gained > 0), gained / spent, -1.0)
        rows = np.flatnonzero(worth.max(axis=1, initial=-1.0) > 0)
        if len(rows) == 0:
            return False
        choice = worth[rows].argmax(axis=1)
        wider = choice < widenings
        step, group = np.divmod(choice[wider], max(len(space.sizes), 1))
        self.widths[rows[wider], group] += steps[step, rows[wider], group]
        if len(space.sites):
            site, substitute = np.divmod(choice[~wider] - widenings, self.gains.losses.shape[2])
            self.substitutes[rows[~wider], site] = substitute
        return True


def _ratios(lost: np.ndarray, saved: np.ndarray) -> np.ndarray:
    """Return gain lost per cost saved; infinite where nothing is saved."""
    return np.divide(lost, saved, out=np.full_like(lost, np.inf), where=saved > 0)
