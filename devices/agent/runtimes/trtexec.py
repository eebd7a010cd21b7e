"""NVIDIA's `trtexec`, for boards that have TensorRT without its Python package.

One turn is one call of the program: it loads the engine, warms the device up and writes the
time of every run. Its defaults were turned around in TensorRT 11 (graph, spinning and
transfers), so whatever has a flag in `--help` is said aloud and recorded, and a program whose
help names neither spelling is not used.

When its runs begin it does not say, so it gives no energy.
"""

import math
import os
import re
import shutil
import time
from array import array
from typing import Any, Dict, FrozenSet, List, Optional, Sequence, Tuple

from gensynth.devices.agent.runtimes.cuda_runtime import DeviceFacts, find_runtime
from gensynth.devices.agent.runtimes.engines import EngineCache, engine_key
from gensynth.devices.agent.runtimes.kernel_times import of_trtexec
from gensynth.devices.agent.runtimes.networks import Loaded, Network, within_memory
from gensynth.devices.agent.runtimes.tensorrt_engine import layers_of
from gensynth.devices.agent.runtimes.trtexec_call import Program, quoted
from gensynth.devices.agent.wire.status import Fault
from gensynth.devices.agent.wire.tensors import Tensor
from gensynth.devices.agent.wire.timing import Turn

WARM_UP_MS = 2000
PLACES = ("usr/src/tensorrt/bin", "usr/local/bin", "usr/bin")

_FLAG = re.compile(r"--[A-Za-z0-9]+")
_VERSION = re.compile(r"\[TensorRT v(\d+)\]")
_PROFILING, _EXPORT = ("--dumpProfile", "--separateProfileRun"), "--exportProfile"
_PRECISIONS = {"fp16": "--fp16", "int8": "--int8"}
# What asks for the quantity that we measure, and what would ask for another one.
_QUANTITY = (
    ("cuda_graph", "--noCudaGraph", "--useCudaGraph"),
    ("spin_wait", "--noSpinWait", "--useSpinWait"),
    ("transfers", "--includeDataTransfers", "--noDataTransfers"),
)


class Trtexec:
    """One installed `trtexec`.

    Args:
        program: the executable, and where it may write.
        cache: of engines on this board.
        board: which board this is, since an engine runs on no other.

    Raises:
        Fault: `runtime_missing` if its version or its defaults are not known.
    """

    path = "trtexec"
    processor = "gpu"

    def __init__(self, program: Program, cache: EngineCache, board: str) -> None:
        self._program = program
        self._cache = cache
        help_text = program.help()
        self._known = frozenset(_FLAG.findall(help_text))
        self.version = _version(help_text)
        self._timing = _timing_flags(self._known, self.version)
        self._layers = {"--profilingVerbosity", "--exportLayerInfo"} <= self._known
        self._context = {"builder": "trtexec", "tensorrt": self.version, "board": board}
        self._context.update(_device())
        self.details: Dict[str, Any] = {
            "program": program.path,
            "timing_flags": self._timing,
            "cuda_graph": False,
            "spin_wait": False,
            "streams": 1,
            "scope": "h2d+compute+d2h",
        }

    def load(self, network: Network, precision: str, workspace_mib: int) -> "TrtexecLoaded":
        """Take a network's engine from the cache or let the program build it.

        Where memory runs out, the build is tried once more with a quarter of the workspace.

        Raises:
            Fault: `unsupported_op`, `oom` or `build_failed`.
        """
        facts, path = within_memory(lambda mib: self._built(network, precision, mib), workspace_mib)
        options = [f"--loadEngine={path}"] + _shapes(network) + self._timing
        profiling = _PROFILING if set(_PROFILING) | {_EXPORT} <= self._known else None
        return TrtexecLoaded(network, facts, self._program, options, profiling)

    def check(self) -> None:
        """Do nothing: that its help can be read is what is known before there is a network."""

    def close(self) -> None:
        """Remove what was written for the program."""
        self._program.close()

    def _built(
        self, network: Network, precision: str, workspace_mib: int
    ) -> Tuple[Dict[str, Any], str]:
        """Return the facts of an engine and its path."""
        is_typed = "--fp16" not in self._known
        network.onnx.check_precision(precision, is_typed, f"TensorRT {self.version}")
        flags = [_PRECISIONS[precision]] if precision in _PRECISIONS and not is_typed else []
        if flags:
            flags += self._in_fp32(network.fp32_layers)
        parts = dict(
            self._context,
            onnx=network.sha256,
            precision=precision,
            flags=flags,
            workspace_mib=workspace_mib,
            shapes={given.name: list(given.shape) for given in network.inputs},
        )
        kept = self._cache.find(parts)
        cached = kept is not None
        if kept is None:
            start = time.perf_counter()
            options = flags + _shapes(network) + self._workspace(workspace_mib)
            built = self._program.build(network, options + self._build_only(), self._layers)
            build_s = time.perf_counter() - start
            layers = None if built.layers is None else layers_of(built.layers)
            kept = self._cache.keep(parts, built.plan, build_s, built.said, layers)
        facts = {
            "key": engine_key(parts),
            "build_s": kept.build_s,
            "cached": cached,
            "bytes": os.path.getsize(kept.path),
            "workspace_mib": workspace_mib,
            "layers": kept.layers,
            "log": kept.log,
        }
        return facts, kept.path

    def _in_fp32(self, layers: Sequence[str]) -> List[str]:
        """Return the options that keep layers in FP32.

        Raises:
            Fault: `build_failed` if the program has none (below 8.4).
        """
        if not layers:
            return []
        if not {"--precisionConstraints", "--layerPrecisions", "--layerOutputTypes"} <= self._known:
            raise Fault(
                "build_failed",
                f"{len(layers)} layers must stay in FP32, and trtexec {self.version} cannot be "
                "told which; install TensorRT's Python package (python3-libnvinfer), or take fp32",
            )
        each = ",".join(f"{quoted(layer)}:fp32" for layer in layers)
        return ["--precisionConstraints=obey", f"--layerPrecisions={each}",
                f"--layerOutputTypes={each}"]  # fmt: skip

    def _workspace(self, workspace_mib: int) -> List[str]:
        if "--memPoolSize" in self._known:  # from 8.4 on
            return [f"--memPoolSize=workspace:{workspace_mib}"]
        return [f"--workspace={workspace_mib}"]

    def _build_only(self) -> List[str]:
        return ["--skipInference" if "--skipInference" in self._known else "--buildOnly"]


class TrtexecLoaded(Loaded):
    """An engine that the program runs, call by call."""

    no_windows = "trtexec does not say when its runs begin, so no energy belongs to them"

    def __init__(
        self,
        network: Network,
        facts: Dict[str, Any],
        program: Program,
        options: Sequence[str],
        profiling: Optional[Sequence[str]] = None,
    ) -> None:
        self.network = network
        self.engine = facts
        self._profiling = profiling
        self._program = program
        self._options = list(options) + program.inputs(network)

    def outputs(self) -> List[Tensor]:
        """Run once and return the outputs, which the program writes as decimal numbers."""
        return self._program.outputs(self._options + _amount(runs=1, seconds=0, warm_up_ms=0))

    def turn(self, runs: int) -> Turn:
        """Warm the device up, then run `runs` times timed."""
        times = self._times(runs, 0, WARM_UP_MS)
        if len(times.total_ns) < runs:
            raise Fault(
                "device_lost",
                f"trtexec must give {runs} times, got {len(times.total_ns)}",
            )
        compute = None if times.compute_ns is None else times.compute_ns[:runs]
        return Turn(times.total_ns[:runs], compute)

    def block(self, seconds: float) -> Turn:
        """Run, timed, for at least that long; blocks are what warms up."""
        return self._times(1, math.ceil(seconds), 0)

    def run(self) -> Optional[int]:
        """Run once."""
        return int(self.turn(1).total_ns[0])

    def synchronise(self) -> None:
        """Do nothing: when a run returns, nothing is under way."""

    def profile(self, seconds: float) -> Optional[List[Dict[str, Any]]]:
        """Return what each layer takes; None if the program has no options that ask for it.

        The times of whole runs are of runs without the profiler (`--separateProfileRun`).
        """
        if self._profiling is None:
            return None
        options = self._options + list(self._profiling)
        options += _amount(1, math.ceil(seconds), WARM_UP_MS)
        return of_trtexec(self._program.written(options, _EXPORT))

    def _times(self, runs: int, seconds: int, warm_up_ms: int) -> Turn:
        options = self._options + _amount(runs, seconds, warm_up_ms)
        entries = self._program.times(options, warm_up_ms)
        total = array("Q", [_nanoseconds(entry["latencyMs"]) for entry in entries])
        compute = array("Q", [_nanoseconds(entry["computeMs"]) for entry in entries])
        return Turn(total, compute)


def find_trtexec(root: str) -> str:
    """Return the path of the program below a root.

    Raises:
        Fault: `runtime_missing`.
    """
    searched = [os.path.join(root, place) for place in PLACES]
    if root == "/":
        searched += os.environ.get("PATH", "").split(os.pathsep)
    found = shutil.which("trtexec", path=os.pathsep.join(searched))
    if found is None:
        raise Fault("runtime_missing", f"there is no trtexec in {', '.join(searched[:3])} or PATH")
    return found


def _timing_flags(known: FrozenSet[str], version: str) -> List[str]:
    """Return the flags that ask for transfers, without graph and spinning, one by one.

    Raises:
        Fault: `runtime_missing` if the help does not tell which way a default is.
    """
    flags = ["--avgRuns=1"]
    for what, wanted, unwanted in _QUANTITY:
        if wanted in known:
            flags.append(wanted)
        elif unwanted not in known:
            raise Fault(
                "runtime_missing",
                f"the help of trtexec {version} names neither {wanted} nor {unwanted}, so its "
                f"default of {what} is not known",
            )
    flags.append("--infStreams=1" if "--infStreams" in known else "--streams=1")
    if "--exposeDMA" in known:  # without it transfers of one run overlap the next run
        flags.append("--exposeDMA")
    return flags


def _version(help_text: str) -> str:
    """Return 8.2.1 of v8201 and 10.3.0 of v100300."""
    found = _VERSION.search(help_text)
    if found is None:
        raise Fault("runtime_missing", "the help of trtexec does not say its version")
    digits = found.group(1)
    return (
        f"{int(digits[:-3])}.{digits[-3]}.{int(digits[-2:])}"
        if len(digits) < 5
        else (f"{int(digits[:-4])}.{int(digits[-4:-2])}.{int(digits[-2:])}")
    )


def _device() -> Dict[str, Any]:
    """Return what libcudart says of the device; nothing where it is not there.

    The device must not be started: its memory is the program's.
    """
    try:
        return dict(find_runtime().facts()._asdict())
    except Fault:
        return dict.fromkeys(DeviceFacts._fields)


def _shapes(network: Network) -> List[str]:
    """Return the sizes of inputs that the file leaves free."""
    dynamic = {entry.name for entry in network.onnx.inputs if entry.is_dynamic}
    sizes = [
        f"{quoted(given.name)}:{'x'.join(str(size) for size in given.shape)}"
        for given in network.inputs
        if given.name in dynamic
    ]
    return ["--shapes=" + ",".join(sizes)] if sizes else []


def _amount(runs: int, seconds: int, warm_up_ms: int) -> List[str]:
    return [f"--iterations={runs}", f"--duration={seconds}", f"--warmUp={warm_up_ms}"]


def _nanoseconds(milliseconds: float) -> int:
    return round(milliseconds * 1e6)
