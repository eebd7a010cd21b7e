"""Layers of a TensorRT network that compute in FP32 although a builder's flag allows less.

TensorRT's parser makes one layer or several of a node, and names only the one that does the work;
those before it, which hold constants, and those behind it, such as the sum of a Gemm, have names of
their own making. They stand in the nodes' order, and the last of a node's layers gives its value
under its name, so what stands before a known layer belongs to the same node.
"""

from typing import Any, Iterable, Iterator, List

from gensynth.devices.agent.runtimes.onnx_file import OnnxFile

# What makes the builder heed them: 8.2 and later, 8.0.
FLAGS = ("OBEY_PRECISION_CONSTRAINTS", "STRICT_TYPES")


def keep_in_fp32(trt: Any, network: Any, config: Any, onnx: OnnxFile, names: Iterable[str]) -> None:
    """Have nodes computed, and their values given, in FP32.

    Args:
        trt: the module `tensorrt`, of a version whose precision is a flag.
        network: as its parser made it.
        config: of the build.
        onnx: the file.
        names: of nodes.
    """
    wanted = frozenset(names)
    if not wanted:
        return
    flag = next(name for name in FLAGS if hasattr(trt.BuilderFlag, name))
    config.set_flag(getattr(trt.BuilderFlag, flag))
    for layer in _layers(network, onnx, wanted):
        numbers = [
            index
            for index in range(layer.num_outputs)
            if layer.get_output(index).dtype in (trt.DataType.FLOAT, trt.DataType.HALF)
        ]
        if numbers:  # shapes and indices stay whole numbers
            layer.precision = trt.DataType.FLOAT
        for index in numbers:
            layer.set_output_type(index, trt.DataType.FLOAT)


def _layers(network: Any, onnx: OnnxFile, wanted: Iterable[str]) -> Iterator[Any]:
    """Yield the layers of some nodes."""
    by_value = {value: node.name for node in onnx.nodes for value in node.outputs}
    known = {node.name for node in onnx.nodes}
    before: List[Any] = []
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        before.append(layer)
        values = [layer.get_output(place).name for place in range(layer.num_outputs)]
        owners = [by_value[value] for value in values if value in by_value]
        owner = layer.name if layer.name in known else owners[0] if owners else None
        if owner is not None:
            if owner in wanted:
                for one in before:
                    yield one
            before = []
