"""A network of a job as it was sent, and what a runtime makes of it.

Every runtime offers the same: `load(network, precision, workspace_mib)` gives a `Loaded`, and
`close()` gives back what it holds. Which runtimes there are: `runtimes`.
"""

import abc
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple, TypeVar

from gensynth.devices.agent.runtimes.onnx_file import OnnxFile, read
from gensynth.devices.agent.wire.spool import Spool
from gensynth.devices.agent.wire.status import Fault
from gensynth.devices.agent.wire.tensors import Tensor, tensor
from gensynth.devices.agent.wire.timing import Turn

LEAST_WORKSPACE_MIB = 16

Made = TypeVar("Made")


class Network(NamedTuple):
    """A network with the inputs that it is measured on.

    Attributes:
        id: its name in the job.
        path: of the ONNX file.
        sha256: of the ONNX file.
        onnx: what the file says of itself.
        inputs: one tensor for each of its inputs.
        fp32_layers: nodes that compute in FP32 where a flag allows less.
    """

    id: str
    path: str
    sha256: str
    onnx: OnnxFile
    inputs: Tuple[Tensor, ...]
    fp32_layers: Tuple[str, ...] = ()


class Loaded(abc.ABC):
    """A network that is ready to run on its inputs.

    Attributes:
        network: what was loaded.
        engine: what was built for it, as in a result; None where nothing is built.
        no_windows: why no energy can be measured with this runtime; None where it can.
    """

    network: Network
    engine: Optional[Dict[str, Any]]
    no_windows: Optional[str] = None

    @abc.abstractmethod
    def outputs(self) -> List[Tensor]:
        """Run once and return the outputs."""

    @abc.abstractmethod
    def turn(self, runs: int) -> Turn:
        """Run untimed until caches are filled, then `runs` times timed."""

    @abc.abstractmethod
    def block(self, seconds: float) -> Turn:
        """Run, timed, for that long and at least once."""

    @abc.abstractmethod
    def run(self) -> Optional[int]:
        """Run once to the end; return the nanoseconds of the computation alone, if known."""

    @abc.abstractmethod
    def synchronise(self) -> None:
        """Wait until nothing is under way."""

    def profile(self, seconds: float) -> Optional[List[Dict[str, Any]]]:
        """Return what each kernel takes, from runs for that long; None where it cannot be told."""
        return None


def open_network(entry: Dict[str, Any], spool: Spool) -> Network:
    """Read a network of a job's specification from the spool.

    Raises:
        Fault: `build_failed` if it is no ONNX file, takes other inputs or lacks a layer that is
            to stay in FP32; `protocol_error` if an input has too few bytes.
    """
    onnx = read(spool.blob_path(entry["onnx"]))
    inputs = []
    for given in entry["inputs"]:
        with open(spool.blob_path(given["blob"]), "rb") as file:
            inputs.append(tensor(given["name"], given["dtype"], given["shape"], file.read()))
    onnx.check_inputs(inputs)
    path = spool.blob_path(entry["onnx"])
    onnx.check_nodes(entry["fp32_layers"])
    layers = tuple(entry["fp32_layers"])
    return Network(entry["id"], path, entry["onnx"], onnx, tuple(inputs), layers)


def within_memory(make: Callable[[int], Made], workspace_mib: int) -> Made:
    """Return what is made with a workspace, or else with a quarter of it if memory runs out.

    Raises:
        Fault: what `make` raises, at the second attempt if the first was `oom`.
    """
    smaller_mib = max(LEAST_WORKSPACE_MIB, workspace_mib // 4)
    try:
        return make(workspace_mib)
    except Fault as fault:
        if fault.status != "oom" or smaller_mib >= workspace_mib:
            raise
    return make(smaller_mib)
