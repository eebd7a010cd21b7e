"""A graph that computes: the same operators as the prototype's, on slices of its weights.

`Network` runs the vertices of a `Graph` in order and drops each value after its last
reader. Its state dict has the prototype's keys (`num_batches_tracked`, which only counts
calls, is left out). `build` fills it with slices of a prototype's weights and nothing
else, so the unchanged graph gives the prototype's outputs bit for bit.

To torch's tools it is a module like any other: its layers are torch's own (`layers`), they stand
where the prototype has them (`places`), and `forward` calls them.

Nothing here chooses what to keep (`generator`), trains (`train`) or reads a file (`files`).
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gensynth.errors import PrototypeError
from gensynth.graph.graph import Graph, Vertex
from gensynth.network.layers import COUNT
from gensynth.network.places import Path, Places, Tie, at, keys, retie
from gensynth.network.torch_operators import COMPUTE, Compute, Settings, call_layer, prepare

Edge = tuple[str, str]

Step = tuple[Compute, Path, Settings, tuple[int, ...], int, tuple[int, ...]]
"""The function, where its module is, its settings, slots read, slot written, slots dead after it.

A module is looked up each time, since torch's tools put others in its place."""


class Network(nn.Module):
    """The network of a graph: layers of `torch.nn` under the prototype's names.

    Its state dict has the prototype's keys. Parameters are uninitialised memory until a state dict
    is loaded; `build` does both. `load_state_dict` takes what the prototype's own state dict has
    beside them, and what a file of this network has.

    Args:
        graph: what to compute.
        opaque: the user's module for every vertex that could not be looked into, by the
            vertex's name. It is copied.

    Attributes:
        preprocess: makes what the network reads of an image; only of one that `gensynth.load` has
            given, and None where nothing says how.

    Raises:
        PrototypeError: if the module of an opaque vertex is not given.
        ValueError: if torch has no layer of such a size.
    """

    preprocess: Any

    def __init__(self, graph: Graph, *, opaque: Mapping[str, nn.Module] | None = None) -> None:
        super().__init__()
        self._graph = graph
        self._slots = {vertex.name: number for number, vertex in enumerate(graph.vertices)}
        last_reader = {
            self._slots[producer]: self._slots[consumer] for producer, consumer in graph.edges
        }
        self._reads = tuple(self._slots[vertex.name] for vertex in graph.inputs)
        self._returns = tuple(self._slots[name] for name in graph.outputs)
        given = opaque or {}
        own = copy.deepcopy(  # together: they may be one, or share tensors
            {v.name: given[v.name] for v in graph.vertices if v.name in given}
        )
        self.register_load_state_dict_post_hook(_accept)  # type: ignore[no-untyped-call]
        self._plan: list[Step] = []
        self._ties: list[Tie] = []
        # From here on `self` may have parts of these names, so nothing is assigned to it.
        places = Places(self, graph, own)
        self._ties.extend(places.ties)
        for number, vertex in enumerate(graph.vertices):
            if vertex.op == "input":
                continue
            reads = tuple(self._slots[name] for name in vertex.inputs)
            dead = {slot for slot in reads if last_reader[slot] == number} - set(self._returns)
            compute = COMPUTE.get(vertex.op, call_layer)
            settings = prepare(vertex)
            step = compute, places[vertex.name], settings, reads, number, tuple(sorted(dead))
            self._plan.append(step)

    @property
    def graph(self) -> Graph:
        """The graph that this network computes."""
        return self._graph

    def tensors(self) -> dict[str, Tensor]:
        """Return the state dict as a file keeps it: on the processor, every tensor once."""
        further = set(keys(self._ties))
        return {
            key: tensor.detach().cpu().contiguous()
            for key, tensor in self.state_dict().items()
            if key not in further
        }

    def forward(self, images: Tensor, *others: Tensor) -> Any:
        """Return the value of the graph's output; a tuple of them when it has several.

        Args:
            images: (batch, *shape) for the first input vertex.
            others: for the further ones, in the graph's order.

        Raises:
            ValueError: if the number of inputs is not the graph's.
        """
        further: Any = others  # where torch.fx traces, its stand-in, which cannot be looked into
        values = self._fill((images, *others) if isinstance(further, tuple) else (images,))
        for compute, path, settings, reads, write, dead in self._plan:
            values[write] = compute(at(self, path), settings, *[values[slot] for slot in reads])
            for slot in dead:
                values[slot] = None
        return self._returned(values)

    def gated(self, inputs: Tensor | tuple[Tensor, ...], gates: Mapping[Edge, Tensor]) -> Any:
        """Return what `forward` would, with some values changed on their way to a reader.

        Args:
            inputs: as of `forward`.
            gates: for an edge (producer, consumer) a factor (batch, channels) or
                (batch, channels, 1, 1) that multiplies the producer's value as this
                consumer reads it. Other readers of the value are untouched; a consumer
                that reads the value twice reads it gated twice.

        Raises:
            ValueError: as `forward`, or if the graph does not have an edge that a gate stands on.
        """
        return self._run_watched(inputs, self._by_slots(gates), {})

    def observe(
        self, inputs: Tensor | tuple[Tensor, ...], edges: Iterable[Edge]
    ) -> dict[Edge, Tensor]:
        """Return the value that each edge's consumer reads from its producer.

        Raises:
            ValueError: if the graph does not have one of the edges.
        """
        seen: dict[tuple[int, int], Any] = self._by_slots(dict.fromkeys(edges))
        self._run_watched(inputs, {}, seen)
        names = [vertex.name for vertex in self._graph.vertices]
        return {(names[producer], names[consumer]): v for (producer, consumer), v in seen.items()}

    def steps(self) -> Iterator[tuple[Vertex, Callable[..., Tensor]]]:
        """Yield every vertex that computes, in order, with the function of what it reads."""
        for compute, path, settings, _, number, _ in self._plan:
            yield self._graph.vertices[number], partial(compute, at(self, path), settings)

    def layer_of(self, vertex: str) -> nn.Module:
        """Return the module that a vertex asks: its layer, or what holds its tensors."""
        number = self._slots[vertex]
        return at(self, next(path for _, path, _, _, write, _ in self._plan if write == number))

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> "Network":
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        retie(self, self._ties)
        return self

    def _fill(self, inputs: tuple[Tensor, ...]) -> list[Any]:
        if len(inputs) != len(self._reads):
            raise ValueError(f"the network reads {len(self._reads)} inputs, got {len(inputs)}")
        values: list[Any] = [None] * len(self._slots)
        for slot, value in zip(self._reads, inputs, strict=True):
            values[slot] = value
        return values

    def _returned(self, values: list[Any]) -> Any:
        found = tuple(values[slot] for slot in self._returns)
        return found[0] if len(found) == 1 else found

    def _by_slots(self, edges: Mapping[Edge, Any]) -> dict[tuple[int, int], Any]:
        absent = [edge for edge in edges if edge not in set(self._graph.edges)]
        if absent:
            raise ValueError(f"the graph has no edge {absent[0]}")
        return {(self._slots[u], self._slots[v]): value for (u, v), value in edges.items()}

    def _run_watched(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        gates: Mapping[tuple[int, int], Tensor],
        seen: dict[tuple[int, int], Any],
    ) -> Any:
        """Run the plan; edges are multiplied by their gate, values of `seen` edges kept."""
        values = self._fill(inputs if isinstance(inputs, tuple) else (inputs,))
        for compute, path, settings, reads, write, dead in self._plan:
            read = []
            for slot in reads:
                value = values[slot]
                gate = gates.get((slot, write))
                if gate is not None:
                    value = value * gate.reshape(*gate.shape[:2], *[1] * (value.ndim - 2))
                if (slot, write) in seen:
                    seen[slot, write] = value
                read.append(value)
            values[write] = compute(at(self, path), settings, *read)
            for slot in dead:
                values[slot] = None
        return self._returned(values)


def _accept(network: Network, incompatible: Any) -> None:
    """Let a state dict lack the further names of a tensor, and have the counts of batch norms."""
    further = tuple(keys(network._ties))
    names = incompatible.missing_keys
    names[:] = [n for n in names if not any(f".{n}".endswith(f".{own}") for own in further)]
    names = incompatible.unexpected_keys
    names[:] = [n for n in names if n.rpartition(".")[2] != COUNT]
    retie(network, network._ties)


def opaque_modules(graph: Graph, prototype: nn.Module) -> dict[str, nn.Module]:
    """Return the prototype's own module for every opaque vertex of its graph.

    Raises:
        PrototypeError: if the prototype has none at its path.
    """
    modules = dict(prototype.named_modules())
    paths = {v.name: v.attributes["path"] for v in graph.vertices if v.op == "opaque"}
    for name, path in paths.items():
        if path not in modules:
            raise PrototypeError(f"the prototype has no part {path!r} for the vertex {name!r}")
    return {name: modules[path] for name, path in paths.items()}


def build(
    graph: Graph,
    weights: Mapping[str, Tensor],
    slices: Mapping[str, tuple[np.ndarray | None, ...]] | None = None,
    *,
    opaque: Mapping[str, nn.Module] | None = None,
) -> Network:
    """Return the network of a graph, its tensors cut out of a prototype's.

    Args:
        graph: what to compute.
        weights: the prototype's state dict; keys the graph does not have are ignored.
        slices: for a key an index array a dimension, None for a whole dimension; a key
            that is absent is taken whole.
        opaque: the module of every opaque vertex.

    Raises:
        ValueError: if a weight is absent or its slice does not have the graph's shape.
        PrototypeError: if the module of an opaque vertex is not given.
    """
    network = Network(graph, opaque=opaque)
    owned = network.state_dict(keep_vars=True)
    for key, shape in graph.tensor_shapes.items():
        if key not in weights:
            raise ValueError(f"the weights have no tensor {key!r}")
        tensor = weights[key].detach()
        for dimension, index in enumerate((slices or {}).get(key, ())):
            if index is not None:
                chosen = torch.as_tensor(index, dtype=torch.long, device=tensor.device)
                tensor = tensor.index_select(dimension, chosen)
        if tuple(tensor.shape) != shape:
            raise ValueError(
                f"tensor {key!r} must be {shape} after slicing, got {tuple(tensor.shape)}"
            )
        # Takes the slice's dtype and device too, so a float64 prototype stays float64.
        owned[key].data = tensor.clone()
    further = set(keys(network._ties))
    for key in owned.keys() & weights.keys() - graph.tensor_shapes.keys() - further:
        owned[key].data = weights[key].detach().clone()  # a buffer within an opaque module
    return network
