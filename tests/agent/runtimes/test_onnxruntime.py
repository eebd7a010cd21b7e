"""ONNX Runtime as a board's runtime, held to what 1.10 has: the last for Python 3.6."""

import os
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

from gensynth.devices.agent.runtimes.onnxruntime_ import PROVIDER, OnnxLoaded, OnnxRuntime
from gensynth.devices.agent.wire.spool import Spool
from gensynth.devices.agent.wire.status import Fault
from tests.onnx_files.small import (
    SHAPE,
    convolution,
    endless,
    image,
    network,
    picking,
    quotient,
    spelling,
)

# dir() of onnxruntime 1.10.0 for Python 3.6, without names that begin with an underscore.
IN_1_10 = {
    "onnxruntime": """ExecutionMode ExecutionOrder GraphOptimizationLevel IOBinding
        InferenceSession ModelMetadata NodeArg OrtAllocatorType OrtArenaCfg OrtDevice OrtMemType
        OrtMemoryInfo OrtSparseFormat OrtValue RunOptions SessionIOBinding SessionOptions
        SparseTensor capi create_and_register_allocator get_all_providers get_available_providers
        get_device set_default_logger_severity set_seed __version__""",
    "InferenceSession": """disable_fallback enable_fallback end_profiling get_inputs get_modelmeta
        get_outputs get_overridable_initializers get_profiling_start_time_ns get_provider_options
        get_providers get_session_options io_binding run run_with_iobinding run_with_ort_values
        set_providers""",
    "SessionOptions": """add_free_dimension_override_by_denotation
        add_free_dimension_override_by_name add_initializer add_session_config_entry
        enable_cpu_mem_arena enable_mem_pattern enable_mem_reuse enable_profiling execution_mode
        execution_order get_session_config_entry graph_optimization_level inter_op_num_threads
        intra_op_num_threads log_severity_level log_verbosity_level logid optimized_model_filepath
        profile_file_prefix register_custom_ops_library use_deterministic_compute""",
    "ExecutionMode": "ORT_PARALLEL ORT_SEQUENTIAL",
    "GraphOptimizationLevel": "ORT_DISABLE_ALL ORT_ENABLE_ALL ORT_ENABLE_BASIC ORT_ENABLE_EXTENDED",
}


class Old:
    """Something of the installed ONNX Runtime with the names alone that it had in 1.10."""

    def __init__(self, real: Any, kind: str) -> None:
        object.__setattr__(self, "_real", real)
        object.__setattr__(self, "_names", IN_1_10[kind].split())

    def __getattr__(self, name: str) -> Any:
        if name not in self._names:
            raise AttributeError(f"onnxruntime 1.10 has no {name}")
        return getattr(self._real, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._names:
            raise AttributeError(f"onnxruntime 1.10 has no {name}")
        setattr(self._real, name, value)


class OldModule(types.ModuleType):
    """The module, its classes made old as well."""

    def __init__(self) -> None:
        super().__init__("onnxruntime")
        self._old = Old(onnxruntime, "onnxruntime")

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._old, name)
        return Old(real, name) if name in ("ExecutionMode", "GraphOptimizationLevel") else real

    def SessionOptions(self) -> Any:  # noqa: N802
        return Old(onnxruntime.SessionOptions(), "SessionOptions")

    def InferenceSession(  # noqa: N802
        self,
        path_or_bytes: str,
        sess_options: Any = None,
        providers: Any = None,
        provider_options: Any = None,
    ) -> Any:
        return Old(
            onnxruntime.InferenceSession(path_or_bytes, sess_options._real, providers=providers),
            "InferenceSession",
        )


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(str(tmp_path))


@pytest.fixture(params=["as installed", "as 1.10"])
def runtime(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> OnnxRuntime:
    if request.param == "as 1.10":
        old = OldModule()
        monkeypatch.setitem(sys.modules, "onnxruntime", old)
        with pytest.raises(AttributeError):  # it has no name that came later
            old.ModelCompiler  # noqa: B018
    return OnnxRuntime(threads=2)


@pytest.mark.parametrize(
    ("content", "x"),
    [
        (convolution(), image()),
        (convolution(batch="n"), image((5, 3, 8, 8))),
        (convolution(half=True), image(dtype="float16")),
    ],
)
def test_the_outputs_are_those_of_another_implementation(
    runtime: OnnxRuntime, spool: Spool, content: bytes, x: Any
) -> None:
    precision = "fp16" if x.dtype == np.float16 else "fp32"
    (output,) = runtime.load(network(spool, content, x=x), precision, 64).outputs()
    results: Any = ReferenceEvaluator(onnx.load_from_string(content)).run(None, {"x": x})
    actual = np.frombuffer(output.data, output.dtype).reshape(output.shape)
    assert (output.name, output.dtype) == ("y", x.dtype.name)
    np.testing.assert_allclose(actual, results[0], atol=1e-5 if precision == "fp32" else 5e-3)


def test_numbers_of_64_bits_are_taken(runtime: OnnxRuntime, spool: Spool) -> None:
    picked = network(spool, picking(), i=np.array([3, 1], np.int64))
    (output,) = runtime.load(picked, "fp32", 64).outputs()
    assert np.frombuffer(output.data, np.float32).tolist() == [9, 10, 11, 3, 4, 5]


def test_the_settings_are_those_that_are_recorded(runtime: OnnxRuntime, spool: Spool) -> None:
    loaded = runtime.load(network(spool, convolution(), x=image()), "fp32", 64)
    options = loaded._session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 1)
    assert options.execution_mode == onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "1"
    assert loaded._session.get_providers() == [PROVIDER]
    assert runtime.details["threads"] == 2
    assert runtime.details["spins"] is True
    assert runtime.version == onnxruntime.__version__
    assert loaded.engine is None


def test_runs_are_timed(runtime: OnnxRuntime, spool: Spool) -> None:
    loaded = runtime.load(network(spool, convolution(), x=image()), "fp32", 64)
    assert len(loaded.turn(7).total_ns) == 7
    assert loaded.turn(1).compute_ns is None
    block = loaded.block(0.05)
    assert sum(block.total_ns) <= 0.05e9 + max(block.total_ns)


@pytest.mark.parametrize(
    ("content", "asked", "has"),
    [(convolution(), "fp16", "fp32"), (convolution(), "int8", "fp32"),
     (convolution(half=True), "int8", "fp16")],
)  # fmt: skip
def test_a_precision_that_the_file_does_not_have_is_not_pretended(
    runtime: OnnxRuntime, spool: Spool, content: bytes, asked: str, has: str
) -> None:
    x = image(dtype="float16" if has == "fp16" else "float32")
    with pytest.raises(Fault, match=f"net is in {has}, not {asked}; export it so") as refused:
        runtime.load(network(spool, content, x=x), asked, 64)
    assert refused.value.status == "runtime_missing"


def test_an_operator_that_it_does_not_know_is_named(runtime: OnnxRuntime, spool: Spool) -> None:
    with pytest.raises(Fault) as refused:
        runtime.load(network(spool, convolution("NoSuchOperator"), x=image()), "fp32", 64)
    assert refused.value.status == "unsupported_op"
    assert refused.value.details["operator"] == "NoSuchOperator"
    assert refused.value.details["node"] == "stem/act"


# As 1.10 and later word it.
NONE_FOR = "[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : Could not find an implementation for"


@pytest.mark.parametrize(
    ("text", "operator", "status"),
    [
        (f"{NONE_FOR} HardSwish(14) node with name 'a'", "HardSwish", "unsupported_op"),
        (f"{NONE_FOR} the node stem/act:HardSwish(14)", "HardSwish", "unsupported_op"),
        ("ai.onnx:HardSwish(-1) is not a registered function/op", "HardSwish", "unsupported_op"),
        ("[ONNXRuntimeError] : 6 : std::bad_alloc", "", "oom"),
        ("[ONNXRuntimeError] : 1 : FAIL : Type Error: Type 'tensor(double)'", "", "build_failed"),
    ],
)  # fmt: skip
def test_what_it_says_has_a_status(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, text: str, operator: str, status: str
) -> None:
    runtime = OnnxRuntime(1)

    def refuse(*arguments: Any, **options: Any) -> None:
        raise RuntimeError(text)

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    with pytest.raises(Fault) as refused:
        runtime.load(network(spool, convolution("HardSwish"), x=image()), "fp32", 64)
    assert refused.value.status == status
    assert refused.value.details["operator"] == operator
    assert refused.value.details["node"] == ("stem/act" if operator else "")


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (endless(), "oom", "does not run net: .*"),
        (convolution("Det"), "build_failed", "does not run net: .*Non-zero status code"),
        (spelling(), "build_failed", "output 'y' of net must be a tensor of numbers, got object"),
    ],
)
def test_a_network_that_cannot_be_run_is_a_fault(
    runtime: OnnxRuntime, spool: Spool, content: bytes, status: str, words: str
) -> None:
    loaded = runtime.load(network(spool, content, x=image()), "fp32", 64)
    with pytest.raises(Fault, match=words) as failed:
        loaded.outputs()
    assert failed.value.status == status
    if status == "oom":
        with pytest.raises(Fault) as again:
            loaded.turn(1)
        assert again.value.status == "oom"


def test_a_file_with_weights_that_are_cut_is_refused(runtime: OnnxRuntime, spool: Spool) -> None:
    model = onnx.load_from_string(convolution())
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-4]
    with pytest.raises(Fault, match="does not load net") as refused:
        runtime.load(network(spool, model.SerializeToString(), x=image()), "fp32", 64)
    assert refused.value.status == "build_failed"


def test_its_telemetry_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "")  # as it was is what it is again then
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY")
    OnnxRuntime(1)
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"


@pytest.mark.parametrize("module", ["numpy", "onnxruntime"])
def test_without_it_there_is_no_runtime(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(Fault, match="onnxruntime cannot be imported: ") as refused:
        OnnxRuntime(1)
    assert refused.value.status == "runtime_missing"


def test_a_build_without_the_processors_provider_is_no_runtime(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["TensorrtExecution"])
    with pytest.raises(Fault, match="must have CPUExecutionProvider, got") as refused:
        OnnxRuntime(1)
    assert refused.value.status == "runtime_missing"


def test_outputs_that_are_no_numbers_are_given_as_they_are(
    runtime: OnnxRuntime, spool: Spool
) -> None:
    loaded: OnnxLoaded = runtime.load(network(spool, quotient(), x=image()), "fp32", 64)
    (output,) = loaded.outputs()
    assert not np.isfinite(np.frombuffer(output.data, np.float32)).any()
    assert output.shape == SHAPE


def test_a_profile_has_each_kernel_with_its_shapes_and_time(spool: Spool) -> None:
    loaded = OnnxRuntime(1).load(network(spool, convolution(), x=image()), "fp32", 64)
    entries = loaded.profile(0.0)
    assert entries is not None
    (own,) = [entry for entry in entries if "Conv" in entry["operator"]]
    assert own["inputs"][0] == list(image().shape)
    assert 0 <= own["ms"] < 1000
