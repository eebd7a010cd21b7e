"""Of a network that answers more than the task reads, the graph ends with what is named."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from gensynth.errors import PrototypeError, TraceError
from gensynth.network.module import build
from gensynth.prototypes.small_detector import SmallDetector
from gensynth.trace import trace


class Decoding(nn.Module):
    """A detector that decodes its own boxes, by what no vocabulary says."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = SmallDetector(widths=(4, 6, 8), neck=6, bins=4, scales=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.maps(x)
        scores = torch.cat([logits.sigmoid().flatten(2) for logits in maps[::2]], dim=2)
        return torch.sort(scores, dim=2).values[scores.sum() > 0]  # depends on values


class Writing(nn.Module):
    """A head as detectors have it: it writes into the list that it is given, then decodes."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Conv2d(3, 4, 1) for _ in range(2))

    def forward(self, x: list[torch.Tensor]) -> tuple[torch.Tensor, list[torch.Tensor]]:
        for place, head in enumerate(self.maps):
            x[place] = head(x[place])
        return torch.cat([one.flatten(2) for one in x], 2).sort(2)[0], x


class Listed(nn.Module):
    """What gives that head its list."""

    def __init__(self) -> None:
        super().__init__()
        self.head = Writing()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        found: tuple[torch.Tensor, list[torch.Tensor]] = self.head(
            [x, nn.functional.avg_pool2d(x, 2)]
        )
        return found


class Two(nn.Module):
    """An answer and one that helps in training, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.main, self.side = (nn.Conv2d(3, width, 1) for width in (3, 4, 5))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.body(x).relu()
        return {"out": self.main(x) * 2, "aux": self.side(x)}


NAMES = ("maps.classes.0", "maps.sides.0", "maps.classes.1", "maps.sides.1")


def test_the_named_parts_are_the_outputs_bit_for_bit_and_the_rest_is_not_looked_at() -> None:
    module = Decoding().eval()
    image = torch.randn(2, 3, 32, 32)
    with pytest.raises(TraceError):
        trace(module, image, name="whole")
    graph = trace(module, image, name="cut", outputs=NAMES)
    with torch.no_grad():
        found = build(graph, module.state_dict()).eval()(image)
        expected = module.maps(image)
    assert len(found) == 4
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_the_order_of_the_outputs_is_the_one_that_is_asked_for() -> None:
    module = Decoding().eval()
    graph = trace(module, torch.zeros(1, 3, 32, 32), name="cut", outputs=NAMES[::-1])
    assert [graph[name].shape[0] for name in graph.outputs] == [16, 1, 16, 1]


def test_a_part_that_is_not_called_is_refused_with_the_nearest() -> None:
    with pytest.raises(PrototypeError, match="got 'classes.7'; did you mean"):
        trace(SmallDetector().eval(), torch.zeros(1, 3, 32, 32), name="cut", outputs=("classes.7",))


def test_a_key_of_what_is_returned_is_an_output_and_what_only_others_need_is_left_out() -> None:
    module, image = Two().eval(), torch.randn(2, 3, 8, 8)
    graph = trace(module, image, name="two", outputs=("out",))
    assert not any("side" in vertex.name for vertex in graph.vertices)
    with torch.no_grad():
        assert torch.equal(build(graph, module.state_dict()).eval()(image), module(image)["out"])
    assert len(trace(module, image, name="two", outputs=("body", "aux")).outputs) == 2
    with pytest.raises(PrototypeError, match="got 'oud'; did you mean 'out'"):
        trace(module, image, name="two", outputs=("oud",))


def test_a_head_that_writes_into_the_list_it_is_given_is_read_up_to_its_parts() -> None:
    module, image = Listed().eval(), torch.randn(2, 3, 8, 8)
    with pytest.raises(TraceError, match=r"axis 2.*name the parts before it: outputs in \[proto"):
        trace(module, image, name="written")
    names = ("head.maps.0", "head.maps.1")
    graph = trace(module, image, name="written", outputs=names)
    with torch.no_grad():
        found = build(graph, module.state_dict()).eval()(image)
        assert all(torch.equal(a, b) for a, b in zip(found, module(image)[1], strict=True))


class InPlace(nn.Module):
    """A part whose answer is written over before the next part reads it."""

    def __init__(self, write: Callable[[torch.Tensor], object]) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 1)
        self.write = write

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        self.write(x)
        found: torch.Tensor = self.second(x)
        return found


@pytest.mark.parametrize(
    "write",
    [
        torch.relu_,
        lambda x: x.add_(1.0),
        lambda x: nn.functional.relu(x, inplace=True),
        nn.ReLU(inplace=True),
    ],
)
def test_a_parts_answer_is_what_it_gave_whatever_is_written_over_it(
    write: Callable[[torch.Tensor], object],
) -> None:
    module, image = InPlace(write).eval(), torch.randn(2, 3, 8, 8)
    graph = trace(module, image, name="written", outputs=("first", "second"))
    with torch.no_grad():
        first, second = build(graph, module.state_dict()).eval()(image)
        assert torch.equal(first, module.first(image))
        assert (first < 0).any()
        assert torch.equal(second, module(image))
