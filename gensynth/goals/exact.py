"""What a graph costs exactly, under the metrics' names, and limits that are no sum over vertices.

    exact_costs       graph -> params, macs, size_mib, peak_mib
    peak_limit        requirements -> the largest peak of activations they allow
    check_peak        whether any network of a space is within it
    peak_range        the least peak of a space's networks, and the prototype's

Parameters and MACs are sums over vertices, so a search keeps their limits at every move. A peak of
activations is the largest of such sums, and no move can be told by the vertices it touches: a
limit on it is held against every network that is proposed or handed over, whole.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gensynth.errors import UnreachableError
from gensynth.goals import metrics
from gensynth.goals.requirements import Requirement, together
from gensynth.goals.utility import size_mib
from gensynth.graph.activations import peak_mib
from gensynth.graph.cost import cost
from gensynth.graph.graph import Graph
from gensynth.space.points import Points
from gensynth.space.space import Space


def exact_costs(graph: Graph) -> dict[str, float]:
    """Return every exact cost of a network by its metric's name, counts as whole numbers."""
    counted = cost(graph)
    return {
        "params": counted.params,
        "macs": counted.macs,
        "size_mib": size_mib(counted.params),
        "peak_mib": peak_mib(graph),
    }


def peak_limit(requirements: Sequence[Requirement]) -> Requirement | None:
    """Return the requirement on the peak of activations, the strictest if there are several."""
    found = together(r for r in requirements if r.metric == metrics.PEAK.name)
    return found[0] if found else None


def check_peak(requirements: Sequence[Requirement], space: Space) -> None:
    """Refuse a limit on the peak of activations that no network of a space is within.

    Raises:
        UnreachableError: with the least peak and the prototype's.
    """
    limit = peak_limit(requirements)
    if limit is None:
        return
    least, whole = peak_range(space)
    if not limit.allows(least):
        raise UnreachableError(
            f'no network of this prototype has "{limit}": the least peak is {least:.4g} MiB and '
            f"the prototype's {whole:.4g} MiB; relax the requirement"
        )


def peak_range(space: Space) -> tuple[float, float]:
    """Return the least peak of activations of a space's networks, and the prototype's, in MiB."""
    return min(map(peak_mib, _smallest(space))), peak_mib(space.coupling.graph)


def _smallest(space: Space) -> list[Graph]:
    """Return the networks of least widths: a substitute may cost fewer MACs and a wider value."""
    smallest = space.smallest()
    points = [smallest]
    if smallest.substitutes is not None:
        dense = smallest.substitutes.copy()
        dense[:, : space.sites.convs] = 0
        points.append(replace(smallest, substitutes=dense))
    return [_graph(space, point) for point in points]


def _graph(space: Space, points: Points) -> Graph:
    ranking = [np.arange(size) for size in space.sizes]
    return space.coupling.apply(space.selection(points, 0, ranking))
