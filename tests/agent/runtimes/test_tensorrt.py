"""One adapter for TensorRT 8.0 to 11, against fakes that have what each version has.

A fake raises AttributeError or TypeError where its version does, so what passes here uses nothing
that a version lacks.
"""

import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from gensynth.devices.agent.runtimes.cuda_memory import open_pycuda
from gensynth.devices.agent.runtimes.engines import EngineCache
from gensynth.devices.agent.runtimes.networks import open_network
from gensynth.devices.agent.runtimes.tensorrt_ import TensorRTRuntime, open_tensorrt
from gensynth.devices.agent.runtimes.tensorrt_log import LOG_LIMIT, Log
from gensynth.devices.agent.wire.spool import Spool
from gensynth.devices.agent.wire.status import Fault
from tests.fakes.fake_pycuda import FakePycuda
from tests.fakes.fake_tensorrt import fake_tensorrt
from tests.fakes.simulated_tensorrt import NO_PLUGIN, Machine
from tests.fakes.tensorrt_contracts import VERSIONS
from tests.onnx_files.small import (
    SHAPE,
    convolution,
    entry,
    image,
    network,
    picking,
    products,
    sum_of_two,
)

WITH_FLAGS = VERSIONS[:4]  # precision by a flag of the builder


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(str(tmp_path / "agent"))


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakePycuda:
    cuda = FakePycuda()
    package: Any = types.ModuleType("pycuda")
    package.driver = cuda
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", cuda)
    return cuda


Opened = Callable[..., tuple[TensorRTRuntime, Machine]]


@pytest.fixture
def opened(cuda: FakePycuda, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> Opened:
    """Open the runtime of a version on a machine: version, what the machine is."""

    def open_version(version: str, board: str = "tx2/1", **kind: Any) -> Any:
        machine = Machine(size_at=cuda.size_at, **kind)
        monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt(version, machine))
        cache = EngineCache(spool.engines, spool.write)
        return open_tensorrt(open_pycuda, cache, board), machine

    return open_version


def by_onnxruntime(content: bytes, **inputs: Any) -> Any:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


@pytest.mark.parametrize("batch", [1, "n"])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_network_is_built_and_run_with_what_the_version_has(
    opened: Opened, cuda: FakePycuda, spool: Spool, version: str, batch: int | str
) -> None:
    runtime, machine = opened(version)
    content, x = convolution(batch=batch), image((5, 3, 8, 8) if batch == "n" else SHAPE)
    loaded = runtime.load(network(spool, content, x=x), "fp32", 64)
    (output,) = loaded.outputs()
    # ONNX Runtime is another implementation than the evaluator inside the fake.
    expected = by_onnxruntime(content, x=x)
    assert (output.name, output.dtype, output.shape) == ("y", "float32", expected.shape)
    actual = np.frombuffer(output.data, np.float32).reshape(output.shape)
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    assert machine.builds == [((), 64, len(version))]
    turn = loaded.turn(3)
    assert len(turn.total_ns) == 3
    assert turn.compute_ns is not None
    # The execution alone is a part of the whole run.
    assert all(
        0 < part <= whole for part, whole in zip(turn.compute_ns, turn.total_ns, strict=True)
    )
    assert machine.runs == 1 + (1 + 3)  # for the outputs, then untimed and timed
    runtime.close()  # the fake's context may not go before its memory
    assert not machine.contexts


@pytest.mark.parametrize("version", VERSIONS)
def test_several_inputs_of_free_size_are_settled_together(
    opened: Opened, spool: Spool, version: str
) -> None:
    runtime, _ = opened(version)
    a, b = image((3, 4)), 10 * image((3, 4))
    loaded = runtime.load(network(spool, sum_of_two(), a=a, b=b), "fp32", 64)
    (output,) = loaded.outputs()
    assert output.shape == (3, 4)
    np.testing.assert_allclose(np.frombuffer(output.data, np.float32), (a + b).ravel())
    runtime.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_an_engine_comes_with_its_size_seconds_layers_and_log(
    opened: Opened, spool: Spool, version: str
) -> None:
    runtime, _ = opened(version)
    start_s = time.perf_counter()
    engine = runtime.load(network(spool, convolution(), x=image()), "fp32", 64).engine
    took_s = time.perf_counter() - start_s
    assert engine is not None
    (plan,) = Path(spool.engines).glob("*.plan")
    assert engine["bytes"] == plan.stat().st_size
    assert 0 < engine["build_s"] < took_s
    if version.startswith("8.0"):
        assert engine["layers"] is None  # it cannot tell
    else:
        assert engine["layers"] == [
            {"name": "stem/conv", "precision": "fp32"},
            {"name": "stem/act", "precision": "fp32"},
            {"name": "pool", "precision": "fp32"},
        ]
    assert engine["log"] == "[INFO] Engine generation completed in 0.1 seconds."
    assert (engine["cached"], engine["workspace_mib"]) == (False, 64)
    assert runtime.version == version
    assert runtime.details["cuda"] == "10.2"
    runtime.close()


@pytest.mark.parametrize("version", WITH_FLAGS)
def test_half_precision_is_a_flag_up_to_10(opened: Opened, spool: Spool, version: str) -> None:
    runtime, machine = opened(version)
    engine = runtime.load(network(spool, convolution(), x=image()), "fp16", 64).engine
    assert machine.builds[0][0] == ("FP16",)
    runtime.close()
    assert engine is not None
    if version.startswith("8.0"):
        return
    precisions = {layer["name"]: layer["precision"] for layer in engine["layers"]}
    assert precisions == {"stem/conv": "fp16", "stem/act": "fp32", "pool": "fp32"}


@pytest.mark.parametrize("version", WITH_FLAGS)
def test_layers_that_must_stay_in_fp32_are_told_to_the_builder(
    opened: Opened, spool: Spool, version: str
) -> None:
    runtime, machine = opened(version)
    asked = network(spool, products(), x=image((1, 4)))
    runtime.load(asked._replace(fp32_layers=("second",)), "fp16", 64)
    heed = {"8.0.1.6": "STRICT_TYPES", "8.2.1.8": "STRICT_TYPES"}
    obey = heed.get(version, "OBEY_PRECISION_CONSTRAINTS")
    assert machine.builds[0][0] == ("FP16", obey)
    # The constant before the second Gemm's product and the sum behind it belong to it.
    assert machine.kept == [
        ["(Unnamed Layer* 4) [Constant]", "second", "(Unnamed Layer* 6) [ElementWise]"]
    ]
    # Another choice of layers is another engine.
    runtime.load(asked._replace(fp32_layers=("first", "act")), "fp16", 64)
    assert machine.kept[1][1:] == ["first", "(Unnamed Layer* 2) [ElementWise]", "act"]
    runtime.load(asked, "fp16", 64)
    assert machine.builds[2][0] == ("FP16",)
    assert machine.kept[2] == []
    runtime.load(asked._replace(fp32_layers=("second",)), "fp32", 64)
    assert machine.builds[3][0] == ()
    runtime.close()


def test_a_layer_that_the_file_does_not_have_is_refused(spool: Spool) -> None:
    asked = {**entry(spool, products(), x=image((1, 4))), "fp32_layers": ["third"]}
    with pytest.raises(Fault, match="the network has no node 'third'"):
        open_network(asked, spool)


def test_half_precision_is_in_the_file_from_11_on(opened: Opened, spool: Spool) -> None:
    runtime, machine = opened("11.0.0")
    with pytest.raises(Fault, match="TensorRT 11.0.0 takes precision from the file") as refused:
        runtime.load(network(spool, convolution(), x=image()), "fp16", 64)
    assert refused.value.status == "build_failed"
    half = network(spool, convolution(half=True), x=image(dtype="float16"))
    loaded = runtime.load(half, "fp16", 64)
    assert machine.builds == [((), 64, 6)]
    assert loaded.outputs()[0].dtype == "float16"
    del loaded
    runtime.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_int8_takes_a_file_that_quantises(opened: Opened, spool: Spool, version: str) -> None:
    runtime, machine = opened(version)
    with pytest.raises(Fault, match="int8 takes a file with QuantizeLinear nodes") as refused:
        runtime.load(network(spool, convolution(), x=image()), "int8", 64)
    assert refused.value.status == "build_failed"
    runtime.load(network(spool, convolution(quantised=True), x=image()), "int8", 64)
    assert machine.builds[0][0] == (("INT8",) if version in WITH_FLAGS else ())
    runtime.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_an_operator_that_it_does_not_know_is_named(
    opened: Opened, spool: Spool, version: str
) -> None:
    runtime, machine = opened(version)
    with pytest.raises(Fault) as refused:
        runtime.load(network(spool, convolution("HardSwish"), x=image()), "fp32", 64)
    fault = refused.value
    assert fault.status == "unsupported_op"
    assert fault.message == (
        f"TensorRT {version} refuses the network: node 'stem/act' (HardSwish): "
        f"{'UNSUPPORTED' if version.startswith('8') else 'INVALID'}_NODE: {NO_PLUGIN}"
    )
    assert fault.details["node"] == "stem/act"
    assert fault.details["operator"] == "HardSwish"
    assert f"[ERROR] {NO_PLUGIN}" in fault.details["log"]
    assert machine.builds == []
    runtime.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_out_of_memory_is_tried_once_more_with_a_quarter(
    opened: Opened, spool: Spool, version: str
) -> None:
    runtime, machine = opened(version, free_mib=100)
    engine = runtime.load(network(spool, convolution(), x=image()), "fp32", 256).engine
    assert [workspace for _, workspace, _ in machine.builds] == [256, 64]
    assert engine is not None
    assert engine["workspace_mib"] == 64
    with pytest.raises(Fault) as refused:
        runtime.load(network(spool, convolution(scale=2), x=image()), "fp32", 2048)
    assert [workspace for _, workspace, _ in machine.builds] == [256, 64, 2048, 512]
    assert refused.value.status == "oom"
    runtime.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_build_that_finds_no_kernel_says_so(opened: Opened, spool: Spool, version: str) -> None:
    runtime, machine = opened(version, needs_mib=32)
    with pytest.raises(
        Fault, match=r"Could not find any implementation for node conv\."
    ) as refused:
        runtime.load(network(spool, convolution(), x=image()), "fp32", 16)
    assert refused.value.status == "build_failed"
    assert len(machine.builds) == 1
    runtime.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_without_a_driver_the_next_runtime_is_tried(
    opened: Opened, spool: Spool, version: str
) -> None:
    runtime, _ = opened(version, has_driver=False)
    for attempt in (
        runtime.check,
        lambda: runtime.load(network(spool, convolution(), x=image()), "fp32", 64),
    ):
        with pytest.raises(Fault, match="CUDA initialization failure with error: 35") as refused:
            attempt()
        assert refused.value.status == "runtime_missing"
    runtime.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_an_engine_is_built_once_and_what_was_measured_serves_the_next(
    opened: Opened, spool: Spool, version: str
) -> None:
    runtime, machine = opened(version)
    first = runtime.load(network(spool, convolution(), x=image()), "fp32", 64).engine
    again = runtime.load(network(spool, convolution(), x=image()), "fp32", 64).engine
    assert first is not None
    assert again == dict(first, cached=True)
    runtime.load(network(spool, convolution(scale=2), x=image()), "fp32", 64)
    # The timing cache of the first build, which a fake prolongs by a byte, is given to the second.
    assert [length for _, _, length in machine.builds] == [len(version), len(version) + 1]
    runtime.close()


def test_an_engine_of_another_board_or_version_is_not_taken(opened: Opened, spool: Spool) -> None:
    for version, board in (("8.2.1.8", "tx2/1"), ("8.2.1.8", "tx2/2"), ("8.6.1", "tx2/1")):
        runtime, machine = opened(version, board)
        runtime.load(network(spool, convolution(), x=image()), "fp32", 64)
        assert len(machine.builds) == 1
        runtime.close()
    assert len(list(Path(spool.engines).glob("*.plan"))) == 3


def test_an_engine_that_tensorrt_does_not_take_back_is_built_anew(
    opened: Opened, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EngineCache, "find", lambda cache, parts: cache.kept(parts))

    def kept(cache: EngineCache, parts: Any) -> Any:
        return cache.keep(parts, b"of a TensorRT that was replaced", 1.0, "")

    monkeypatch.setattr(EngineCache, "kept", kept, raising=False)
    runtime, machine = opened("8.2.1.8")
    engine = runtime.load(network(spool, convolution(), x=image()), "fp32", 64).engine
    assert engine is not None
    assert (engine["cached"], len(machine.builds)) == (False, 1)
    runtime.close()


@pytest.mark.parametrize(
    ("version", "text", "status"),
    [
        (version, text, status)
        for version in VERSIONS
        for text, status in (
            ("Error Code 1: Cask (Cask convolution execution)", "device_lost"),
            ("Error Code 2: OutOfMemory (no further information)", "oom"),
        )
    ],
)
def test_a_run_that_fails_is_a_fault(
    opened: Opened, spool: Spool, version: str, text: str, status: str
) -> None:
    runtime, machine = opened(version)
    loaded = runtime.load(network(spool, convolution(), x=image()), "fp32", 64)
    machine.fails = text
    with pytest.raises(Fault) as failed:
        loaded.turn(1)
    assert failed.value.status == status
    assert text in failed.value.message


@pytest.mark.parametrize("version", VERSIONS)
def test_numbers_of_64_bits_are_given_as_the_version_takes_them(
    opened: Opened, spool: Spool, version: str
) -> None:
    runtime, _ = opened(version)
    (picked,) = runtime.load(
        network(spool, picking(), i=np.array([3, 1], np.int64)), "fp32", 64
    ).outputs()
    # Rows 3 and 1 of 0..11 in rows of three.
    assert np.frombuffer(picked.data, np.float32).tolist() == [9, 10, 11, 3, 4, 5]
    large = network(spool, picking(), i=np.array([1 << 40, 1], np.int64))
    if int(version.split(".")[0]) < 10:
        with pytest.raises(
            Fault, match="takes int32 for input 'i', and a value of it does not fit"
        ):
            runtime.load(large, "fp32", 64)
    else:
        runtime.load(large, "fp32", 64)
    runtime.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_the_memory_of_tensors_that_do_not_fit_is_a_fault(
    opened: Opened, cuda: FakePycuda, spool: Spool, version: str
) -> None:
    cuda._free = 100
    runtime, _ = opened(version)
    with pytest.raises(Fault, match="768 bytes of CUDA memory are not to be had") as refused:
        runtime.load(network(spool, convolution(), x=image()), "fp32", 64)
    assert refused.value.status == "oom"


def test_a_module_without_a_builder_is_no_runtime(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", types.ModuleType("tensorrt"))  # as tensorrt-lean
    with pytest.raises(Fault, match="must have a builder and a parser") as refused:
        open_tensorrt(open_pycuda, EngineCache(spool.engines, spool.write), "")
    assert refused.value.status == "runtime_missing"


def test_a_log_is_bounded_and_keeps_its_ends() -> None:
    log = Log()
    for number in range(10_000):
        log.add(f"[INFO] line {number}")
    log.add("[ERROR] " + "x" * 10_000)
    text = log.text()
    assert len(text) <= LOG_LIMIT
    assert text.startswith("[INFO] line 0\n[INFO] line 1\n")
    assert text.endswith("x" * 1000)
    assert len(log.last_error) == 2000
