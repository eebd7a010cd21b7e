"""What two readers make of a file: ONNX Runtime, and the parser of TensorRT for RTX."""

import numpy as np
import onnxruntime
import pytest
from torch import Tensor


def run(model: bytes, x: Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    result: np.ndarray = session.run(None, {"images": x.numpy()})[0]
    return result


def parser_errors(content: bytes) -> list[str]:
    """What TensorRT for RTX says of a file; it needs no GPU to parse."""
    rtx = pytest.importorskip("tensorrt_rtx", exc_type=ImportError)
    logger = rtx.Logger(rtx.Logger.ERROR)
    network = rtx.Builder(logger).create_network(0)
    parser = rtx.OnnxParser(network, logger)
    parser.parse(content)
    return [str(parser.get_error(i).desc()) for i in range(parser.num_errors)]
