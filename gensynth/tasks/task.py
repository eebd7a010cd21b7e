"""What a task is: what networks are trained for, and how they are judged.

    loss              outputs and targets         -> what training lowers
    divergence        a network's and a teacher's -> nats an image
    sampled_score     outputs                     -> log p(y|x) of an answer y drawn from p(.|x)
    evaluate          a network and a split       -> Score
    anticipated       a quality and a number of images -> the Score to be expected
    targets           a split                     -> what belongs to its images, moved as they are
    strata, margins   images                      -> which of them make good stimuli
    information       a value and targets         -> nats that the one tells of the other

A task may also have `guess`, the loss of an answer that looks at nothing (`Guesses`), `draw`,
pictures of answers for people (`Draws`), and `program`, which part of
an artefact's examples says what a network answered (`gensynth.export.examples`), with `tells`, what
that part must know of the network (`Tells`).

Everything else in the package asks the task, and knows neither a class nor a metric's name.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Generator, Tensor

from gensynth.data.dataset import Dataset, Split
from gensynth.data.views import Targets
from gensynth.errors import ConfigError
from gensynth.goals.score import Score
from gensynth.graph.graph import Graph
from gensynth.network.outputs import Outputs

Answer = Callable[[Tensor], Outputs]
"""(batch, channels, height, width), uint8 -> what a network answers to these images."""


def chosen_metric(asked: str | None, measured: tuple[str, ...]) -> str:
    """Return the metric that a run file asks of a task; the task's first if it asks none.

    Raises:
        ConfigError: if the task does not measure it.
    """
    if asked is None:
        return measured[0]
    if asked not in measured:
        raise ConfigError(f"metric in [task] must be one of {', '.join(measured)}, got '{asked}'")
    return asked


class Task(Protocol):
    """What networks of one run are trained for."""

    @property
    def metric(self) -> str:
        """Name of what `evaluate` measures, of `gensynth.goals.metrics`."""

    def check(self, graph: Graph, dataset: Dataset) -> None:
        """Refuse a prototype whose outputs, or a data set whose targets, are not of this task.

        Raises:
            PrototypeError, DataError: accordingly.
        """

    def loss(self, outputs: Outputs, targets: Any) -> Tensor:
        """Return what training lowers where there is no teacher: a scalar, a batch's mean."""

    def divergence(self, outputs: Outputs, teacher: Outputs, temperature: float = 1.0) -> Tensor:
        """Return KL(teacher || network) in nats an image: a scalar, a batch's mean.

        Args:
            outputs: of the network, float32; of several maps a tuple.
            teacher: outputs of the teacher for the same images.
            temperature: by which both are softened.
        """

    def sampled_score(self, outputs: Outputs, draws: Generator) -> Tensor:
        """Return log p(y|x), y ~ p(.|x) drawn once an image: (batch,), with its gradient.

        Args:
            outputs: of a network, float32.
            draws: on the processor; what y is drawn by.
        """

    def evaluate(self, network: Answer, split: Split) -> Score:
        """Return a network's score on all images of a split."""

    def anticipated(self, value: float, n: int) -> Score:
        """Return the score that `evaluate` may be expected to give of n images, not yet looked at.

        Args:
            value: of the network, in [0, 1]; a multiple of 1 / n.
            n: images.
        """

    def targets(self, split: Split, device: str) -> Targets:
        """Return what belongs to a split's images, ready to be collated and moved with them."""

    def strata(self, split: Split, rows: np.ndarray) -> np.ndarray:
        """Return the kinds of some images, of which the stimuli hold as many each: (rows,)."""

    def margins(self, outputs: Outputs) -> np.ndarray:
        """Return how sure of its answer the prototype is, smaller where it hesitates: (images,).

        Args:
            outputs: of the prototype, arrays, float32.
        """

    def information(self, values: Tensor, targets: Any) -> float:
        """Return a lower bound on what a vertex's values tell of the targets, in nats.

        Args:
            values: (images, channels) or (images, channels, height, width).
            targets: of these images, collated.
        """


@runtime_checkable
class Guesses(Protocol):
    """A task that knows the loss of guessing: a training that ends there has taught nothing."""

    def guess(self, dataset: Dataset) -> float:
        """Return the `loss` of who gives every answer the same probability."""


@runtime_checkable
class Draws(Protocol):
    """A task whose answers can be looked at."""

    def draw(
        self, networks: Mapping[str, Answer], dataset: Dataset, split: Split
    ) -> dict[str, bytes]:
        """Return PNG files by name: images of a split, their truth and the networks' answers."""


@runtime_checkable
class Tells(Protocol):
    """A task whose answers are read out of a network's outputs in a way of the network's own."""

    def tells(self, graph: Graph) -> dict[str, Any]:
        """Return what an artefact's manifest must say for that, JSON values by key."""
