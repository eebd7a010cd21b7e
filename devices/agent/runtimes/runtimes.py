"""The runtimes that a job may ask for, each opened in a process of its own.

    tensorrt-pycuda   TensorRT's Python package, memory through pycuda
    tensorrt-ctypes   the same, memory through ctypes on libcudart
    trtexec           NVIDIA's program
    onnxruntime       ONNX Runtime on the processor

`open_runtime` is for the worker of a job, `survey` for `devices check`. A broken installation
does not always raise: `Runtime()` of TensorRT without a driver ends the process, so a survey
tries each in a child.
"""

import json
import signal
import subprocess
from typing import Any, Dict, List, Union

from gensynth.devices.agent.runtimes.cuda_memory import open_ctypes, open_pycuda
from gensynth.devices.agent.runtimes.engines import EngineCache
from gensynth.devices.agent.runtimes.onnxruntime_ import OnnxRuntime
from gensynth.devices.agent.runtimes.tensorrt_ import TensorRTRuntime, open_tensorrt
from gensynth.devices.agent.runtimes.trtexec import Trtexec, find_trtexec
from gensynth.devices.agent.runtimes.trtexec_call import Program
from gensynth.devices.agent.wire import processes
from gensynth.devices.agent.wire.bootstrap import default_home
from gensynth.devices.agent.wire.spec import PATIENCE_S, RUNTIMES
from gensynth.devices.agent.wire.spool import Spool
from gensynth.devices.agent.wire.status import Fault

_PROBE = (
    "import os; answer = os.dup(1); os.dup2(2, 1); "
    "from gensynth.devices.agent.runtimes import runtimes; "
    "os.write(answer, runtimes.probe(*sys.argv[1:]).encode())"
)

Runtime = Union[TensorRTRuntime, Trtexec, OnnxRuntime]


def open_runtime(path: str, threads: int, spool: Spool, root: str, board: str) -> Runtime:
    """Return a runtime that works here.

    Args:
        path: one of `spec.RUNTIMES`.
        threads: that one operator may use, where a processor computes.
        spool: where engines are kept.
        root: the folder below which programs are looked for.
        board: which board this is; an engine of another is never used.

    Raises:
        Fault: `runtime_missing`, saying why.
    """
    cache = EngineCache(spool.engines, spool.write)
    if path == "tensorrt-pycuda":
        return open_tensorrt(open_pycuda, cache, board)
    if path == "tensorrt-ctypes":
        return open_tensorrt(open_ctypes, cache, board)
    if path == "trtexec":
        return Trtexec(Program(find_trtexec(root), spool.engines), cache, board)
    if path == "onnxruntime":
        return OnnxRuntime(threads)
    raise Fault("protocol_error", f"a runtime must be one of {', '.join(RUNTIMES)}, got {path!r}")


def survey(root: str = "/", patience_s: float = PATIENCE_S) -> List[Dict[str, Any]]:
    """Return for each runtime its "path", its "version", and "why" it does not work here.

    One of the two is None. Nothing that a runtime does ends this process.

    Args:
        root: the folder below which programs are looked for.
        patience_s: that each may take to open.
    """
    return [_surveyed(path, root, patience_s) for path in RUNTIMES]


def probe(path: str, root: str) -> str:
    """Return one entry of a survey as JSON; the process may not live to do so."""
    entry: Dict[str, Any] = {"path": path, "version": None, "why": None}
    try:
        runtime = open_runtime(path, 1, Spool(default_home()), root, "")
        try:
            runtime.check()
            entry["version"] = runtime.version
        finally:
            runtime.close()
    except Fault as fault:
        entry["why"] = fault.message
    return json.dumps(entry)


def _surveyed(path: str, root: str, patience_s: float) -> Dict[str, Any]:
    failed: Dict[str, Any] = {"path": path, "version": None}
    try:
        done = subprocess.run(
            processes.command(_PROBE, path, root),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=patience_s,
        )
    except subprocess.TimeoutExpired:
        return dict(failed, why=f"it did not open within {patience_s:g} s")
    if done.returncode == 0:
        return dict(json.loads(done.stdout.decode("utf-8")))
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    how = f"exit code {done.returncode}"
    if done.returncode < 0:
        how = signal.Signals(-done.returncode).name
    return dict(failed, why=f"opening it ends the process ({how}): {said[-1] if said else ''}")
