"""Writes a vertex for each call of a module."""

import copy
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils.flop_counter import FlopCounterMode

from gensynth.errors import TraceError
from gensynth.graph.graph import Graph, Vertex
from gensynth.network import ties
from gensynth.trace.answers_apart import check_apart
from gensynth.trace.arguments import collect, constant, holds_tensors, plain
from gensynth.trace.capture import MADE, Calls, attribute, capture
from gensynth.trace.channels_last import ENTRY_BY_ENTRY, LAYERS, Layout, layout_of
from gensynth.trace.functions import FUNCTIONS, METHODS, move
from gensynth.trace.layout import MOVERS, MOVING_FUNCTIONS, apply, words
from gensynth.trace.meaning import Meaning, Stacked, Traced, Unreadable, Unsaid, Weight
from gensynth.trace.modules import read_channel_norm, read_layer
from gensynth.trace.views import made, note, refusal
from gensynth.trace.weighted import channel_norm

_BATCH = 2

_OWN_MODULE = (
    "; put this line into an nn.Module of its own, and only that part stays as it is and the rest "
    "can change"
)
_BEFORE_IT = (
    "; or, where it decodes what the network answers, name the parts before it: outputs in "
    "[prototype], --output of inspect"
)

_SHAPED_CONSTANTS = frozenset(
    ["zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full", "new_tensor"]
)
"""Calls that take only the shape of the tensor they are given."""


def trace(
    module: nn.Module,
    example: Tensor | tuple[Tensor, ...],
    *,
    name: str,
    outputs: tuple[str, ...] = (),
) -> Graph:
    """Return the graph of a module.

    A part of the network that the vocabulary cannot say becomes one opaque vertex, as small
    as the module it stands in; its attribute `reason` says why, with the user's line.

    Args:
        module: stays as it is; a copy is traced, in evaluation mode.
        example: (batch, channels, height, width), as normalised by the data set; a tuple
            for a network with several inputs. Only its shape matters.
        name: of the graph.
        outputs: paths of parts whose answers the graph ends with, or keys of what the module
            returns, in this order; none takes all that it returns. What is computed from the
            parts, such as the decoding of boxes, need not be sayable.

    Raises:
        TraceError: if the network's own forward cannot be said, nothing but opaque parts is
            left of it, or a part of it mixes the images of a batch.
        PrototypeError: if the example does not fit the module, or one of its parameters is a
            view of another.
    """
    ties.check_views(module)
    like = next(module.parameters(), torch.zeros(()))
    examples = tuple(
        x[:1].expand(_BATCH, *x.shape[1:]).clone().to(like.device, like.dtype)
        for x in (example if isinstance(example, tuple) else (example,))
    )
    whole: dict[str, str] = {}
    while True:
        own = copy.deepcopy(module).eval()  # each time: code may keep on itself what it is given
        try:
            calls = capture(own, examples, whole=frozenset(whole), outputs=outputs)
            graph = _Reader(own, calls, whole, name).read()
        except Unreadable as error:
            if not error.path or error.path in whole:
                way = _OWN_MODULE if isinstance(error.__cause__, Unsaid) else ""
                way += "" if outputs else _BEFORE_IT
                raise TraceError(f"{error.reason}{way}") from error
            whole[error.path] = error.reason
            continue
        except RecursionError as error:
            raise TraceError(f"{type(module).__name__} calls itself without end") from error
        if whole and not any(v.tensors for v in graph.vertices if v.op != "opaque"):
            raise TraceError("; ".join(whole.values()))
        check_apart(copy.deepcopy(module).eval(), graph, outputs)
        return _tie(graph, module)


def _tie(graph: Graph, module: nn.Module) -> Graph:
    """Name what is one tensor of the module by one key: where the first vertex reads it."""
    first: dict[object, str] = {}
    vertices = []
    for vertex in graph.vertices:
        tied = {}
        for tensor in vertex.tensors:
            own = vertex.own_key(tensor)
            key = first.setdefault(ties.identity(attribute(module, own)), own)
            if key != own:
                tied[tensor] = key
        vertices.append(replace(vertex, tied=tied) if tied else vertex)
    return replace(graph, vertices=tuple(vertices))


class _Reader:
    def __init__(
        self, module: nn.Module, calls: Calls, whole: Mapping[str, str], name: str
    ) -> None:
        self._module = module
        self._calls = calls
        self._whole = whole
        self._name = name
        self._vertices: dict[str, Vertex] = {}
        self._written: dict[tuple[str, str, str], str] = {}
        self._values: dict[fx.Node, Any] = {}
        self._outputs: tuple[str, ...] = ()

    def read(self) -> Graph:
        for node in self._calls.nodes:
            read = getattr(self, f"_{node.op}")
            try:
                self._values[node] = read(node)
            except Unsaid as error:
                scope = self._scope(node)
                line = self._calls.lines.get(node, "its outputs")
                if error.move is not None:
                    scope, line = error.move.scope, error.move.line
                raise Unreadable(scope, f"{line}: {error}") from error
        alive = _reaching(self._vertices, self._outputs)
        vertices = tuple(v for v in self._vertices.values() if v.name in alive or v.op == "input")
        return Graph(self._name, vertices, self._outputs)

    def _scopes(self, node: fx.Node) -> tuple[str, ...]:
        """Return the paths of the modules whose code makes a call, outermost first."""
        scopes = self._calls.scopes.get(node, ())
        return scopes[:-1] if node.op == "call_module" else scopes

    def _scope(self, node: fx.Node) -> str:
        """Return the path of the innermost module whose code makes a call."""
        return ".".join(self._scopes(node)[-1:])

    def _placeholder(self, node: fx.Node) -> Traced:
        return self._write(str(node.target), Meaning("input"), self._calls.values[node])

    def _get_attr(self, node: fx.Node) -> Any:
        found = attribute(self._module, str(node.target))
        return Weight.at(str(node.target), found) if isinstance(found, Tensor) else found

    def _output(self, node: fx.Node) -> None:
        returned = collect(self._resolve(node.args[0]), Traced)
        self._outputs = tuple(self._settle(x).vertex for x in returned)
        if not self._outputs:
            raise Unsaid("nothing that is returned depends on the input")

    def _call_module(self, node: fx.Node) -> Any:
        path = str(node.target)
        layer = self._module.get_submodule(path)
        args, kwargs = self._resolve((node.args, node.kwargs))
        given = [*args, *kwargs.values()]
        try:
            if path in self._whole:
                raise Unsaid(self._whole[path])
            if len(given) != 1 or not isinstance(given[0], Traced):
                raise Unsaid(f"{type(layer).__name__} is called with {len(given)} arguments")
            layout = layout_of(given) if type(layer) in LAYERS else None
            if layout is not None:
                return self._channels_last(node, path, layout, given[0], layer)
            meaning = read_layer(layer, given[0])
        except Unsaid as error:
            return self._opaque(node, path, given, str(error))
        if isinstance(meaning, Meaning) and meaning.tensors:
            meaning = replace(meaning, module=path)
        note(made(meaning, given), self._calls.lines[node], self._scope(node))
        mutated = given[0] if getattr(layer, "inplace", False) else None
        return self._say(node, path, meaning, mutated)

    def _opaque(self, node: fx.Node, path: str, given: list[Any], reason: str) -> Any:
        value = self._calls.values[node]
        if path.startswith(MADE):
            raise Unsaid(f"{reason}, and is made in forward; make it in __init__")
        if not all(isinstance(x, Traced) for x in given) or not isinstance(value, Tensor):
            raise Unsaid(f"{reason}; and {path!r} does not give one tensor for tensors")
        if node.kwargs or value.ndim < 2 or len(value) != _BATCH:
            raise Unsaid(f"{reason}; and {path!r} has keyword arguments or mixes the batch")
        layer = self._module.get_submodule(path)
        tensors = {name: tuple(tensor.shape) for name, tensor in layer.named_parameters()}
        macs = _count_macs(layer, [x.value for x in given])
        attributes = {"reason": reason, "path": path, "macs": macs}
        said = Meaning("opaque", tuple(given), attributes, tensors, path)
        return self._say(node, path, said, None)

    def _channels_last(
        self, node: fx.Node, path: str, layout: Layout, given: Traced, layer: nn.Module
    ) -> Traced:
        """Read a layer on an image whose channels stand last."""
        first = layout.arguments(given, aligned=False)
        norm = isinstance(layer, nn.LayerNorm)
        meaning = read_channel_norm(layer, first) if norm else read_layer(layer, first)
        if isinstance(meaning, Traced):
            return given
        if meaning.tensors:
            meaning = replace(meaning, module=path)
        mutated = given if getattr(layer, "inplace", False) else None
        return self._say_last(node, path, layout, meaning, mutated)

    def _say_last(
        self, node: fx.Node, name: str, layout: Layout, meaning: Meaning, mutated: Traced | None
    ) -> Traced:
        if mutated is not None:
            self._refuse_shared(node, mutated)
        value = self._calls.values[node]
        said = self._write(name, meaning, layout.first(value))
        found = layout.back(said, value, self._scope(node))
        if mutated is None:
            return found
        mutated.vertex, mutated.value = found.vertex, found.value
        mutated.places, mutated.source = found.places, found.source
        return mutated

    def _call_function(self, node: fx.Node) -> Any:
        function: Any = node.target
        name = function.__name__.strip("_")
        mutates = function.__name__.endswith("_") or name in ("iadd", "isub", "imul", "itruediv")
        moves = function in MOVING_FUNCTIONS
        return self._call(node, name, FUNCTIONS.get(function), moves=moves, mutates=mutates)

    def _call_method(self, node: fx.Node) -> Any:
        name = str(node.target)
        bare = name.strip("_")
        mutates = name.endswith("_") and not name.endswith("__")
        moves = name in MOVERS
        return self._call(node, bare, METHODS.get(bare), moves=moves, mutates=mutates)

    def _call(self, node: fx.Node, name: str, reading: Any, *, moves: bool, mutates: bool) -> Any:
        args, kwargs = self._resolve((node.args, node.kwargs))
        value = self._calls.values[node]
        if name == "getitem" and isinstance(args[0], tuple):
            return args[0][args[1]]
        stacked = bool(collect((args, kwargs), Stacked))
        if not (stacked or collect((args, kwargs), Traced)) or name in _SHAPED_CONSTANTS:
            return constant(value, args, moves=moves)
        if not isinstance(value, Tensor) and not holds_tensors(value):
            return value
        if stacked and name not in ("sum", "mean"):
            raise Unsaid(f"{name} of values that were stacked, which can only be added")
        if moves:
            return self._move(node, name, args, kwargs)
        if reading is None:
            raise Unsaid(f"{name} is not in the vocabulary")
        layout = layout_of((args, kwargs)) if name in ENTRY_BY_ENTRY else None
        given = (args, kwargs)
        if layout is not None:
            weighted = name in ("linear", "layer_norm")
            given = layout.arguments(given, aligned=not weighted)
            reading = channel_norm if name == "layer_norm" else reading
        try:
            meaning = reading(*given[0], **given[1])
        except TypeError as error:
            raise Unsaid(f"{name} with these arguments is not in the vocabulary") from error
        mutates = mutates or bool(kwargs.get("inplace"))
        scope = self._scope(node)
        if isinstance(meaning, Stacked):
            return meaning
        note(made(meaning, (args, kwargs)), self._calls.lines[node], scope)
        wanted = name if name in _READABLE else meaning.op
        said = f"{scope}.{wanted}" if scope else wanted
        if layout is not None and isinstance(meaning, Meaning):
            return self._say_last(node, said, layout, meaning, args[0] if mutates else None)
        return self._say(node, said, meaning, args[0] if mutates else None)

    def _move(self, node: fx.Node, name: str, args: Any, kwargs: Any) -> Any:
        if not args:
            args, kwargs = (kwargs["input"],), {k: v for k, v in kwargs.items() if k != "input"}
        if not isinstance(args[0], Traced):
            raise Unsaid(f"{name} of a constant by a value")
        rest, options = plain((args[1:], kwargs))
        method = {"getitem": "__getitem__"}.get(name, name)
        moved = move(method, args[0], *rest, **options)
        views = list(moved) if isinstance(moved, tuple) else [moved]
        note(views, self._calls.lines[node], self._scope(node))
        for x in views:
            x.scope = self._scope(node)
        return moved

    def _say(
        self, node: fx.Node, name: str, meaning: Meaning | Traced, mutated: Traced | None
    ) -> Traced:
        if isinstance(meaning, Traced):
            return meaning
        if mutated is None:
            return self._write(name, meaning, self._calls.values[node])
        self._refuse_shared(node, mutated)
        said = self._write(name, meaning, self._calls.values[node])
        mutated.vertex, mutated.value, mutated.places = said.vertex, said.value, None
        return mutated

    def _refuse_shared(self, node: fx.Node, mutated: Traced) -> None:
        """Refuse to change a value in place that is also held through another view."""
        order = {other: number for number, other in enumerate(self._calls.nodes)}
        for other, held in self._values.items():
            parts = held if isinstance(held, tuple) else (held,)
            for part in parts:
                if not isinstance(part, Traced) or part is mutated or not _overlap(part, mutated):
                    continue
                if any(order[user] > order[node] for user in other.users):
                    raise Unsaid("an in-place operation on a value of which a view is read later")

    def _settle(self, x: Traced) -> Traced:
        """Write the vertices of a view that is about to be read."""
        if x.places is None:
            return x
        shape = x.source
        found = words(shape, x.places)
        if found is None:
            raise refusal(x)
        vertex, value = x.vertex, torch.empty(shape, device="meta")
        for op, attributes in found:
            value = apply(value, (op, attributes))
            key = (vertex, op, json.dumps(attributes))
            if key not in self._written:
                name = f"{x.scope}.{op}" if x.scope else op
                said = Meaning(op, (Traced(value, vertex),), attributes)
                self._written[key] = self._write(name, said, value).vertex
            vertex = self._written[key]
        return Traced(x.value, vertex)

    def _resolve(self, arguments: Any) -> Any:
        return fx.node.map_aggregate(
            arguments, lambda a: self._values[a] if isinstance(a, fx.Node) else a
        )

    def _write(self, wanted: str, meaning: Meaning, value: Tensor) -> Traced:
        inputs: list[str] = []
        for x in meaning.inputs:
            if isinstance(x, Meaning):
                scope = wanted.rpartition(".")[0]
                inner: Traced | Meaning = x
                while isinstance(inner, Meaning) and inner.value is None:
                    inner = inner.inputs[0]
                given = inner.value
                assert given is not None
                name = f"{scope}.{x.op}" if scope else x.op
                inputs.append(self._write(name, x, given).vertex)
            else:
                inputs.append(self._settle(x).vertex)
        name, count = wanted, 1
        while name in self._vertices:
            count += 1
            name = f"{wanted}.{count}"
        self._vertices[name] = Vertex(
            name=name,
            op=meaning.op,
            inputs=tuple(inputs),
            attributes=meaning.attributes,
            shape=tuple(value.shape[1:]),
            tensors=meaning.tensors,
            module=meaning.module if meaning.tensors else "",
        )
        return Traced(value, name)


def _count_macs(layer: nn.Module, given: list[Tensor]) -> int:
    """Return the MACs of a layer's convolutions and linear layers for one input."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        layer(*(x.clone() for x in given))
    counts = counter.get_flop_counts().get("Global", {})
    flops = sum(n for operator, n in counts.items() if operator.__name__ in _COUNTED)
    return flops // (2 * _BATCH)


_COUNTED = frozenset("convolution _convolution addmm mm".split())
"""Torch's own operators behind convolutions and linear layers."""


def _overlap(first: Traced, second: Traced) -> bool:
    storages = [x.value.untyped_storage().data_ptr() for x in (first, second)]
    return first.vertex == second.vertex and storages[0] == storages[1]


_READABLE = frozenset("adaptive_avg_pool2d max_pool2d avg_pool2d cat interpolate pad".split())
"""Functions whose own name serves for their vertex; the rest take their operator's."""


def _reaching(vertices: Mapping[str, Vertex], outputs: tuple[str, ...]) -> set[str]:
    alive: set[str] = set()
    pending = list(outputs)
    while pending:
        name = pending.pop()
        if name not in alive:
            alive.add(name)
            pending.extend(vertices[name].inputs)
    return alive
