"""A network to export, how it reads images, and its score on the search split."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from gensynth.data.dataset import Split
from gensynth.export.half import is_half, rounded
from gensynth.export.metadata import Reading
from gensynth.export.parity import passes, run_session
from gensynth.export.runtime import Rounding, open_session
from gensynth.goals.requirements import Requirement
from gensynth.goals.score import Score
from gensynth.network.module import Network
from gensynth.network.outputs import Outputs, as_list, joined
from gensynth.tasks.task import Task


@dataclass(frozen=True)
class Source:
    """A network to export.

    Attributes:
        name: of the artefact's folder.
        network: in evaluation mode, on the processor.
        reading: how it reads images.
        task: what it is scored for.
        search: the search split; None where the data set cannot be opened.
        why_not: why it cannot.
        calibration: of the training split, for INT8; None where there is no data set.
        requirements: that the network is certified for.
        files: graph, weights and card as they stand in the network's folder. An artefact holds
            them byte for byte, since the card names them by their SHA-256; empty for a network
            that stands in no folder.
    """

    name: str
    network: Network
    reading: Reading
    task: Task
    search: Split | None
    why_not: str | None
    calibration: np.ndarray | None = None
    requirements: tuple[Requirement, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Accuracy:
    """Scores of the network and of its file on the search split.

    Attributes:
        before, after: of the torch network, of the ONNX file.
    """

    before: Score
    after: Score

    def to_document(self) -> dict[str, Any]:
        """Return it as the manifest has it."""
        return {
            "metric": self.before.metric,
            "split": "search",
            "n": self.before.n,
            "before": self.before.to_document(),
            "after": self.after.to_document(),
            "before_pct": 100 * self.before.value,
            "after_pct": 100 * self.after.value,
        }


def compute(network: Network, read: np.ndarray) -> list[np.ndarray]:
    """Return the torch network's outputs for normalised images, (images, ...) each."""
    network.eval()
    with torch.no_grad():
        parts = [network(torch.from_numpy(part)) for (part,) in passes([read])]
    return [maps.float().numpy() for maps in as_list(joined(parts))]


def score_in_torch(source: Source) -> Score:
    """Return the network's score on the search split."""
    assert source.search is not None
    return source.task.evaluate(
        lambda images: _answer(compute(source.network, source.reading(images.numpy()))),
        source.search,
    )


def score_of_file(source: Source, model: bytes, rounding: Rounding) -> Score:
    """Return an ONNX file's; an FP16 file's with every value rounded."""
    assert source.search is not None
    session = open_session(rounded(model) if is_half(model) else model, rounding=rounding)

    def answer(images: torch.Tensor) -> Outputs:
        return _answer(run_session(session, [source.reading(images.numpy())]))

    return source.task.evaluate(answer, source.search)


def _answer(maps: list[np.ndarray]) -> Outputs:
    """Return outputs as the network gives them: one tensor, or several."""
    tensors = tuple(torch.from_numpy(each) for each in maps)
    return tensors[0] if len(tensors) == 1 else tensors
