"""An estimator written down for a space: what each vertex adds, over channels read and written.

A vertex's entry is its convolution with the norm, activation and sum that are fused into it, the
changes of layout between it and those that read it, and what has no weights behind it (pools,
shuffles), all as they follow from the channels that it reads and writes itself. So a descent
compares milliseconds by exact differences of the estimate for hundreds of networks at a time.

What it leaves to `onnxruntime_plan`, whose kernels are a network's own: the neighbours' layouts are
taken to be what their channels here say, and no block or input resolution changes them. The sum of
the entries is a network's latency to within a few percent; docs/estimates.md has the figures.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gensynth.bench.estimate import convolutions as conv
from gensynth.bench.estimate.columns import Columns
from gensynth.bench.estimate.convolutions import BLOCKED, FLOAT, LAYOUTS, PLAIN, Image
from gensynth.bench.estimate.estimator import Estimator
from gensynth.bench.estimate.pieces import Piece, pieces
from gensynth.bench.estimate.reach import Pairs, reachable
from gensynth.graph.graph import Graph, Vertex
from gensynth.space.cost_model import Tabulated
from gensynth.space.space import Space

_PASSES = {
    "batch_norm", "relu", "relu6", "leaky_relu", "sigmoid", "hard_sigmoid", "hard_swish", "tanh",
    "dropout", "add", "scale", "shift", "add_constant", "mul_constant",
}  # fmt: skip
"""Vertices whose value has the layout of what they read."""
_WITH_WEIGHTS = {"conv", "conv_transpose", "linear"}
_WITHOUT_WEIGHTS = {
    "max_pool": "maxpool", "avg_pool": "averagepool", "adaptive_avg_pool": "globalaveragepool",
    "mean": "reducemean", "flatten": "flatten", "concat": "concat", "shuffle": "transpose",
    "slice": "slice", "pad_channels": "pad", "pad": "pad", "subsample": "slice", "mul": "mul",
    "take": "gather", "pixel_shuffle": "transpose", "pixel_unshuffle": "transpose",
}  # fmt: skip
"""Kinds of the kernels behind a vertex that are no costly vertices themselves."""


def tabulate(
    estimator: Estimator,
    space: Space,
    *,
    device: str = "local",
    block: int | None,
    batch: int = 1,
) -> Tabulated:
    """Return the latency of a space's vertices as a cost model, "latency_ms@DEVICE".

    Args:
        estimator: of the device, in the context that counts.
        space: whose vertices and reachable widths the tables are of.
        device: alias.
        block: channels of a block on its processor; None without.
        batch: images of one run.
    """
    graph = space.coupling.graph
    sites = {name: number for number, name in enumerate(space.sites.names[: space.sites.convs])}
    tables: list[np.ndarray] = []
    known: dict[Any, np.ndarray] = {}
    for number, name in enumerate(space.vertices):
        vertex = graph[name]
        options = ("", *space.sites.substitutes) if name in sites else ("",)
        allowed = space.sites.allowed[sites[name]] if name in sites else np.array([True])
        pairs = reachable(space, number)
        role = Role.of(graph, vertex)
        key = (role, pairs.key, options, tuple(allowed.tolist()))
        if key not in known:
            known[key] = np.stack(
                [
                    pairs.spread(
                        _entries(estimator, role, option if may else "", pairs, block, batch)
                    )
                    for option, may in zip(options, allowed, strict=True)
                ]
            )[..., None]
        tables.append(known[key])
    blocks = space.coupling.blocks
    home = next(
        number
        for number, name in enumerate(space.vertices)
        if not any(name in removable.vertices for removable in blocks)
    )
    tables[home] = tables[home] + estimator.offset_ms
    at = np.array([sites.get(name, -1) for name in space.vertices])
    return Tabulated((f"latency_ms@{device}",), tables, at)


@dataclass(frozen=True)
class Role:
    """What a vertex computes and who reads it, apart from channels.

    Attributes:
        op: its operator; "folded" where it is part of the one before it.
        image: of a convolution.
        groups: 1, 0 for one a channel, or their number.
        add: whether a sum is fused into it.
        readers: forms of the convolutions that read its value; "" for whatever else reads it.
        behind: kinds and positions of the kernels without weights behind it.
    """

    op: str
    image: Image
    groups: int
    add: bool
    readers: tuple[str, ...]
    behind: tuple[tuple[str, int], ...]

    @staticmethod
    def of(graph: Graph, vertex: Vertex) -> "Role":
        """Return the role of a vertex in its prototype."""
        source = graph[vertex.inputs[0]].shape
        attributes = vertex.attributes
        height, width = (*vertex.shape[1:], 1, 1)[:2]
        kernel, stride = (tuple(attributes.get(name, (1, 1))) for name in ("kernel", "stride"))
        groups = int(attributes.get("groups", 1))
        add, readers, behind = _readers(graph, vertex)
        op = "conv" if _is_convolution(vertex) else vertex.op
        if op in _PASSES:  # what stands behind it is counted where the value comes from
            behind = ()
            before = graph[vertex.inputs[0]]
            if before.op in _WITH_WEIGHTS and len(graph.consumers[before.name]) == 1:
                op = "folded"
        return Role(
            op,
            Image(
                1, math.prod(source[1:]), height, width, (kernel[0], kernel[1]), math.prod(stride)
            ),
            0 if groups > 1 and groups == source[0] == vertex.shape[0] else groups,
            add,
            readers,
            behind,
        )


def _is_convolution(vertex: Vertex) -> bool:
    """Return whether a runtime computes it so: a linear layer of an image too, of 1 x 1."""
    return vertex.op == "conv" or (vertex.op == "linear" and len(vertex.shape) == 3)


def _readers(
    graph: Graph, vertex: Vertex
) -> tuple[bool, tuple[str, ...], tuple[tuple[str, int], ...]]:
    """Return whether a sum is fused into a vertex, who reads its value, what is behind it."""
    add, readers, behind = False, set(), []
    ahead, seen = [vertex.name], set()
    while ahead:
        name = ahead.pop()
        for after in (graph[reader] for reader in graph.consumers[name]):
            if after.name in seen:
                continue
            if _is_convolution(after):
                readers.add(
                    conv.form_of(
                        graph[after.inputs[0]].shape[0],
                        after.shape[0],
                        int(after.attributes.get("groups", 1)),
                        tuple(after.attributes.get("kernel", (1, 1))),
                    )
                )
            elif after.op == "add" and name != vertex.name and not _is_first(graph, vertex, after):
                continue  # the sum is the other addend's, and so is who reads it
            elif after.op in _PASSES:
                add = add or after.op == "add"
                seen.add(after.name)
                ahead.append(after.name)
            elif after.op in _WITHOUT_WEIGHTS and after.inputs[0] in (name, *after.inputs):
                seen.add(after.name)
                readers.add("")
                size = math.prod((after.shape if after.op == "concat" else graph[name].shape)[1:])
                behind.append((_WITHOUT_WEIGHTS[after.op], size))
                ahead.append(after.name)
            else:
                readers.add("")
    return add, tuple(sorted(readers)), tuple(sorted(behind))


def _is_first(graph: Graph, vertex: Vertex, total: Vertex) -> bool:
    """Return whether a sum belongs to a vertex: the first addend that is a convolution's."""
    for name in total.inputs:
        while graph[name].op == "batch_norm":
            name = graph[name].inputs[0]
        if _is_convolution(graph[name]):
            return name == vertex.name
    return False


def _entries(
    estimator: Estimator, role: Role, substitute: str, pairs: Pairs, block: int | None, batch: int
) -> np.ndarray:
    """Return (pairs,) what a vertex adds."""
    total = np.zeros(len(pairs.read))
    for columns, places in _kernels(role, substitute, pairs, block, batch):
        # What is unknown is left out, as in a figure; whether it is there, figures say.
        np.add.at(total, places, np.nan_to_num(estimator.columns_ms(columns)))
    return total


def _kernels(
    role: Role, substitute: str, pairs: Pairs, block: int | None, batch: int
) -> Iterator[tuple[Columns, np.ndarray]]:
    """Yield a vertex's kernels by kind, with the pair of channels that each is of."""
    read, written = pairs.read, pairs.written
    everywhere = np.arange(len(read))
    if role.op == "linear":
        rows = np.full(len(read), batch)
        yield (
            Columns(
                "gemm",
                (rows * read * written).astype(float),
                (FLOAT * (rows * (read + written) + read * written)).astype(float),
                {"rows": rows, "read": read, "written": written},
            ),
            everywhere,
        )
    elif role.op == "conv":
        yield from _convolutions(role, substitute, pairs, block, batch)
    elif role.op == "batch_norm":
        positions = role.image.height * role.image.width * batch
        yield _moving("batchnormalization", written, positions), everywhere
    for kind, positions in role.behind:
        yield _moving(kind, written, positions * batch), everywhere


def _convolutions(
    role: Role, substitute: str, pairs: Pairs, block: int | None, batch: int
) -> Iterator[tuple[Columns, np.ndarray]]:
    """Yield a chain's convolutions and the changes of layout between and behind them."""
    chain = pieces(role.image, role.groups, substitute, pairs.read, pairs.written)
    positions = role.image.height * role.image.width * batch
    blocked = np.zeros(len(pairs.read), bool)
    for number, piece in enumerate(chain):
        layout = conv.layout_of(piece.read, piece.written, piece.groups, block)
        layout = np.broadcast_to(layout, blocked.shape)
        if number:
            yield from _where("reorder in", ~blocked & (layout == BLOCKED), piece.read, positions)
            yield from _where("reorder out", blocked & (layout != BLOCKED), piece.read, positions)
        yield from _where("pad", piece.padded, piece.read, role.image.source * batch)
        yield from _by_layout(piece, layout, batch, role.add and piece is chain[-1])
        blocked = layout != PLAIN
        cut = np.broadcast_to(piece.cut, blocked.shape)
        yield from _where("reorder out", blocked & cut, piece.written, positions)
        yield from _where("slice", cut, piece.written, positions)
        blocked = blocked & ~cut
    wants = [_wants_blocks(form, pairs.written, block) for form in role.readers]
    if wants:
        some, all_ = np.any(wants, axis=0), np.all(wants, axis=0)
        yield from _where("reorder in", ~blocked & some, pairs.written, positions)
        yield from _where("reorder out", blocked & ~all_, pairs.written, positions)


def _by_layout(
    piece: Piece, layout: np.ndarray, batch: int, add: bool
) -> Iterator[tuple[Columns, np.ndarray]]:
    image = replace(piece.image, batch=batch)
    for number, name in enumerate(LAYOUTS):
        at = np.flatnonzero(layout == number)
        if len(at):
            kind = f"{piece.form} {name} add" if add else f"{piece.form} {name}"
            read, written, groups = (
                np.broadcast_to(each, layout.shape)[at]
                for each in (piece.read, piece.written, piece.groups)
            )
            yield conv.columns(kind, read, written, groups, image, add), at


def _where(
    kind: str, where: np.ndarray, channels: np.ndarray, positions: int
) -> Iterator[tuple[Columns, np.ndarray]]:
    """Yield a kernel that moves values, where there is one."""
    at = np.flatnonzero(np.broadcast_to(where, channels.shape))
    if len(at):
        yield _moving(kind, channels[at], positions), at


def _moving(kind: str, channels: np.ndarray, positions: int) -> Columns:
    moved = (2 * FLOAT * positions * channels).astype(float)
    sizes = {"channels": channels, "positions": np.full(len(channels), positions)}
    return Columns(kind, np.zeros(len(channels)), moved, sizes)


def _wants_blocks(form: str, channels: np.ndarray, block: int | None) -> np.ndarray:
    """Return (pairs,) whether a reader takes blocks of a value of so many channels."""
    if block is None or form == "":
        return np.zeros(channels.shape, bool)
    groups = channels if form == conv.DEPTHWISE else 1
    wants: np.ndarray = conv.layout_of(channels, channels, groups, block) == BLOCKED
    return wants
