"""An ONNX file computed in FP16: as a file of its own, and as numbers that FP16 would give.

Up to TensorRT 10 FP16 can be a flag of the builder, and the file stays FP32; TensorRT 11 has no
such flag, and the precision is the file's. `Halves` writes the file: every weight becomes FP16 and
so does what is computed from them, but for the nodes that are kept in FP32; inputs and outputs of
the whole stay FP32, so that a program need not know.

A processor runs such a file in FP32 between the casts, so that running it shows neither the
rounding nor an overflow. `rounded` makes both visible: FP32 arithmetic, and every FP16 value
rounded where a node gives it, as a GPU does that sums in FP32. It shows what a flag does to an
FP32 file just as well.
"""

from collections.abc import Collection, Iterator

import numpy as np
from onnx import (
    AttributeProto,
    ModelProto,
    NodeProto,
    TensorProto,
    checker,
    helper,
    numpy_helper,
    shape_inference,
)

from gensynth.errors import ExportError

TOLERANCE = 2e-2
"""Allowed difference to the FP32 network, relative to the largest output: FP16 has 11 bits, so
one rounding errs by 2^-11 = 4.9e-4, and a network rounds at every vertex."""

LARGEST = float(np.finfo(np.float16).max)
FULL, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
FLOAT_INPUTS = {"Resize": {1, 2}}
"""Inputs that ONNX wants in FP32 whatever the operator computes in."""
OWN_TYPE = frozenset({"Cast", "Constant", "ConstantOfShape", "EyeLike", "OneHot", "Range"})
"""Operators that name the type of what they give, which stays as it is written."""


class Halves:
    """An FP32 file, ready to be written in FP16.

    Args:
        content: of the file.

    Attributes:
        layers: the nodes that compute numbers, each of which may stay in FP32.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        model = shape_inference.infer_shapes(ModelProto.FromString(content))
        self._floats = {name for name, kind in _types(model).items() if kind == FULL}
        self.layers: tuple[str, ...] = tuple(
            node.name
            for node in model.graph.node
            if node.op_type not in OWN_TYPE and self._floats.intersection(node.output)
        )

    def write(self, *, keep: Collection[str] = (), only: Collection[str] | None = None) -> bytes:
        """Return the file in FP16; the same file gives the same bytes.

        Args:
            keep: nodes that stay in FP32.
            only: the nodes that do not; None for all others.

        Raises:
            ExportError: if a weight is too large for FP16, or a part that torch's exporter wrote
                mixes types.
        """
        halved = set(self.layers if only is None else only) - set(keep)
        model = ModelProto.FromString(self._content)
        _Halving(model, self._floats, halved).do()
        try:
            checker.check_model(model, full_check=True)
        except (checker.ValidationError, shape_inference.InferenceError) as error:
            raise ExportError(f"the file cannot be computed in FP16: {error}") from error
        return model.SerializeToString(deterministic=True)


def to_half(content: bytes, *, keep: Collection[str] = ()) -> bytes:
    """Return an FP32 file as FP16.

    Raises:
        ExportError: as `Halves.write`.
    """
    return Halves(content).write(keep=keep)


def rounded(content: bytes) -> bytes:
    """Return an FP16 file as one that shows on a processor what FP16 does to its numbers."""
    model = ModelProto.FromString(content)
    graph = model.graph
    halves = {n for n, kind in _types(shape_inference.infer_shapes(model)).items() if kind == HALF}
    for tensor in graph.initializer:
        if tensor.data_type == HALF:
            tensor.CopyFrom(_full(tensor))
    del graph.value_info[:]
    nodes = list(graph.node)
    taken = {name for node in nodes for name in (*node.input, *node.output)}
    del graph.node[:]
    for node in nodes:
        short = [name for name in node.output if name in halves]
        exact = {name: _unique(f"{name}:exact", taken) for name in short}
        node.output[:] = [exact.get(name, name) for name in node.output]
        for attribute in node.attribute if short else ():
            if attribute.type == AttributeProto.TENSOR and attribute.t.data_type == HALF:
                attribute.t.CopyFrom(_full(attribute.t))
            elif node.op_type == "Cast" and attribute.name == "to":
                attribute.i = FULL
        graph.node.append(node)
        for name in short:
            half = _unique(f"{name}:short", taken)
            graph.node.append(helper.make_node("Cast", [exact[name]], [half], to=HALF))
            graph.node.append(helper.make_node("Cast", [half], [name], to=FULL))
    return model.SerializeToString(deterministic=True)


def is_half(content: bytes) -> bool:
    """Return whether a file computes anything in FP16."""
    graph = ModelProto.FromString(content).graph
    casts = (a.i for node in graph.node if node.op_type == "Cast" for a in node.attribute)
    return any(t.data_type == HALF for t in graph.initializer) or HALF in casts


class _Halving:
    """Some nodes of a file made FP16 in place, with a cast wherever the type of a value changes."""

    def __init__(self, model: ModelProto, floats: set[str], halved: set[str]) -> None:
        self._graph = model.graph
        self._floats = floats
        self._halved = halved
        self._nodes = list(model.graph.node)
        self._taken = {name for node in self._nodes for name in (*node.input, *node.output)}
        self._held = {tensor.name: tensor for tensor in self._graph.initializer}
        self._returned = {value.name for value in self._graph.output}
        self._in_full = {
            name for node in self._nodes for name, half in self._reads(node) if not half
        }
        self._halves: dict[str, str] = {}
        self._fulls: dict[str, str] = {}

    def do(self) -> None:
        graph = self._graph
        del graph.node[:]
        del graph.value_info[:]
        for node in self._nodes:
            node.input[:] = [
                (self._half if half else self._full)(name) if name in self._floats else name
                for name, half in self._reads(node)
            ]
            given = [n for n in node.output if n in self._floats and node.name in self._halved]
            for name in given:
                # The border of the file is FP32: there a value keeps its name as that.
                leaves = name in self._returned
                self._halves[name] = _unique(f"{name}:half", self._taken) if leaves else name
            node.output[:] = [self._halves.get(name, name) for name in node.output]
            graph.node.append(node)
            for name in given:
                if name in self._returned:
                    graph.node.append(_cast(self._halves[name], name, FULL))
                    self._fulls[name] = name

    def _reads(self, node: NodeProto) -> Iterator[tuple[str, bool]]:
        """Yield what a node reads, and whether it reads it in FP16."""
        kept = FLOAT_INPUTS.get(node.op_type, ())
        for position, name in enumerate(node.input):
            yield name, node.name in self._halved and position not in kept

    def _half(self, name: str) -> str:
        """Return the name of a value in FP16."""
        if name not in self._halves:
            tensor = self._held.get(name)
            apart = tensor is None or name in self._in_full
            self._halves[name] = _unique(f"{name}:half", self._taken) if apart else name
            if tensor is None:
                self._graph.node.append(_cast(name, self._halves[name], HALF))
            elif apart:
                own = self._graph.initializer.add()
                own.CopyFrom(_short(tensor))
                own.name = self._halves[name]
            else:
                tensor.CopyFrom(_short(tensor))
        return self._halves[name]

    def _full(self, name: str) -> str:
        """Return the name of a value in FP32."""
        if self._halves.get(name) != name:
            return name  # it is computed or held in FP32
        if name not in self._fulls:
            self._fulls[name] = _unique(f"{name}:full", self._taken)
            self._graph.node.append(_cast(name, self._fulls[name], FULL))
        return self._fulls[name]


def _types(model: ModelProto) -> dict[str, int]:
    """Return the type of every value of a model whose shapes are inferred."""
    graph = model.graph
    infos = (*graph.input, *graph.value_info, *graph.output)
    found = {info.name: int(info.type.tensor_type.elem_type) for info in infos}
    return found | {tensor.name: int(tensor.data_type) for tensor in graph.initializer}


def _short(tensor: TensorProto) -> TensorProto:
    numbers = numpy_helper.to_array(tensor)
    largest = float(np.abs(numbers).max(initial=0.0))
    if largest > LARGEST:
        raise ExportError(
            f"{tensor.name!r} holds {largest:.3g}, and FP16 ends at {LARGEST:g}; export it as fp32"
        )
    return numpy_helper.from_array(numbers.astype(np.float16), tensor.name)


def _full(tensor: TensorProto) -> TensorProto:
    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)


def _cast(read: str, output: str, to: int) -> NodeProto:
    return helper.make_node("Cast", [read], [output], f"{output}/cast", to=to)


def _unique(wanted: str, taken: set[str]) -> str:
    name = wanted
    while name in taken:
        name += ":"
    taken.add(name)
    return name
