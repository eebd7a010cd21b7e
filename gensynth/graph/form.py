"""What graph.json must say: the form of a graph that is read, operator by operator, and its bounds.

    DOCUMENT    the document
    check       each vertex's attributes as the vocabulary lists them, what it reads, and the
                shapes of its tensors; elements of a value, parameters and work of the whole

A graph that passes says everything that costing, coupling, computing and exporting it ask for. That
its shapes are those which it computes is checked where there is something to compute with
(`gensynth.network.shapes`).
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, Field, create_model
from typing_extensions import TypedDict

from gensynth.outside import (
    ELEMENTS,
    PARAMETERS,
    STRICT,
    WORK,
    Finite,
    Form,
    Natural,
    Positive,
    Share,
    within,
)

if TYPE_CHECKING:
    from gensynth.graph import graph as plain

FORMAT = 1

_Side = Annotated[int, Field(ge=1, le=1 << 20)]
_Margin = Annotated[int, Field(ge=0, le=1 << 20)]
_Sides = Annotated[list[_Side], Field(min_length=2, max_length=2)]
_Margins = Annotated[list[_Margin], Field(min_length=2, max_length=2)]
_Places = Annotated[list[Natural], Field(min_length=1)]
Shape = Annotated[tuple[Positive, ...], Field(max_length=8)]


def _array(value: Any) -> Any:
    """Let a number pass, and nested lists of numbers that all have one shape."""
    level = [value]
    while isinstance(level[0], list):
        lengths = {len(item) if isinstance(item, list) else None for item in level}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError("must be a number, or lists of numbers that have one shape")
        level = [inner for item in level for inner in item]
    if not all(isinstance(n, int | float) and not isinstance(n, bool) for n in level):
        raise ValueError("must be a number, or lists of numbers that have one shape")
    if not all(abs(n) < 1e38 for n in level):
        raise ValueError("must hold numbers that a network computes with")
    return value


def _attributes(**fields: Any) -> Form[Any]:
    """Return the form of an operator's attributes; a field that is a pair has a default."""
    pairs: dict[str, Any] = {
        n: kind if isinstance(kind, tuple) else (kind, ...) for n, kind in fields.items()
    }
    return Form(create_model("Attributes", __config__=STRICT, **pairs))


_WINDOW = {"kernel": _Sides, "stride": _Sides, "padding": _Margins}
_CONSTANT = {"value": Annotated[Any, AfterValidator(_array)]}
_FORMS: Mapping[str, Form[Any]] = {
    "conv": _attributes(**_WINDOW, dilation=_Sides, groups=Positive),
    "conv_transpose": _attributes(
        **_WINDOW, dilation=_Sides, groups=Positive, output_padding=_Margins
    ),
    "batch_norm": _attributes(eps=Finite, momentum=Finite | None),
    "leaky_relu": _attributes(slope=Finite),
    "elu": _attributes(alpha=Finite),
    "gelu": _attributes(approximate=(Literal["none", "tanh"] | None, None)),
    "dropout": _attributes(p=Share, whole_channels=(bool | None, None)),
    "add_constant": _attributes(**_CONSTANT),
    "mul_constant": _attributes(**_CONSTANT),
    "slice": _attributes(start=Natural, stop=Positive),
    "shuffle": _attributes(groups=(Positive | None, None), order=(list[Natural] | None, None)),
    "pad_channels": _attributes(before=_Margin, after=_Margin),
    "pad": _attributes(
        before=_Margins,
        after=_Margins,
        mode=Literal["constant", "reflect", "replicate"],
        value=(Finite, 0.0),
    ),
    "subsample": _attributes(
        stride=_Sides, start=(_Margins | None, None), stop=(_Sides | None, None)
    ),
    "take": _attributes(side=Literal["height", "width"], order=_Places),
    "pixel_shuffle": _attributes(factor=_Side),
    "pixel_unshuffle": _attributes(factor=_Side),
    "max_pool": _attributes(**_WINDOW, dilation=_Sides, ceil=bool),
    "avg_pool": _attributes(**_WINDOW, ceil=bool, count_padding=bool),
    "adaptive_avg_pool": _attributes(size=_Sides),
    "mean": _attributes(keep=bool),
    "resize": _attributes(
        size=_Sides, mode=Literal["nearest", "bilinear"], align_corners=(bool | None, None)
    ),
    "group_norm": _attributes(groups=Positive, eps=Finite),
    "instance_norm": _attributes(eps=Finite),
    "channel_norm": _attributes(eps=Finite),
    "layer_norm": _attributes(axes=Positive, eps=Finite),
    "opaque": _attributes(path=str, reason=(str, ""), macs=(Annotated[Finite, Field(ge=0)], 0.0)),
}
"""Operators that are not listed have no attributes."""

_READS = {"input": 0, "add": 2, "mul": 2}
"""How many values an operator reads, where that is not one; `concat` and `opaque` read any."""


class Vertex(TypedDict):
    """One of its vertices; tensors are shapes by name."""

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: NotRequired[dict[str, Any]]
    shape: Shape
    tensors: NotRequired[dict[str, Shape]]
    module: NotRequired[str]
    tied: NotRequired[dict[str, str]]


class _Selection(TypedDict):
    kept: dict[str, tuple[Natural, ...]]
    removed: tuple[str, ...]
    operators: NotRequired[dict[str, str]]


class Document(TypedDict):
    """A graph as JSON."""

    format: Literal[1]
    name: str
    outputs: tuple[str, ...]
    selection: _Selection
    vertices: list[Vertex]


DOCUMENT: Form[Document] = Form(Document)


def check(graph: "plain.Graph") -> None:
    """Refuse a graph that says less than is asked of it, or is larger than can be computed.

    Raises:
        ValueError: naming the vertex, and the bound.
    """
    known: dict[str, tuple[int, ...]] = {}
    for vertex in graph.vertices:
        for name, key in vertex.tied.items():
            if vertex.op != "opaque" and known.get(key) != vertex.tensors.get(name):
                raise ValueError(
                    f"tensor {name!r} of vertex {vertex.name!r} is tied to {key!r}, "
                    "which is no tensor of this shape before it"
                )
        known.update(
            {vertex.own_key(n): s for n, s in vertex.tensors.items() if n not in vertex.tied}
        )
        attributes = _FORMS.get(vertex.op)
        if attributes is not None:
            try:
                attributes.check(vertex.attributes)
            except ValueError as error:
                raise ValueError(f"vertex {vertex.name!r} ({vertex.op}): {error}") from error
        _check_reading(vertex, [graph[name].shape for name in vertex.inputs])
    _check_size(graph)


def _check_reading(vertex: "plain.Vertex", read: Sequence[tuple[int, ...]]) -> None:
    """Refuse a vertex whose inputs or tensors are not those of its operator."""
    wanted = _READS.get(vertex.op, 1)
    any_number = vertex.op in ("concat", "opaque")
    if len(read) != wanted and not (any_number and read):
        raise ValueError(
            f"vertex {vertex.name!r} ({vertex.op}) must read "
            f"{'at least 1' if any_number else wanted}, got {len(read)}"
        )
    if not all((*read, vertex.shape)):
        raise ValueError(f"vertex {vertex.name!r} must read and have channels, got a shape ()")
    if vertex.op == "shuffle":
        _check_shuffle(vertex, read[0])
    if vertex.op == "take":
        _check_take(vertex, read[0])
    if vertex.op in ("scale", "shift"):
        sizes = [math.prod(shape) for shape in vertex.tensors.values()]
        if len(sizes) != 1 or sizes[0] not in (1, read[0][0]):
            raise ValueError(f"vertex {vertex.name!r} must have one tensor, a number a channel")
    elif vertex.op != "opaque":
        _check_tensors(vertex, _tensors(vertex, read))


def _check_size(graph: "plain.Graph") -> None:
    """Refuse a graph that this machine could not compute in bounded memory and time."""
    tensors: dict[str, tuple[int, ...]] = {}
    work = 0
    for vertex in graph.vertices:
        elements = math.prod(vertex.shape)
        within(elements, ELEMENTS, f"the elements of vertex {vertex.name!r}")
        tensors.update({vertex.tensor_key(name): s for name, s in vertex.tensors.items()})
        window = vertex.attributes.get("kernel", (1, 1))
        read_by_each = (*vertex.tensors.get("weight", ()), 1, 1)[1]
        work += elements * math.prod(window) * read_by_each
        if "padding" in vertex.attributes:  # what is padded may be copied first
            sides = zip(
                graph[vertex.inputs[0]].shape[1:], vertex.attributes["padding"], strict=False
            )
            padded = math.prod(side + 2 * margin for side, margin in sides)
            within(padded, ELEMENTS, f"the size of vertex {vertex.name!r} with its padding")
    within(sum(map(math.prod, tensors.values())), PARAMETERS, "the parameters of a graph")
    within(work, WORK, "the multiply-accumulates of a graph for one image")


def _check_shuffle(vertex: "plain.Vertex", read: tuple[int, ...]) -> None:
    groups, order = (vertex.attributes.get(name) for name in ("groups", "order"))
    if (groups is None) == (order is None):
        raise ValueError(f"vertex {vertex.name!r} (shuffle) must have groups, or an order")
    if max(order or (), default=0) >= read[0]:
        raise ValueError(f"the order of vertex {vertex.name!r} must name channels that it reads")


def _check_take(vertex: "plain.Vertex", read: tuple[int, ...]) -> None:
    size = dict(zip(("height", "width"), read[1:], strict=False)).get(vertex.attributes["side"], 0)
    if max(vertex.attributes["order"]) >= size:
        raise ValueError(
            f"the order of vertex {vertex.name!r} must name rows or columns that it reads"
        )


def _tensors(vertex: "plain.Vertex", read: Sequence[tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor that an operator has."""
    a, out = vertex.attributes, vertex.shape
    channels = (read[0][0],) if read else ()
    match vertex.op:
        case "conv":
            weight = (out[0], read[0][0] // a["groups"], *a["kernel"])
            return {"weight": weight, "bias": out[:1]}
        case "conv_transpose":
            return {"weight": (*channels, out[0] // a["groups"], *a["kernel"]), "bias": out[:1]}
        case "linear":
            axis = 0 if len(out) == 3 else -1  # at each position of an image
            return {"weight": (out[axis], read[0][axis]), "bias": (out[axis],)}
        case "batch_norm":
            return dict.fromkeys(("weight", "bias", "running_mean", "running_var"), channels)
        case "prelu":
            single = vertex.tensors.get("weight") == (1,)
            return {"weight": (1,) if single else channels}
        case "group_norm" | "instance_norm" | "channel_norm":
            return dict.fromkeys(("weight", "bias"), channels)
        case "layer_norm":
            return dict.fromkeys(("weight", "bias"), out[-a["axes"] :])
    return {}


_NORMS = ("batch_norm", "group_norm", "instance_norm", "channel_norm", "layer_norm")
_OPTIONAL = {norm: {"weight", "bias"} for norm in _NORMS}


def _check_tensors(vertex: "plain.Vertex", wanted: Mapping[str, tuple[int, ...]]) -> None:
    needed = wanted.keys() - _OPTIONAL.get(vertex.op, {"bias"})
    odd = (needed - vertex.tensors.keys()) | (vertex.tensors.keys() - wanted.keys())
    if odd:
        raise ValueError(
            f"vertex {vertex.name!r} ({vertex.op}) must have the tensors {sorted(needed)}, got "
            f"{sorted(vertex.tensors)}"
        )
    for name, shape in vertex.tensors.items():
        if shape != wanted[name]:
            raise ValueError(
                f"tensor {name!r} of vertex {vertex.name!r} must be {wanted[name]}, got {shape}"
            )
