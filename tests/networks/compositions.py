"""Networks composed at random of all operators that torch's families are made of.

They are written as graphs, so they reach corners that no architecture has: a group of
channels read twice by one concatenation, gates over gates, one parameter for every width.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gensynth.graph.graph import BUFFERS, Graph, Selection, Vertex
from gensynth.network.module import Edge, Network
from gensynth.space.coupling import Coupling

MIXING = ("conv", "conv_transpose", "linear")
POINTWISE = "relu relu6 elu sigmoid hard_sigmoid hard_swish silu gelu tanh leaky_relu".split()


class Composer:
    """Vertices so far, and ways to add one more."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.vertices: list[Vertex] = []
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.put("input", (), (3, 6, 6))

    def put(
        self,
        op: str,
        inputs: tuple[str, ...],
        shape: tuple[int, ...],
        tensors: Mapping[str, tuple[int, ...]] | None = None,
        module: str | None = None,
        **attributes: Any,
    ) -> str:
        name = f"{op}{len(self.vertices)}"
        self.vertices.append(
            Vertex(name, op, inputs, attributes, shape, tensors or {}, module or name)
        )
        self.shapes[name] = shape
        return name

    def pick(self, images: Callable[[tuple[int, ...]], bool] = lambda shape: True) -> str | None:
        """Return a value that is an image, a late one more often."""
        found = [n for n, shape in self.shapes.items() if len(shape) == 3 and images(shape)]
        if not found:
            return None
        weights = np.arange(1, len(found) + 1.0) ** 2
        return str(self.random.choice(found, p=weights / weights.sum()))

    def flip(self, probability: float = 0.5) -> bool:
        return bool(self.random.random() < probability)

    def conv(self, source: str, width: int, stride: int = 1, groups: int = 1) -> str:
        channels, height, across = self.shapes[source]
        kernel = int(self.random.choice([1, 3]))
        tensors: dict[str, tuple[int, ...]] = {
            "weight": (width, channels // groups, kernel, kernel)
        }
        if self.flip():
            tensors["bias"] = (width,)
        size = ((height - 1) // stride + 1, (across - 1) // stride + 1)
        return self.put(
            "conv",
            (source,),
            (width, *size),
            tensors,
            kernel=[kernel] * 2,
            stride=[stride] * 2,
            padding=[kernel // 2] * 2,
            dilation=[1, 1],
            groups=groups,
        )

    def conv_transpose(self, source: str, width: int, groups: int) -> str:
        channels, height, across = self.shapes[source]
        tensors = {"weight": (channels, width // groups, 2, 2), "bias": (width,)}
        return self.put(
            "conv_transpose",
            (source,),
            (width, 2 * height, 2 * across),
            tensors,
            kernel=[2, 2],
            stride=[2, 2],
            padding=[0, 0],
            dilation=[1, 1],
            output_padding=[0, 0],
            groups=groups,
        )

    def batch_norm(self, source: str) -> str:
        width = (self.shapes[source][0],)
        tensors = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), width)
        return self.put(
            "batch_norm", (source,), self.shapes[source], tensors, eps=1e-5, momentum=0.1
        )

    def linear(self, source: str, width: int) -> str:
        tensors = {"weight": (width, self.shapes[source][0]), "bias": (width,)}
        return self.put("linear", (source,), (width,), tensors)

    def pooled(self, source: str) -> str:
        return self.put("mean", (source,), self.shapes[source][:1], keep=False)

    def grow(self) -> None:
        """Add one operator, or a small idiom, that reads a value at random."""
        x = self.pick()
        assert x is not None
        shape = self.shapes[x]
        channels, height, _ = shape
        match self.random.choice(IDIOMS):
            case "conv":
                self.conv(x, self.width(), stride=2 if height > 3 and self.flip(0.3) else 1)
            case "grouped":
                groups = self.divisor(channels)
                self.conv(x, groups * int(self.random.integers(1, 4)), groups=groups)
            case "depthwise":
                self.conv(x, channels * int(self.random.integers(1, 3)), groups=channels)
            case "conv_transpose" if height < 6:
                groups = int(self.random.choice([1, self.divisor(channels), channels]))
                self.conv_transpose(x, groups * int(self.random.integers(1, 4)), groups)
            case "batch_norm":
                self.batch_norm(x)
            case "pointwise":
                op = str(self.random.choice(POINTWISE))
                extra: dict[str, Any] = {"leaky_relu": {"slope": 0.1}, "elu": {"alpha": 1.0}}
                self.put(op, (x,), shape, **extra.get(op, {}))
            case "prelu":
                self.put("prelu", (x,), shape, {"weight": (channels if self.flip() else 1,)})
            case "shared prelu":
                self.put("prelu", (x,), shape, {"weight": (1,)}, "shared_prelu")
            case "residual":
                y = self.conv(self.batch_norm(self.conv(x, self.width())), channels)
                self.put("add", (y, x) if self.flip() else (x, y), shape)
            case "add" | "mul" as word:
                other = self.pick(lambda s: s == shape)
                assert other is not None
                self.put(str(word), (x, other), shape)
            case "squeeze-excite":
                gate = self.linear(self.linear(self.pooled(x), self.width()), channels)
                gate = self.put("sigmoid", (gate,), (channels,))
                gate = self.put("unflatten", (gate,), (channels, 1, 1))
                self.put("mul", (x, gate) if self.flip() else (gate, x), shape)
            case "one for all":
                gate = self.conv(x, 1)
                if self.flip():
                    gate = self.put("slice", (x,), (1, *shape[1:]), start=0, stop=1)
                self.put(str(self.random.choice(["mul", "add"])), (gate, x), shape)
            case "constant":
                values = self.random.normal(size=(channels, 1, 1)).tolist()
                op = str(self.random.choice(["add_constant", "mul_constant"]))
                self.put(op, (x,), shape, value=values if self.flip() else 0.5)
            case "scale":
                shapes = [(1,), (channels,), (channels, 1, 1), (1, channels, 1, 1)]
                tensor = shapes[int(self.random.integers(4))]
                op = str(self.random.choice(["scale", "shift"]))
                self.put(op, (x,), shape, {"gamma": tensor})
            case "root parameter":  # tensors of the network itself, not of a module in it
                name = f"parameter{len(self.vertices)}"
                self.vertices.append(Vertex(name, "scale", (x,), {}, shape, {name: (channels,)}))
                self.shapes[name] = shape
            case "concat":
                others = [self.pick(lambda s: s[1:] == shape[1:]) or x for _ in range(2)]
                total = sum(self.shapes[n][0] for n in (x, *others))
                if total <= 40:
                    self.put("concat", (x, *others), (total, *shape[1:]))
            case "slice" if channels > 1:
                start, stop = sorted(self.random.choice(channels + 1, 2, replace=False).tolist())
                self.put("slice", (x,), (stop - start, *shape[1:]), start=start, stop=stop)
            case "split" if channels > 1:
                half = channels // 2
                left = self.put("slice", (x,), (half, *shape[1:]), start=0, stop=half)
                right = self.put(
                    "slice", (x,), (channels - half, *shape[1:]), start=half, stop=channels
                )
                right = self.conv(right, channels - half)
                joined = self.put("concat", (left, right), shape)
                self.put("shuffle", (joined,), shape, groups=self.divisor(channels))
            case "shuffle":
                kind: dict[str, Any] = {"groups": self.divisor(channels)}
                if self.flip(0.3):
                    kind = {"order": self.random.permutation(channels).tolist()}
                self.put("shuffle", (x,), shape, **kind)
            case "pad_channels":
                before, after = self.random.integers(0, 3, 2).tolist()
                new = (channels + before + after, *shape[1:])
                self.put("pad_channels", (x,), new, before=before, after=after)
            case "subsample" if height > 3:
                less = (height + 1) // 2
                self.put("subsample", (x,), (channels, less, less), stride=[2, 2])
            case "pool":
                window: dict[str, Any] = {
                    "kernel": [3, 3],
                    "stride": [1, 1],
                    "padding": [1, 1],
                    "ceil": False,
                }
                if self.flip():
                    self.put("avg_pool", (x,), shape, count_padding=True, **window)
                else:
                    self.put("max_pool", (x,), shape, dilation=[1, 1], **window)
            case "resize":
                size = int(self.random.choice([3, 6]))
                self.put("resize", (x,), (channels, size, size), size=[size] * 2, mode="nearest")
            case "group_norm" if height > 1:
                tensors = {"weight": (channels,), "bias": (channels,)}
                groups = self.divisor(channels)
                self.put("group_norm", (x,), shape, tensors, groups=groups, eps=1e-5)
            case "layer_norm" if self.flip(0.2):
                self.put("layer_norm", (x,), shape, {"weight": shape}, axes=3, eps=1e-5)
            case "softmax" if self.flip(0.2):
                self.put("softmax", (x,), shape)
            case "called again":
                self.call_again()

    def call_again(self) -> None:
        """Call a module that was called before, or another one that shares its tensors."""
        called = [v for v in self.vertices if v.tensors and len(v.shape) == 3]
        if not called:
            return
        first = called[int(self.random.integers(len(called)))]
        wanted = self.shapes[first.inputs[0]]
        source = self.pick(lambda s: s == wanted)
        assert source is not None
        again = (first.op, (source,), first.shape, first.tensors)
        if self.flip():
            self.put(*again, first.module, **first.attributes)
            self.vertices[-1] = replace(self.vertices[-1], tied=dict(first.tied))
            return
        self.put(*again, **first.attributes)
        names = [name for name in first.tensors if self.flip(0.7)]
        tied = {name: first.tensor_key(name) for name in names}
        self.vertices[-1] = replace(self.vertices[-1], tied=tied)

    def width(self) -> int:
        return int(self.random.choice([2, 4, 6, 8]))

    def divisor(self, channels: int) -> int:
        return int(self.random.choice([d for d in range(1, channels + 1) if channels % d == 0]))

    def finish(self) -> Graph:
        """Read some values into one or two outputs; leave out what they do not need."""
        x, y = self.pick(), self.pick()
        assert x is not None
        assert y is not None
        features = [self.pooled(x)]
        flat = int(np.prod(self.shapes[y]))
        features.append(self.put("flatten", (y,), (flat,)))
        total = sum(self.shapes[f][0] for f in features)
        outputs = [self.linear(self.put("concat", tuple(features), (total,)), 4)]
        if self.flip(0.3):
            extra = self.pick()
            assert extra is not None
            outputs.append(self.conv(extra, 1) if self.flip() else extra)
        needed: set[str] = set(outputs) | {self.vertices[0].name}
        for vertex in reversed(self.vertices):
            if vertex.name in needed:
                needed.update(vertex.inputs)
        vertices = tuple(v for v in self.vertices if v.name in needed)
        held = {v.own_key(tensor) for v in vertices for tensor in v.tensors if tensor not in v.tied}
        vertices = tuple(
            replace(v, tied={name: key for name, key in v.tied.items() if key in held})
            for v in vertices
        )
        return Graph("composed", vertices, tuple(dict.fromkeys(outputs)))


IDIOMS = (
    *["conv"] * 4,
    *["residual"] * 4,
    *["batch_norm"] * 2,
    *"""grouped depthwise conv_transpose pointwise prelu add mul squeeze-excite constant scale
    concat slice split shuffle pad_channels subsample pool resize group_norm layer_norm
    softmax""".split(),
    *["shared prelu", "one for all", "root parameter", "called again"],
)


def compose(seed: int, operators: int = 14) -> Graph:
    """Return a network of about so many operators."""
    composer = Composer(seed)
    composer.conv("input0", 8)
    for _ in range(operators):
        composer.grow()
    return composer.finish()


def random_weights(graph: Graph, seed: int) -> dict[str, Tensor]:
    """Return float64 tensors under a graph's state-dict keys, no statistic at rest."""
    random = torch.Generator().manual_seed(seed)
    weights = {}
    for key, shape in graph.tensor_shapes.items():
        values = torch.randn(shape, generator=random, dtype=torch.float64)
        name = key.rpartition(".")[2]
        if name == "running_var":
            values = values.square() + 0.5
        elif name not in BUFFERS and len(shape) > 1:
            values = values / max(1, values[0].numel()) ** 0.5
        weights[key] = values
    return weights


def random_selection(coupling: Coupling, seed: int) -> Selection:
    """Return a selection in which groups and blocks of every kind are cut, or left."""
    random = np.random.default_rng(seed)
    kept = {}
    for group in coupling.groups:
        if random.random() < 0.75:
            count = int(random.integers(1, group.size + 1))
            chosen = random.choice(group.size, count, replace=False)
            kept[group.name] = tuple(sorted(int(c) for c in chosen))
    removed = tuple(block.name for block in coupling.blocks if random.random() < 0.4)
    return Selection(kept, removed)


def masking_gates(coupling: Coupling, selection: Selection, batch: int) -> dict[Edge, Tensor]:
    """Return the gates under which the prototype computes what a selection leaves.

    A removed channel is 0 where a consumer that mixes channels reads it; a removed branch
    is 0 where its addition reads it.
    """
    graph, masks = coupling.graph, coupling.kept(selection)
    gates = {
        (u, vertex.name): torch.from_numpy(masks[u]).double().expand(batch, -1)
        for vertex in graph.vertices
        if vertex.op in MIXING
        for u in vertex.inputs
        if not vertex.attributes.get("groups", 1) == graph[u].shape[0] > 1
    }
    for block in coupling.blocks:
        if block.name in selection.removed:
            (branch,) = set(graph[block.name].inputs) - {block.bypass}
            width = graph[branch].shape[0]
            gates[branch, block.name] = torch.zeros(batch, width, dtype=torch.float64)
    return gates


def outputs(
    network: Network, inputs: tuple[Tensor, ...], gates: Mapping[Edge, Tensor] | None = None
) -> tuple[Tensor, ...]:
    """Return a network's outputs, always as a tuple."""
    network.eval()
    with torch.no_grad():
        found = network(*inputs) if gates is None else network.gated(inputs, gates)
    return found if isinstance(found, tuple) else (found,)
