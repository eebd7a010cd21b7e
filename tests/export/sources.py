"""A source of artefacts, and the documents of artefacts and of runs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gensynth.data.dataset import Split
from gensynth.export.metadata import Reading
from gensynth.export.source import Source
from gensynth.network.module import build
from gensynth.tasks.classification import Classification
from tests.networks.single import small


def source() -> Source:
    graph, weights = small()
    network = build(graph, {key: torch.from_numpy(array) for key, array in weights.items()})
    images = np.random.default_rng(1).integers(0, 256, (40, 3, 8, 8), dtype=np.uint8)
    reading = Reading((3, 8, 8), (0.5, 0.4, 0.3), (0.2, 0.2, 0.25), "rgb", tuple("abcde"))
    labels = np.arange(40, dtype=np.int64) % 5
    search = Split("search", images, labels)
    return Source("toy", network.eval(), reading, Classification(), search, None)


def alter(folder: Path, **changes: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def manifest(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return document


def finalists(run: Path) -> list[str]:
    names: list[str] = json.loads((run / "result.json").read_text())["finalists"]
    return names
