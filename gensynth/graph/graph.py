"""A network as plain data: vertices, edges, shapes; no torch, no weights.

    N = {V, E}      a `Graph`: vertices in an order in which every input comes before its use
    v in V          a `Vertex`: an operator of the closed vocabulary below
    (u, v) in E     `u in v.inputs`

A graph can be read, costed, compared and exported without torch. Weights are kept beside
it, under the names they had in the prototype (`Vertex.module` + "." + tensor name).

The vocabulary, with attributes ("kernel", "stride", "padding", "dilation" are pairs
[height, width]; shapes leave the batch out and are channels first):

    input                                           images, as normalised by the data set
    conv            kernel stride padding dilation groups      weight, bias?
    conv_transpose  kernel stride padding dilation groups output_padding   weight, bias?
    linear                                          weight, bias?; of an image, at each position
    batch_norm      eps momentum                    weight?, bias?, running_mean, running_var
    prelu                                           weight
    relu relu6 leaky_relu(slope) elu(alpha) sigmoid hard_sigmoid hard_swish silu gelu tanh
    dropout         p                               identity outside training
    add, mul        two inputs; one may be (C, 1, 1) or (1, h, w) in mul
    add_constant, mul_constant    value             a number, or nested lists that broadcast
    concat          along channels
    slice           start stop                      a range of channels
    shuffle         groups, or order                ShuffleNet's channel permutation, whole or what
                                                    is left of it: the input's place of each channel
    pad_channels    before after                    zero channels
    pad             before after mode value?        rows and columns round an image; before and
                                                    after are [top, left] and [bottom, right],
                                                    mode: constant, reflect, replicate
    subsample       stride start? stop?             every so many rows and columns of a range; start
                                                    and stop are pairs [row, column], stop left out
    take            side order                      rows or columns by number, in any order: turned
                                                    round, rolled; side: height, width
    pixel_shuffle   factor                          (C f f, h, w) -> (C, h f, w f)
    pixel_unshuffle factor                          (C, h f, w f) -> (C f f, h, w)
    max_pool        kernel stride padding dilation ceil
    avg_pool        kernel stride padding ceil count_padding
    adaptive_avg_pool  size                         [1, 1] is global pooling
    mean            keep                            over height and width
    resize          size mode                       mode: nearest, bilinear; align_corners?
    flatten                                         (C, h, w) -> (C h w,)
    unflatten                                       (C,) -> (C, 1, 1)
    scale, shift                                    times, plus one tensor of any name: (1,)
                                                    or an entry a channel, (C,) to (1, C, 1, 1)
    group_norm      groups eps                      weight?, bias?
    instance_norm   eps                             weight?, bias?; over each channel
    channel_norm    eps                             weight?, bias?; over the channels of a position
    layer_norm      axes eps                        weight?, bias?
    softmax                                         over channels
    opaque          reason path macs                a module we cannot look into; its parameters
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from gensynth.graph import form

OPERATORS = frozenset(
    """input conv conv_transpose linear batch_norm prelu relu relu6 leaky_relu elu sigmoid
    hard_sigmoid hard_swish silu gelu tanh dropout add mul add_constant mul_constant concat
    slice shuffle pad_channels pad subsample take pixel_shuffle pixel_unshuffle max_pool
    avg_pool adaptive_avg_pool mean resize flatten unflatten scale shift group_norm instance_norm
    channel_norm layer_norm softmax opaque""".split()
)

BUFFERS = frozenset({"running_mean", "running_var"})
"""Tensors that are state and not trained, so not parameters."""


@dataclass(frozen=True)
class Vertex:
    """One operator of a network.

    Attributes:
        name: unique in its graph; also the name of the ONNX node.
        op: a word of the vocabulary.
        inputs: names of the vertices it reads, in the operator's order.
        attributes: JSON values, as the vocabulary lists them.
        shape: of its output for one image, the batch left out.
        tensors: shape of each weight and buffer, by its name within the module.
        module: where the tensors stand in the state dict. Two vertices with one module
            share its tensors.
        tied: for each tensor that is one with a tensor of an earlier vertex, under another
            name in the module, the key of that one.
    """

    name: str
    op: str
    inputs: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    shape: tuple[int, ...] = ()
    tensors: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    module: str = ""
    tied: Mapping[str, str] = field(default_factory=dict)

    def tensor_key(self, tensor: str) -> str:
        """Return the key of one tensor in a state dict: one key for one tensor."""
        return self.tied.get(tensor) or self.own_key(tensor)

    def own_key(self, tensor: str) -> str:
        """Return the key under which a tensor stands in this vertex's own module."""
        return f"{self.module}.{tensor}" if self.module else tensor


@dataclass(frozen=True)
class Selection:
    """What a network keeps of its prototype.

    Attributes:
        kept: ascending channel numbers, for every coupling group that is not whole.
        removed: residual branches that are gone, by the name of their addition.
        substitutes: what stands for a convolution that is not as it was, by its name; they are
            named by `gensynth.space.placement`.
    """

    kept: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    substitutes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """A network's vertices in topological order.

    Attributes:
        name: of the network it was read from.
        vertices: every input before its use.
        outputs: names of the vertices whose values the network returns.
        selection: what it keeps of its prototype; empty for the prototype itself.

    Raises:
        ValueError: if a vertex is named twice, reads what does not stand before it, or has
            an operator outside the vocabulary; if an output does not exist.
    """

    name: str
    vertices: tuple[Vertex, ...]
    outputs: tuple[str, ...]
    selection: Selection = field(default_factory=Selection)

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for vertex in self.vertices:
            if vertex.op not in OPERATORS:
                raise ValueError(f"vertex {vertex.name!r} has the unknown operator {vertex.op!r}")
            if vertex.name in seen:
                raise ValueError(f"two vertices are named {vertex.name!r}")
            absent = [name for name in vertex.inputs if name not in seen]
            if absent:
                raise ValueError(
                    f"vertex {vertex.name!r} reads {absent[0]!r}, which does not stand before it"
                )
            seen.add(vertex.name)
        absent = [name for name in self.outputs if name not in seen]
        if absent or not self.outputs:
            raise ValueError(f"a graph needs existing outputs, got {self.outputs}")

    def __getitem__(self, name: str) -> Vertex:
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Vertex]:
        return {vertex.name: vertex for vertex in self.vertices}

    @property
    def inputs(self) -> tuple[Vertex, ...]:
        """The input vertices, in order."""
        return tuple(vertex for vertex in self.vertices if vertex.op == "input")

    @property
    def edges(self) -> tuple[tuple[str, str], ...]:
        """(producer, consumer) pairs, in the consumers' order."""
        return tuple((u, vertex.name) for vertex in self.vertices for u in vertex.inputs)

    @cached_property
    def consumers(self) -> dict[str, tuple[str, ...]]:
        """Who reads each vertex."""
        readers: dict[str, list[str]] = {vertex.name: [] for vertex in self.vertices}
        for producer, consumer in self.edges:
            readers[producer].append(consumer)
        return {name: tuple(names) for name, names in readers.items()}

    @cached_property
    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every weight and buffer, by its key in the state dict; shared ones once."""
        return {
            vertex.tensor_key(tensor): tuple(shape)
            for vertex in self.vertices
            for tensor, shape in vertex.tensors.items()
        }

    @cached_property
    def tied_keys(self) -> frozenset[str]:
        """Keys of a state dict that are further names of tensors in `tensor_shapes`."""
        return frozenset(v.own_key(tensor) for v in self.vertices for tensor in v.tied)

    def to_json(self) -> str:
        """Return the graph as text: the same graph gives the same bytes."""
        selection: dict[str, Any] = {
            "kept": {group: list(kept) for group, kept in self.selection.kept.items()},
            "removed": list(self.selection.removed),
        }
        if self.selection.substitutes:
            selection["operators"] = dict(self.selection.substitutes)
        document = {
            "format": form.FORMAT,
            "name": self.name,
            "outputs": list(self.outputs),
            "selection": selection,
            "vertices": [_vertex_document(vertex) for vertex in self.vertices],
        }
        return json.dumps(document, indent=1, sort_keys=True) + "\n"

    @staticmethod
    def from_json(text: str) -> "Graph":
        """Read a graph that `to_json` wrote.

        Raises:
            ValueError: if the text is not such a graph, or of another format.
        """
        document = form.DOCUMENT.read(text)
        selection = document["selection"]
        graph = Graph(
            name=document["name"],
            vertices=tuple(_vertex(entry) for entry in document["vertices"]),
            outputs=document["outputs"],
            selection=Selection(
                selection["kept"], selection["removed"], selection.get("operators", {})
            ),
        )
        form.check(graph)
        return graph

    @cached_property
    def sha256(self) -> str:
        """Hex digest of the graph's text."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


def _vertex_document(vertex: Vertex) -> dict[str, Any]:
    document: dict[str, Any] = {
        "name": vertex.name,
        "op": vertex.op,
        "inputs": list(vertex.inputs),
        "shape": list(vertex.shape),
    }
    if vertex.attributes:
        document["attributes"] = dict(vertex.attributes)
    if vertex.tensors:
        document["module"] = vertex.module
        document["tensors"] = {name: list(shape) for name, shape in vertex.tensors.items()}
    if vertex.tied:
        document["tied"] = dict(vertex.tied)
    return document


def _vertex(entry: "form.Vertex") -> Vertex:
    return Vertex(
        name=entry["name"],
        op=entry["op"],
        inputs=entry["inputs"],
        attributes=entry.get("attributes", {}),
        shape=entry["shape"],
        tensors=entry.get("tensors", {}),
        module=entry.get("module", ""),
        tied=entry.get("tied", {}),
    )
