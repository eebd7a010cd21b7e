"""What another substitute would cost each convolution of the prototype, in nats, untrained.

    answer = dense + gate * (substitute - dense)

Half the Fisher information of that gate at 0 estimates the divergence of the answers that
switching costs, as `probe` estimates what removing a channel does. All gates of one substitute
stand in one network, which is stimulated once. What a resolution costs is the divergence
of the prototype at that resolution.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from torch import Tensor

from gensynth.graph.graph import Graph, Selection, Vertex
from gensynth.network.module import build
from gensynth.probing.probe import Probe
from gensynth.space.operator_choices import Sites
from gensynth.space.resolution import RESOLUTIONS
from gensynth.space.substitutes import SUBSTITUTES
from gensynth.training.evaluator import Evaluator
from gensynth.training.patch_moments import patches
from gensynth.training.substitute_weights import FITTED_IMAGES, Fit, centred, fit


def switching_nats(evaluator: Evaluator, probe: Probe, sites: Sites, seed: int) -> np.ndarray:
    """Return the information that each substitute loses at each site: (sites, substitutes).

    Args:
        evaluator: of the prototype.
        probe: that stimulates.
        sites: of the prototype; 0 where an substitute may not stand.
        seed: of the draw y ~ p(.|x) that the Fisher information is an expectation over.
    """
    prototype = evaluator.prototype
    network = prototype.network()
    evaluator.compute.place(network).eval()
    graph = network.graph
    convs = sites.names[: sites.convs]
    read = patches(network, evaluator.calibration()[0][:FITTED_IMAGES], convs)
    nats = np.zeros((len(sites), len(sites.substitutes)))
    for number, substitute in enumerate(sites.substitutes):
        if substitute in RESOLUTIONS:
            if sites.allowed[-1, 1 + number]:
                small = prototype.coupling.apply(
                    Selection(substitutes={sites.names[-1]: substitute})
                )
                nats[-1, number] = probe.divergence(evaluator.inherit(small, prototype.weights))
            continue
        at = np.flatnonzero(sites.allowed[:, 1 + number])
        fits = {}
        for name in (sites.names[site] for site in at):
            kernel = prototype.weights[graph[name].tensor_key("weight")]
            fits[name] = fit(
                SUBSTITUTES[substitute], kernel, read[name], centred=centred(graph, graph[name])
            )
        both = build(
            beside(graph, tuple(fits)),
            {**prototype.weights, **_differences(graph, prototype.weights, fits)},
            opaque=prototype.opaque,
        )
        evaluator.compute.place(both)
        nats[at, number] = probe.gate_nats(both, [(_difference(name), name) for name in fits], seed)
    return nats


def beside(graph: Graph, names: tuple[str, ...]) -> Graph:
    """Return a graph in which a second convolution is added to each of some.

    Its vertex is NAME.difference, that of the first NAME.dense; their sum takes the name.
    """
    vertices: list[Vertex] = []
    for vertex in graph.vertices:
        if vertex.name not in names:
            vertices.append(vertex)
            continue
        own = _difference(vertex.name)
        tensors = {"weight": vertex.tensors["weight"], "bias": (vertex.shape[0],)}
        dense = replace(vertex, name=f"{vertex.name}.dense")
        other = replace(vertex, name=own, tensors=tensors, module=own)
        total = Vertex(vertex.name, "add", (dense.name, own), {}, vertex.shape)
        vertices += [dense, other, total]
    return Graph(graph.name, tuple(vertices), graph.outputs)


def _difference(name: str) -> str:
    return f"{name}.difference"


def _differences(
    graph: Graph, weights: Mapping[str, Tensor], fits: Mapping[str, Fit]
) -> dict[str, Tensor]:
    tensors = {}
    for name, found in fits.items():
        dense = weights[graph[name].tensor_key("weight")]
        tensors[f"{_difference(name)}.weight"] = found.kernel.to(dense) - dense
        tensors[f"{_difference(name)}.bias"] = found.bias.to(dense)
    return tensors
