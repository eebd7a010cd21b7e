"""Sources of detectors' artefacts: the networks and images of tests.runs.tiny_boxes."""

import functools

import torch

from gensynth.data.views import Views
from gensynth.export.metadata import Reading
from gensynth.export.source import Source
from gensynth.goals.requirements import parse_all
from gensynth.network.compute import Compute
from gensynth.network.module import build
from gensynth.tasks.detection import Detection
from gensynth.trace import trace
from gensynth.training.fit import Recipe, fit
from tests.runs import tiny_boxes


@functools.cache
def trained(kind: str) -> torch.nn.Module:
    data, task = tiny_boxes.squares(), Detection()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module: torch.nn.Module = getattr(tiny_boxes, kind)(2, 1)
    views = Views(data, data.train, 0, targets=task.targets(data.train, "cpu"))
    fit(module, views, Recipe(epochs=4, batch=32, peak_lr=0.05), Compute(), task)
    return module.eval()


def box_source(kind: str, *requirements: str) -> Source:
    data, module = tiny_boxes.squares(), trained(kind)
    graph = trace(module, torch.zeros(1, 1, 32, 32), name="net")
    network = build(graph, module.state_dict()).eval()
    reading = Reading((1, 32, 32), data.mean, data.std, "grey", tiny_boxes.CLASSES)
    return Source(
        "squares", network, reading, Detection(), data.search, None,
        calibration=data.train.images[:64], requirements=parse_all(requirements),
    )  # fmt: skip
