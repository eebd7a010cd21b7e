"""Calls of `trtexec`: the files it reads and writes, and why it failed.

Its working folder is that of the engines, so that its lists of files hold no path; every
name there says which process wrote it, and what a killed one leaves is swept up.
"""

import json
import os
import re
import subprocess
from array import array
from contextlib import suppress
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Set

from gensynth.devices.agent.runtimes.networks import Network
from gensynth.devices.agent.runtimes.onnx_file import OnnxFile
from gensynth.devices.agent.wire.spool import partial_name
from gensynth.devices.agent.wire.status import Fault
from gensynth.devices.agent.wire.tensors import Tensor

LOG_LIMIT = 32 << 10
HELP_LIMIT = 1 << 20

_OUT_OF_MEMORY = re.compile(
    r"\[E\].*(out ?of ?memory|insufficient memory|bad_alloc|cudaErrorMemoryAllocation)",
    re.IGNORECASE,
)
# 8.x writes the name of the code, 10 and later its number, or that there is no such plugin.
_UNSUPPORTED = re.compile(
    r"No importer registered for op|UNSUPPORTED_\w+|Plugin not found"
    r"|In function check\w+:\s*\[(?:[7-9]|1[0-3])\]"
)
_NODE = re.compile(r"[Ww]hile parsing node number (\d+)")
_NOT_JSON = re.compile(r"(?<=[\s\[,])(-?)(nan|inf(?:inity)?)(?=\s*[,\]])")
_KILLED = (-9, 137)


class Built(NamedTuple):
    """A new engine: its bytes, what the program said, and its layers as the program wrote them."""

    plan: bytes
    said: str
    layers: Optional[str]


class Program:
    """The executable and its working folder.

    Args:
        path: of the executable.
        folder: where it may write.
    """

    def __init__(self, path: str, folder: str) -> None:
        self.path = path
        self._folder = folder
        self._written: Set[str] = set()

    def help(self) -> str:
        """Return its help, all of it: what it can do is read there.

        Raises:
            Fault: `runtime_missing` if it cannot be run.
        """
        try:
            return self.call(["--help"], limit=HELP_LIMIT)
        except Fault as fault:
            raise Fault("runtime_missing", fault.message, fault.details) from fault

    def call(
        self, options: Sequence[str], onnx: Optional[OnnxFile] = None, limit: int = LOG_LIMIT
    ) -> str:
        """Run the program to its end and return what it said, the middle of a long text cut.

        Raises:
            Fault: `runtime_missing`, `unsupported_op`, `oom` or `build_failed`.
        """
        log = self._scratch("log")
        try:
            with open(log, "wb") as file:
                code = subprocess.call(
                    [self.path] + list(options),
                    cwd=self._folder,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                )
            said = _said(log, limit)
        except OSError as error:
            raise Fault("runtime_missing", f"{self.path} cannot be run: {error}") from error
        finally:
            self._remove(log)
        if code != 0:
            raise refusal(code, said, onnx)
        return said

    def build(self, network: Network, options: Sequence[str], with_layers: bool) -> Built:
        """Return a new engine.

        Args:
            network: what it is made of.
            options: beside the names of files.
            with_layers: whether the program has options that ask for the layers.
        """
        plan, layers = self._scratch("plan"), self._scratch("layers")
        call = [f"--onnx={network.path}", f"--saveEngine={plan}"] + list(options)
        if with_layers:
            call += ["--profilingVerbosity=detailed", f"--exportLayerInfo={layers}"]
        try:
            said = self.call(call, network.onnx)
            # Not every version writes them where nothing is run.
            text = self._read(layers).decode("utf-8") if os.path.exists(layers) else None
            return Built(self._read(plan), said, text)
        finally:
            self._remove(plan)
            self._remove(layers)

    def inputs(self, network: Network) -> List[str]:
        """Write a network's inputs and return the option that names them."""
        files = []
        for number, given in enumerate(network.inputs):
            path = self._scratch(f"{network.id}-input-{number}")
            with open(path, "wb") as file:
                file.write(given.data)
            files.append(f"{quoted(given.name)}:{os.path.basename(path)}")
        return ["--loadInputs=" + ",".join(files)] if files else []

    def outputs(self, options: Sequence[str]) -> List[Tensor]:
        """Return what a run computes, as float32: the program writes no types."""
        entries = self._json(options, "--exportOutput")
        return [_tensor(entry) for entry in entries]

    def times(self, options: Sequence[str], warm_up_ms: float) -> List[Dict[str, float]]:
        """Return an entry for each run after the warm-up, in its order, with milliseconds.

        Older programs (8.2) write those of the warm-up too; their own summary leaves out what
        began to compute before the warm-up's end, as we do.
        """
        entries = self._json(options, "--exportTimes")
        return [entry for entry in entries if entry["startComputeMs"] >= warm_up_ms]

    def close(self) -> None:
        """Remove every file that was written."""
        for path in sorted(self._written):
            self._remove(path)

    def written(self, options: Sequence[str], option: str) -> str:
        """Return what the program writes into the file that an option names."""
        path = self._scratch("answer")
        try:
            self.call(list(options) + [f"{option}={path}"])
            return self._read(path).decode("utf-8")
        finally:
            self._remove(path)

    def _json(self, options: Sequence[str], option: str) -> List[Any]:
        try:
            # Among its values it writes nan and inf as C++ does, which is no JSON.
            return list(json.loads(_NOT_JSON.sub(_constant, self.written(options, option))))
        except (ValueError, TypeError) as error:
            raise Fault("device_lost", f"trtexec wrote no JSON for {option}: {error}") from error

    def _read(self, path: str) -> bytes:
        try:
            with open(path, "rb") as file:
                return file.read()
        except FileNotFoundError as error:
            raise Fault(
                "build_failed", f"trtexec ended well but did not write {os.path.basename(path)}"
            ) from error

    def _scratch(self, name: str) -> str:
        path = partial_name(os.path.join(self._folder, name))
        self._written.add(path)
        return path

    def _remove(self, path: str) -> None:
        self._written.discard(path)
        with suppress(FileNotFoundError):
            os.remove(path)


def refusal(code: int, said: str, onnx: Optional[OnnxFile]) -> Fault:
    """Return what it means that the program failed.

    Args:
        code: that it ended with, below zero for a signal.
        said: its log.
        onnx: the file that it was building, if it was.
    """
    details: Dict[str, Any] = {"exit": code, "log": said}
    errors = [line for line in said.splitlines() if "[E]" in line]
    last = errors[-1] if errors else "it wrote no error"
    if code in _KILLED or _OUT_OF_MEMORY.search(said):
        return Fault("oom", f"memory ran out in trtexec (exit code {code}): {last}", details)
    unsupported = _UNSUPPORTED.search(said)
    if unsupported is not None:
        node = _NODE.search(said)
        where = ""
        if node is not None and onnx is not None and int(node.group(1)) < len(onnx.nodes):
            name, operator = onnx.nodes[int(node.group(1))][:2]
            details.update(node=name, operator=operator)
            where = f"node {name!r} ({operator}): "
        begin, end = said.rfind("\n", 0, unsupported.start()) + 1, unsupported.end()
        reason = " ".join((said[begin:end] + said[end:].split("\n", 1)[0]).split())
        return Fault("unsupported_op", f"TensorRT refuses the network: {where}{reason}", details)
    return Fault("build_failed", f"trtexec failed (exit code {code}): {last}", details)


def quoted(name: str) -> str:
    """Return an input's name as the program's lists take it."""
    return f"'{name}'" if re.search(r"[:,]", name) else name


def _said(path: str, limit: int) -> str:
    """Return the beginning and the end of a log."""
    with open(path, "rb") as file:
        first = file.read(limit // 2)
        rest = os.fstat(file.fileno()).st_size - len(first)
        file.seek(max(len(first), len(first) + rest - limit // 2))
        return (first + file.read(limit // 2)).decode("utf-8", "replace")


def _constant(found: "re.Match[str]") -> str:
    return "NaN" if found.group(2) == "nan" else found.group(1) + "Infinity"


def _tensor(entry: Dict[str, Any]) -> Tensor:
    shape = tuple(int(size) for size in str(entry["dimensions"]).split("x") if size)
    values = array("f", entry["values"])
    return Tensor(str(entry["name"]), "float32", shape, values.tobytes())
