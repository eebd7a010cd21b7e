"""What can be changed in a network: told of every family, with reasons for the rest."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.fx import symbolic_trace
from torch.fx.passes.shape_prop import ShapeProp

from gensynth.cli import app
from gensynth.export.runtime import convolution_block
from gensynth.graph.cost import Cost
from gensynth.graph.graph import Graph, Vertex
from gensynth.network.module import build
from gensynth.prototypes import REGISTRY, create
from gensynth.render.figures import step_of_widths, wrapped
from gensynth.render.inspection import inspection as rendered
from gensynth.space.coupling import LAST, couple
from gensynth.space.inspection import Inspection, inspect, inspection
from gensynth.space.substitutes import POINTWISE
from gensynth.space.width_step import WidthStep, width_step
from gensynth.trace import trace
from tests.networks.compositions import compose, random_selection
from tests.networks.cropped import CROPPED
from tests.networks.families import FAMILIES, make
from tests.networks.further import FURTHER
from tests.networks.further import family as further_family
from tests.places import TESTS

POINT = {**POINTWISE, "groups": 1}
NOT_BATCH_NORM = ("norms", "with_attention")
"""Families whose channels are frozen by design: layer norm, attention."""


def family(name: str) -> Inspection:
    module, images = make(name)
    return inspection(couple(trace(module, images, name=name)))


def reasons(found: Inspection) -> dict[str, tuple[int, tuple[str, ...]]]:
    return {part.vertex: (len(part.channels), part.reasons) for part in found.frozen}


@pytest.mark.parametrize("name", [f for f in FAMILIES if f not in NOT_BATCH_NORM])
def test_nine_tenths_of_the_macs_of_convolutional_families_can_be_changed(name: str) -> None:
    assert family(name).changeable_macs_share >= 0.9


@pytest.mark.parametrize("name", [*FURTHER, *CROPPED])
def test_nine_tenths_of_the_macs_of_further_convolutional_families_can_be_changed(
    name: str,
) -> None:
    _, _, coupling = further_family(name)
    assert inspection(coupling).changeable_macs_share >= 0.9


@pytest.mark.parametrize("name", REGISTRY)
def test_nine_tenths_of_the_macs_of_built_in_prototypes_can_be_changed(name: str) -> None:
    assert inspect(name).changeable_macs_share >= 0.9


def test_where_layer_norm_holds_all_widths_only_its_branch_can_go() -> None:
    # By hand: of 3 8 9 256 (conv) + 8 8 256 (pointwise) + 8 5 (head) = 71,720 MACs, the
    # pointwise convolution stands in the branch.
    found = family("norms")
    assert found.cost.macs == 71_720
    assert found.changeable_macs_share == pytest.approx(16_384 / 71_720)
    assert reasons(found)["conv"] == (4, ("layer reduces over channels",))  # 4 groups of 2


def test_what_can_be_changed_wholly_may_keep_half_of_its_cost() -> None:
    # By hand: 3 -> 8 -> 4 at one place is 24 + 32 MACs; with 4 of the 8 channels half of both.
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 1), torch.nn.Conv2d(8, 4, 1))
    found = inspection(couple(trace(module, torch.zeros(1, 3, 1, 1), name="half")))
    assert found.changeable_macs_share == 1.0
    assert found.smallest(4).macs == 28
    assert found.smallest(1).macs == 7


def test_an_opaque_part_freezes_its_neighbours_and_says_which_line_is_to_blame() -> None:
    found = family("with_attention")
    line = 1 + (TESTS / "networks/families.py").read_text().splitlines().index(
        "        weights = torch.softmax(q.transpose(1, 2) @ k / math.sqrt(c), dim=-1)"
    )
    (opaque,) = found.opaque
    assert opaque.name == "attention"
    assert opaque.attributes["reason"].endswith(
        f"families.py:{line}: matmul is not in the vocabulary"
    )
    assert reasons(found) == {
        "x": (3, ("input",)),
        "stem.0": (8, ("attention is opaque",)),
        "attention": (8, ("attention is opaque",)),
        "head.fc": (5, ("output",)),
    }
    assert found.changeable_macs_share == 0


def test_the_convolutions_within_an_opaque_part_are_counted() -> None:
    # By hand: 8 to 24 channels at 16 x 16 places, with biases.
    assert family("with_attention").costs["attention"] == Cost(8 * 24 + 24, 8 * 24 * 256)


def test_a_block_of_fixed_width_can_still_go() -> None:
    # The image itself is added to, so the branch's width is the input's.
    shape = (3, 4, 4)
    weight = {"weight": (3, 3, 1, 1)}
    graph = Graph(
        "by hand",
        (
            Vertex("image", "input", shape=shape),
            Vertex("branch", "conv", ("image",), POINT, shape, weight, "branch"),
            Vertex("sum", "add", ("image", "branch"), {}, shape),
            Vertex("last", "conv", ("sum",), POINT, shape, weight, "last"),
        ),
        ("last",),
    )
    found = inspection(couple(graph))
    assert (found.groups, [block.name for block in found.blocks]) == ((), ["sum"])
    assert found.changeable == {"branch", "sum"}
    assert found.changeable_macs_share == 0.5
    assert reasons(found) == {
        "image": (3, ("input",)),
        "last": (3, ("output",)),
    }


def test_a_channel_without_another_of_its_kind_stays() -> None:
    shape = (1, 4, 4)
    graph = Graph(
        "by hand",
        (
            Vertex("image", "input", shape=(3, 4, 4)),
            Vertex("a", "conv", ("image",), POINT, shape, {"weight": (1, 3, 1, 1)}, "a"),
            Vertex("b", "conv", ("a",), POINT, shape, {"weight": (1, 1, 1, 1)}, "b"),
        ),
        ("b",),
    )
    assert reasons(inspection(couple(graph)))["a"] == (1, (LAST,))


@pytest.mark.parametrize("seed", range(20))
def test_every_channel_is_free_or_frozen_with_a_reason(seed: int) -> None:
    coupling = couple(compose(seed))
    present = {label for labels in coupling.channel_ids.values() for label in labels.tolist()}
    free = [channel for group in coupling.groups for channel in group.channels]
    frozen = [channel for part in coupling.frozen for channel in part.channels]
    assert sorted(free + frozen) == sorted(present)
    assert all(part.reasons for part in coupling.frozen)


@pytest.mark.parametrize("seed", range(20))
def test_no_part_changes_what_is_said_not_to(seed: int) -> None:
    graph = compose(seed)
    found = inspection(couple(graph))
    for choice in range(3):
        part = couple(graph).apply(random_selection(couple(graph), choice))
        left = {vertex.name: vertex for vertex in part.vertices}
        for vertex in graph.vertices:
            if vertex.name not in found.changeable:
                kept = left[vertex.name]
                assert (kept.shape, kept.tensors) == (vertex.shape, vertex.tensors)


TOYS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, classes, channels):
        super().__init__()
        self.a = nn.Conv2d(channels, 4, 3, padding=1)
        self.b = nn.Conv2d(4, 4, 1)
        self.head = nn.Linear(4, classes)

    def forward(self, x):
        x = torch.relu(self.a(x))
        x = x + self.b(x)
        return self.head(x.mean((2, 3)))

class Undecided(Net):
    def forward(self, x):
        x = self.a(x)
        if x.sum() > 0:
            x = -x
        return self.head(x.mean((2, 3)))
"""

# By hand: 36 weights and 4 biases at 64 places, 16 and 4 at 64, 12 and 3 at one. With a step of 2
# the smallest has 18 weights and 2 biases at 64 places, 6 and 3 at one, and no block.
SAID = """\
vertices
name  operator  channels  output  params    MACs
x     input     frozen     1x8x8
a     conv      a          4x8x8      40  2.30 k
relu  relu      a          4x8x8
b     conv      a          4x8x8      20  1.02 k
add   add       a          4x8x8
mean  mean      a              4
head  linear    frozen         3      15      12

groups, whose channels go together
a  4 channels  in 5 vertices

blocks that can go whole
add  1 vertex  1.02 k MACs

substitutes, and what they may stand for
separable       1 convolution  of 2.30 k MACs
low_rank_2      1 convolution  of 2.30 k MACs
low_rank_4      1 convolution  of 2.30 k MACs
bottleneck_2    1 convolution  of 2.30 k MACs
bottleneck_4    1 convolution  of 2.30 k MACs
smaller_kernel  1 convolution  of 2.30 k MACs
resolution_3_4  x              of 3.34 k MACs
resolution_1_2  x              of 3.34 k MACs

frozen
x: 1 channel: input
head: 3 channels: output

shown_toys:Net on 1x8x8: 7 vertices, 75 parameters, 3,340 MACs
1 group of 4 channels in all, 1 block that can go whole
{step}
100.0 % of the MACs are in vertices that can be changed
widths and blocks reach down to 29 (38.7 %) parameters and 1,158 (34.7 %) MACs
"""

STEP = width_step([4], [1], block=convolution_block())

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def gensynth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """The command, run beside a module of the user's: arguments -> exit code, stdout, stderr."""
    (tmp_path / "shown_toys.py").write_text(TOYS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["gensynth", "inspect", *arguments])
        with pytest.raises(SystemExit) as stopped:
            app.main()
        written = capsys.readouterr()
        sys.modules.pop("shown_toys", None)
        assert isinstance(stopped.value.code, int)
        return stopped.value.code, written.out, written.err

    return run


def test_the_command_says_all_of_a_small_network(gensynth: Command) -> None:
    code, out, err = gensynth("shown_toys:Net", "--shape", "1,8,8", "--classes", "3")
    assert (code, err) == (0, "")
    assert out == SAID.format(step=wrapped(step_of_widths(STEP), 80))


def test_what_a_module_of_others_prints_is_no_part_of_the_answer(
    gensynth: Command, tmp_path: Path
) -> None:
    (tmp_path / "shown_toys.py").write_text(TOYS + "\nprint('hello from below')\n")
    code, out, err = gensynth("shown_toys:Net", "--shape", "1,8,8", "--json")
    assert (code, err) == (0, "hello from below\n")
    assert json.loads(out)["graph"]["name"] == "shown_toys:Net"


def test_a_network_that_cannot_be_read_is_refused_with_the_line(
    gensynth: Command, tmp_path: Path
) -> None:
    line = 1 + TOYS.splitlines().index("        if x.sum() > 0:")
    code, out, err = gensynth("shown_toys:Undecided", "--shape", "1,8,8")
    assert (code, out) == (2, "")
    assert err.startswith(
        f"error: {tmp_path / 'shown_toys.py'}:{line}: what this line does depends"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["resnet8", "--shape", "3x32x32"],
            "a shape is channels, height and width of one input such as 3,32,32, got '3x32x32'",
        ),
        (
            ["resnet9"],
            "unknown prototype 'resnet9'; did you mean 'resnet8'?; name your own as module:factory",
        ),
    ],
)
def test_what_cannot_be_inspected_is_said_in_one_line(
    gensynth: Command, arguments: list[str], message: str
) -> None:
    assert gensynth(*arguments) == (2, "", f"error: {message}\n")


def test_an_output_of_several_groups_says_how_many() -> None:
    # By hand: the second dense layer reads the 8 channels of the stem and the first's 4.
    text = rendered(family("dense"), WidthStep(1, "for want of more"))
    (line,) = [line for line in text.splitlines() if line.startswith("cat.2 ")]
    assert line.split() == ["cat.2", "concat", "2", "groups", "12x16x16"]


def cpu_s(work: Callable[[], object], times: int = 3) -> float:
    """Return the least processor time of some runs: another program's load does not count."""
    taken = []
    for _ in range(times):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return min(taken)


def fx_s(module: torch.nn.Module, image: torch.Tensor) -> float:
    """Return the processor time in which torch itself traces a module and finds its shapes."""
    return cpu_s(lambda: ShapeProp(symbolic_trace(module)).propagate(image))


@pytest.mark.realtime
def test_two_hundred_vertices_are_traced_and_coupled_not_much_slower_than_torch_traces() -> None:
    module = create("resnet56", classes=10, channels=3).eval()
    image = torch.zeros(1, 3, 32, 32)
    assert len(trace(module, image, name="resnet56").vertices) == 200
    ours_s = cpu_s(lambda: couple(trace(module, image, name="resnet56")))
    assert ours_s < 20 * fx_s(module, image)


@pytest.mark.realtime
def test_a_sub_network_of_two_hundred_vertices_is_built_faster_than_torch_traces_one() -> None:
    module = create("resnet56", classes=10, channels=3)
    coupling = couple(trace(module, torch.zeros(1, 3, 32, 32), name="resnet56"))
    weights, selection = module.state_dict(), random_selection(coupling, 0)

    def cut() -> None:
        build(coupling.apply(selection), weights, coupling.slices(selection))

    assert cpu_s(cut) < fx_s(module.eval(), torch.zeros(1, 3, 32, 32))
