"""What the inquisitor's regressions see of a network: its shape, its cost, what it lacks.

Everything is a function of a point of the space and of the importance, so that networks nobody
has built can be judged, hundreds at a time.
"""

import numpy as np

from gensynth.search.importance import FLOOR_NATS, Importance
from gensynth.space.points import Points
from gensynth.space.space import Space


class Features:
    """The columns of one prototype's regressions.

    Named columns: 1; log MACs and log parameters relative to the prototype; mean log
    relative width; log of the removed information; mean log of the kept share of
    information; rank deficit; log of the removed blocks' information. Then log relative
    width of each group and absence of each block. Widths enter by their logarithm: at
    equal cost the best shape is then an interior one.

    Where a run allows other substitutes there is one more named column, the log of the
    information that those of a network lose, and behind the blocks the share of convolutions
    that each substitute has, and whether each convolution is still dense.
    """

    NAMES = ("one", "macs", "params", "width", "removed", "kept", "rank", "blocks")
    WITH_SITES = (*NAMES, "substitutes")

    def __init__(self, space: Space, importance: Importance) -> None:
        self.space = space
        self.names = self.WITH_SITES if len(space.sites) else self.NAMES
        self._importance = importance
        self._removed = []
        self._log_kept = []
        for nats in importance.channel_nats:
            best_first = np.sort(nats)[::-1]
            kept = np.concatenate([[0.0], np.cumsum(best_first)])
            self._removed.append(kept[-1] - kept)
            self._log_kept.append(np.log(np.maximum(kept, FLOOR_NATS) / max(kept[-1], FLOOR_NATS)))
        totals = np.array([nats.sum() for nats in importance.channel_nats])
        self._weight = np.sqrt(totals) / max(np.sqrt(totals).sum(), FLOOR_NATS)

    @property
    def count(self) -> int:
        """How many columns there are."""
        sites = self.space.sites
        own = (
            len(self.space.sizes) + self.space.owners.shape[1] + len(sites.substitutes) + len(sites)
        )
        return len(self.names) + own

    @property
    def small(self) -> np.ndarray:
        """Which columns concern a single group, block or substitute: (features,), bool."""
        return np.arange(self.count) >= len(self.names)

    def __call__(self, points: Points) -> np.ndarray:
        """Return (networks, features)."""
        space, importance = self.space, self._importance
        alive = space.living(points)
        groups = range(len(space.sizes))
        removed = np.stack([self._removed[g][points.widths[:, g]] for g in groups], axis=1)
        kept = np.stack([self._log_kept[g][points.widths[:, g]] for g in groups], axis=1)
        deficit = np.maximum(0.0, np.log(importance.effective_rank / points.widths))
        width = np.where(alive, np.log(points.widths / space.sizes), 0.0)
        lost, has = self._substitutes(points)
        return np.column_stack(
            [
                np.ones(len(points)),
                np.log(space.costs(points) / space.prototype)[:, space.exact],
                width.mean(axis=1),
                np.log1p((removed * alive).sum(axis=1)),
                (kept * alive) @ self._weight,
                (deficit * alive).mean(axis=1),
                np.log1p(~points.kept_blocks @ importance.block_nats),
                *lost,
                width,
                ~points.kept_blocks,
                *has,
            ]
        )

    def _substitutes(self, points: Points) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return the named and the single columns of substitutes, no columns without sites."""
        sites = self.space.sites
        if not len(sites):
            return [], []
        chosen = self.space.chosen(points)
        is_substitute = chosen[:, :, None] == np.arange(1, 1 + len(sites.substitutes))
        lost = (is_substitute * self._importance.substitute_nats).sum(axis=(1, 2))
        return [np.log1p(lost)], [is_substitute.mean(axis=1), chosen > 0]
