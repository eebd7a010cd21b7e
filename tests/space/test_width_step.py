"""The step of widths is the runtime's own block, unless a network is too narrow for it."""

import dataclasses
import platform

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from gensynth.config import RunConfig, SearchConfig
from gensynth.export.runtime import convolution_block
from gensynth.runs.plan import step_of
from gensynth.space.coupling import Coupling, couple
from gensynth.space.width_step import width_step
from gensynth.trace import trace
from tests.networks.families import make


def coupling() -> Coupling:
    module, images = make("resnet")
    return couple(trace(module, images, name="resnet"))


def test_the_block_is_halved_until_half_of_the_groups_have_two_of_it() -> None:
    steps = {
        (16, 32, 64): 16,
        (16, 16, 32, 64): 8,  # the median is 24
        (8, 8, 16): 4,
        (3, 3, 3): 1,
        (1,): 1,
        (): 1,
    }
    for sizes, channels in steps.items():
        assert width_step(sizes, block=16).channels == channels
    assert width_step((16, 32, 64), block=8).channels == 8
    assert width_step((16, 32, 64), block=None).channels == 8
    assert "half of the groups have at most 8 channels" in width_step((8, 8, 16), block=16).why


def test_what_a_run_file_asks_for_is_taken_as_it_is() -> None:
    assert width_step((8, 8), block=16, asked=16).channels == 16
    config = RunConfig(search=SearchConfig(round_to=3))
    assert step_of(config, coupling(), ()).channels == 3


def prepared_outputs(channels: int, path: str) -> int:
    """Output channels of a convolution as ONNX Runtime lays its weights out here."""
    weight = numpy_helper.from_array(np.ones((channels, 64, 1, 1), np.float32), "w")
    infos = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, count, 4, 4])
        for name, count in (("x", 64), ("y", channels))
    ]
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "one", infos[:1], infos[1:], [weight])
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = path
    options.log_severity_level = 3
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    with open(path, "rb") as file:  # noqa: PTH123 - a path as ONNX Runtime takes it
        (found,) = ModelProto.FromString(file.read()).graph.initializer
    return int(found.dims[0])


def test_every_width_of_the_block_is_laid_out_as_it_is_and_others_are_padded(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    block = convolution_block()
    path = str(tmp_path_factory.mktemp("prepared") / "file.onnx")
    if platform.machine() == "x86_64":  # MlasNchwcGetBlockSize
        assert block in (8, 16)
    if block is None:
        assert prepared_outputs(5, path) == 5
        return
    for channels in range(1, 2 * block + 1):
        assert prepared_outputs(channels, path) == -(-channels // block) * block


def test_a_run_says_its_step_and_takes_this_machines_where_none_is_asked() -> None:
    config = RunConfig()
    step = step_of(config, coupling(), ())
    asked = dataclasses.replace(config, search=SearchConfig(round_to=step.channels))
    assert step_of(asked, coupling(), ()).channels == step.channels
