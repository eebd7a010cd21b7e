"""Objects in images: boxes with a class, however many an image has.

A network gives pairs of maps, of logits and of boxes, fine to coarse (see `gensynth.tasks.boxes`):
one pair is DetectNet's grid (`gensynth.tasks.detectnet`), several are those of an anchor-free
detector (`gensynth.tasks.anchor_free`). The metric is COCO's average precision.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from gensynth.data.boxes import CLASS, IGNORED, NOBODY, BoxTargets, own_rows
from gensynth.data.dataset import Dataset, Split
from gensynth.data.description import other_labels
from gensynth.data.passes import images_a_pass
from gensynth.data.views import Targets
from gensynth.errors import ConfigError, DataError, PrototypeError
from gensynth.goals.score import Resampled
from gensynth.graph.graph import Graph
from gensynth.network.outputs import Outputs
from gensynth.tasks import MEASURED
from gensynth.tasks.anchor_free import Scales
from gensynth.tasks.average_precision import MOST, coco_tools, measured
from gensynth.tasks.boxes import detect
from gensynth.tasks.detectnet import Grid, owners
from gensynth.tasks.label_information import label_information
from gensynth.tasks.pictures import drawn_images, outlined, side_by_side
from gensynth.tasks.task import Answer, chosen_metric

LEAST_SCORE = 0.02
"""Of a detection that is scored: less sure ones change average precision by less than its error."""

SHOWN_SCORE = 0.3
"""Of a detection that is drawn, by an artefact's program too."""

EVALUATED = 32
READ_CELLS = 16
"""Cells of an image with an object, and as many without, that a reader of a vertex looks at."""

IMAGE_LOGIT_SD = 1.0
"""Spread of the logit of a score over single images, by which certificates are planned before a
score has been measured."""


class Detection:
    """Images of objects.

    Attributes:
        program: of an artefact's examples, which prints and draws the boxes.

    Args:
        class_weights: there are none: an image has objects of several classes, or of none.
        metric: of `gensynth.tasks.average_precision`, which requirements and the utility read; None
            is ap50.
    """

    program = "boxes"

    def __init__(
        self, class_weights: tuple[float, ...] | None = None, metric: str | None = None
    ) -> None:
        self.metric = chosen_metric(metric, MEASURED["detection"])
        if class_weights is not None:
            raise ConfigError("class_weights in [task] are not for detection; leave them out")

    def check(self, graph: Graph, dataset: Dataset) -> None:
        """Refuse maps that are no pairs of logits and boxes, and data without boxes.

        Raises:
            ConfigError: if what scores boxes is not installed: before hours of training, not after.
        """
        coco_tools()
        if (said := other_labels(dataset, "detection")) is not None:
            raise DataError(said)
        classes = len(dataset.classes)
        for split in (dataset.train, dataset.search, dataset.test):
            _check_rows(split, classes, dataset.name)
        shapes = [graph[output].shape for output in graph.outputs]
        if not _are_pairs(shapes, classes):
            raise PrototypeError(
                f"prototype '{graph.name}' must give for each scale, fine to coarse, a map of "
                f"logits ({classes}, rows, columns) and then one of boxes (4 or 4 * bins, rows, "
                f"columns), got outputs of shape {', '.join(map(str, shapes))}; detectnet "
                "and small_detector do, and outputs in [prototype] names other parts of one's own"
            )

    def loss(self, outputs: Outputs, targets: Any) -> Tensor:
        """Return what the maps' own kind of detector is trained by."""
        return _head(outputs).loss(_pairs(outputs), targets)

    def divergence(self, outputs: Outputs, teacher: Outputs, temperature: float = 1.0) -> Tensor:
        """Return KL(teacher || network) in nats an object's cell, over the temperature's square.

        Nothing is softened: of a hundred cells one has an object, and softening would make all of
        them half sure of one. What training multiplies by T^2 is so the divergence at T = 1.
        """
        return _head(outputs).divergence(_pairs(outputs), _pairs(teacher)) / temperature**2

    def sampled_score(self, outputs: Outputs, draws: Generator) -> Tensor:
        """Return log p of objects drawn from p, over the root of the number of their cells."""
        return _head(outputs).sampled_score(_pairs(outputs), draws)

    def how(self, outputs: Outputs, height: int, width: int) -> dict[str, Any]:
        """Return what `gensynth.tasks.boxes.detect` must know of a network's maps, JSON values."""
        head = _head(outputs)
        return {
            "kind": head.kind, "height": height, "width": width, "least_score": LEAST_SCORE,
            "overlap": head.overlap, "most": MOST,
        }  # fmt: skip

    def tells(self, graph: Graph) -> dict[str, Any]:
        """Return how an artefact's program finds the boxes."""
        shapes = [tuple(graph[output].shape) for output in graph.outputs]
        _, height, width = graph.inputs[0].shape
        how = self.how(graph.outputs, height, width)
        return {"answer": {**how, "order": _order(shapes), "shown_score": SHOWN_SCORE}}

    def evaluate(self, network: Answer, split: Split) -> Resampled:
        """Return the metric of all images, its spread by a bootstrap over images."""
        found, classes = self._found(network, split.images)
        return measured(list(split.labels), found, classes, self.metric)

    def draw(
        self, networks: Mapping[str, Answer], dataset: Dataset, split: Split
    ) -> dict[str, bytes]:
        """Return a picture for each of some images: itself, the truth, the networks' boxes.

        The images are of those with an object. Ignored regions are white, and
        detections less sure than `SHOWN_SCORE` are left out.
        """
        objects = (split.labels[:, :, CLASS] >= 0) & (split.labels[:, :, IGNORED] == 0)
        rows = np.flatnonzero(objects.any(1))
        rows = rows[drawn_images(len(rows))]
        answers = {"truth": [_shown_truth(split.labels[row]) for row in rows]}
        for name, network in networks.items():
            found, _ = self._found(network, split.images[rows])
            answers[name] = [one[one[:, 4] >= SHOWN_SCORE][:, [0, 1, 2, 3, 5]] for one in found]
        return {
            f"{split.name}-{row + 1}.png": side_by_side(
                split.images[row],
                {name: of[place] for name, of in answers.items()},
                dataset.classes,
                outlined,
            )
            for place, row in enumerate(rows)
        }

    def _found(self, network: Answer, images: np.ndarray) -> tuple[list[np.ndarray], int]:
        """Return the detections in each image, and how many classes the network tells apart."""
        height, width = images.shape[2:]
        found, classes = [], 1
        at_once = images_a_pass((3, height, width), EVALUATED)
        for start in range(0, len(images), at_once):
            outputs = network(torch.from_numpy(images[start : start + at_once]))
            maps = [x.float().cpu().numpy() for x in _pairs(outputs)]
            classes, how = maps[0].shape[1], self.how(outputs, height, width)
            found += [detect([x[row] for x in maps], how) for row in range(len(maps[0]))]
        return found, classes

    def anticipated(self, value: float, n: int) -> Resampled:
        """Return the value with the spread that n images usually leave."""
        return Resampled(self.metric, value, IMAGE_LOGIT_SD / math.sqrt(n), n)

    def targets(self, split: Split, device: str) -> Targets:
        """Return the boxes, cropped and mirrored as their images are."""
        return BoxTargets(split, device)

    def strata(self, split: Split, rows: np.ndarray) -> np.ndarray:
        """Return of each image the class of its largest object, counted from 1; 0 without one."""
        boxes = split.labels[rows]
        if boxes.shape[1] == 0:
            return np.zeros(len(rows), np.int64)
        areas = (boxes[:, :, 2] - boxes[:, :, 0]) * (boxes[:, :, 3] - boxes[:, :, 1])
        areas = np.where((boxes[:, :, CLASS] >= 0) & (boxes[:, :, IGNORED] == 0), areas, -1)
        largest = areas.argmax(1)
        kinds = boxes[np.arange(len(boxes)), largest, CLASS].astype(np.int64)
        return np.where(areas.max(1) > 0, kinds + 1, 0)

    def margins(self, outputs: Outputs) -> np.ndarray:
        """Return how far the surest cell's logit is from 0, on either side."""
        maps = _pairs(outputs)[::2]
        surest: np.ndarray = np.max([x.reshape(len(x), -1).max(1) for x in maps], axis=0)
        return np.abs(surest)

    def information(self, values: Tensor, targets: Any) -> float:
        """Return what a linear reader of the channels at a cell finds out about its object.

        Of each image it sees some cells of objects and as many others, on an even grid.
        """
        if values.ndim < 4 or targets.rows.shape[1] == 0:
            return 0.0
        rows, columns = values.shape[2:]
        stride = max(1, round(targets.height / rows))
        owner, ignored = owners(targets, rows, columns, stride, values.device)
        kinds = torch.gather(targets.rows[..., CLASS], 1, owner.clamp_min(0).flatten(1)) + 1
        kinds = torch.where(owner.flatten(1) >= 0, kinds, 0.0).long()  # 0 is the background
        kinds = torch.where(ignored.flatten(1) & (kinds == 0), -1, kinds)
        features = values.flatten(2).transpose(1, 2)
        chosen = []
        for image, own in enumerate(kinds):
            for cells in (torch.nonzero(own > 0)[:, 0], torch.nonzero(own == 0)[:, 0]):
                places = cells[:: max(1, len(cells) // READ_CELLS)][:READ_CELLS]
                chosen.append((features[image, places], own[places]))
        labels = torch.cat([own for _, own in chosen])
        if len(labels) < 2 or int(labels.max()) == 0:
            return 0.0
        return label_information(torch.cat([own for own, _ in chosen]).float(), labels)


def _shown_truth(rows: np.ndarray) -> np.ndarray:
    """Return the boxes of an image as they are drawn: ignored regions are of no class."""
    own = own_rows(rows)
    kinds = np.where(own[:, IGNORED] > 0, NOBODY, own[:, CLASS])
    return np.column_stack([own[:, :4], kinds])


def _head(outputs: Outputs) -> Grid | Scales:
    return Grid() if len(outputs) == 2 else Scales()


def _pairs(outputs: Outputs) -> tuple[Any, ...]:
    """Return the maps, fine to coarse and logits before boxes, in whatever order they come.

    Maps of one resolution are a pair. Boxes have a multiple of four channels; where both have, the
    logits come first.
    """
    places = _order([tuple(x.shape[1:]) for x in outputs])
    return tuple(outputs[place] for place in places)


def _order(shapes: list[tuple[int, ...]]) -> list[int]:
    sizes = sorted({shape[1:] for shape in shapes}, reverse=True)
    scales = [[p for p, shape in enumerate(shapes) if shape[1:] == size] for size in sizes]
    order: list[int] = []
    for first, second in scales:
        widths = shapes[first][0], shapes[second][0]
        turned = widths[0] % 4 == 0 and (widths[1] % 4 != 0)
        order += [second, first] if turned else [first, second]
    return order


def _are_pairs(shapes: list[tuple[int, ...]], classes: int) -> bool:
    if len(shapes) < 2 or len(shapes) % 2 or any(len(shape) != 3 for shape in shapes):
        return False
    counts = [sum(other[1:] == shape[1:] for other in shapes) for shape in shapes]
    if set(counts) != {2}:
        return False
    ordered = [shapes[place] for place in _order(shapes)]
    widths = {shape[0] for shape in ordered[1::2]}
    return (
        {shape[0] for shape in ordered[::2]} == {classes}
        and len(widths) == 1
        and all(width % 4 == 0 for width in widths)
        and (len(shapes) > 2 or widths == {4})
    )


def _check_rows(split: Split, classes: int, name: str) -> None:
    rows = split.labels
    kinds = rows[:, :, CLASS]
    known = kinds != NOBODY
    if known.any() and not np.isin(kinds[known], np.arange(classes)).all():
        raise DataError(
            f"the boxes of {name} must be of classes 0 to {classes - 1}, in {split.name}"
        )
    height, width = split.images.shape[2:]
    left, top, right, bottom = (rows[:, :, c][known] for c in range(4))
    if ((right <= left) | (bottom <= top) | (left < 0) | (top < 0)).any() or (
        (right > width) | (bottom > height)
    ).any():
        raise DataError(
            f"every box of {name} must have an area within its image of {width} x {height} pixels; "
            f"one of the {split.name} split has not"
        )
    if not (known & (rows[:, :, IGNORED] == 0)).any():
        raise DataError(f"no image of the {split.name} split of {name} has a box")
