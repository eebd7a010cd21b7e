"""Which residual branches of a network can be removed whole.

Removing a branch cuts one edge of its addition: the addition's other operand takes its
place, and with the branch goes everything that no output needs any more. Branches may be
nested; beyond that they are chosen so that what goes with each does not depend on which
others are gone:

    a vertex is gone  <=>  one of the removed blocks holds it

so the cost of any combination is a sum, and no network carries a vertex that nothing reads.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from gensynth.graph.cost import vertex_costs
from gensynth.graph.graph import Graph


@dataclass(frozen=True)
class Block:
    """A residual branch that can be removed whole.

    Attributes:
        name: the addition that joins it.
        bypass: the addition's other operand, which takes its place.
        vertices: what goes with it, the addition left out.
    """

    name: str
    bypass: str
    vertices: frozenset[str]


@dataclass(frozen=True)
class _Branch:
    end: str
    bypass: str
    macs: int


def find_blocks(graph: Graph) -> tuple[Block, ...]:
    """Find, for every addition, the costlier operand that serves nothing else.

    An addition that the network returns stays. Where two branches would share what
    only both of them together use, the cheaper one is no block; nor is a branch that
    holds the first but not every call of a shared module.
    """
    branches = _branches(graph)
    while True:
        holders, clash = _holders(graph, branches)
        if not clash:
            break
        branches = {name: branch for name, branch in branches.items() if name not in clash}
    return tuple(
        Block(name, branch.bypass, frozenset(v for v, held in holders.items() if name in held))
        for name, branch in branches.items()
    )


def _branches(graph: Graph) -> dict[str, _Branch]:
    """Return for every addition, by its name, the costlier operand that can be cut."""
    costs = vertex_costs(graph)
    needed = _needed(graph)
    branches = {}
    for vertex in graph.vertices:
        if vertex.op != "add" or vertex.name in graph.outputs or vertex.name not in needed:
            continue
        first, second = vertex.inputs
        if first == second or graph[first].shape != graph[second].shape:
            continue
        choices = []
        for end, bypass in ((first, second), (second, first)):
            gone = needed - _needed(graph, (end, vertex.name))
            macs = sum(costs[name].macs for name in gone)
            if macs and not any(graph[name].op == "input" for name in gone):
                choices.append(_Branch(end, bypass, macs))
        if choices:
            branches[vertex.name] = max(choices, key=lambda branch: branch.macs)
    return branches


def _needed(graph: Graph, cut: tuple[str, str] | None = None) -> set[str]:
    """Return the vertices that an output depends on when one edge is cut."""
    needed: set[str] = set()
    pending = list(graph.outputs)
    while pending:
        name = pending.pop()
        if name not in needed:
            needed.add(name)
            pending.extend(u for u in graph[name].inputs if (u, name) != cut)
    return needed


def _holders(
    graph: Graph, branches: Mapping[str, _Branch]
) -> tuple[dict[str, frozenset[str]], frozenset[str]]:
    """Return, for each vertex, the blocks that hold it: any of them alone takes it away.

    The second value names blocks that must go before that is true of every vertex.
    """
    holders: dict[str, frozenset[str]] = {}
    for vertex in reversed(graph.vertices):
        held: frozenset[str] | None = frozenset() if vertex.name in graph.outputs else None
        for reader in graph.consumers[vertex.name]:
            reasons = holders[reader]
            if reader in branches and branches[reader].end == vertex.name:
                reasons = reasons | {reader}
            if held is None or reasons <= held:
                held = reasons
            elif not held <= reasons:  # only one block of each side together would take it
                sides = held - reasons, reasons - held
                return {}, min(sides, key=lambda side: sum(branches[b].macs for b in side))
        holders[vertex.name] = held or frozenset()
        if vertex.op == "input" and held:
            return {}, held
    first_call: dict[str, str] = {}
    for vertex in graph.vertices:
        for tensor in vertex.tensors:
            first = first_call.setdefault(vertex.tensor_key(tensor), vertex.name)
            if not holders[first] <= holders[vertex.name]:
                return {}, holders[first] - holders[vertex.name]
    return holders, frozenset()
