"""What can be changed in a network, what cannot and why, before anything is trained.

Only a network's structure is looked at, so untrained weights do. What it then costs to learn
a generator, and what can be reached, is said by `forecast`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gensynth.errors import PrototypeError
from gensynth.graph.cost import Cost, vertex_costs
from gensynth.graph.graph import Graph, Vertex
from gensynth.prototypes import make
from gensynth.prototypes.plain import plain, unwrapped
from gensynth.space.blocks import Block
from gensynth.space.coupling import Coupling, Frozen, Group, couple
from gensynth.space.operator_choices import Sites
from gensynth.space.placement import CHOICES
from gensynth.space.space import Space
from gensynth.trace import trace

CIFAR = (3, 32, 32)


@dataclass(frozen=True)
class Inspection:
    """The freedom and the cost of every part of a network.

    Attributes:
        graph: the network's.
        costs: of every vertex, by name.
        groups: coupled channels that can be resized.
        written: for every vertex, the groups that its output holds channels of.
        blocks: residual branches that can be removed.
        frozen: channels that stay, with the reasons.
        substitutes: for each substitute the convolutions for which it may stand, for each
            resolution the input if that may have it.
        changeable: vertices that a network may lack, or whose input or output channels it
            may have fewer of.
        coupling: all of this as the space takes it.
    """

    graph: Graph
    costs: Mapping[str, Cost]
    groups: tuple[Group, ...]
    written: Mapping[str, tuple[str, ...]]
    blocks: tuple[Block, ...]
    frozen: tuple[Frozen, ...]
    substitutes: Mapping[str, tuple[str, ...]]
    changeable: frozenset[str]
    coupling: Coupling

    @property
    def cost(self) -> Cost:
        """The whole network's."""
        costs = self.costs.values()
        return Cost(sum(c.params for c in costs), sum(c.macs for c in costs))

    @property
    def opaque(self) -> tuple[Vertex, ...]:
        """The parts that stay as they are; their attribute `reason` says why."""
        return tuple(vertex for vertex in self.graph.vertices if vertex.op == "opaque")

    @property
    def changeable_macs(self) -> int:
        """MACs in vertices that can be changed."""
        return sum(self.costs[name].macs for name in self.changeable)

    @property
    def changeable_macs_share(self) -> float:
        """Share of the MACs in vertices that can be changed, in [0, 1]; 0 without MACs."""
        total = self.cost.macs
        return self.changeable_macs / total if total else 0.0

    def smallest(self, step: int) -> Cost:
        """Return the cost of the smallest network: least widths, no block left.

        A vertex that can be changed may keep most of its cost, so this says what the share above
        does not. Substitutes and smaller images, where a run allows them, go below it.

        Args:
            step: channels that a width changes by.
        """
        space = Space(self.coupling, step)
        costs = space.named_costs(space.smallest())
        return Cost(int(costs["params"]), int(costs["macs"]))


def inspect(
    name: str,
    shapes: Sequence[tuple[int, ...]] = (CIFAR,),
    *,
    classes: int | None = None,
    arguments: Mapping[str, Any] | None = None,
    outputs: tuple[str, ...] = (),
) -> Inspection:
    """Make an untrained prototype and say what can be changed in it.

    Args:
        name: see `gensynth.prototypes.make`.
        shapes: of one input each, the batch left out; the first has the images' channels.
        classes: number of classes that the network must have; None asks a factory for 10, and
            takes what it gives.
        arguments: of the factory, by name.
        outputs: see `gensynth.trace.trace`.

    Raises:
        ConfigError: if no such prototype is known.
        TraceError: if it cannot be read as a graph; it names the user's file and line.
        PrototypeError: if it is no torch module, does not take such inputs, or has logits for
            another number of classes.
    """
    made = make(name, classes=classes or 10, channels=shapes[0][0], arguments=arguments)
    module = plain(unwrapped(made.network, name=name), shapes, name=name)
    images = tuple(torch.zeros(1, *shape) for shape in shapes)
    graph = trace(module, images, name=name, outputs=outputs)
    answers = [graph[output].shape for output in graph.outputs]
    if classes is not None and len(answers) == len(answers[0]) == 1 and answers != [(classes,)]:
        raise PrototypeError(
            f"prototype '{name}' has logits for {answers[0][0]} classes, not {classes}; "
            f"{made.way_out(classes)}"
        )
    return inspection(couple(graph))


def inspection(coupling: Coupling) -> Inspection:
    """Return the freedom and the cost of every part of a network."""
    graph, ids = coupling.graph, coupling.channel_ids
    group_of = {channel: group.name for group in coupling.groups for channel in group.channels}
    written = {
        name: tuple(dict.fromkeys(group_of[n] for n in found.tolist() if n in group_of))
        for name, found in ids.items()
    }
    removable = {name for block in coupling.blocks for name in (block.name, *block.vertices)}
    changeable = frozenset(
        vertex.name
        for vertex in graph.vertices
        if vertex.name in removable or any(written[name] for name in (vertex.name, *vertex.inputs))
    )
    found = Sites(graph, CHOICES)
    return Inspection(
        graph,
        vertex_costs(graph),
        coupling.groups,
        written,
        coupling.blocks,
        coupling.frozen,
        {substitute: found.standing(substitute) for substitute in CHOICES},
        changeable,
        coupling,
    )
