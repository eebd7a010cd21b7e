"""Tensors as named bytes, without numpy: types, sizes, the first value that is not finite.

The bytes are in C order and little-endian, as every board that we know stores them.
"""

import array
import math
from typing import Dict, List, NamedTuple, Optional, Tuple

from gensynth.devices.agent.wire.status import Fault

SIZES = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint64": 8,
    "uint32": 4,
    "uint16": 2,
    "uint8": 1,
    "bool": 1,
}

# The integer as wide as the float, and the bits of its exponent: all set in NaN and infinity.
_EXPONENTS = {
    "float64": ("Q", 0x7FF0000000000000),
    "float32": ("I", 0x7F800000),
    "float16": ("H", 0x7C00),
    "bfloat16": ("H", 0x7F80),
}
_MANTISSA_BITS = {"float64": 52, "float32": 23, "float16": 10, "bfloat16": 7}
_SUMMABLE = {"float64": "d", "float32": "f"}
_INTEGERS = {"int64": "q", "int32": "i", "int16": "h", "int8": "b", "uint8": "B", "bool": "B"}


class Tensor(NamedTuple):
    """One input or output of a network.

    Attributes:
        name: as the network calls it.
        dtype: a key of `SIZES`.
        shape: batch first; empty for a scalar.
        data: its bytes.
    """

    name: str
    dtype: str
    shape: Tuple[int, ...]
    data: bytes


class NotFinite(NamedTuple):
    """The first value of a tensor that is no number.

    Attributes:
        position: in C order, from 0.
        value: "NaN", "Infinity" or "-Infinity".
    """

    position: int
    value: str


def byte_count(dtype: str, shape: Tuple[int, ...]) -> int:
    """Return the bytes of a tensor.

    Raises:
        Fault: `protocol_error` for a type that is not in `SIZES` or a size below zero.
    """
    if dtype not in SIZES or any(size < 0 for size in shape):
        raise Fault(
            "protocol_error",
            f"a tensor must be of one of {', '.join(sorted(SIZES))} with sizes of at least 0, "
            f"got {dtype!r} {list(shape)}",
        )
    count = SIZES[dtype]
    for size in shape:
        count *= size
    return count


def tensor(name: str, dtype: str, shape: List[int], data: bytes) -> Tensor:
    """Return a tensor whose bytes are as many as its type and shape need.

    Raises:
        Fault: `protocol_error` otherwise.
    """
    expected = byte_count(dtype, tuple(shape))
    if len(data) != expected:
        raise Fault(
            "protocol_error",
            f"tensor {name!r} of {dtype} {list(shape)} must have {expected} bytes, got {len(data)}",
        )
    return Tensor(name, dtype, tuple(shape), data)


def first_not_finite(subject: Tensor) -> Optional[NotFinite]:
    """Return the first NaN or infinity, or None; integers are always finite."""
    if subject.dtype not in _EXPONENTS:
        return None
    if subject.dtype in _SUMMABLE:
        # One pass in C: a NaN or an infinity makes the sum one too. A sum that overflows
        # (float64 alone) only costs the slow pass.
        numbers = array.array(_SUMMABLE[subject.dtype])
        numbers.frombytes(subject.data)
        if math.isfinite(sum(numbers)):
            return None
    code, exponent = _EXPONENTS[subject.dtype]
    patterns = array.array(code)
    patterns.frombytes(subject.data)
    for index, bits in enumerate(patterns):
        if bits & exponent == exponent:
            return NotFinite(index, _spelled(bits, subject.dtype))
    return None


def converted(subject: Tensor, dtype: str) -> Tensor:
    """Return the tensor in another integer type, with the same values.

    A runtime may take int32 where the file says int64 (TensorRT below 10).

    Raises:
        Fault: `build_failed` where a value does not fit, or either type is no integer.
    """
    if dtype == subject.dtype:
        return subject
    if dtype not in _INTEGERS or subject.dtype not in _INTEGERS:
        raise Fault(
            "build_failed",
            f"the runtime takes {dtype} for input {subject.name!r}, which is {subject.dtype}; "
            "export the network with that type",
        )
    values = array.array(_INTEGERS[subject.dtype])
    values.frombytes(subject.data)
    try:
        data = array.array(_INTEGERS[dtype], values).tobytes()
    except OverflowError as error:
        raise Fault(
            "build_failed",
            f"the runtime takes {dtype} for input {subject.name!r}, and a value of it does not "
            "fit; export the network with smaller numbers",
        ) from error
    return Tensor(subject.name, dtype, subject.shape, data)


def as_json(subject: Tensor, blob: str) -> Dict[str, object]:
    """Return the entry of a result for a tensor whose bytes lie in a blob."""
    return {
        "name": subject.name,
        "dtype": subject.dtype,
        "shape": list(subject.shape),
        "blob": blob,
    }


def _spelled(bits: int, dtype: str) -> str:
    mantissa = _MANTISSA_BITS[dtype]
    if bits & ((1 << mantissa) - 1):
        return "NaN"
    return "-Infinity" if bits >> (8 * SIZES[dtype] - 1) else "Infinity"
