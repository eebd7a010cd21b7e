"""Runs a module's calls on an example and writes a vertex for each."""

import copy
from typing import Any

import torch
from torch import Tensor, fx, nn

from gensynth.errors import PrototypeError, TraceError
from gensynth.graph import Graph, Vertex
from gensynth.trace.capture import capture, line_of, module_path
from gensynth.trace.functions import FUNCTIONS, METHODS
from gensynth.trace.meaning import Meaning, Traced, Unsaid, Weight
from gensynth.trace.modules import meaning_of


def trace(module: nn.Module, example: Tensor | tuple[Tensor, ...], *, name: str) -> Graph:
    """Return the graph of a module.

    Args:
        module: stays as it is; a copy is traced, in evaluation mode.
        example: (batch, channels, height, width), as normalised by the data set; a tuple
            for a module with several inputs. Only its shape matters.
        name: of the graph.

    Raises:
        TraceError: if the module cannot be read as a graph.
        PrototypeError: if the example does not fit the module.
    """
    module = copy.deepcopy(module).eval()
    examples = example if isinstance(example, tuple) else (example,)
    first = next((p for p in module.parameters()), torch.zeros(()))
    pairs = [x[:1].expand(2, *x.shape[1:]).to(first.device) for x in examples]
    calls = capture(module)
    with torch.no_grad():
        return _Reader(module, calls, pairs, name).read()


class _Reader:
    def __init__(
        self, module: nn.Module, calls: fx.Graph, examples: list[Tensor], name: str
    ) -> None:
        self._module = module
        self._calls = calls
        self._examples = iter(examples)
        self._name = name
        self._vertices: list[Vertex] = []
        self._names: set[str] = set()
        self._values: dict[fx.Node, Any] = {}
        self._outputs: tuple[str, ...] = ()

    def read(self) -> Graph:
        for node in self._calls.nodes:
            self._values[node] = getattr(self, f"_{node.op}")(node)
        return Graph(self._name, tuple(self._vertices), self._outputs)

    def _placeholder(self, node: fx.Node) -> Traced:
        value = next(self._examples)
        return self._write(str(node.target), Meaning("input"), value)

    def _get_attr(self, node: fx.Node) -> Any:
        found: Any = self._module
        for part in str(node.target).split("."):
            found = getattr(found, part)
        return Weight(found, str(node.target)) if isinstance(found, Tensor) else found

    def _output(self, node: fx.Node) -> None:
        returned = self._resolve(node.args[0])
        values = returned if isinstance(returned, (tuple, list)) else (returned,)
        self._outputs = tuple(value.vertex for value in values)

    def _call_module(self, node: fx.Node) -> Any:
        path = str(node.target)
        layer = self._module.get_submodule(path)
        args, kwargs = self._resolve(node.args), self._resolve(node.kwargs)
        try:
            meaning = meaning_of(layer)
        except Unsaid as error:
            raise TraceError(f"{line_of(node)}: {path}: {error}") from error
        if meaning is None:
            return args[0]
        value = self._compute(layer, args, kwargs, path)
        said = Meaning(meaning.op, (args[0],), meaning.attributes, meaning.tensors, path)
        return self._write(path, said, value)

    def _call_function(self, node: fx.Node) -> Any:
        return self._call(node, node.target, FUNCTIONS.get(node.target))

    def _call_method(self, node: fx.Node) -> Any:
        name = str(node.target)
        return self._call(node, lambda x, *a, **k: getattr(x, name)(*a, **k), METHODS.get(name))

    def _call(self, node: fx.Node, function: Any, meaning_of_call: Any) -> Any:
        args, kwargs = self._resolve(node.args), self._resolve(node.kwargs)
        name = getattr(node.target, "__name__", str(node.target))
        value = self._compute(function, args, kwargs, name)
        if not isinstance(value, Tensor):
            return value
        if meaning_of_call is None:
            raise TraceError(f"{line_of(node)}: {name} is not in the vocabulary")
        try:
            said = meaning_of_call(*args, **kwargs)
        except Unsaid as error:
            raise TraceError(f"{line_of(node)}: {error}") from error
        prefix = module_path(node)
        return self._write(f"{prefix}.{name}" if prefix else name, said, value)

    def _compute(self, function: Any, args: Any, kwargs: Any, name: str) -> Any:
        try:
            return function(*_plain(args), **_plain(kwargs))
        except RuntimeError as error:
            raise PrototypeError(f"the example does not fit the network at {name}: {error}") from error

    def _resolve(self, arguments: Any) -> Any:
        return fx.node.map_aggregate(
            arguments, lambda a: self._values[a] if isinstance(a, fx.Node) else a
        )

    def _write(self, wanted: str, meaning: Meaning, value: Tensor) -> Traced:
        name, count = wanted, 1
        while name in self._names:
            count += 1
            name = f"{wanted}.{count}"
        self._names.add(name)
        self._vertices.append(
            Vertex(
                name=name,
                op=meaning.op,
                inputs=tuple(x.vertex for x in meaning.inputs),
                attributes=meaning.attributes,
                shape=tuple(value.shape[1:]),
                tensors=meaning.tensors,
                module=meaning.module if meaning.tensors else "",
            )
        )
        return Traced(value, name)


def _plain(arguments: Any) -> Any:
    return fx.node.map_aggregate(
        arguments, lambda a: a.value if isinstance(a, (Traced, Weight)) else a
    )
