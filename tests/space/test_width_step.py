"""The step of widths is the runtime's own block, unless a network is too narrow for it."""

import dataclasses
import platform

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch import nn

from gensynth.config import RunConfig, SearchConfig
from gensynth.errors import UnreachableError
from gensynth.export.runtime import convolution_block
from gensynth.runs.plan import space_of
from gensynth.space.coupling import Coupling, couple
from gensynth.space.space import Space
from gensynth.space.width_step import WidthStep, of_coupling, reaching, width_step
from gensynth.trace import trace
from tests.networks.families import make


def coupling() -> Coupling:
    module, images = make("resnet")
    return couple(trace(module, images, name="resnet"))


def test_the_block_is_halved_until_most_macs_are_in_groups_of_two_of_it() -> None:
    steps = {
        (16, 32, 64): 16,
        (16, 16, 32, 64): 8,
        (8, 8, 16): 4,
        (3, 3, 3): 1,
        (1,): 1,
        (): 1,
    }
    for sizes, channels in steps.items():
        assert width_step(sizes, [1] * len(sizes), block=16).channels == channels
    assert width_step((16, 32, 64), (1, 1, 1), block=8).channels == 8
    assert width_step((16, 32, 64), (1, 1, 1), block=None).channels == 8
    narrow = width_step((16, 8, 8), (1, 1, 1), block=16)
    assert "half of the MACs write at most 8 channels" in narrow.why


def test_a_groups_macs_are_those_of_the_vertices_that_write_it() -> None:
    # By hand: 3 -> 6 channels on 8 x 8, then 6 -> 4; the layer writes frozen logits.
    module = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(6, 4, 1),
        nn.Flatten(),
        nn.Linear(256, 2),
    )
    found = couple(trace(module, (torch.zeros(1, 3, 8, 8),), name="narrow"))
    assert of_coupling(found) == ([6, 4], [3 * 6 * 9 * 64, 6 * 4 * 64])


def test_a_step_out_of_which_a_limit_is_unreachable_is_halved_and_says_so() -> None:
    found = coupling()
    floors = {
        step: Space(found, step).named_costs(Space(found, step).smallest()) for step in (4, 1)
    }
    limits = {"macs": int(floors[4]["macs"]) - 1}
    step, space = reaching(WidthStep(4, "why"), found, limits, ())
    assert step.channels == space.round_to < 4
    assert step.why == f"why; no network in steps of 4 has macs <= {limits['macs']:,}"
    least = {"macs": int(floors[1]["macs"]) - 1}
    step, space = reaching(WidthStep(4, "why"), found, least, ())
    with pytest.raises(UnreachableError, match="no network of this prototype has macs <= [0-9,]+:"):
        space.check_reachable(least)


def test_what_a_run_file_asks_for_is_taken_as_it_is() -> None:
    assert width_step((8, 8), (1, 1), block=16, asked=16).channels == 16
    config = RunConfig(search=SearchConfig(round_to=3))
    assert space_of(config, coupling(), (), ())[0].channels == 3


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
    step, space = space_of(config, coupling(), (), ())
    assert space.round_to == step.channels
    asked = dataclasses.replace(config, search=SearchConfig(round_to=step.channels))
    assert space_of(asked, coupling(), (), ())[0].channels == step.channels
