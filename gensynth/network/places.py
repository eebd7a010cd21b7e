"""Where the operators of a graph stand in a torch module, and under which names.

    a layer with tensors     where the prototype has them, so that a state dict has its keys
    a layer without          under its vertex's own name, or the next that is free
    a tensor of another      in both places: one tensor under two names, as torch ties them

A layer stands apart from its tensors, under a name of its own, if another stands there, or the
network itself, or something that it would take for its own, such as a bias that is added later.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from gensynth.errors import PrototypeError
from gensynth.graph.graph import Graph, Vertex
from gensynth.network.layers import LAYERS, hold, layer_of
from gensynth.network.torch_operators import constant

Path = tuple[str, ...]
Tie = tuple[Path, str, Path, str]
"""A module, the name of a tensor in it, and the same of what it is one with."""


class Places:
    """A network's modules, put where they belong.

    Names go straight into `_modules`: a prototype may call a part `graph` or `forward`, which
    `add_module` would refuse.

    Args:
        root: the network, empty.
        graph: what it computes.
        opaque: the user's module of each opaque vertex, its own.

    Attributes:
        ties: tensors of several names; the first must come before what is tied to it.

    Raises:
        PrototypeError: if the module of an opaque vertex is not given.
        ValueError: if torch has no layer of such a size.
    """

    def __init__(self, root: nn.Module, graph: Graph, opaque: Mapping[str, nn.Module]) -> None:
        self.ties: list[Tie] = []
        self._root = root
        self._numbers: dict[Path, int] = {}
        self._claims: dict[Path, nn.Module] = {}
        self._said: dict[Path, object] = {}
        self._of: dict[str, Path] = {}
        self._own: set[str] = set()
        held: dict[Path, set[str]] = defaultdict(set)
        for vertex in graph.vertices:
            held[_home(vertex)] |= vertex.tensors.keys()
            self._own |= {vertex.own_key(n) for n in vertex.tensors.keys() - vertex.tied.keys()}
        for vertex in graph.vertices:
            self._claim(vertex, opaque, held[_home(vertex)])
        for number, vertex in enumerate(graph.vertices):
            if vertex.tensors or vertex.op == "opaque":
                self._hold_tensors(vertex, number)
        for number, vertex in enumerate(graph.vertices):
            self._of[vertex.name] = self._settle(vertex, number)
        self._sort()

    def __getitem__(self, vertex: str) -> Path:
        """Return the path of the module that a vertex asks; the network's own if of none."""
        return self._of[vertex]

    def _claim(self, vertex: Vertex, opaque: Mapping[str, nn.Module], held: set[str]) -> None:
        """Say which module stands at a path, before one below it makes room there."""
        home = _home(vertex)
        if vertex.op == "opaque":
            if vertex.name not in opaque:
                raise PrototypeError(
                    f"the graph has the opaque vertex {vertex.name!r} "
                    f"({vertex.attributes.get('reason', 'no reason given')}); "
                    "give the module that computes it"
                )
            self._claims[home] = opaque[vertex.name]
        elif self._own & {vertex.own_key(name) for name in vertex.tied}:
            return  # another vertex has a tensor of its own there
        elif vertex.tensors and vertex.op in LAYERS and home and home not in self._claims:
            layer = layer_of(vertex)
            foreign = held - vertex.tensors.keys()
            if not foreign & (layer._parameters.keys() | layer._buffers.keys()):
                self._claims[home], self._said[home] = layer, _saying(vertex)

    def _hold_tensors(self, vertex: Vertex, number: int) -> None:
        home = _home(vertex)
        module = self._make(home, number)
        for name, shape in vertex.tensors.items():
            if name in vertex.tied and vertex.own_key(name) in self._own:
                continue
            if name in vertex.tied:
                *inner, last = name.split(".")
                self._tie((*home, *inner), last, vertex.tied[name])
            elif vertex.op != "opaque" and not _has(module, name):
                hold(module, name, shape)

    def _settle(self, vertex: Vertex, number: int) -> Path:
        """Put a vertex's own module into its place, if it has one."""
        home = _home(vertex)
        if vertex.op in LAYERS:
            if vertex.tensors and self._said.get(home) == _saying(vertex):
                return home
            own = self._put(layer_of(vertex), vertex.name, number)
            for name in vertex.tensors:
                self._tie(own, name, vertex.tensor_key(name))
            return own
        value = constant(vertex)
        if value is None:
            return home if vertex.tensors or vertex.op == "opaque" else ()
        held = nn.Module()
        held.register_buffer("value", value, persistent=False)
        return self._put(held, vertex.name, number)

    def _tie(self, path: Path, name: str, key: str) -> None:
        *owner, tensor = key.split(".")
        self.ties.append((path, name, tuple(owner), tensor))
        self._make(tuple(owner), 0)
        retie(self._root, self.ties[-1:])

    def _make(self, path: Path, number: int) -> nn.Module:
        """Return the module at a path, made if it is not there."""
        module = self._root
        for depth, part in enumerate(path, 1):
            found = module._modules.get(part)
            if found is None:
                found = self._claims.get(path[:depth])
                found = module._modules[part] = nn.Module() if found is None else found
                self._numbers[path[:depth]] = number
            module = found
        return module

    def _put(self, module: nn.Module, name: str, number: int) -> Path:
        """Put a module under a name; where that is taken, as near as possible."""
        *rest, last = name.split(".")
        parent: nn.Module = self._root
        above: Path = ()
        while rest and type(parent._modules.get(rest[0], nn.Module())) is nn.Module:
            above = (*above, rest.pop(0))
            parent = self._make(above, number)
        last = "_".join([*rest, last])
        while any(
            last in names for names in (parent._modules, parent._parameters, parent._buffers)
        ):
            last += "_"
        parent._modules[last] = module
        self._numbers[*above, last] = number
        return (*above, last)

    def _sort(self) -> None:
        """Let modules follow in the order of the computation; those with tensors as they came."""
        for above in {path[:-1] for path in self._numbers}:
            parent = at(self._root, above)
            own = sorted(
                parent._modules.items(), key=lambda item: self._numbers.get((*above, item[0]), -1)
            )
            parent._modules.clear()
            parent._modules.update(own)


def at(root: nn.Module, path: Path) -> nn.Module:
    """Return the module at a path, whatever has been put there since."""
    module: Any = root
    for part in path:
        module = module._modules[part]
    found: nn.Module = module
    return found


def retie(root: nn.Module, ties: list[Tie]) -> None:
    """Make one tensor of those that are one: moving a network to a device parts its buffers."""
    for path, name, owner, tensor in ties:
        source, module = at(root, owner), at(root, path)
        for kind in ("_parameters", "_buffers"):
            if tensor in getattr(source, kind):
                getattr(module, kind)[name] = getattr(source, kind)[tensor]


def keys(ties: list[Tie]) -> Iterator[str]:
    """Yield the further names of tensors, as a state dict has them."""
    return (".".join((*path, name)) for path, name, _, _ in ties)


def _home(vertex: Vertex) -> Path:
    path = vertex.attributes.get("path", vertex.name) if vertex.op == "opaque" else vertex.module
    return tuple(path.split(".")) if path else ()


def _has(module: nn.Module, name: str) -> bool:
    return any(names.get(name) is not None for names in (module._parameters, module._buffers))


def _saying(vertex: Vertex) -> object:
    """Return what two calls of one layer have in common."""
    differs = vertex.op in ("linear", "batch_norm")  # on a vector and on an image
    rank = len(vertex.shape) if differs else None
    tied = dict(vertex.tied)
    return vertex.op, dict(vertex.attributes), dict(vertex.tensors), tied, rank
