"""Which channels of a network must live and die together, and which branches can go.

Every position of every vertex's channel axis carries an identifier (`channel_ids`); positions
with one identifier are a coupled channel. Those channels that appear in the same vertices,
equally often, form a *group*, whose width is free.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from gensynth.graph.graph import Graph, Selection, Vertex
from gensynth.space.blocks import Block, find_blocks
from gensynth.space.channels import Ties, identify_channels, shuffle_order, tensor_axes
from gensynth.space.placement import substitute

Indices = tuple[np.ndarray | None, ...]

LAST = "the only channel of its kind"
"""Why a channel stays that nothing holds: a group of one would be empty without it."""


@dataclass(frozen=True)
class Group:
    """Coupled channels that are interchangeable in cost.

    Attributes:
        name: the first vertex in which they appear.
        channels: their ids, in the order of that vertex.
    """

    name: str
    channels: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many channels the prototype has here."""
        return len(self.channels)


@dataclass(frozen=True)
class Frozen:
    """Channels that every network of the prototype keeps.

    Attributes:
        vertex: the first in which they appear.
        channels: their ids, in its order.
        reasons: why they stay; one is enough to hold them.
    """

    vertex: str
    channels: tuple[int, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Coupling:
    """The freedom that a prototype's graph leaves.

    Attributes:
        graph: the prototype's.
        channel_ids: for each vertex, the identifier of every position of its channel axis.
        groups: coupled channels that can be resized.
        blocks: residual branches that can be removed.
        frozen: all other channels.
    """

    graph: Graph
    channel_ids: Mapping[str, np.ndarray]
    groups: tuple[Group, ...]
    blocks: tuple[Block, ...]
    frozen: tuple[Frozen, ...]

    @cached_property
    def _blocks(self) -> dict[str, Block]:
        return {block.name: block for block in self.blocks}

    def kept(self, selection: Selection) -> dict[str, np.ndarray]:
        """Return, for each vertex, which positions of its channel axis stay: bool masks.

        Raises:
            ValueError: if the selection names what does not exist, or empties a group.
        """
        alive = np.ones(1 + max(int(ids.max()) for ids in self.channel_ids.values()), bool)
        groups = {group.name: group for group in self.groups}
        for name, kept in selection.kept.items():
            if name not in groups:
                raise ValueError(f"no coupling group is named {name!r}")
            size = groups[name].size
            if not kept or list(kept) != sorted(set(kept)) or kept[0] < 0 or kept[-1] >= size:
                raise ValueError(
                    f"group {name!r} needs ascending channel numbers in 0..{size - 1}, got {kept}"
                )
            channels = np.array(groups[name].channels)
            alive[channels] = False
            alive[channels[list(kept)]] = True
        return {name: alive[ids] for name, ids in self.channel_ids.items()}

    def apply(self, selection: Selection) -> Graph:
        """Return the graph of the network that a selection leaves."""
        masks = self.kept(selection)
        dead, bypass = self._removal(selection)
        vertices = tuple(
            _shrink(vertex, tuple(bypass.get(i, i) for i in vertex.inputs), masks)
            for vertex in self.graph.vertices
            if vertex.name not in dead
        )
        graph = Graph(self.graph.name, vertices, self.graph.outputs, selection)
        return substitute(graph, selection.substitutes)

    def slices(self, selection: Selection) -> dict[str, Indices]:
        """Return, for each tensor that stays, which of the prototype's entries it keeps.

        The tensors of a substitute are none of the prototype's, so they are not among them.

        Returns:
            by state-dict key, one index array a dimension; None is the whole dimension.
        """
        masks = self.kept(selection)
        dead, _ = self._removal(selection)
        indices: dict[str, Indices] = {}
        for vertex in self.graph.vertices:
            if vertex.name in dead or vertex.name in selection.substitutes:
                continue
            for tensor, axes in tensor_axes(vertex, masks).items():
                indices[vertex.tensor_key(tensor)] = tuple(
                    None if mask is None or mask.all() else np.flatnonzero(mask) for mask in axes
                )
        return indices

    def _removal(self, selection: Selection) -> tuple[set[str], dict[str, str]]:
        unknown = set(selection.removed) - set(self._blocks)
        if unknown:
            raise ValueError(f"no removable block is named {sorted(unknown)[0]!r}")
        dead: set[str] = set()
        bypass: dict[str, str] = {}
        for vertex in self.graph.vertices:  # inputs first, so that bypasses chain
            if vertex.name in selection.removed:
                block = self._blocks[vertex.name]
                dead |= {block.name, *block.vertices}
                bypass[block.name] = bypass.get(block.bypass, block.bypass)
        return dead, bypass


def couple(graph: Graph) -> Coupling:
    """Find coupling groups and removable blocks of a network."""
    ids, ties = identify_channels(graph)
    groups = _groups(graph, ids, ties)
    return Coupling(graph, ids, groups, find_blocks(graph), _frozen(graph, ids, ties, groups))


def _groups(graph: Graph, ids: Mapping[str, np.ndarray], ties: Ties) -> tuple[Group, ...]:
    frozen = {ties.root(identifier) for identifier in ties.frozen}
    appearances: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for vertex in graph.vertices:
        for identifier, count in zip(*np.unique(ids[vertex.name], return_counts=True), strict=True):
            if int(identifier) not in frozen:
                appearances[int(identifier)].append((vertex.name, int(count)))
    members: dict[tuple[tuple[str, int], ...], list[int]] = defaultdict(list)
    for identifier, where in appearances.items():
        members[tuple(where)].append(identifier)
    place = {vertex.name: number for number, vertex in enumerate(graph.vertices)}
    found: list[tuple[int, list[tuple[int, int]]]] = []
    for places, channels in members.items():
        if len(channels) == 1:
            continue  # the last channel of a group always stays
        first = places[0][0]
        order = {int(identifier): i for i, identifier in reversed(list(enumerate(ids[first])))}
        found.append(
            (place[first], sorted((order[identifier], identifier) for identifier in channels))
        )
    groups: dict[str, Group] = {}
    for number, ordered in sorted(found):
        name, again = graph.vertices[number].name, 0
        while name in groups or (again and name in place):
            again += 1
            name = f"{graph.vertices[number].name}#{again}"
        groups[name] = Group(name, tuple(identifier for _, identifier in ordered))
    return tuple(groups.values())


def _frozen(
    graph: Graph, ids: Mapping[str, np.ndarray], ties: Ties, groups: tuple[Group, ...]
) -> tuple[Frozen, ...]:
    reasons: dict[int, dict[str, None]] = defaultdict(dict)
    for identifier, reason in ties.frozen.items():
        reasons[ties.root(identifier)][reason] = None
    seen = {channel for group in groups for channel in group.channels}
    parts: dict[tuple[str, tuple[str, ...]], list[int]] = defaultdict(list)
    for vertex in graph.vertices:
        for identifier in dict.fromkeys(ids[vertex.name].tolist()):
            if identifier not in seen:
                seen.add(identifier)
                parts[vertex.name, tuple(reasons[identifier]) or (LAST,)].append(identifier)
    return tuple(Frozen(name, tuple(found), why) for (name, why), found in parts.items())


def _shrink(vertex: Vertex, inputs: tuple[str, ...], masks: Mapping[str, np.ndarray]) -> Vertex:
    """Return a vertex with its shape, tensors and attributes after a selection."""
    out = masks[vertex.name]
    tensors = {
        tensor: tuple(
            size if mask is None else int(mask.sum())
            for size, mask in zip(vertex.tensors[tensor], axes, strict=True)
        )
        for tensor, axes in tensor_axes(vertex, masks).items()
    }
    attributes = dict(vertex.attributes)
    source = masks[vertex.inputs[0]] if vertex.inputs else out
    match vertex.op:
        case "conv" | "conv_transpose" if attributes["groups"] == len(source):
            attributes["groups"] = int(source.sum())
        case "shuffle":
            attributes = _shuffle(shuffle_order(vertex), source, attributes.get("groups", 1))
        case "slice":
            attributes["stop"] = int(source[: attributes["stop"]].sum())
            attributes["start"] = int(source[: attributes["start"]].sum())
        case "pad_channels":
            before = attributes["before"]
            attributes["before"] = int(out[:before].sum())
            attributes["after"] = int(out[before + len(source) :].sum())
        case "group_norm":
            attributes["groups"] = int(source.reshape(attributes["groups"], -1)[:, 0].sum())
        case "add_constant" | "mul_constant" if _depth(attributes["value"]) == len(vertex.shape):
            if len(attributes["value"]) == len(out):  # one entry a channel
                attributes["value"] = [attributes["value"][i] for i in np.flatnonzero(out)]
    shape = (int(out.sum()), *vertex.shape[1:]) if vertex.shape else ()
    return replace(vertex, inputs=inputs, attributes=attributes, shape=shape, tensors=tensors)


def _shuffle(order: np.ndarray, kept: np.ndarray, groups: int) -> dict[str, Any]:
    """Return the attributes of a shuffle after some channels of its input are gone."""
    place = np.cumsum(kept) - 1
    left = place[order[kept[order]]]
    for count in (groups, 1):
        if len(left) == kept.sum() and len(left) % count == 0:  # else it leaves channels out
            regular = np.arange(len(left)).reshape(count, -1).T.ravel()
            if np.array_equal(left, regular):
                return {"groups": count}
    return {"order": left.tolist()}


def _depth(value: object) -> int:
    """Return how deep lists are nested."""
    depth = 0
    while isinstance(value, list):
        depth, value = depth + 1, value[0]
    return depth
