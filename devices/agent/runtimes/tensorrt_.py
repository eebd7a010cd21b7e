"""TensorRT in this process: engines from the cache or built here, memory by pycuda or ctypes.

A run copies the inputs to the device, executes, and copies the outputs back; the execution
alone is told apart by the clock around it, which is fair because `execute_v2` returns when
the device is done.
"""

import importlib
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Union

from gensynth.devices.agent.runtimes.cuda_memory import CtypesMemory, PycudaMemory
from gensynth.devices.agent.runtimes.engines import EngineCache, Kept, engine_key
from gensynth.devices.agent.runtimes.networks import Loaded, Network, within_memory
from gensynth.devices.agent.runtimes.tensorrt_api import TensorRT
from gensynth.devices.agent.runtimes.tensorrt_engine import Executable
from gensynth.devices.agent.wire.status import Fault
from gensynth.devices.agent.wire.tensors import Tensor, converted
from gensynth.devices.agent.wire.timing import Stopwatch, Turn, now_ns

Memory = Union[CtypesMemory, PycudaMemory]


class Built(NamedTuple):
    """An engine that is ready, and how it came to be."""

    executable: Executable
    facts: Dict[str, Any]


class TensorRTRuntime:
    """The installed TensorRT with one way to the device's memory.

    Args:
        api: the installed TensorRT.
        memory: of the device.
        cache: of engines on this board.
        board: which board this is, since an engine runs on no other.
    """

    processor = "gpu"

    def __init__(self, api: TensorRT, memory: Memory, cache: EngineCache, board: str) -> None:
        self._api = api
        self._memory = memory
        self._cache = cache
        self._context = {
            "builder": "tensorrt",
            "tensorrt": api.version,
            "cuda": memory.cuda,
            "capability": memory.capability,
            "multiprocessors": memory.multiprocessors,
            "board": board,
        }
        self._loaded: List[TensorRTLoaded] = []
        self.path = f"tensorrt-{memory.path}"
        self.version = api.version
        self.details: Dict[str, Any] = {
            "cuda": memory.cuda,
            "capability": memory.capability,
            "cuda_graph": False,
            "spin_wait": False,
            "streams": 1,
            "scope": "h2d+compute+d2h",
        }

    def load(self, network: Network, precision: str, workspace_mib: int) -> "TensorRTLoaded":
        """Take a network's engine from the cache or build it.

        Where memory runs out, the build is tried once more with a quarter of the workspace.

        Raises:
            Fault: `unsupported_op`, `oom` or `build_failed`.
        """
        built = within_memory(lambda mib: self._built(network, precision, mib), workspace_mib)
        loaded = TensorRTLoaded(network, built, self._memory)
        self._loaded.append(loaded)
        return loaded

    def check(self) -> None:
        """See that TensorRT works on this device; without a driver it may end the process.

        Raises:
            Fault: if it does not.
        """
        self._api.check()

    def close(self) -> None:
        """Let go of the engines, then of the device: in this order, or the process dies."""
        while self._loaded:
            self._loaded.pop().close()
        self._memory.close()

    def _built(self, network: Network, precision: str, workspace_mib: int) -> Built:
        flags = self._api.flags(network.onnx, precision)
        parts = dict(
            self._context,
            onnx=network.sha256,
            precision=precision,
            flags=flags,
            fp32_layers=list(network.fp32_layers),
            workspace_mib=workspace_mib,
            shapes={given.name: list(given.shape) for given in network.inputs},
        )
        kept = self._cache.find(parts)
        if kept is not None:
            try:
                return self._ready(network, parts, kept, cached=True)
            except Fault as fault:
                if fault.status != "build_failed":
                    raise
                self._cache.forget(parts)
        with open(network.path, "rb") as file:
            content = file.read()
        start = time.perf_counter()
        plan = self._api.build(
            network.onnx,
            content,
            network.inputs,
            precision,
            workspace_mib,
            self._cache.timings(self._context),
            network.fp32_layers,
        )
        build_s = time.perf_counter() - start
        if plan.timings:
            self._cache.keep_timings(self._context, plan.timings)
        kept = self._cache.keep(parts, plan.engine, build_s, self._api.log.text())
        return self._ready(network, parts, kept, cached=False)

    def _ready(self, network: Network, parts: Dict[str, Any], kept: Kept, cached: bool) -> Built:
        with open(kept.path, "rb") as file:
            plan = file.read()
        executable = self._api.load(plan, network.inputs)
        facts = {
            "key": engine_key(parts),
            "build_s": kept.build_s,
            "cached": cached,
            "bytes": len(plan),
            "workspace_mib": parts["workspace_mib"],
            "layers": executable.layers(),
            "log": kept.log,
        }
        return Built(executable, facts)


class TensorRTLoaded(Loaded):
    """An engine with its memory."""

    def __init__(self, network: Network, built: Built, memory: Memory) -> None:
        self.network = network
        self.engine = built.facts
        self._executable: Optional[Executable] = built.executable
        self._memory = memory
        self._bindings = built.executable.bindings
        self._buffers = [memory.buffer(binding.byte_count) for binding in self._bindings]
        self._addresses = [buffer.address for buffer in self._buffers]
        pairs = list(zip(self._bindings, self._buffers))
        self._sent = [buffer for binding, buffer in pairs if binding.is_input]
        self._fetched = [buffer for binding, buffer in pairs if not binding.is_input]
        given = {tensor.name: tensor for tensor in network.inputs}
        for binding, buffer in pairs:
            if binding.is_input:
                buffer.put(converted(given[binding.name], binding.dtype).data)
        self._stopwatch = Stopwatch(self.run)

    def outputs(self) -> List[Tensor]:
        """Run once and return the outputs."""
        self.run()
        return [
            Tensor(binding.name, binding.dtype, binding.shape, buffer.take())
            for binding, buffer in zip(self._bindings, self._buffers)
            if not binding.is_input
        ]

    def turn(self, runs: int) -> Turn:
        """Run once untimed, then `runs` times timed."""
        return self._stopwatch.turn(runs)

    def block(self, seconds: float) -> Turn:
        """Run, timed, for that long and at least once."""
        return self._stopwatch.block(seconds)

    def run(self) -> Optional[int]:
        """Run once, transfers and all; return the nanoseconds of the execution."""
        if self._executable is None:
            raise ValueError("the engine is closed")
        for buffer in self._sent:
            buffer.upload()
        start = now_ns()
        self._executable.execute(self._addresses)
        end = now_ns()
        for buffer in self._fetched:
            buffer.download()
        return end - start

    def synchronise(self) -> None:
        """Wait until the device has nothing left to do."""
        self._memory.synchronise()

    def close(self) -> None:
        """Let go of the engine."""
        self._executable = None


def open_tensorrt(
    open_memory: Callable[[], Memory], cache: EngineCache, board: str
) -> TensorRTRuntime:
    """Return the installed TensorRT.

    Raises:
        Fault: `runtime_missing` if TensorRT or the way to the device's memory is.
    """
    try:
        trt = importlib.import_module("tensorrt")
    except Exception as error:  # a broken installation raises what it likes  # noqa: BLE001
        raise Fault("runtime_missing", f"tensorrt cannot be imported: {error}") from error
    if not hasattr(trt, "Builder") or not hasattr(trt, "OnnxParser"):
        raise Fault("runtime_missing", "tensorrt must have a builder and a parser, got neither")
    return TensorRTRuntime(TensorRT(trt), open_memory(), cache, board)
