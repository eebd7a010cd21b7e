"""What an ONNX file says of itself, read from its bytes without the onnx package.

A board has no onnx package, and we need little: the inputs, the nodes (TensorRT below 10 names
a node it refuses by number alone), and what precision it computes in. Field numbers: onnx.proto;
the wire format: protobuf's encoding page.
"""

from typing import Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

from gensynth.devices.agent.runtimes.onnx_precision import Operation, Weight, precision_of
from gensynth.devices.agent.wire.status import Fault
from gensynth.devices.agent.wire.tensors import Tensor

# TensorProto.DataType
DTYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    16: "bfloat16",
}
_HALF = 10
_CONSTANT_VALUE, _INTEGER_VALUE = 5, 3  # AttributeProto.t and i
_EXTERNAL = 1  # TensorProto.DataLocation
_QUANTISING = frozenset(["QuantizeLinear", "DequantizeLinear"])

Field = Tuple[int, Union[int, memoryview]]


class Node(NamedTuple):
    """One operator of the file, and the names of the values that it gives."""

    name: str
    operator: str
    outputs: Tuple[str, ...] = ()


class Input(NamedTuple):
    """One input of the file; a size that is free is None."""

    name: str
    dtype: str
    shape: Tuple[Optional[int], ...]

    def takes(self, given: Tensor) -> bool:
        """Return whether a tensor of that type and shape can be fed."""
        return (
            given.dtype == self.dtype
            and len(given.shape) == len(self.shape)
            and all(own in (None, size) for own, size in zip(self.shape, given.shape))
        )

    @property
    def is_dynamic(self) -> bool:
        """Whether a size is free."""
        return None in self.shape


class OnnxFile(NamedTuple):
    """The parts of a file that matter to a runtime.

    Attributes:
        nodes: in the file's order.
        inputs: without those that are weights.
        precision: "int8", "fp16" or "fp32": what a runtime that takes types from the file
            computes most of it in (`onnx_precision`).
        quantises: whether it says where values are rounded to 8 bits.
    """

    nodes: Tuple[Node, ...]
    inputs: Tuple[Input, ...]
    precision: str
    quantises: bool = False

    def check_inputs(self, given: Sequence[Tensor]) -> None:
        """Refuse inputs that are not those of the file.

        Raises:
            Fault: `build_failed`.
        """
        tensors = {tensor.name: tensor for tensor in given}
        if set(tensors) != {entry.name for entry in self.inputs}:
            raise Fault(
                "build_failed",
                f"the network takes {_names(entry.name for entry in self.inputs)}, "
                f"got {_names(tensors)}",
            )
        for entry in self.inputs:
            tensor = tensors[entry.name]
            if not entry.takes(tensor):
                raise Fault(
                    "build_failed",
                    f"input {entry.name!r} takes {entry.dtype} {_sizes(entry.shape)}, "
                    f"got {tensor.dtype} {list(tensor.shape)}",
                )

    def check_nodes(self, names: Sequence[str]) -> None:
        """Refuse names that no node has.

        Raises:
            Fault: `build_failed`.
        """
        unknown = set(names) - {node.name for node in self.nodes}
        if unknown:
            raise Fault("build_failed", f"the network has no node {_names(unknown)}")

    def check_precision(self, precision: str, is_typed: bool, runtime: str) -> None:
        """Refuse a precision that a runtime cannot compute this file in.

        Args:
            precision: "fp32", "fp16" or "int8".
            is_typed: whether the runtime takes types from the file and changes none.
            runtime: its name, for the message.

        Raises:
            Fault: `build_failed`.
        """
        if precision == "int8" and not self.quantises:
            raise Fault(
                "build_failed",
                "int8 takes a file with QuantizeLinear nodes, got one without; export it with "
                "quantisation",
            )
        if precision == "fp16" and is_typed and self.precision != "fp16":
            raise Fault(
                "build_failed",
                f"{runtime} takes precision from the file, and this one is in "
                f"{self.precision}; export it in half precision, or measure fp32",
            )


def read(path: str) -> OnnxFile:
    """Read a file.

    Raises:
        Fault: `build_failed` if it is no ONNX file.
    """
    with open(path, "rb") as file:
        content = memoryview(file.read())
    try:
        graphs = list(_messages(content, 7))
        if len(graphs) != 1:
            raise ValueError(f"it has {len(graphs)} graphs")
        return _graph(graphs[0])
    except (ValueError, IndexError) as error:
        raise Fault(
            "build_failed", f"the network is no ONNX file that can be run: {error}"
        ) from error


def _graph(graph: memoryview) -> OnnxFile:
    weights = list(_messages(graph, 5))
    if any(_number(weight, 14) == _EXTERNAL for weight in weights):
        raise ValueError("it keeps weights in files beside it; save it as one file")
    weight_names = {_text(weight, 8) for weight in weights}
    inputs = [_input(entry) for entry in _messages(graph, 11)]
    nodes = tuple(
        Node(_text(node, 3), _text(node, 4), _texts(node, 2)) for node in _messages(graph, 1)
    )
    constants = {_text(weight, 8): _weight(weight) for weight in weights}
    operations = []
    for node in _messages(graph, 1):
        made = [_plain(name) for name in _messages(node, 2)]
        read = [_plain(name) for name in _messages(node, 1)]
        operations.append(Operation(_text(node, 4), read, made, _cast_to(node)))
        for attribute in _messages(node, 5) if _text(node, 4) == "Constant" else ():
            for value in _messages(attribute, _CONSTANT_VALUE):
                constants.update((name, _weight(value)) for name in made)
    half_inputs = any(entry.dtype == DTYPES[_HALF] for entry in inputs)
    return OnnxFile(
        nodes,
        tuple(entry for entry in inputs if entry.name not in weight_names),
        precision_of(operations, constants, half_inputs),
        any(node.operator in _QUANTISING for node in nodes),
    )


def _cast_to(node: memoryview) -> Optional[int]:
    """Return the type that a Cast gives."""
    if _text(node, 4) != "Cast":
        return None
    given = (_number(one, _INTEGER_VALUE) for one in _messages(node, 5) if _text(one, 1) == "to")
    return next(given, None)


def _weight(tensor: memoryview) -> Weight:
    elements = 1
    for size in _numbers(tensor, 1):
        elements *= size
    return Weight(_number(tensor, 2), elements)


def _input(entry: memoryview) -> Input:
    shape: List[Optional[int]] = []
    dtype = "unknown"
    for kind in _messages(entry, 2):
        for tensor in _messages(kind, 1):
            dtype = DTYPES.get(_number(tensor, 1), f"ONNX type {_number(tensor, 1)}")
            for sizes in _messages(tensor, 2):
                shape = [_size(size) for size in _messages(sizes, 1)]
    return Input(_text(entry, 1), dtype, tuple(shape))


def _size(dimension: memoryview) -> Optional[int]:
    for field, value in _fields(dimension):
        if field == 1 and isinstance(value, int) and value < 1 << 63:
            return value
    return None


def _messages(message: memoryview, wanted: int) -> Iterator[memoryview]:
    for field, value in _fields(message):
        if field == wanted and isinstance(value, memoryview):
            yield value


def _number(message: memoryview, wanted: int) -> int:
    found = [value for field, value in _fields(message) if field == wanted]
    return found[-1] if found and isinstance(found[-1], int) else 0  # protobuf: the last counts


def _numbers(message: memoryview, wanted: int) -> Iterator[int]:
    """Yield the numbers of a repeated field, packed or one by one."""
    for field, value in _fields(message):
        if field == wanted and isinstance(value, int):
            yield value
        elif field == wanted and isinstance(value, memoryview):
            position = 0
            while position < len(value):
                number, position = _varint(value, position)
                yield number


def _texts(message: memoryview, wanted: int) -> Tuple[str, ...]:
    return tuple(_plain(one) for one in _messages(message, wanted))


def _text(message: memoryview, wanted: int) -> str:
    found = list(_messages(message, wanted))
    return _plain(found[-1]) if found else ""


def _plain(text: memoryview) -> str:
    return bytes(text).decode("utf-8", "replace")


def _fields(message: memoryview) -> Iterator[Field]:
    """Yield number and value of each field; fixed-width ones, which we need not, are skipped."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        kind = key & 7
        if kind == 0:
            value, position = _varint(message, position)
            yield key >> 3, value
        elif kind == 2:
            size, position = _varint(message, position)
            if position + size > len(message):
                raise ValueError("a field is longer than the file")
            yield key >> 3, message[position : position + size]
            position += size
        elif kind in (1, 5):
            position += 8 if kind == 1 else 4
        else:
            raise ValueError(f"a field has the unknown type {kind}")


def _varint(message: memoryview, position: int) -> Tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("a number is longer than 64 bits")


def _names(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names)) or "no input"


def _sizes(shape: Tuple[Optional[int], ...]) -> str:
    return "[{}]".format(", ".join("?" if size is None else str(size) for size in shape))
