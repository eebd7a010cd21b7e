"""ONNX Runtime on the processor, from 1.10 (the last for Python 3.6) on.

It computes in the types of the file, one operator after the other, and its inputs and outputs
stay in memory: a run is one call.
"""

import importlib
import os
import re
import tempfile
from typing import Any, Callable, Dict, List, Optional

from gensynth.devices.agent.runtimes.kernel_times import of_onnxruntime
from gensynth.devices.agent.runtimes.networks import Loaded, Network
from gensynth.devices.agent.wire.status import Fault
from gensynth.devices.agent.wire.tensors import SIZES, Tensor
from gensynth.devices.agent.wire.timing import Stopwatch, Turn, now_ns

PROVIDER = "CPUExecutionProvider"
PROFILE_WARM_UP, LEAST_PROFILED = 10, 20
_ERRORS_ONLY = 3
_UNSUPPORTED = re.compile(
    r"NOT_IMPLEMENTED|not a registered function|Could not find an implementation"
    r"|is not supported|No Op registered",
    re.IGNORECASE,
)
_OUT_OF_MEMORY = re.compile(r"bad_alloc|allocate memory|out of memory", re.IGNORECASE)
_OPERATOR = re.compile(
    r"implementation for (?:the node \S*?:)?(?:\w+\.)*(\w+)\(|No Op registered for (\w+)"
    r"|(\w+)\(-?\d+\) is not a registered"
)


class OnnxRuntime:
    """The installed ONNX Runtime.

    Args:
        threads: that one operator may use.

    Raises:
        Fault: `runtime_missing` if it or numpy is not installed, or it has no such provider.
    """

    path = "onnxruntime"
    processor = "cpu"

    def __init__(self, threads: int) -> None:
        try:
            self._numpy = importlib.import_module("numpy")
            # From 1.32 it queues telemetry, in a thread that would live while networks are timed.
            os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
            self._ort = importlib.import_module("onnxruntime")
            getattr(self._ort, "disable_telemetry_events", lambda: None)()
        except Exception as error:  # a broken build raises what it likes  # noqa: BLE001
            raise Fault("runtime_missing", f"onnxruntime cannot be imported: {error}") from error
        if PROVIDER not in self._ort.get_available_providers():
            raise Fault(
                "runtime_missing",
                f"onnxruntime must have {PROVIDER}, got {self._ort.get_available_providers()}",
            )
        self.version = str(self._ort.__version__)
        self._threads = threads
        self.details = {
            "provider": PROVIDER,
            "threads": threads,
            "execution": "sequential",
            "scope": "one call, inputs and outputs in memory",
        }

    def load(self, network: Network, precision: str, workspace_mib: int) -> "OnnxLoaded":
        """Load a network; it needs no workspace.

        Raises:
            Fault: `runtime_missing` if the file computes in another precision, which this
                runtime cannot change; `unsupported_op`, `oom` or `build_failed`.
        """
        if precision != network.onnx.precision and precision != "fp32":
            raise Fault(
                "runtime_missing",
                f"onnxruntime computes in the file's own precision, and {network.id} is in "
                f"{network.onnx.precision}, not {precision}; export it so",
            )
        try:
            session = self._ort.InferenceSession(
                network.path, self._options(), providers=[PROVIDER]
            )
        except Exception as error:  # its errors have no class in common  # noqa: BLE001
            raise self._fault(error, network) from error
        return OnnxLoaded(self._numpy, session, network, self._profiled)

    def check(self) -> None:
        """Do nothing: that it could be imported is all that can be wrong."""

    def close(self) -> None:
        """Do nothing: sessions end with the process."""

    def _profiled(self, network: Network, prefix: str) -> Any:
        """Return a session that keeps a profile, which it writes to a file of this prefix."""
        options = self._options()
        options.enable_profiling = True
        options.profile_file_prefix = prefix
        return self._ort.InferenceSession(network.path, options, providers=[PROVIDER])

    def _options(self) -> Any:
        options = self._ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.execution_mode = self._ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = self._ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = _ERRORS_ONLY
        # Its default, said aloud: threads spin between operators. One thread has no one to
        # wait for.
        options.add_session_config_entry("session.intra_op.allow_spinning", "1")
        self.details["spins"] = self._threads > 1
        return options

    def _fault(self, error: Exception, network: Network) -> Fault:
        text = _text(error)
        status = "build_failed"
        if _is_out_of_memory(error):
            status = "oom"
        elif _UNSUPPORTED.search(text):
            status = "unsupported_op"
        operator = next((m for found in _OPERATOR.finditer(text) for m in found.groups() if m), "")
        named = [node.name for node in network.onnx.nodes if node.operator == operator]
        return Fault(
            status,
            f"onnxruntime {self.version} does not load {network.id}: {text.splitlines()[0]}",
            {"operator": operator, "node": named[0] if named else "", "text": text[:4000]},
        )


class OnnxLoaded(Loaded):
    """A session with its inputs as arrays."""

    def __init__(
        self, numpy: Any, session: Any, network: Network, profiled: Callable[[Network, str], Any]
    ) -> None:
        self.network = network
        self._profiled = profiled
        self.engine = None
        self._numpy = numpy
        self._session = session
        self._names = [output.name for output in session.get_outputs()]
        self._feed = {given.name: _array(numpy, given) for given in network.inputs}
        self._stopwatch = Stopwatch(self.run)

    def outputs(self) -> List[Tensor]:
        """Run once and return the outputs.

        Raises:
            Fault: `oom` or `build_failed` if the network cannot be run.
        """
        return [self._tensor(name, array) for name, array in zip(self._names, self._results())]

    def turn(self, runs: int) -> Turn:
        """Run once untimed, then `runs` times timed."""
        return self._stopwatch.turn(runs)

    def block(self, seconds: float) -> Turn:
        """Run, timed, for that long and at least once."""
        return self._stopwatch.block(seconds)

    def run(self) -> Optional[int]:
        """Run once; nothing but the computation is in it, so no part is told apart."""
        self._results()
        return None

    def synchronise(self) -> None:
        """Do nothing: when a run returns, nothing is under way."""

    def profile(self, seconds: float) -> Optional[List[Dict[str, Any]]]:
        """Return what each kernel takes, from a session of its own, since profiling takes time."""
        with tempfile.TemporaryDirectory() as folder:
            session = self._profiled(self.network, os.path.join(folder, "profile"))
            end = now_ns() + int(seconds * 1e9)
            runs = 0
            while runs < PROFILE_WARM_UP + LEAST_PROFILED or now_ns() < end:
                session.run(self._names, self._feed)
                runs += 1
            with open(session.end_profiling(), encoding="utf-8") as file:
                return of_onnxruntime(file.read(), PROFILE_WARM_UP)

    def _results(self) -> List[Any]:
        try:
            return list(self._session.run(self._names, self._feed))
        except Exception as error:  # its errors have no class in common  # noqa: BLE001
            raise Fault(
                "oom" if _is_out_of_memory(error) else "build_failed",
                f"onnxruntime does not run {self.network.id}: {_text(error).splitlines()[0]}",
            ) from error

    def _tensor(self, name: str, array: Any) -> Tensor:
        dtype = getattr(array, "dtype", None)
        if str(dtype) not in SIZES:
            raise Fault(
                "build_failed",
                f"output {name!r} of {self.network.id} must be a tensor of numbers, "
                f"got {dtype or type(array).__name__}",
            )
        data = self._numpy.ascontiguousarray(array).tobytes()
        return Tensor(name, str(array.dtype), tuple(array.shape), data)


def _text(error: Exception) -> str:
    return str(error).strip() or type(error).__name__


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(str(error)) is not None


def _array(numpy: Any, given: Tensor) -> Any:
    if given.dtype == "bfloat16":
        raise Fault(
            "runtime_missing", f"onnxruntime takes no bfloat16 from Python ({given.name!r})"
        )
    return numpy.frombuffer(given.data, dtype=given.dtype).reshape(given.shape)
