"""An ONNX file computed in INT8: ranges measured on images, and rounded to 8 bits, as a file.

onnxruntime's static quantisation writes a pair QuantizeLinear, DequantizeLinear where a value is
rounded to 8 bits; a runtime computes what stands between pairs in INT8. Weights have a scale an
output channel, activations one scale, from the smallest and largest value on the images.

    "tensorrt"     pairs at the inputs of layers with weights, symmetric, the zero is 0; biases
                   in FP32; so that TensorRT finds convolution, addition and relu undivided
    "processor"    every value that INT8 kernels read or write; activations from 0 to 255, weights
                   in 7 bits: where an x86 processor has no VNNI it adds pairs of products in 16
                   bits, which 8 bits can overflow

What a file computes in INT8 is no longer what its network computes to within rounding: accuracy
says whether it is good enough (`gensynth.export.sensitivity`).
"""

import tempfile
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, checker, shape_inference

from gensynth.data.passes import images_a_pass
from gensynth.errors import ExportError
from gensynth.export.writer import Array

TOLERANCE = 0.5
"""Allowed difference to the FP32 network, relative to the largest output: only what is broken
is further off."""

LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
KERNELS = (
    *LAYERS,
    *"Add Mul Relu Clip LeakyRelu Sigmoid Concat Split MaxPool AveragePool".split(),
    *"GlobalAveragePool Resize Reshape Transpose Flatten".split(),
)
"""What ONNX Runtime has INT8 kernels for, or passes INT8 through."""

SCHEMES = ("tensorrt", "processor")


class Quantizer:
    """A file whose values' ranges are known, ready to be written in INT8.

    Args:
        content: of an FP32 file.
        read: (images, channels, height, width), normalised: what ranges are measured on.
        scheme: one of `SCHEMES`.

    Raises:
        ExportError: if the file has no layer with weights, or the images are none.
    """

    def __init__(self, content: bytes, read: Array, scheme: str) -> None:
        if scheme not in SCHEMES:
            raise ValueError(f"scheme must be one of {SCHEMES}, got {scheme!r}")
        if len(read) == 0:
            raise ExportError("INT8 needs images to measure ranges on, got none")
        self._model = shape_inference.infer_shapes(ModelProto.FromString(content))
        held = {tensor.name for tensor in self._model.graph.initializer}
        self._scheme = scheme
        self.layers: tuple[str, ...] = tuple(
            node.name
            for node in self._model.graph.node
            if node.op_type in LAYERS and node.input[1] in held
        )
        if not self.layers:
            raise ExportError("the file has no layer with weights, so nothing to compute in INT8")
        self._ranges = _measured(self._model, read)

    def write(self, *, keep: Collection[str] = (), only: Collection[str] | None = None) -> bytes:
        """Return the file in INT8; the same ranges give the same bytes.

        Args:
            keep: layers that stay in FP32, by node name.
            only: the layers that do not; None for all others.

        Raises:
            ExportError: if onnxruntime cannot write it.
        """
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

        tensorrt = self._scheme == "tensorrt"
        operators = list(LAYERS if tensorrt else KERNELS)
        kept = [*keep, *(set(self.layers) - set(only) if only is not None else ())]
        model = ModelProto()
        model.CopyFrom(self._model)
        quantizer = QDQQuantizer(
            model,
            per_channel=True,
            reduce_range=not tensorrt,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QInt8 if tensorrt else QuantType.QUInt8,
            tensors_range=self._ranges,
            nodes_to_quantize=list(only) if only is not None else [],
            nodes_to_exclude=sorted(kept),
            op_types_to_quantize=operators,
            extra_options={
                "ActivationSymmetric": tensorrt,
                "WeightSymmetric": True,
                "AddQDQPairToWeight": tensorrt,
                "QuantizeBias": not tensorrt,
                "OpTypesToExcludeOutputQuantization": operators if tensorrt else [],
            },
        )
        try:
            quantizer.quantize_model()
        except Exception as error:  # the quantiser's errors have no common class of their own
            raise ExportError(f"onnxruntime cannot write this file in INT8: {error}") from error
        return _own(quantizer.model.model, self._model)


def is_int8(content: bytes) -> bool:
    """Return whether a file rounds values to 8 bits."""
    graph = ModelProto.FromString(content).graph
    return any(node.op_type == "QuantizeLinear" for node in graph.node)


def _measured(model: ModelProto, read: Array) -> Any:
    """Return the range of every value on the images, in onnxruntime's own form."""
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod
    from onnxruntime.quantization.calibrate import create_calibrator

    (name,) = [value.name for value in model.graph.input]
    fixed = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
        def __init__(self) -> None:
            self._batches: Iterator[Array] = iter(
                _batches(read, fixed or images_a_pass(read.shape[1:], 64))
            )

        def get_next(self) -> dict[str, Array] | None:
            batch = next(self._batches, None)
            return None if batch is None else {name: batch}

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that are always 0
        path = Path(folder) / "network.onnx"
        path.write_bytes(model.SerializeToString())
        calibrator = create_calibrator(
            path,
            augmented_model_path=str(Path(folder) / "ranges.onnx"),
            calibrate_method=CalibrationMethod.MinMax,
        )
        calibrator.collect_data(Reader())
        return calibrator.compute_data()


def _batches(read: Array, size: int) -> Iterator[Array]:
    """Whole batches; the last one is filled up from the first images."""
    for start in range(0, len(read), size):
        rows = np.arange(start, start + size) % len(read)
        yield np.ascontiguousarray(read[rows], np.float32)


def _in_order(model: ModelProto) -> list[NodeProto]:
    """Return the nodes, each after what it reads and as late as its first reader lets it."""
    given = [NodeProto.FromString(node.SerializeToString()) for node in model.graph.node]
    maker = {name: node for node in given for name in node.output}
    placed: dict[str, NodeProto] = {}

    def place(node: NodeProto) -> None:
        if node.output[0] not in placed:
            for name in node.input:
                if name in maker:
                    place(maker[name])
            placed[node.output[0]] = node

    for value in model.graph.output:
        place(maker[value.name])
    return list(placed.values())


def _own(model: ModelProto, before: ModelProto) -> bytes:
    """Return what onnxruntime wrote as one of our files: in order, without the writer's marks."""
    nodes = _in_order(model)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    del model.metadata_props[:]
    del model.graph.value_info[:]
    model.producer_name, model.producer_version = before.producer_name, before.producer_version
    model.ir_version = before.ir_version
    del model.opset_import[:]
    model.opset_import.extend(before.opset_import)
    tensors: list[TensorProto] = sorted(model.graph.initializer, key=lambda tensor: tensor.name)
    del model.graph.initializer[:]
    model.graph.initializer.extend(tensors)
    checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)
