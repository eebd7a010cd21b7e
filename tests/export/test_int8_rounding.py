"""INT8 files round as numpy rounds, whatever the processor: `make avx2` emulates one."""

import numpy as np

from gensynth.export.int8 import Quantizer
from gensynth.export.parity import run_all
from gensynth.export.targets import find_target
from tests.export.int8_files import file_of, line, spoiled


def test_a_layer_rounds_as_numpy_rounds() -> None:
    random = np.random.default_rng(0)
    weight = random.normal(size=(3, 5)).astype(np.float32)
    x = random.normal(size=(40, 5, 1, 1)).astype(np.float32)
    content = Quantizer(file_of(line(5, 3), {"fc0.weight": weight}), x, "tensorrt").write()
    (found,) = run_all(content, [x])
    # Symmetric: 127 steps to the largest magnitude, of the images and of each output's weights.
    step = np.abs(x).max() / 127
    steps = np.abs(weight).max(axis=1, keepdims=True) / 127
    rounded_x = np.clip(np.round(x[:, :, 0, 0] / step), -128, 127) * step
    rounded_weight = np.clip(np.round(weight / steps), -128, 127) * steps
    np.testing.assert_allclose(found, rounded_x @ rounded_weight.T, rtol=1e-4, atol=1e-4)
    assert np.abs(found - x[:, :, 0, 0] @ weight.T).max() > 1e-3


def test_products_that_16_bits_cannot_hold_are_summed_whole_for_tensorrt() -> None:
    # 2 * 127 * 127 + ... as INT8 pairs are 32,258 a pair signed, but ONNX Runtime shifts the
    # inputs to 0..255 and a processor without VNNI then saturates at 32,767: 255 * 127 * 2.
    ones = np.ones((3, 8), np.float32)
    x = np.ones((16, 8, 1, 1), np.float32)
    content = Quantizer(file_of(line(8, 3), {"fc0.weight": ones}), x, "tensorrt").write()
    (found,) = run_all(content, [x], rounding=find_target("jetson-orin-jp6").rounding)
    np.testing.assert_allclose(found, 8.0, rtol=1e-6)


def test_a_layer_that_int8_spoils_computes_again_when_it_is_kept_in_fp32() -> None:
    graph, weights, images, labels = spoiled()
    quantizer = Quantizer(file_of(graph, weights, "x86-cpu"), images, "tensorrt")

    def right(content: bytes) -> int:
        (found,) = run_all(content, [images], rounding="as_written")
        return int((found.argmax(1) == labels).sum())

    assert right(quantizer.write(keep=["fc1"])) == len(labels) == 64
    assert right(quantizer.write()) < 32
