"""TensorRT 8.0 to 11 behind one face; what a version has is tested, never assumed.

                    8.0 to 9                    10                       11
    network         EXPLICIT_BATCH              ignores the flag         has no flag
    FP16, INT8      a builder flag              a builder flag           in the ONNX file alone
    workspace       max_workspace_size, from 8.4 set_memory_pool_limit

TensorRT says no by returning None or False and writing to its log: every result is looked at.
Only what pybind11 itself constructs (builder, runtime, parser) is a TypeError instead.
"""

from typing import Any, List, NamedTuple, Sequence, Tuple

from gensynth.devices.agent.runtimes.onnx_file import OnnxFile
from gensynth.devices.agent.runtimes.tensorrt_engine import Executable
from gensynth.devices.agent.runtimes.tensorrt_layers import keep_in_fp32
from gensynth.devices.agent.runtimes.tensorrt_log import Log, failure, member_name, tensorrt_logger
from gensynth.devices.agent.wire.status import Fault
from gensynth.devices.agent.wire.tensors import Tensor

_FLAGS = {"fp16": "FP16", "int8": "INT8"}


class Plan(NamedTuple):
    """An engine as bytes, and what its build measured."""

    engine: bytes
    timings: bytes


class TensorRT:
    """One installed TensorRT.

    Args:
        trt: the module `tensorrt`.
    """

    def __init__(self, trt: Any) -> None:
        self._trt = trt
        self.version = str(trt.__version__)
        self.log = Log()
        self._logger = tensorrt_logger(trt, self.log)

    def check(self) -> None:
        """See that the library works; where there is no driver it may end the process.

        Raises:
            Fault: `runtime_missing` or `oom`.
        """
        self._started("Builder")
        self._started("Runtime")

    @property
    def is_strongly_typed(self) -> bool:
        """Whether precision lives in the ONNX file alone (from 11 on)."""
        return not hasattr(self._trt.BuilderFlag, "FP16")

    def flags(self, onnx: OnnxFile, precision: str) -> List[str]:
        """Return the builder flags that make a network compute in a precision.

        Raises:
            Fault: `build_failed` where no flag can: INT8 needs a file that quantises, and from
                TensorRT 11 on FP16 needs a file in half precision.
        """
        onnx.check_precision(precision, self.is_strongly_typed, f"TensorRT {self.version}")
        if self.is_strongly_typed:
            return []
        return [_FLAGS[precision]] if precision in _FLAGS else []

    def build(
        self,
        onnx: OnnxFile,
        content: bytes,
        inputs: Sequence[Tensor],
        precision: str,
        workspace_mib: int,
        timings: bytes = b"",
        fp32_layers: Sequence[str] = (),
    ) -> Plan:
        """Build an engine for inputs of exactly these shapes.

        Args:
            onnx: what `content` says of itself.
            content: the ONNX file.
            inputs: only names and shapes are looked at.
            precision: "fp32", "fp16" or "int8"; in "fp32" TensorRT may use TF32 where the
                processor has it, as it does by default.
            workspace_mib: memory that one layer may use.
            timings: of earlier builds, to save their time.
            fp32_layers: nodes that compute in FP32 whatever a flag allows.

        Raises:
            Fault: `unsupported_op`, `oom`, `build_failed`, or `runtime_missing` where TensorRT
                does not start.
        """
        trt = self._trt
        self.log.clear()
        builder = self._started("Builder")
        network = self._made(builder.create_network(self._network_flags()), "a network")
        parser = trt.OnnxParser(network, self._logger)
        if not parser.parse(content):
            raise self._refusal(parser, onnx)
        config = self._made(builder.create_builder_config(), "a configuration")
        _limit_workspace(trt, config, workspace_mib)
        flags = self.flags(onnx, precision)
        for flag in flags:
            config.set_flag(getattr(trt.BuilderFlag, flag))
        if flags:
            keep_in_fp32(trt, network, config, onnx, fp32_layers)
        if hasattr(trt, "ProfilingVerbosity") and hasattr(trt.ProfilingVerbosity, "DETAILED"):
            config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        self._settle_shapes(builder, network, config, inputs)
        cache = config.create_timing_cache(timings)
        if cache is None:  # of another version
            cache = self._made(config.create_timing_cache(b""), "a timing cache")
        if not config.set_timing_cache(cache, False):
            raise self._failed("a configuration with a timing cache")
        plan = self._made(builder.build_serialized_network(network, config), "an engine")
        return Plan(bytes(plan), self._measured(config))

    def load(self, plan: bytes, inputs: Sequence[Tensor]) -> Executable:
        """Make an engine ready to run.

        Raises:
            Fault: `oom`, `build_failed`, or `runtime_missing` where TensorRT does not start.
        """
        self.log.clear()
        runtime = self._started("Runtime")
        engine = self._made(runtime.deserialize_cuda_engine(plan), "an engine from its plan")
        context = self._made(engine.create_execution_context(), "an execution context")
        return Executable(self._trt, self.log, runtime, engine, context, inputs)

    def _network_flags(self) -> int:
        """Return the flags of a network of explicit batch, where there is another kind."""
        flag = getattr(self._trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)
        return 0 if flag is None else 1 << int(flag)

    def _settle_shapes(self, builder: Any, network: Any, config: Any, inputs: Any) -> None:
        """Give every free size the one it has in the inputs."""
        shapes = {tensor.name: tensor.shape for tensor in inputs}
        profile = None
        for index in range(network.num_inputs):
            entry = network.get_input(index)
            if -1 in tuple(entry.shape):
                if profile is None:  # one that is unfinished counts as false
                    profile = self._made(
                        builder.create_optimization_profile(), "an optimisation profile"
                    )
                shape = shapes[entry.name]
                try:
                    profile.set_shape(entry.name, shape, shape, shape)
                except (RuntimeError, ValueError) as error:
                    raise self._failed(f"a profile of {list(shape)} for {entry.name!r}") from error
        if profile is not None and config.add_optimization_profile(profile) < 0:
            raise self._failed("a valid optimisation profile")

    def _measured(self, config: Any) -> bytes:
        cache = config.get_timing_cache()
        serialized = None if cache is None else cache.serialize()
        return b"" if serialized is None else bytes(serialized)

    def _refusal(self, parser: Any, onnx: OnnxFile) -> Fault:
        """Return why a file was refused, with the node's name and operator."""
        if parser.num_errors == 0:
            return self._failed("a parsed network")
        error = parser.get_error(0)
        code = member_name(error.code())
        name, operator = _node(error, onnx)
        status = "build_failed"
        # For an operator that it has never heard of, 10 and later say that the node is invalid.
        unknown = operator != "" and not parser.supports_operator(operator)
        if code.startswith("UNSUPPORTED") or unknown:
            status = "unsupported_op"
        elif code == "MEM_ALLOC_FAILED":
            status = "oom"
        where = f"node {name!r} ({operator}): " if operator else ""
        return Fault(
            status,
            f"TensorRT {self.version} refuses the network: {where}{code}: {error.desc()}",
            {
                "node": name,
                "operator": operator,
                "code": code,
                "tensorrt": self.version,
                "log": self.log.text(),
            },
        )

    def _started(self, kind: str) -> Any:
        """Return a new Builder or Runtime, the first things that need a working device."""
        try:
            return getattr(self._trt, kind)(self._logger)
        except TypeError as error:  # pybind11: "factory function returned nullptr"
            fault = self._failed(f"a {kind}")
            if fault.status == "oom":
                raise fault from error
            raise Fault("runtime_missing", fault.message, fault.details) from error

    def _made(self, result: Any, what: str) -> Any:
        if result is None:
            raise self._failed(what)
        return result

    def _failed(self, what: str) -> Fault:
        return failure(self.version, what, self.log)


def _limit_workspace(trt: Any, config: Any, workspace_mib: int) -> None:
    if hasattr(config, "set_memory_pool_limit"):
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace_mib << 20)
    else:
        config.max_workspace_size = workspace_mib << 20


def _node(error: Any, onnx: OnnxFile) -> Tuple[str, str]:
    """Return name and operator of the node of a parser's error; empty where it has none."""
    if hasattr(error, "node_operator"):  # from 10 on
        return str(error.node_name()), str(error.node_operator())
    index = int(error.node())
    if 0 <= index < len(onnx.nodes):
        return onnx.nodes[index].name, onnx.nodes[index].operator
    return "", ""
