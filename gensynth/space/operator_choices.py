"""Where a space has a choice of substitutes: its convolutions, its input's resolution.

Substitutes are numbers here: 0 is dense, o the o-th that the run allows. All counts are
whole numbers in float64, for many networks at a time; the formulas are `substitutes`'s.
"""

import numpy as np

from gensynth.graph.cost import vertex_costs
from gensynth.graph.graph import Graph
from gensynth.space import resolution
from gensynth.space.placement import refusal, sites
from gensynth.space.resolution import RESOLUTIONS
from gensynth.space.substitutes import SUBSTITUTES


class Sites:
    """What may stand for the convolutions of one prototype.

    Attributes:
        substitutes: names of those that the run allows, none if they can stand nowhere; o is the
            place in them, from 1.
        names: of the convolutions for which at least one of them may stand, and behind them
            of the input, if it may have a resolution of those that are allowed.
        convs: how many of them are convolutions.
        allowed: (sites, 1 + substitutes), bool; dense is always allowed.
        positions: (convs,) of one output image; MACs are so many times the weights.
    """

    def __init__(self, graph: Graph, names: tuple[str, ...]) -> None:
        names = tuple(dict.fromkeys(names))
        found = [
            (
                vertex,
                [name in SUBSTITUTES and refusal(graph, vertex, name) is None for name in names],
            )
            for vertex in sites(graph)
        ]
        found = [(vertex, possible) for vertex, possible in found if any(possible)]
        vertices = [vertex for vertex, _ in found]
        self.convs = len(vertices)
        sizes = [name in RESOLUTIONS and resolution.refusal(graph, name) is None for name in names]
        if any(sizes):
            found.append((graph.inputs[0], sizes))
        self.substitutes = names = names if found else ()
        self.names = tuple(vertex.name for vertex, _ in found)
        self.allowed = np.array([[True, *possible] for _, possible in found], dtype=bool).reshape(
            len(found), 1 + len(names)
        )
        self.positions = np.array([np.prod(v.shape[1:], dtype=float) for v in vertices])
        self._kernels = np.array(
            [vertex.attributes["kernel"] for vertex in vertices], dtype=float
        ).reshape(self.convs, 2)

    def __len__(self) -> int:
        return len(self.names)

    def standing(self, substitute: str) -> tuple[str, ...]:
        """Return the convolutions for which one substitute may stand, or the input."""
        if substitute not in self.substitutes:
            return ()
        column = self.allowed[:, 1 + self.substitutes.index(substitute)]
        return tuple(name for name, may in zip(self.names, column, strict=True) if may)

    def dense_weights(
        self, read: np.ndarray, written: np.ndarray, at: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the weights of the convolutions themselves; see `weights`."""
        height, width = self._kernel(at)
        dense: np.ndarray = height * width * read * written
        return dense

    def weights(
        self,
        chosen: np.ndarray,
        read: np.ndarray,
        written: np.ndarray,
        at: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return the number of weights of the chosen substitutes.

        Args:
            chosen: (networks, columns), the substitute at each.
            read, written: (networks, columns) channels.
            at: (columns,) the site that each column is of; None is every site in order.
        """
        counts = self.dense_weights(read, written, at)
        kernel = self._kernel(at)
        for number, name in enumerate(self.substitutes, start=1):
            if name in SUBSTITUTES and (chosen == number).any():
                other = SUBSTITUTES[name].weights(kernel, read, written)
                counts = np.where(chosen == number, other, counts)
        return counts

    def options(self, read: np.ndarray, written: np.ndarray) -> np.ndarray:
        """Return the weights of every substitute: (networks, convs, 1 + substitutes).

        A substitute that is not allowed at a site has inf.
        """
        kernel = self._kernel(None)
        every = [self.dense_weights(read, written)]
        for name in self.substitutes:
            fits = name in SUBSTITUTES
            every.append(SUBSTITUTES[name].weights(kernel, read, written) if fits else every[0])
        return np.where(self.allowed[: self.convs], np.stack(every, axis=2), np.inf)

    def shares(self, graph: Graph, names: list[str]) -> np.ndarray:
        """Return the share of their MACs that vertices have at each choice for the input.

        (1 + substitutes, vertices), in [0, 1]; 1 for what is no resolution, or not allowed.
        """
        shares = np.ones((1 + len(self.substitutes), len(names)))
        if len(self) > self.convs:
            whole = vertex_costs(graph)
            for number in np.flatnonzero(self.allowed[-1])[1:]:
                small = vertex_costs(resolution.resized(graph, self.substitutes[number - 1]))
                macs = [(small[name].macs, whole[name].macs) for name in names]
                shares[number] = [less / all_ if all_ else 1.0 for less, all_ in macs]
        return shares

    def _kernel(self, at: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        kernels = self._kernels if at is None else self._kernels[at]
        return kernels[:, 0], kernels[:, 1]
