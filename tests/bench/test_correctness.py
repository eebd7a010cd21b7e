"""Whether a device's outputs are this machine's: what passes, what does not, what shows nothing."""

from pathlib import Path

import numpy as np
import pytest

from gensynth.bench.correctness import compare
from gensynth.bench.subjects import Subject, find, read
from gensynth.errors import DeviceFault
from tests.onnx_files.written import unary, written


@pytest.fixture
def two(tmp_path: Path) -> Subject:
    """A network of two outputs, its input and twice that."""
    file = written(
        tmp_path / "two.onnx",
        "g (float[1,4] x) => (float[1,4] y, float[1,4] z) { y = Identity (x) z = Add (x, x) }",
    )
    return read(find([file])[0], inputs={"x": np.array([[1, 2, 3, 4]], np.float32)})


def outputs(two: Subject, **others: np.ndarray) -> dict[str, np.ndarray]:
    x = two.feed["x"]
    return {"y": x, "z": 2 * x, **others}


def test_the_same_outputs_pass(two: Subject) -> None:
    found = compare(two, outputs(two), "fp32")
    assert (found["pass"], found["error"], found["max_abs"]) == (True, 0, 0)
    assert found["cos_min"] == pytest.approx(1)


def test_the_worst_of_several_outputs_decides(two: Subject) -> None:
    x = two.feed["x"]
    for name in ("y", "z"):
        found = compare(two, outputs(two, **{name: x[:, ::-1]}), "int8")
        assert not found["pass"]
        assert found["cos_min"] == pytest.approx(20 / 30)  # (4 + 6 + 6 + 4) / (1 + 4 + 9 + 16)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_output_that_is_not_finite_is_no_result(two: Subject, value: float) -> None:
    broken = two.feed["x"].copy()
    broken[0, 1] = value
    with pytest.raises(DeviceFault, match=f"output 'z' of two must be finite, got {value}") as e:
        compare(two, outputs(two, z=broken), "fp32")
    assert e.value.status == "invalid_output"
    with pytest.raises(DeviceFault, match="FP16 makes of numbers beyond 65504; gensynth export"):
        compare(two, outputs(two, z=broken), "fp16")


@pytest.mark.parametrize(
    ("precision", "off", "passes"),
    # At most sqrt(2 - 2 c) of the length: 0.0447, 0.1414 and 0.2.
    [("fp32", 0.04, True), ("fp32", 0.05, False), ("fp16", 0.14, True), ("fp16", 0.15, False),
     ("int8", 0.19, True), ("int8", 0.21, False)],
)  # fmt: skip
def test_outputs_of_the_right_direction_and_another_size_do_not_pass(
    two: Subject, precision: str, off: float, passes: bool
) -> None:
    found = compare(two, outputs(two, y=(1 + off) * two.feed["x"]), precision)
    assert found["pass"] is passes
    assert found["error"] == pytest.approx(off, rel=1e-5)


def test_outputs_that_are_whole_numbers_alone_show_nothing(tmp_path: Path) -> None:
    file = written(
        tmp_path / "top.onnx", "g (float[1,4] x) => (int64[1,1] y) { y = ArgMax <axis = 1> (x) }"
    )
    subject = read(find([file])[0])
    found = compare(subject, {"y": np.array([[3]])}, "fp32")
    assert (found["pass"], found["cos_min"]) == (None, None)
    assert found["why_not"] == "its outputs are whole numbers alone"


def test_a_reference_that_is_not_finite_shows_nothing(tmp_path: Path) -> None:
    file = unary(tmp_path / "log.onnx", "Log", (1, 4))
    subject = read(find([file])[0], inputs={"x": np.array([[-1, 1, 2, 3]], np.float32)})
    found = compare(subject, {"y": np.zeros((1, 4), np.float32)}, "fp32")
    assert found["pass"] is None
    assert found["why_not"] == "this machine computes values in 'y' that are not finite"
