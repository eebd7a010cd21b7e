"""The peak of activations, by hand and against reading a network's execution another way."""

from collections.abc import Sequence

import pytest
import torch

from gensynth.graph.activations import IN_PLACE, peak_elements, peak_mib
from gensynth.graph.graph import Graph, Vertex
from gensynth.prototypes.resnet import resnet20
from gensynth.space.coupling import couple
from gensynth.trace import trace
from tests.networks.compositions import compose, random_selection


def graph(*vertices: tuple[str, str, Sequence[str], tuple[int, ...]], outputs: str) -> Graph:
    made = tuple(Vertex(name, op, tuple(reads), {}, shape) for name, op, reads, shape in vertices)
    return Graph("by hand", made, tuple(outputs.split()))


RESIDUAL = graph(
    ("image", "input", [], (3, 8, 8)),  # 192
    ("stem", "conv", ["image"], (16, 8, 8)),  # 1,024, and so the others
    ("norm", "batch_norm", ["stem"], (16, 8, 8)),
    ("relu", "relu", ["norm"], (16, 8, 8)),
    ("a", "conv", ["relu"], (16, 8, 8)),
    ("between", "relu", ["a"], (16, 8, 8)),
    ("b", "conv", ["between"], (16, 8, 8)),
    ("add", "add", ["b", "relu"], (16, 8, 8)),
    ("pool", "adaptive_avg_pool", ["add"], (16, 1, 1)),
    ("flat", "flatten", ["pool"], (16,)),
    ("classes", "linear", ["flat"], (10,)),
    outputs="classes",
)


def test_a_residual_network_by_hand() -> None:
    # At b: what the sum will read, what b reads, what b writes: 3 x 16 x 8 x 8 x 4 bytes.
    assert peak_elements(RESIDUAL) == 3 * 1024
    assert peak_mib(RESIDUAL) == 3 * 16 * 64 * 4 / 2**20 == 0.01171875


def test_a_sum_is_written_over_one_of_its_terms() -> None:
    whole = graph(
        ("image", "input", [], (4, 2, 2)),
        ("a", "conv", ["image"], (4, 2, 2)),
        ("add", "add", ["a", "image"], (4, 2, 2)),
        outputs="add",
    )
    assert peak_elements(whole) == 2 * 16


def test_what_is_read_later_is_not_written_over() -> None:
    both = graph(
        ("image", "input", [], (4, 2, 2)),
        ("relu", "relu", ["image"], (4, 2, 2)),
        ("add", "add", ["relu", "image"], (4, 2, 2)),
        outputs="relu add",
    )
    # At the sum: the image is written over, and relu is returned.
    assert peak_elements(both) == 2 * 16


def test_a_gate_is_not_what_the_gated_value_is_written_over() -> None:
    gated = graph(
        ("image", "input", [], (4, 2, 2)),
        ("mean", "mean", ["image"], (4, 1, 1)),
        ("mul", "mul", ["mean", "image"], (4, 2, 2)),
        outputs="mul",
    )
    assert peak_elements(gated) == 16 + 4


def test_a_concatenation_stands_beside_all_that_it_joins() -> None:
    joined = graph(
        ("image", "input", [], (1, 4, 4)),
        ("a", "conv", ["image"], (2, 4, 4)),
        ("b", "conv", ["image"], (3, 4, 4)),
        ("both", "concat", ["a", "b"], (5, 4, 4)),
        outputs="both",
    )
    assert peak_elements(joined) == (2 + 3 + 5) * 16


def test_an_inverted_bottleneck_has_the_peak_of_mcunets_published_counting() -> None:
    # "MCUNet" (arXiv:2007.10319), its code: the depthwise convolution's input and output, and the
    # block's input, which the sum will read: (48 + 48 + 8) x 10 x 10.
    block = graph(
        ("image", "input", [], (8, 10, 10)),
        ("expand", "conv", ["image"], (48, 10, 10)),
        ("relu", "relu6", ["expand"], (48, 10, 10)),
        ("depth", "conv", ["relu"], (48, 10, 10)),
        ("relu2", "relu6", ["depth"], (48, 10, 10)),
        ("project", "conv", ["relu2"], (8, 10, 10)),
        ("add", "add", ["project", "image"], (8, 10, 10)),
        outputs="add",
    )
    assert peak_elements(block) == 104 * 100


def test_resnet_20_has_the_peak_of_its_first_stage() -> None:

    read = trace(resnet20(), torch.zeros(1, 3, 32, 32), name="resnet20")
    assert peak_elements(read) == 3 * 16 * 32 * 32


def by_lifetimes(whole: Graph) -> int:
    """Give every value a home and a time from first to last use, then look at every moment."""
    order = [v.name for v in whole.vertices if v.op == "input"]
    order += [v.name for v in whole.vertices if v.op != "input"]
    time = {name: t for t, name in enumerate(order)}
    ends = {name: time[name] for name in order}
    for vertex in whole.vertices:
        for name in vertex.inputs:
            ends[name] = max(ends[name], time[vertex.name])
    ends |= dict.fromkeys(whole.outputs, len(order))
    begins = {n: 0 if whole[n].op == "input" else time[n] for n in order}
    sizes = {}
    for name in order:
        size = 1
        for length in whole[name].shape:
            size *= length
        sizes[name] = size
    for name in order:
        if whole[name].op in IN_PLACE:
            for read in whole[name].inputs:
                if ends[read] == time[name] and sizes[read] == sizes[name]:
                    ends[read] -= 1
                    break
    return max(
        sum(sizes[n] for n in order if begins[n] <= moment <= ends[n])
        for moment in range(len(order))
    )


@pytest.mark.parametrize("seed", range(12))
def test_random_networks_whole_and_narrowed_have_the_peak_of_their_lifetimes(seed: int) -> None:

    whole = compose(seed)
    coupling = couple(whole)
    narrowed = coupling.apply(random_selection(coupling, seed))
    assert peak_elements(whole) == by_lifetimes(whole)
    assert peak_elements(narrowed) == by_lifetimes(narrowed)
    assert peak_elements(narrowed) <= peak_elements(whole)
