"""Tensors as named bytes, beside numpy."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gensynth.devices.agent.wire.status import Fault
from gensynth.devices.agent.wire.tensors import (
    SIZES,
    NotFinite,
    Tensor,
    as_json,
    byte_count,
    converted,
    first_not_finite,
    tensor,
)

FLOATS = ("float64", "float32", "float16")
INTEGERS = ("int64", "int32", "int16", "int8", "uint8")


def spelled(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


@given(
    st.sampled_from(FLOATS).flatmap(
        lambda dtype: hnp.arrays(
            dtype, hnp.array_shapes(max_dims=3, max_side=5), elements={"allow_subnormal": True}
        )
    )
)
def test_the_first_number_that_is_not_finite_is_found(
    array: "np.ndarray[tuple[int, ...], np.dtype[np.floating]]",
) -> None:
    found = first_not_finite(Tensor("y", array.dtype.name, array.shape, array.tobytes()))
    odd = np.flatnonzero(~np.isfinite(array))
    if len(odd):
        assert found == NotFinite(int(odd[0]), spelled(float(array.flat[odd[0]])))
    else:
        assert found is None


def test_a_sum_beyond_the_largest_number_is_no_infinity() -> None:
    large = np.full(10, 1.7e308)
    assert first_not_finite(Tensor("y", "float64", (10,), large.tobytes())) is None


def test_two_infinities_that_cancel_are_found() -> None:
    array = np.array([1, np.inf, -np.inf], np.float32)
    assert first_not_finite(Tensor("y", "float32", (3,), array.tobytes())) == (1, "Infinity")


@pytest.mark.parametrize(
    ("bits", "value"),
    # bfloat16: sign, 8 bits of exponent, 7 of mantissa; the upper half of a float32.
    [(0x7F80, "Infinity"), (0xFF80, "-Infinity"), (0x7FC0, "NaN"), (0xFF81, "NaN")],
)
def test_bfloat16_is_read_by_its_bits(bits: int, value: str) -> None:
    data = np.array([0x3F80, 0x7F7F, bits], np.uint16).tobytes()  # 1, the largest, what is odd
    assert first_not_finite(Tensor("y", "bfloat16", (3,), data)) == (2, value)
    assert first_not_finite(Tensor("y", "bfloat16", (2,), data[:4])) is None


@pytest.mark.parametrize("dtype", [*INTEGERS, "bool"])
def test_integers_are_always_finite(dtype: str) -> None:
    data = b"\xff" * SIZES[dtype] * 4
    assert first_not_finite(Tensor("y", dtype, (4,), data)) is None


@pytest.mark.parametrize("dtype", [dtype for dtype in SIZES if dtype != "bfloat16"])
def test_sizes_are_those_of_numpy(dtype: str) -> None:
    assert SIZES[dtype] == np.dtype(dtype).itemsize
    assert byte_count(dtype, (2, 3, 5)) == np.zeros((2, 3, 5), dtype).nbytes
    assert byte_count(dtype, ()) == np.zeros((), dtype).nbytes


@pytest.mark.parametrize(
    ("dtype", "shape"), [("complex64", (1,)), ("float32", (2, -1)), ("", ()), ("Float32", (1,))]
)
def test_a_tensor_of_no_type_or_size_is_refused(dtype: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(Fault, match="a tensor must be of one of bfloat16, bool,") as refused:
        byte_count(dtype, shape)
    assert refused.value.status == "protocol_error"


@pytest.mark.parametrize("size", [0, 23, 25, 48])
def test_a_tensor_has_the_bytes_of_its_shape(size: int) -> None:
    with pytest.raises(Fault, match=rf"must have 24 bytes, got {size}") as refused:
        tensor("x", "float32", [2, 3], bytes(size))
    assert refused.value.status == "protocol_error"
    assert tensor("x", "float32", [2, 3], bytes(24)).shape == (2, 3)


@given(st.sampled_from(INTEGERS), st.sampled_from(INTEGERS), st.data())
def test_integers_keep_their_values_in_another_type_or_are_refused(
    source: str, target: str, data: st.DataObject
) -> None:
    array = data.draw(hnp.arrays(source, (3,)))
    given_ = Tensor("x", source, (3,), array.tobytes())
    limits = np.iinfo(target)
    if source == target or all(limits.min <= value <= limits.max for value in array.tolist()):
        result = converted(given_, target)
        assert np.frombuffer(result.data, target).tolist() == array.tolist()
        assert (result.name, result.dtype, result.shape) == ("x", target, (3,))
    else:
        with pytest.raises(Fault, match=f"takes {target} for input 'x', and a value") as refused:
            converted(given_, target)
        assert refused.value.status == "build_failed"


@pytest.mark.parametrize(("source", "target"), [("float32", "float16"), ("int32", "float32")])
def test_floating_point_is_not_rounded_in_silence(source: str, target: str) -> None:
    with pytest.raises(Fault, match=f"takes {target} for input 'x', which is {source}; export"):
        converted(Tensor("x", source, (1,), bytes(4)), target)


def test_a_result_has_a_tensor_without_its_bytes() -> None:
    assert as_json(Tensor("y", "int8", (1, 2), b"ab"), "f" * 64) == {
        "name": "y",
        "dtype": "int8",
        "shape": [1, 2],
        "blob": "f" * 64,
    }
