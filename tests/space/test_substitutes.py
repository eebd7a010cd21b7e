"""Networks with substitutes, against the prototype with dense kernels in their place, and ONNX."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gensynth.export import export_network
from gensynth.graph.graph import Graph, Selection
from gensynth.network.module import Network, build
from gensynth.space.coupling import Coupling, couple
from gensynth.space.placement import substitute
from gensynth.space.substitutes import SUBSTITUTES
from gensynth.trace import trace
from tests.networks.compositions import compose, masking_gates, outputs, random_weights
from tests.networks.families import FAMILIES, make
from tests.space.counting import coupling_of, random_substitution

BATCH = 2


def dense_kernel(word: str, parts: list[Tensor], shape: tuple[int, ...]) -> Tensor:
    """Return the kernel that an operator's weights have by its definition; shape is dense."""
    written, read, height, width = shape
    kind, _, number = word.rpartition("_")
    match kind or word:
        case "separable":
            depthwise, pointwise = parts
            return torch.einsum("oi,iab->oiab", pointwise[:, :, 0, 0], depthwise[:, 0])
        case "low_rank":
            columns, rows = parts
            return torch.einsum("ria,orb->oiab", columns[:, :, :, 0], rows[:, :, 0, :])
        case "bottleneck":
            reduce, expand = parts
            return torch.einsum("or,riab->oiab", expand[:, :, 0, 0], reduce)
        case "smaller":
            tall, wide = ((height - parts[0].shape[2]) // 2, (width - parts[0].shape[3]) // 2)
            return F.pad(parts[0], (wide, wide, tall, tall))
    (weight,) = parts
    groups = int(number)
    each_written, each_read = weight.shape[0] // groups, weight.shape[1]
    whole = weight.new_zeros(groups * each_written, groups * each_read, height, width)
    for group in range(groups):
        out = slice(group * each_written, (group + 1) * each_written)
        whole[out, group * each_read : (group + 1) * each_read] = weight[out]
    return whole[:written, :read]


def with_substitutes(coupling: Coupling, selection: Selection) -> tuple[Network, Network]:
    """Return a network with random substitutes, and the prototype with their dense kernels."""
    graph = coupling.apply(selection)
    weights = random_weights(coupling.graph, 0)
    slices = coupling.slices(selection)
    own = {k: v for k, v in random_weights(graph, 1).items() if k not in slices}
    masks, twin = coupling.kept(selection), dict(weights)
    for name, word in selection.substitutes.items():
        conv = coupling.graph[name]
        read, written = masks[conv.inputs[0]], masks[name]
        chain = [v for v in graph.vertices if v.name == name or v.name.startswith(f"{name}.")]
        parts = [own[v.tensor_key("weight")] for v in chain if "weight" in v.tensors]
        shape = (int(written.sum()), int(read.sum()), *conv.attributes["kernel"])
        whole = torch.zeros_like(weights[conv.tensor_key("weight")])
        at = np.ix_(np.flatnonzero(written), np.flatnonzero(read))
        whole[at] = dense_kernel(word, parts, shape)
        twin[conv.tensor_key("weight")] = whole
        if "bias" in conv.tensors:
            (bias,) = [own[v.tensor_key("bias")] for v in chain if "bias" in v.tensors]
            offset = torch.zeros_like(weights[conv.tensor_key("bias")])
            offset[np.flatnonzero(written)] = bias
            twin[conv.tensor_key("bias")] = offset
    return build(graph, {**weights, **own}, slices), build(coupling.graph, twin)


def check_masks(coupling: Coupling, selection: Selection, images: tuple[Tensor, ...]) -> None:
    """Compare with the prototype, removed channels zero where they are read."""
    network, prototype = with_substitutes(coupling, selection)
    images = tuple(x.double() for x in images)
    found = outputs(network, images)
    gates = masking_gates(coupling, selection, len(images[0]))
    expected = outputs(prototype, images, gates=gates)
    masks = coupling.kept(selection)
    for name, ours, theirs in zip(coupling.graph.outputs, found, expected, strict=True):
        kept = theirs[:, torch.from_numpy(masks[name])] if masks[name].ndim else theirs
        assert (ours - kept).abs().max() <= 1e-9 * (1 + kept.abs().max())


@pytest.mark.parametrize("name", [n for n in FAMILIES if n != "with_attention"])
def test_a_substituted_network_is_the_prototype_masked_with_other_kernels(name: str) -> None:
    module, images = make(name)
    coupling = couple(trace(module, images, name=name))
    for seed in range(4):
        check_masks(coupling, random_substitution(coupling, seed), images)


@pytest.mark.parametrize("seed", range(30))
def test_so_is_one_composed_at_random(seed: int) -> None:
    coupling = couple(compose(seed))
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(BATCH, 3, 6, 6, generator=generator)
    check_masks(coupling, random_substitution(coupling, seed), (images,))


class Branches(nn.Module):
    """Widths that no number of groups divides, with a bias and without."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(7, 9, 3, padding=1)
        self.b = nn.Conv2d(9, 10, 5, padding=2, bias=False)
        self.norm = nn.BatchNorm2d(10)
        self.fc = nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.b(torch.relu(self.a(x)))))
        return self.fc(x.mean((2, 3)))


@pytest.mark.parametrize("word", SUBSTITUTES)
def test_onnx_computes_every_operator_alike(word: str, tmp_path: Path) -> None:
    graph = trace(Branches(), torch.zeros(1, 7, 8, 8), name="branches")
    other = substitute(graph, {"a": word, "b": word})
    check_onnx(other, torch.randn(5, 7, 8, 8), tmp_path)


@pytest.mark.parametrize("name", ["resnet", "inception", "pre_activation", "padded_shortcut"])
def test_onnx_computes_substituted_families_alike(name: str, tmp_path: Path) -> None:
    coupling = coupling_of(name)
    graph = coupling.apply(random_substitution(coupling, 1))
    assert graph.selection.substitutes
    check_onnx(graph, torch.randn(5, 3, 16, 16), tmp_path)


def check_onnx(graph: Graph, images: Tensor, folder: Path) -> None:
    """Compare a graph's file, run by ONNX Runtime, with torch."""
    weights = {key: value.float() for key, value in random_weights(graph, 0).items()}
    network = build(graph, weights).eval()
    export_network(network, images, folder / "network.onnx")
    session = onnxruntime.InferenceSession(folder / "network.onnx")
    (found,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    (expected,) = outputs(network, (images,))
    assert np.abs(np.asarray(found) - expected.numpy()).max() <= 1e-4 * float(expected.abs().max())
