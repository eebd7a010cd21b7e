"""Stimuli into a network's vertices and edges, and the information in what comes back.

The inquisitor never looks at weights. It learns from `Responses`, all of them in nats or
dimensionless:

- *Fisher information* of a gate on every edge, and of one gate per coupled channel: half of
  it estimates the Kullback-Leibler divergence that removing the channel costs;
- the *effective rank* of what a group carries;
- the *divergence* of an untrained network's answers from the prototype's;
- the *ablation* of every residual block: the divergence when its branch is silent;
- the *information* on the target that a reader finds at a vertex.

A gate multiplies a value where a consumer that mixes channels reads it, so that the
coupled gate of a channel is exactly the mask under which a network rebuilt without this
channel computes the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gensynth.data.passes import images_in_memory
from gensynth.graph.activations import peak_elements
from gensynth.graph.graph import Graph
from gensynth.network.module import Edge, Network
from gensynth.network.outputs import Outputs, as_float, joined
from gensynth.probing.information import effective_rank
from gensynth.space.coupling import Coupling
from gensynth.tasks.task import Task

MIXING = frozenset({"conv", "conv_transpose", "linear"})


@dataclass(frozen=True)
class Responses:
    """What one network answered.

    Attributes:
        channel_nats: for each group of the prototype (size,), half the Fisher information
            of each coupled channel; NaN where this network does not have the channel.
        edge_nats: for each probed edge, the sum of half the Fisher informations of its own gates.
        effective_rank: for each group, of its channels; NaN if gone.
        block_nats: for each block of the prototype the divergence of its ablation; NaN if gone.
        target_nats: by vertex, a lower bound on the mutual information with the target.
        images: how many stimuli.
    """

    channel_nats: tuple[np.ndarray, ...]
    edge_nats: Mapping[Edge, float]
    effective_rank: np.ndarray
    block_nats: np.ndarray
    target_nats: Mapping[str, float]
    images: int

    def to_document(self) -> dict[str, dict[str, float]]:
        """Return what is said of single edges and vertices as JSON values, rounded."""
        return {
            "edge_nats": {f"{u} -> {v}": round(n, 6) for (u, v), n in self.edge_nats.items()},
            "label_nats": {vertex: round(n, 6) for vertex, n in self.target_nats.items()},
        }


class Probe:
    """A fixed set of stimuli for the networks of one prototype.

    Args:
        coupling: of the prototype.
        images: (n, channels, height, width), normalised, on the device of the networks.
        targets: of these images, collated.
        task: that says what the outputs mean.
        prototype: whose answers a divergence is measured from; on the device of the images.
        batch: images a pass.
    """

    def __init__(
        self,
        coupling: Coupling,
        images: Tensor,
        targets: Any,
        task: Task,
        prototype: Network,
        batch: int = 128,
    ) -> None:
        self.coupling = coupling
        self._images, self._targets, self._task = images, targets, task
        self._batch = batch
        self._reference = self._answers(prototype)
        self._nobody = 1 + max(int(every.max()) for every in coupling.channel_ids.values())
        self._group_of = {
            identifier: (g, c)
            for g, group in enumerate(coupling.groups)
            for c, identifier in enumerate(group.channels)
        }

    def __len__(self) -> int:
        """How many stimuli."""
        return len(self._images)

    def __call__(self, network: Network, seed: int) -> Responses:
        """Stimulate a network and return its responses.

        Args:
            network: of the prototype or of a selection from it; left in evaluation mode.
            seed: of the draw y ~ p(.|x) that the Fisher information is an expectation over.
        """
        network.eval()
        graph = network.graph
        edges = _mixing_edges(graph)
        known = self._channel_ids(graph)
        ids = {edge: known[edge[0]] for edge in edges if edge[0] in known}
        coupled, by_edge = self._fisher(network, ids, seed)
        return Responses(
            channel_nats=self._by_group(coupled, ids),
            edge_nats=by_edge,
            effective_rank=self._effective_ranks(network, ids),
            block_nats=self._ablations(network),
            target_nats=self._information(network),
            images=len(self._images),
        )

    def gate_nats(self, network: Network, edges: Sequence[Edge], seed: int) -> np.ndarray:
        """Return half the Fisher information of one gate an edge, all of them at 0: (edges,)."""
        network.eval()
        nats = np.zeros(len(edges))
        for slopes in self._slopes(network, dict.fromkeys(edges, 1), 0.0, seed):
            nats += [float(slopes[edge].double().square().sum()) / 2 for edge in edges]
        return nats / len(self._images)

    def divergence(self, network: Network) -> float:
        """Return how far a network's answers are from the prototype's, in nats.

            KL(p_phi || p_network), mean over the stimuli

        Of a network that has not been trained it tells what its shape alone has lost.
        """
        return max(0.0, float(self._task.divergence(self._answers(network), self._reference)))

    @torch.no_grad()
    def _answers(self, network: Network) -> Outputs:
        network.eval()
        answers = [as_float(network(images)) for images in torch.split(self._images, self._batch)]
        return joined(answers)

    def _fisher(
        self, network: Network, ids: Mapping[Edge, np.ndarray], seed: int
    ) -> tuple[np.ndarray, dict[Edge, float]]:
        """Return half the Fisher information of coupled gates, by identifier, and of edges.

            I[c] = E_x E_{y ~ p(.|x)} [ (d log p(y|x) / d gate[c])^2 ]

        one draw of y an image, squared before the mean over images. The gate's derivative
        sums over the positions and edges at which the channel is read.
        """
        count = 1 + self._nobody
        device = self._images.device
        index = {edge: torch.from_numpy(own).to(device) for edge, own in ids.items()}
        total = torch.zeros(count, dtype=torch.float64, device=device)
        by_edge = dict.fromkeys(ids, 0.0)
        widths = {edge: len(own) for edge, own in ids.items()}
        for slopes in self._slopes(network, widths, 1.0, seed):
            joint = torch.zeros(len(next(iter(slopes.values()))), count, device=device)
            for edge, slope in slopes.items():
                joint.index_add_(1, index[edge], slope)
                by_edge[edge] += float(slope.square().sum()) / 2
            total += joint.double().square().sum(dim=0) / 2
        n = len(self._images)
        return (total / n).cpu().numpy(), {edge: v / n for edge, v in by_edge.items()}

    def _slopes(
        self, network: Network, widths: Mapping[Edge, int], at: float, seed: int
    ) -> Iterator[dict[Edge, Tensor]]:
        """Yield d log p(y|x) / d gate, (batch, width) for each edge, batch by batch."""
        device = self._images.device
        draws = torch.Generator().manual_seed(seed)
        for images in torch.split(self._images, self._batch):
            gates = {
                edge: torch.full((len(images), width), at, device=device, requires_grad=True)
                for edge, width in widths.items()
            }
            score = self._task.sampled_score(as_float(network.gated(images, gates)), draws).sum()
            # A part of the prototype that nothing returns has no slope: 0.
            slopes = torch.autograd.grad(
                score, list(gates.values()), allow_unused=True, materialize_grads=True
            )
            yield dict(zip(gates, slopes, strict=True))

    def _channel_ids(self, graph: Graph) -> dict[str, np.ndarray]:
        """Return the ids of every vertex's channels, of those that have any.

        Within a substitute a channel has one as long as nothing is mixed.
        """
        kept = self.coupling.kept(graph.selection)
        ids = {name: own[kept[name]] for name, own in self.coupling.channel_ids.items()}
        for vertex in graph.vertices:
            if vertex.name in ids or vertex.inputs[0] not in ids:
                continue
            own = ids[vertex.inputs[0]]
            if vertex.op == "pad_channels":
                filled = np.full(vertex.attributes["after"], self._nobody)
                ids[vertex.name] = np.concatenate([own, filled])
            elif vertex.op == "conv" and vertex.attributes["groups"] == len(own) > 1:
                ids[vertex.name] = own
        return ids

    def _by_group(
        self, coupled: np.ndarray, ids: Mapping[Edge, np.ndarray]
    ) -> tuple[np.ndarray, ...]:
        nats = tuple(np.full(group.size, np.nan) for group in self.coupling.groups)
        for identifier in np.unique(np.concatenate(list(ids.values()))):
            if int(identifier) in self._group_of:
                g, c = self._group_of[int(identifier)]
                nats[g][c] = coupled[identifier]
        return nats

    @torch.no_grad()
    def _effective_ranks(self, network: Network, ids: Mapping[Edge, np.ndarray]) -> np.ndarray:
        """Return exp H(spectrum of the channel covariance) for one reader of each group."""
        readers: dict[int, Edge] = {}
        for edge, positions in ids.items():
            found = {self._group_of[int(p)][0] for p in positions if int(p) in self._group_of}
            for g in found:
                readers.setdefault(g, edge)
        ranks = np.full(len(self.coupling.groups), np.nan)
        values = network.observe(self._images[: self._batch], set(readers.values()))
        for g, edge in readers.items():
            places = enumerate(ids[edge])
            own = [i for i, p in places if self._group_of.get(int(p), (-1,))[0] == g]
            ranks[g] = effective_rank(values[edge][:, own])
        return ranks

    @torch.no_grad()
    def _ablations(self, network: Network) -> np.ndarray:
        """Return KL(p || p without the branch), mean over images, for each block."""
        graph = network.graph
        inputs = {vertex.name: vertex.inputs for vertex in graph.vertices}
        nats = np.full(len(self.coupling.blocks), np.nan)
        images = self._images[: 2 * self._batch]
        whole = as_float(network(images))
        for b, block in enumerate(self.coupling.blocks):
            branches = [u for u in inputs.get(block.name, ()) if u in block.vertices]
            if not branches:  # gone, or nothing but a bypass is left of it
                continue
            (branch,) = branches
            width = graph[branch].shape[0]
            silent = {(branch, block.name): images.new_zeros(len(images), width)}
            without = as_float(network.gated(images, silent))
            nats[b] = max(0.0, float(self._task.divergence(without, whole)))
        return nats

    @torch.no_grad()
    def _information(self, network: Network) -> dict[str, float]:
        graph = network.graph
        places = {v.inputs[0]: v.name for v in graph.vertices if v.op == "linear"}
        sums = [v.name for v in graph.vertices if v.op == "add" and graph.consumers[v.name]]
        places |= {name: graph.consumers[name][0] for name in sums}
        edges = {(u, v) for u, v in places.items()}
        at_once = images_in_memory(2 * peak_elements(graph), len(self._images))
        parts = [network.observe(images, edges) for images in torch.split(self._images, at_once)]
        values = {edge: torch.cat([part[edge] for part in parts]) for edge in edges}
        return {u: self._task.information(values[u, v], self._targets) for u, v in places.items()}


def _mixing_edges(graph: Graph) -> list[Edge]:
    """Return the edges into vertices that mix channels; a depthwise convolution does not."""
    return [
        (u, vertex.name)
        for vertex in graph.vertices
        if vertex.op in MIXING
        for u in vertex.inputs
        if not (vertex.attributes.get("groups", 1) == graph[u].shape[0] > 1)
        and graph[u].op != "input"
    ]
