"""What the inquisitor's regressions see of a network: its shape, its cost, what it lacks.

Everything is a function of a point of the space and of the insight, so that networks nobody
has built can be judged, hundreds at a time.
"""

import numpy as np

from gensynth.insight import FLOOR_NATS, Insight
from gensynth.space import Points, Space


class Features:
    """The columns of one prototype's regressions.

    Named columns: 1; log MACs and log parameters relative to the prototype; mean log
    relative width; log of the removed information; mean log of the kept share of
    information; rank deficit; log of the removed blocks' information. Then log relative
    width of each group and absence of each block. Widths enter by their logarithm: at
    equal cost the best shape is then an interior one.
    """

    NAMES = ("one", "macs", "params", "width", "removed", "kept", "rank", "blocks")

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
    def count(self) -> int:
        """How many columns there are."""
        return len(self.NAMES) + len(self.space.sizes) + self.space.owners.shape[1]

    @property
    def small(self) -> np.ndarray:
        """Which columns concern a single group or block: (features,), bool."""
        return np.arange(self.count) >= len(self.NAMES)

    def __call__(self, points: Points) -> np.ndarray:
        """Return (networks, features)."""
        space, insight = self.space, self._insight
        alive = space.living(points)
        groups = range(len(space.sizes))
        removed = np.stack([self._removed[g][points.widths[:, g]] for g in groups], axis=1)
        kept = np.stack([self._log_kept[g][points.widths[:, g]] for g in groups], axis=1)
        deficit = np.maximum(0.0, np.log(insight.dimension / points.widths))
        width = np.where(alive, np.log(points.widths / space.sizes), 0.0)
        return np.column_stack(
            [
                np.ones(len(points)),
                np.log(space.costs(points) / space.prototype),
                width.mean(axis=1),
                np.log1p((removed * alive).sum(axis=1)),
                (kept * alive) @ self._weight,
                (deficit * alive).mean(axis=1),
                np.log1p(~points.bits @ insight.block_nats),
                width,
                ~points.bits,
            ]
        )
