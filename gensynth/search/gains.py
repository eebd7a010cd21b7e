"""What channels and blocks earn, and substitutes lose, by the parameters and a seed: as tables.

The formula stands in `generator`.
"""

import numpy as np

from gensynth.search.theta import Draw, Theta, grid
from gensynth.space.space import Space


class Gains:
    """Gains of many networks, tabulated.

    Attributes:
        values: (networks, groups, widest + 1), f_g(k).
        blocks: (networks, blocks), of a block that is there.
        losses: (networks, sites, 1 + substitutes), of a convolution with a substitute.
    """

    def __init__(self, space: Space, thetas: list[Theta], draws: list[Draw]) -> None:
        widest = int(space.sizes.max(initial=1))
        groups = len(space.sizes)
        steps = np.zeros((len(thetas), groups, widest + 1))
        tilt = np.stack(
            [
                t.directions @ (np.exp(t.direction_scale) * d.xi)
                for t, d in zip(thetas, draws, strict=True)
            ]
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
        ends = np.cumsum([groups, len(space.coupling.blocks), len(space.sites)])
        _, of_block, of_site, of_substitute = np.split(tilt, ends, axis=1)
        blocks = np.stack([t.block for t in thetas]) + of_block
        self.blocks = grid(np.exp(blocks) * 2.0**10)
        losses = np.stack([t.at_site + t.everywhere for t in thetas])
        losses = np.exp(losses + of_site[:, :, None] + of_substitute[:, None, :])
        self.losses = np.pad(grid(losses * 2.0**10), ((0, 0), (0, 0), (1, 0)))  # dense: none

    def at(self, widths: np.ndarray) -> np.ndarray:
        """Return (networks, groups) gains at these widths."""
        return np.take_along_axis(self.values, widths[:, :, None], axis=2)[:, :, 0]

    def lost(self, substitutes: np.ndarray) -> np.ndarray:
        """Return (networks, sites) losses of these substitutes."""
        return np.take_along_axis(self.losses, substitutes[:, :, None].astype(int), axis=2)[:, :, 0]
