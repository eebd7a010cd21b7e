"""Cut, turned and rolled images are read as torch computes them, whatever way they are written."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gensynth.errors import TraceError
from gensynth.graph.graph import Graph
from gensynth.network.module import build
from gensynth.network.shapes import check_shapes
from gensynth.trace import trace
from gensynth.trace.layout import apply, positions, words
from tests.networks.cropped import CROPPED
from tests.networks.further import make_any

IMAGES = torch.randn(3, 8, 6, 6, generator=torch.Generator().manual_seed(1))


class Between(nn.Module):
    """A function of one value between a convolution and another."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.function = nn.Conv2d(8, 8, 3, padding=1), function

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.function(self.conv(x)))


def read(module: nn.Module, images: tuple[Tensor, ...]) -> Graph:
    """Trace, write, read and rebuild a network; its outputs must be the module's, bit for bit."""
    graph = Graph.from_json(trace(module, images, name="cut").to_json())
    check_shapes(graph)
    network = build(graph, module.state_dict()).eval()
    with torch.no_grad():
        wanted, found = module.eval()(*images), network(*images)
    wanted, found = (x if isinstance(x, tuple) else (x,) for x in (wanted, found))
    assert len(wanted) == len(found)
    assert all(torch.equal(a, b) for a, b in zip(wanted, found, strict=True))
    return graph


@pytest.mark.parametrize("name", CROPPED)
def test_networks_that_cut_and_turn_are_read_whole_bit_for_bit(name: str) -> None:
    module, images = make_any(name)
    assert not [vertex.name for vertex in read(module, images).vertices if vertex.op == "opaque"]


def centre(x: Tensor, size: int) -> Tensor:
    """As torchvision crops."""
    top, left = (round((side - size) / 2.0) for side in x.shape[-2:])
    return x[..., top : top + size, left : left + size]


Said = list[tuple[str, dict[str, Any]]]
WAYS: list[tuple[Callable[[Tensor], Tensor], Said]] = [
    (lambda x: x[:, :, ::2, ::2], [("subsample", {"stride": [2, 2]})]),
    (lambda x: x[:, :, :1, :1], [("subsample", {"stride": [6, 6]})]),
    (lambda x: x[:, :, 1:, 1:], [("subsample", {"stride": [1, 1], "start": [1, 1]})]),
    (
        lambda x: x[:, :, 1:, :-1],
        [("subsample", {"stride": [1, 1], "start": [1, 0], "stop": [6, 5]})],
    ),
    (lambda x: x[..., 1::2, ::2], [("subsample", {"stride": [2, 2], "start": [1, 0]})]),
    (
        lambda x: x[:, 2:5, 1:2, 1:6:3],
        [
            ("slice", {"start": 2, "stop": 5}),
            ("subsample", {"stride": [1, 3], "start": [1, 1], "stop": [2, 6]}),
        ],
    ),
    (
        lambda x: x.narrow(2, 1, 3).narrow(-1, 0, 5),
        [("subsample", {"stride": [1, 1], "start": [1, 0], "stop": [4, 5]})],
    ),
    (
        lambda x: centre(x, 3),
        [("subsample", {"stride": [1, 1], "start": [2, 2], "stop": [5, 5]})],
    ),
    (
        lambda x: torch.split(x, [1, 5], 2)[1],
        [("subsample", {"stride": [1, 1], "start": [1, 0]})],
    ),
    (
        lambda x: F.pad(x, (-1, 0, 0, -2)),
        [("subsample", {"stride": [1, 1], "start": [0, 1], "stop": [4, 6]})],
    ),
    (
        nn.ZeroPad2d((-1, 2, 0, 0)),
        [
            ("subsample", {"stride": [1, 1], "start": [0, 1]}),
            ("pad", {"before": [0, 0], "after": [0, 2], "mode": "constant"}),
        ],
    ),
    (lambda x: x.flip(2), [("take", {"side": "height", "order": [5, 4, 3, 2, 1, 0]})]),
    (torch.fliplr, [("shuffle", {"order": [7, 6, 5, 4, 3, 2, 1, 0]})]),
    (
        lambda x: torch.roll(x, 2, -1),
        [("take", {"side": "width", "order": [4, 5, 0, 1, 2, 3]})],
    ),
    (
        lambda x: x[:, :, [0, 5, 5], 2:],
        [
            ("subsample", {"stride": [1, 1], "start": [0, 2]}),
            ("take", {"side": "height", "order": [0, 5, 5]}),
        ],
    ),
    (
        lambda x: x.index_select(3, torch.tensor([4, 1])),
        [("take", {"side": "width", "order": [4, 1]})],
    ),
    (lambda x: F.pixel_shuffle(x, 2), [("pixel_shuffle", {"factor": 2})]),
    (nn.PixelUnshuffle(3), [("pixel_unshuffle", {"factor": 3})]),
    (
        lambda x: x.view(-1, 2, 2, 2, 6, 6).permute(0, 1, 4, 2, 5, 3).reshape(-1, 2, 12, 12),
        [("pixel_shuffle", {"factor": 2})],
    ),
    (
        lambda x: x.view(-1, 2, 2, 2, 6, 6).permute(0, 3, 4, 1, 5, 2).reshape(-1, 2, 12, 12),
        [("shuffle", {"groups": 4}), ("pixel_shuffle", {"factor": 2})],
    ),
]


@pytest.mark.parametrize(("function", "said"), WAYS)
def test_every_way_to_cut_is_said_in_the_fewest_words(
    function: Callable[[Tensor], Tensor], said: Said
) -> None:
    graph = read(Between(function), (IMAGES,))
    found = [(vertex.op, dict(vertex.attributes)) for vertex in graph.vertices]
    assert [word for word in found if word[0] not in ("input", "conv", "relu")] == said


def test_rows_that_are_the_whole_in_order_are_no_vertex() -> None:
    graph = read(Between(lambda x: x.flip(2).flip(2)[:, :, 0:]), (IMAGES,))
    assert [vertex.op for vertex in graph.vertices] == ["input", "conv", "relu"]


@st.composite
def cuts(draw: st.DrawFn) -> tuple[tuple[int, int], tuple[slice, slice]]:
    """A size, and a slice of each side with any ends and steps."""
    size = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    return size, tuple(draw(st.slices(side).filter(lambda s: s.step is None or s.step > 0))
                       for side in size)  # type: ignore[return-value]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(cuts())
def test_any_slice_of_rows_and_columns_is_one_word_that_cuts_as_torch_does(
    cut: tuple[tuple[int, int], tuple[slice, slice]],
) -> None:
    size, (rows, columns) = cut
    shape = (2, 3, *size)
    places = positions(shape)[:, :, rows, columns]
    if not places.numel():
        return
    found = words(shape, places)
    assert found is not None
    assert [op for op, _ in found] == ["subsample"] * (places.shape[2:] != size)
    x = torch.randn(shape)
    value = x
    for word in found:
        value = apply(value, word)
    assert torch.equal(value, x[:, :, rows, columns])


MOVES: dict[str, Callable[[Tensor, int], Tensor]] = {
    "rows": lambda x, n: x[:, :, n % x.shape[2] :],
    "columns": lambda x, n: x[..., : n % x.shape[3] + 1],
    "every second": lambda x, n: x[:, :, n % 2 % x.shape[2] :: 2, ::2],
    "flip": lambda x, n: x.flip(2 + n % 2),
    "roll": lambda x, n: x.roll((n, 2 * n), (2, 3)),
    "channels": lambda x, n: x[:, n % x.shape[1] :],
    "chosen": lambda x, n: x[:, :, [n % x.shape[2], 0]],
}


@settings(max_examples=200, deadline=None)
@given(
    st.tuples(st.integers(1, 8), st.integers(1, 7), st.integers(1, 7)),
    st.lists(st.tuples(st.sampled_from(sorted(MOVES)), st.integers(0, 9)), max_size=5),
)
def test_any_chain_of_cuts_and_turns_is_said_exactly(
    image: tuple[int, int, int], chain: list[tuple[str, int]]
) -> None:
    x = torch.randn(2, *image)
    places, wanted = positions(tuple(x.shape)), x
    for name, number in chain:
        places, wanted = MOVES[name](places, number), MOVES[name](wanted, number)
    found = words(tuple(x.shape), places)
    assert found is not None
    value, empty = x, torch.empty(x.shape, device="meta")
    for word in found:
        value, empty = apply(value, word), apply(empty, word)
    assert torch.equal(value, wanted)
    assert empty.shape == wanted.shape


class Mixes(nn.Module):
    """Columns become rows, which no operator says."""

    def forward(self, x: Tensor) -> Tensor:
        turned = x.transpose(2, 3)  # the line to blame
        return turned.contiguous()


class Inside(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.mix, self.last = nn.Conv2d(8, 8, 3), Mixes(), nn.Conv2d(8, 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mix(self.conv(x))
        return self.last(x)


def line_of(function: Callable[..., Any], mark: str) -> int:
    code = function.__code__
    lines = Path(code.co_filename).read_text(encoding="utf-8").splitlines()
    first = code.co_firstlineno
    return next(n for n, line in enumerate(lines[first:], first + 1) if mark in line)


class Late(nn.Module):
    """Cuts well, turns badly, flattens, and reads that three lines later."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8 * 5 * 6, 4)

    def forward(self, x: Tensor) -> Tensor:
        cut = self.conv(x)[:, :, 1:]
        turned = cut.transpose(2, 3)  # the line to blame
        flat = turned.reshape(len(x), -1)
        flat = flat.contiguous()
        return self.head(flat)


def test_the_line_that_moves_is_refused_and_not_the_line_that_reads() -> None:
    line = line_of(Late.forward, "# the line to blame")
    message = (
        f"test_crops.py:{line}: a view of 'conv' that is no flattening, slice or shuffle of "
        "channels and no choice of rows and columns: (8, 6, 6) -> (8, 6, 5); put this line into "
        "an nn.Module of its own"
    )
    with pytest.raises(TraceError, match=re.escape(message)):
        trace(Late(), IMAGES, name="late")


def test_a_part_that_moves_what_no_word_says_is_opaque_alone() -> None:
    module = Inside().eval()
    graph = trace(module, IMAGES, name="inside")
    assert [(v.name, v.op) for v in graph.vertices if v.op != "input"] == [
        ("conv", "conv"), ("mix", "opaque"), ("last", "conv"),
    ]  # fmt: skip
    line = line_of(Mixes.forward, "# the line to blame")
    assert f"test_crops.py:{line}: a view of 'conv'" in graph["mix"].attributes["reason"]


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: x.roll(1), "no choice of rows and columns"),
        (
            lambda x: F.pad(x, (-1, 1, 0, 0), mode="reflect"),
            "padding by less than nothing with mode",
        ),
        (lambda x: F.pad(x, (-1, 0, 0, 0, 0, 0, 1, 0)), "padding of the batch"),
    ],
)
def test_what_is_no_cut_says_so(function: Callable[[Tensor], Tensor], reason: str) -> None:
    with pytest.raises(TraceError, match=rf"test_crops.py:\d+: .*{reason}"):
        trace(Between(function), IMAGES, name="odd")
