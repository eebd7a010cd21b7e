"""Pooling, padding, cutting and resizing in ONNX: the words that change height and width.

Runtimes disagree on corner cases of pooling that rounds up (a window that starts in the
padding, the divisor of a clipped average) and on resizing by a ratio that float32 cannot
hold. Neither is left to them: rounding up is written as padding at the end, and an odd
ratio as a product with constant matrices or a gathering of rows and columns.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from gensynth.errors import ExportError
from gensynth.export.writer import Array, Writer
from gensynth.graph.graph import Vertex

Reads = tuple[str, ...]


def pair(value: int | Sequence[int]) -> list[int]:
    """Return [height, width] of an attribute that may be one number for both."""
    return [value, value] if isinstance(value, int) else [int(v) for v in value]


def cut(
    writer: Writer, vertex: Vertex, read: str, *, axis: int, ranges: Sequence[tuple[int, int, int]]
) -> str:
    """Write a slice: (start, stop, step) for each axis from `axis` on."""
    axes = [axis + offset for offset in range(len(ranges))]
    starts, ends, steps = (list(numbers) for numbers in zip(*ranges, strict=True))
    constants = [
        writer.constant(vertex, label, np.array(numbers, np.int64))
        for label, numbers in (("starts", starts), ("ends", ends), ("axes", axes), ("steps", steps))
    ]
    return writer.node(vertex, "Slice", [read, *constants])


def subsample(writer: Writer, vertex: Vertex, reads: Reads) -> str:
    """Every so many rows and columns of a range."""
    start = pair(vertex.attributes.get("start") or 0)
    stop = pair(vertex.attributes.get("stop") or writer.shape(vertex.inputs[0])[1:])
    ranges = list(zip(start, stop, pair(vertex.attributes["stride"]), strict=True))
    return cut(writer, vertex, reads[0], axis=2, ranges=ranges)


def take(writer: Writer, vertex: Vertex, reads: Reads) -> str:
    """Rows or columns by number."""
    side = vertex.attributes["side"]
    order = writer.constant(vertex, "order", np.array(vertex.attributes["order"], np.int64))
    axis = {"height": 2, "width": 3}[side]
    return writer.node(vertex, "Gather", [*reads, order], axis=axis)


def pixel_shuffle(writer: Writer, vertex: Vertex, reads: Reads) -> str:
    """Channels that become squares of positions.

    DepthToSpace says it too, but older parsers of TensorRT take its other order for this one.
    """
    (_, height, width), factor = writer.shape(vertex.inputs[0]), int(vertex.attributes["factor"])
    apart = [vertex.shape[0], factor, factor, height, width]
    return _turned(writer, vertex, reads[0], apart, [0, 1, 4, 2, 5, 3])


def pixel_unshuffle(writer: Writer, vertex: Vertex, reads: Reads) -> str:
    """Squares of positions that become channels."""
    channels, factor = writer.shape(vertex.inputs[0])[0], int(vertex.attributes["factor"])
    _, height, width = vertex.shape
    apart = [channels, height, factor, width, factor]
    return _turned(writer, vertex, reads[0], apart, [0, 1, 3, 5, 2, 4])


def _turned(writer: Writer, vertex: Vertex, read: str, apart: list[int], turn: list[int]) -> str:
    """Reshape to one size, permute, and reshape to the vertex's; a 0 keeps the batch's size."""
    sizes = [np.array([0, *size], np.int64) for size in (apart, vertex.shape)]
    split, joined = (
        writer.constant(vertex, label, size)
        for label, size in zip(("apart", "together"), sizes, strict=True)
    )
    turned = writer.node(
        vertex, "Transpose", [writer.node(vertex, "Reshape", [read, split])], perm=turn
    )
    return writer.node(vertex, "Reshape", [turned, joined])


def pad(writer: Writer, vertex: Vertex, reads: Reads) -> str:
    """More rows and columns: of one number, or gathered from those that are there."""
    attributes = vertex.attributes
    before, after = pair(attributes["before"]), pair(attributes["after"])
    if attributes["mode"] == "constant":
        pads = writer.constant(vertex, "pads", np.array([0, 0, *before, 0, 0, *after], np.int64))
        filled = [*reads, pads]
        if attributes.get("value"):
            number = np.array(attributes["value"], np.float32)
            filled.append(writer.constant(vertex, "value", number))
        return writer.node(vertex, "Pad", filled, mode="constant")
    (value,) = reads
    size = writer.shape(vertex.inputs[0])[1:]
    mode = {"reflect": "reflect", "replicate": "edge"}[attributes["mode"]]
    for axis, (n, first, last) in enumerate(zip(size, before, after, strict=True), start=2):
        if first or last:
            places = np.pad(np.arange(n, dtype=np.int64), (first, last), mode=mode)  # type: ignore[call-overload]
            chosen = writer.constant(vertex, ("rows", "columns")[axis - 2], places)
            value = writer.node(vertex, "Gather", [value, chosen], axis=axis)
    return value


def max_pool(writer: Writer, vertex: Vertex, reads: Reads) -> str:
    """The largest value of each window."""
    attributes = vertex.attributes
    padding, dilation = pair(attributes["padding"]), pair(attributes["dilation"])
    overhang = _overhang(writer, vertex, dilation)
    settings: dict[str, Any] = {
        "kernel_shape": pair(attributes["kernel"]),
        "strides": pair(attributes["stride"]),
        "pads": padding + [p + o for p, o in zip(padding, overhang, strict=True)],
    }
    if dilation != [1, 1]:  # left out where it says nothing: TensorRT's pooling has none
        settings["dilations"] = dilation
    return writer.node(vertex, "MaxPool", reads, **settings)


def avg_pool(writer: Writer, vertex: Vertex, reads: Reads) -> str:
    """The mean of each window. An overhang never counts in the divisor, padding may."""
    attributes = vertex.attributes
    padding = pair(attributes["padding"])
    overhang = _overhang(writer, vertex, [1, 1])
    counted = bool(attributes["count_padding"])
    (read,) = reads
    if counted and any(overhang):
        # Padding that counts beside an overhang that does not: it becomes part of the input.
        if any(padding):
            pads = np.array([0, 0, *padding, 0, 0, *padding], np.int64)
            zeros = [read, writer.constant(vertex, "pads", pads)]
            read = writer.node(vertex, "Pad", zeros, mode="constant")
        padding, counted = [0, 0], False
    return writer.node(
        vertex,
        "AveragePool",
        [read],
        kernel_shape=pair(attributes["kernel"]),
        strides=pair(attributes["stride"]),
        pads=padding + [p + o for p, o in zip(padding, overhang, strict=True)],
        count_include_pad=int(counted),
    )


def adaptive_avg_pool(writer: Writer, vertex: Vertex, reads: Reads) -> str:
    """Means of windows that tile the input, or overlap where the sizes do not divide."""
    size, out = writer.shape(vertex.inputs[0])[1:], vertex.shape[1:]
    if all(o == 1 for o in out):
        return writer.node(vertex, "GlobalAveragePool", reads)
    if all(n % o == 0 for n, o in zip(size, out, strict=True)):
        window = [n // o for n, o in zip(size, out, strict=True)]
        return writer.node(vertex, "AveragePool", reads, kernel_shape=window, strides=window)
    rows, columns = (_window_means(n, o) for n, o in zip(size, out, strict=True))
    return _by_matrices(writer, vertex, reads[0], rows, columns)


def mean(writer: Writer, vertex: Vertex, reads: Reads) -> str:
    """The mean over height and width."""
    keep = int(bool(vertex.attributes["keep"]))
    return writer.node(vertex, "ReduceMean", reads, axes=[2, 3], keepdims=keep)


def resize(writer: Writer, vertex: Vertex, reads: Reads) -> str:
    """Another height and width, by copying the nearest pixel or mixing four.

    A batch of any size leaves Resize only scales, not sizes, so it serves where the scales
    are exact in float32 (twice, half, three times) and the corners are not aligned.
    """
    size, out = writer.shape(vertex.inputs[0])[1:], vertex.shape[1:]
    mode = vertex.attributes["mode"]
    sizes = list(zip(size, out, strict=True))
    exact = all(Fraction(float(np.float32(o / n))) == Fraction(o, n) for n, o in sizes)
    scales = np.array([1, 1, *(o / n for n, o in sizes)], np.float32)
    if mode == "nearest":
        if exact and all(
            np.array_equal(_nearest(n, o), [i * n // o for i in range(o)]) for n, o in sizes
        ):
            return writer.node(
                vertex,
                "Resize",
                [*reads, "", writer.constant(vertex, "scales", scales)],
                mode="nearest",
                nearest_mode="floor",
                coordinate_transformation_mode="asymmetric",
            )
        rows, columns = (_nearest(n, o) for n, o in sizes)
        chosen = [*reads, writer.constant(vertex, "columns", columns)]
        narrowed = writer.node(vertex, "Gather", chosen, axis=3)
        return writer.node(
            vertex, "Gather", [narrowed, writer.constant(vertex, "rows", rows)], axis=2
        )
    if mode == "bilinear":
        align_corners = bool(vertex.attributes.get("align_corners"))
        if exact and not align_corners:
            return writer.node(
                vertex,
                "Resize",
                [*reads, "", writer.constant(vertex, "scales", scales)],
                mode="linear",
                coordinate_transformation_mode="half_pixel",
            )
        by_row, by_column = (_bilinear(n, o, align_corners=align_corners) for n, o in sizes)
        return _by_matrices(writer, vertex, reads[0], by_row, by_column)
    raise ExportError(
        f"vertex {vertex.name!r} resizes by {mode!r}; only nearest and bilinear can be written"
    )


def _overhang(writer: Writer, vertex: Vertex, dilation: list[int]) -> list[int]:
    """How far the last window reaches beyond the padded input, in height and width."""
    attributes = vertex.attributes
    return [
        max(0, (out - 1) * stride + step * (kernel - 1) + 1 - (size + 2 * padding))
        for out, stride, step, kernel, size, padding in zip(
            vertex.shape[1:],
            pair(attributes["stride"]),
            dilation,
            pair(attributes["kernel"]),
            writer.shape(vertex.inputs[0])[1:],
            pair(attributes["padding"]),
            strict=True,
        )
    ]


def _by_matrices(writer: Writer, vertex: Vertex, read: str, rows: Array, columns: Array) -> str:
    """A linear map of the height and one of the width: rows @ x @ columns^T."""
    right = writer.constant(vertex, "columns", columns.T.astype(np.float32))
    left = writer.constant(vertex, "rows", rows.astype(np.float32))
    return writer.node(vertex, "MatMul", [left, writer.node(vertex, "MatMul", [read, right])])


def _window_means(size: int, out: int) -> Array:
    """(out, size): row i averages the window [floor(i size/out), ceil((i + 1) size/out))."""
    matrix = np.zeros((out, size))
    for i in range(out):
        start, stop = i * size // out, -(-(i + 1) * size // out)
        matrix[i, start:stop] = 1 / (stop - start)
    return matrix


def _nearest(size: int, out: int) -> Array:
    """(out,): the position that each output copies, rounded as torch rounds it (float32)."""
    positions = np.floor(np.arange(out, dtype=np.float32) * np.float32(size / out))
    return np.minimum(positions.astype(np.int64), size - 1)


def _bilinear(size: int, out: int, *, align_corners: bool) -> Array:
    """(out, size): the weights with which each output mixes its two neighbours."""
    matrix = np.zeros((out, size))
    for i in range(out):
        if align_corners:
            position = i * (size - 1) / (out - 1) if out > 1 else 0.0
        else:
            position = max(0.0, (i + 0.5) * size / out - 0.5)
        low = min(int(position), size - 1)
        matrix[i, low] += 1 - (position - low)
        matrix[i, min(low + 1, size - 1)] += position - low
    return matrix
