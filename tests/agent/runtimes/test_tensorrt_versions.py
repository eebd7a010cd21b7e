"""What the fakes of TensorRT lack, its real builder and a real device have the last word.

`rtx` tests ask the real builder of tensorrt-rtx, `gpu` tests a real device.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from gensynth.devices.agent.runtimes.cuda_memory import open_ctypes
from gensynth.devices.agent.runtimes.engines import EngineCache
from gensynth.devices.agent.runtimes.onnx_file import read
from gensynth.devices.agent.runtimes.tensorrt_ import open_tensorrt
from gensynth.devices.agent.runtimes.tensorrt_api import TensorRT
from gensynth.devices.agent.wire.spool import Spool
from gensynth.devices.agent.wire.status import Fault
from gensynth.devices.agent.wire.tensors import tensor
from tests.fakes.fake_tensorrt import fake_tensorrt
from tests.fakes.simulated_tensorrt import Machine
from tests.fakes.tensorrt_contracts import VERSIONS, classes, enumerations
from tests.onnx_files.small import SHAPE, convolution, image, network


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(str(tmp_path / "agent"))


def by_onnxruntime(content: bytes, **inputs: Any) -> Any:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


# What a version lacks, and what a call of it does: the fakes can refuse.
LACKING: list[tuple[str, Callable[[Any, Any, Any], object], type[Exception]]] = [
    ("8.0.1.6", lambda t, b, c: t.LayerInformationFormat, AttributeError),
    ("8.0.1.6", lambda t, b, c: t.ProfilingVerbosity.DETAILED, AttributeError),
    ("8.2.1.8", lambda t, b, c: c.set_memory_pool_limit(0, 1), AttributeError),
    ("8.2.1.8", lambda t, b, c: t.MemoryPoolType, AttributeError),
    ("8.2.1.8", lambda t, b, c: t.TensorIOMode, AttributeError),
    ("8.2.1.8", lambda t, b, c: t.BuilderFlag.FP16.name, AttributeError),
    ("10.3.0", lambda t, b, c: setattr(c, "max_workspace_size", 1), AttributeError),
    ("10.3.0", lambda t, b, c: b.build_engine(1, c), AttributeError),
    ("11.0.0", lambda t, b, c: t.BuilderFlag.FP16, AttributeError),
    ("11.0.0", lambda t, b, c: t.NetworkDefinitionCreationFlag.EXPLICIT_BATCH, AttributeError),
    ("11.0.0", lambda t, b, c: b.platform_has_fast_fp16, AttributeError),
    ("11.0.0", lambda t, b, c: t.IBuilderConfig(), AttributeError),
    *((version, lambda t, b, c: c.set_flag("FP16"), TypeError) for version in VERSIONS),
    *((version, lambda t, b, c: b.create_network(0, 1), TypeError) for version in VERSIONS),
    *((version, lambda t, b, c: b.create_network(flag=0), TypeError) for version in VERSIONS),
    *((version, lambda t, b, c: c.create_timing_cache(None), TypeError) for version in VERSIONS),
    *(
        (version, lambda t, b, c: setattr(c, "workspace", 1), AttributeError)
        for version in VERSIONS
    ),
    *((version, lambda t, b, c: t.Runtime(), TypeError) for version in VERSIONS),
]


@pytest.mark.parametrize(("version", "call", "error"), LACKING)
def test_a_fake_refuses_what_its_version_lacks(
    version: str, call: Callable[[Any, Any, Any], object], error: type[Exception]
) -> None:
    trt: Any = fake_tensorrt(version, Machine())

    class Logger(trt.ILogger):  # type: ignore[misc]
        def log(self, severity: Any, text: str) -> None: ...

    builder = trt.Builder(Logger())
    with pytest.raises(error):
        call(trt, builder, builder.create_builder_config())


@pytest.mark.parametrize("version", VERSIONS[:3])
def test_a_network_of_implicit_batch_is_refused_by_the_fakes_of_8(version: str) -> None:
    trt: Any = fake_tensorrt(version, Machine())

    class Logger(trt.ILogger):  # type: ignore[misc]
        def log(self, severity: Any, text: str) -> None: ...

    assert trt.Builder(Logger()).create_network(0) is None


@pytest.fixture
def rtx() -> Any:
    return pytest.importorskip("tensorrt_rtx", exc_type=ImportError)


@pytest.mark.rtx
def test_what_is_recorded_of_11_is_in_the_real_module_of_its_generation(rtx: Any) -> None:
    for name, contract in classes("11.0.0").items():
        recorded = {*contract.methods, *contract.readable, *contract.settable} - {"__bytes__"}
        assert recorded - set(dir(getattr(rtx, name))) == set(), name
    for name, members in enumerations("11.0.0").items():
        real = rtx.ILogger.Severity if name == "Severity" else getattr(rtx, name)
        assert [member for member in members if not hasattr(real, member)] == []
    for lacking in ("FP16", "INT8"):
        assert not hasattr(rtx.BuilderFlag, lacking)


# It says of its timing cache that it does nothing; TensorRT itself has one.
@pytest.mark.filterwarnings("ignore:.*Timing cache operations are no-ops:DeprecationWarning")
@pytest.mark.rtx
@pytest.mark.parametrize("batch", [1, "n"])
def test_the_real_builder_takes_what_the_adapter_asks(
    rtx: Any, tmp_path: Path, batch: int | str
) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(convolution(batch=batch))
    x = image((5, 3, 8, 8) if batch == "n" else SHAPE)
    inputs = [tensor("x", "float32", list(x.shape), x.tobytes())]
    api = TensorRT(rtx)
    api.check()
    assert api.is_strongly_typed
    plan = api.build(read(str(path)), path.read_bytes(), inputs, "fp32", 64)
    assert len(plan.engine) > 1000
    assert "Engine generation completed" in api.log.text()


@pytest.mark.filterwarnings("ignore:.*Timing cache operations are no-ops:DeprecationWarning")
@pytest.mark.rtx
def test_an_engine_that_the_real_runtime_does_not_take_is_a_fault(rtx: Any) -> None:
    # So it is with every engine where there is no driver.
    with pytest.raises(Fault, match="must make an engine from its plan, got none") as refused:
        TensorRT(rtx).load(b"no engine" * 1000, [])
    assert refused.value.status == "build_failed"


@pytest.mark.rtx
@pytest.mark.parametrize("operator", ["NoSuchOperator", "Det"])  # no importer; one that refuses
def test_the_real_parser_names_what_it_does_not_know(
    rtx: Any, tmp_path: Path, operator: str
) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(convolution(operator))
    x = image()
    inputs = [tensor("x", "float32", list(x.shape), x.tobytes())]
    with pytest.raises(Fault) as refused:
        TensorRT(rtx).build(read(str(path)), path.read_bytes(), inputs, "fp32", 64)
    assert refused.value.status == "unsupported_op"
    assert refused.value.details["node"] == "stem/act"
    assert refused.value.details["operator"] == operator


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("precision", "tolerance"), [("fp32", 1e-2), ("fp16", 3e-2)]
)  # TF32 has the 10 bits of half precision
def test_a_real_device_computes_what_onnxruntime_does(
    spool: Spool, precision: str, tolerance: float
) -> None:
    pytest.importorskip("tensorrt", exc_type=ImportError)
    runtime = open_tensorrt(open_ctypes, EngineCache(spool.engines, spool.write), "test")
    half = precision == "fp16" and runtime.version.startswith("11")
    content = convolution(half=half)
    x = image(dtype="float16" if half else "float32")
    loaded = runtime.load(network(spool, content, x=x), precision, 64)
    (output,) = loaded.outputs()
    actual = np.frombuffer(output.data, output.dtype).reshape(output.shape)
    expected = by_onnxruntime(content, x=x)
    np.testing.assert_allclose(actual, expected, atol=tolerance)
    assert len(loaded.turn(100).total_ns) == 100
    del loaded
    runtime.close()
