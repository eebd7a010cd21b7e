"""A graph that computes: the same operators as the prototype's, on slices of its weights.

`Network` runs the vertices of a `Graph` in order and drops each value after its last
reader. Its state dict has the prototype's keys (`num_batches_tracked`, which only counts
calls, is left out). `build` fills it with slices of a prototype's weights and nothing
else, so the unchanged graph gives the prototype's outputs bit for bit.

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
from gensynth.graph.graph import BUFFERS, Graph, Vertex
from gensynth.network.torch_operators import (
    COMPUTE,
    OPTIONAL_TENSORS,
    Compute,
    Settings,
    constant,
    prepare,
)

Edge = tuple[str, str]

Step = tuple[Compute, Any, Settings, tuple[int, ...], int, tuple[int, ...]]
"""The function, its tensors, its settings, slots read, slot written, slots dead after it."""


class Network(nn.Module):
    """The network of a graph, its tensors under the prototype's state-dict keys.

    Parameters are uninitialised memory until a state dict is loaded; `build` does both.

    A tensor that is one with another vertex's stands in that vertex's module alone; only an
    opaque module, which computes by itself, has it under its own name too.

    Args:
        graph: what to compute.
        opaque: the user's module for every vertex that could not be looked into, by the
            vertex's name. It is copied.

    Raises:
        PrototypeError: if the module of an opaque vertex is not given.
    """

    def __init__(self, graph: Graph, *, opaque: Mapping[str, nn.Module] | None = None) -> None:
        super().__init__()
        self._graph = graph
        self._slots = {vertex.name: number for number, vertex in enumerate(graph.vertices)}
        last_reader = {
            self._slots[producer]: self._slots[consumer] for producer, consumer in graph.edges
        }
        self._reads = tuple(self._slots[vertex.name] for vertex in graph.inputs)
        self._returns = tuple(self._slots[name] for name in graph.outputs)
        self._plan: list[Step] = []
        given = opaque or {}
        own = copy.deepcopy(  # together: they may be one, or share tensors
            {v.name: given[v.name] for v in graph.vertices if v.name in given}
        )
        for number, vertex in enumerate(graph.vertices):
            if vertex.op == "input":
                continue
            tensors = self._hold(vertex, own)
            reads = tuple(self._slots[name] for name in vertex.inputs)
            dead = {slot for slot in reads if last_reader[slot] == number} - set(self._returns)
            step = COMPUTE[vertex.op], tensors, prepare(vertex), reads, number, tuple(sorted(dead))
            self._plan.append(step)

    @property
    def graph(self) -> Graph:
        """The graph that this network computes."""
        return self._graph

    def tensors(self) -> dict[str, Tensor]:
        """Return the state dict as a file keeps it: on the processor, every tensor once."""
        return {
            key: tensor.detach().cpu().contiguous()
            for key, tensor in self.state_dict().items()
            if key not in self._graph.tied_keys
        }

    def forward(self, *inputs: Tensor, gates: Mapping[Edge, Tensor] | None = None) -> Any:
        """Return the value of the graph's output; a tuple of them when it has several.

        Args:
            inputs: (batch, *shape) for each input vertex, in the graph's order.
            gates: for an edge (producer, consumer) a factor (batch, channels) or
                (batch, channels, 1, 1) that multiplies the producer's value as this
                consumer reads it. Other readers of the value are untouched; a consumer
                that reads the value twice reads it gated twice.

        Raises:
            ValueError: if the number of inputs is not the graph's, or if the graph does
                not have an edge that a gate stands on.
        """
        values = self._fill(inputs)
        if gates:
            self._run_watched(values, self._by_slots(gates), {})
        else:
            for compute, tensors, settings, reads, write, dead in self._plan:
                values[write] = compute(tensors, settings, *[values[slot] for slot in reads])
                for slot in dead:
                    values[slot] = None
        found = tuple(values[slot] for slot in self._returns)
        return found[0] if len(found) == 1 else found

    def observe(self, x: Tensor | tuple[Tensor, ...], edges: Iterable[Edge]) -> dict[Edge, Tensor]:
        """Return the value that each edge's consumer reads from its producer.

        Raises:
            ValueError: if the graph does not have one of the edges.
        """
        watched = self._by_slots(dict.fromkeys(edges))
        seen: dict[tuple[int, int], Any] = dict(watched)
        self._run_watched(self._fill(x if isinstance(x, tuple) else (x,)), {}, seen)
        names = [vertex.name for vertex in self._graph.vertices]
        return {(names[producer], names[consumer]): v for (producer, consumer), v in seen.items()}

    def steps(self) -> Iterator[tuple[Vertex, Callable[..., Tensor]]]:
        """Yield every vertex that computes, in order, with the function of what it reads."""
        for compute, tensors, settings, _, number, _ in self._plan:
            yield self._graph.vertices[number], partial(compute, tensors, settings)

    def _fill(self, inputs: tuple[Tensor, ...]) -> list[Tensor | None]:
        if len(inputs) != len(self._reads):
            raise ValueError(f"the network reads {len(self._reads)} inputs, got {len(inputs)}")
        values: list[Tensor | None] = [None] * len(self._slots)
        for slot, value in zip(self._reads, inputs, strict=True):
            values[slot] = value
        return values

    def _by_slots(self, edges: Mapping[Edge, Any]) -> dict[tuple[int, int], Any]:
        absent = [edge for edge in edges if edge not in set(self._graph.edges)]
        if absent:
            raise ValueError(f"the graph has no edge {absent[0]}")
        return {(self._slots[u], self._slots[v]): value for (u, v), value in edges.items()}

    def _run_watched(
        self,
        values: list[Any],
        gates: Mapping[tuple[int, int], Tensor],
        seen: dict[tuple[int, int], Any],
    ) -> None:
        """Run the plan; edges are multiplied by their gate, values of `seen` edges kept."""
        for compute, tensors, settings, reads, write, dead in self._plan:
            read = []
            for slot in reads:
                value = values[slot]
                gate = gates.get((slot, write))
                if gate is not None:
                    value = value * gate.reshape(*gate.shape[:2], *[1] * (value.ndim - 2))
                if (slot, write) in seen:
                    seen[slot, write] = value
                read.append(value)
            values[write] = compute(tensors, settings, *read)
            for slot in dead:
                values[slot] = None

    def _hold(self, vertex: Vertex, opaque: Mapping[str, nn.Module]) -> Any:
        """Return what has a vertex's tensors: a module, nested by the dots in its name.

        Names go straight into `_modules`, `_parameters` and `_buffers`: a prototype may
        call a part `graph` or `forward`, which `add_module` would refuse.
        """
        if vertex.op == "opaque":
            if vertex.name not in opaque:
                raise PrototypeError(
                    f"the graph has the opaque vertex {vertex.name!r} "
                    f"({vertex.attributes.get('reason', 'no reason given')}); "
                    "give the module that computes it"
                )
            held = self._nest(vertex.attributes.get("path", vertex.name), opaque[vertex.name])
            for name, key in vertex.tied.items():
                owner, tensor = self._place(key)
                inner, _, last = name.rpartition(".")
                held.get_submodule(inner)._parameters[last] = getattr(owner, tensor)
            return held
        value = constant(vertex)
        stateless = vertex.op not in ("dropout", *OPTIONAL_TENSORS)
        if not vertex.tensors and value is None and stateless:
            return None
        tensors = self._nest(vertex.module if vertex.tensors else vertex.name, nn.Module())
        for name in OPTIONAL_TENSORS.get(vertex.op, ()):
            tensors._parameters.setdefault(name, None)
        for name, shape in vertex.tensors.items():
            if name in vertex.tied:
                tensors._parameters.pop(name, None)
            elif name in BUFFERS:
                tensors._buffers[name] = torch.empty(tuple(shape))
            else:
                tensors._parameters[name] = nn.Parameter(torch.empty(tuple(shape)))
        if value is not None:
            tensors.register_buffer("value", value, persistent=False)
        if vertex.op == "batch_norm" and vertex.attributes["momentum"] is None:
            tensors.calls = 0  # type: ignore[assignment]
        if vertex.tied:
            return _Borrowing(tensors, {name: self._place(k) for name, k in vertex.tied.items()})
        return tensors

    def _place(self, key: str) -> tuple[nn.Module, str]:
        """Return the module that holds a tensor, and the tensor's name in it."""
        path, _, name = key.rpartition(".")
        return self._nest(path, nn.Module()), name

    def _nest(self, path: str, last: nn.Module) -> nn.Module:
        """Return the module at a path, or put `last` there."""
        module: nn.Module = self
        parts = path.split(".") if path else []
        for depth, part in enumerate(parts):
            new = last if depth == len(parts) - 1 else nn.Module()
            found = module._modules.setdefault(part, new)
            assert found is not None
            module = found
        return module


class _Borrowing:
    """A module's tensors and mode, but for the tensors that stand in other modules.

    They are looked up there each time, since moving a network to a device replaces buffers.
    """

    def __init__(self, home: nn.Module, lent: Mapping[str, tuple[nn.Module, str]]) -> None:
        self.__dict__.update(home=home, lent=dict(lent))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # copying asks for these before there is a home
            raise AttributeError(name)
        owner, tensor = self.lent.get(name, (self.home, name))
        return getattr(owner, tensor)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.home, name, value)


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
    for key in owned.keys() & weights.keys() - graph.tensor_shapes.keys() - graph.tied_keys:
        owned[key].data = weights[key].detach().clone()  # a buffer within an opaque module
    return network
