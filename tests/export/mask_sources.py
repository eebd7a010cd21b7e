"""A source of segmenters' artefacts: tests.runs.tiny_masks' network and images."""

import torch

from gensynth.export.metadata import Reading
from gensynth.export.source import Source
from gensynth.goals.requirements import parse_all
from gensynth.network.module import build
from gensynth.tasks.segmentation import Segmentation
from gensynth.trace import trace
from tests.runs.tiny_masks import CLASSES, net, squares


def mask_source(*requirements: str) -> Source:
    data = squares()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = net(len(CLASSES), 1).eval()
    graph = trace(module, torch.zeros(1, 1, 16, 16), name="net")
    network = build(graph, module.state_dict()).eval()
    reading = Reading((1, 16, 16), data.mean, data.std, "grey", CLASSES)
    return Source(
        "squares", network, reading, Segmentation(), data.search, None,
        calibration=data.train.images[:64], requirements=parse_all(requirements),
    )  # fmt: skip
