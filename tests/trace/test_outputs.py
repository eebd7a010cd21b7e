"""A network whose last part decodes is read up to the parts that are named."""

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
