"""Training a network, alone or by distillation.

Nothing here knows where a network came from or what it is for: a prototype, a candidate within
a cycle and a finalist are trained by the same function with another `Recipe`, for the `Task`.
Budgets are images, never seconds, so the result does not depend on how fast the machine was.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from gensynth.data.passes import parts_of_a_step
from gensynth.data.views import Views
from gensynth.environment import give_back_memory
from gensynth.errors import DataError
from gensynth.graph.activations import all_elements
from gensynth.network.compute import Compute
from gensynth.network.module import Network
from gensynth.network.outputs import Outputs, as_float, as_list
from gensynth.randomness import stream
from gensynth.tasks.task import Task
from gensynth.training.checkpoint import keep, resume


@dataclass(frozen=True)
class Recipe:
    """How long and how to train.

    Attributes:
        epochs: passes over the training images; a fraction stops within a pass.
        batch: images a step.
        peak_lr: largest learning rate of stochastic gradient descent with Nesterov
            momentum 0.9; the rate rises linearly over the `warmup` share of all steps and
            falls linearly to zero.
        warmup: share of steps before the peak.
        weight_decay: L2 penalty on weights of two or more dimensions; norms and biases have none.
        temperature: softening T of teacher and student in distillation.
        hard_weight: share of the loss with the targets beside the divergence from the
            teacher, in [0, 1]. Without a teacher it is 1.
        compiled: whether compiling this network pays for the time it takes.
    """

    epochs: float
    batch: int = 128
    peak_lr: float = 0.2
    warmup: float = 0.2
    weight_decay: float = 5e-4
    temperature: float = 4.0
    hard_weight: float = 0.1
    compiled: bool = False

    def __post_init__(self) -> None:
        if self.epochs <= 0 or self.batch < 1:
            raise ValueError(
                f"epochs and batch must be positive, got {self.epochs} and {self.batch}"
            )

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of one step of many."""
        rise = max(1.0, self.warmup * steps)
        return self.peak_lr * min((step + 1) / rise, (steps - step) / max(1.0, steps - rise))


COMPILED_FROM = 300_000
"""Images of a training from which compiling its network pays (20 to 40 s)."""

LAST = 0.25
"""Share of a training's steps from which the loss that it ends at is taken."""

ROOM_BYTES = 2**29
"""That a teacher's answers may fill: those of 250 epochs of CIFAR-10."""


class Teacher:
    """A trained network's answers to a stream of views, each computed once.

    Students of one run see the same views, so the second student finds every answer
    there: at 12 M MACs a student, ResNet-20's forward passes would otherwise be a third
    of its training. Once they fill `room` bytes, further ones are computed every time.
    """

    def __init__(
        self, network: nn.Module, views: Views, compute: Compute, room: int = ROOM_BYTES
    ) -> None:
        self.views = views
        self._room = room
        self.network = compute.place(network).eval()
        self._compute = compute
        self._answers: dict[tuple[int, int, int], Outputs] = {}

    def answers(self, epoch: int, images: torch.Tensor, places: slice) -> Outputs:
        """Return the outputs, float32, for one batch of one epoch."""
        key = (epoch, places.start, places.stop)
        if key in self._answers:
            return self._answers[key]
        with torch.no_grad(), self._compute.precision():
            answers = as_float(self.network(images))
        size = sum(x.nbytes for x in as_list(answers))
        if size <= self._room:
            self._room -= size
            self._answers[key] = answers
        return answers


def descent(network: nn.Module, lr: float, weight_decay: float) -> torch.optim.SGD:
    """Return stochastic gradient descent with Nesterov momentum 0.9.

    Args:
        network: whose parameters it changes.
        lr: the first learning rate.
        weight_decay: of parameters of two or more dimensions; norms and biases have none.
    """
    decayed = [p for p in network.parameters() if p.ndim > 1]
    plain = [p for p in network.parameters() if p.ndim <= 1]
    return torch.optim.SGD(
        [
            {"params": decayed, "weight_decay": weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ],
        lr=lr,
        momentum=0.9,
        nesterov=True,
    )


def fit(
    network: nn.Module,
    views: Views,
    recipe: Recipe,
    compute: Compute,
    task: Task,
    *,
    teacher: Teacher | None = None,
    first_epoch: int = 0,
    checkpoint: Path | None = None,
    progress: Callable[[float, float], None] | None = None,
) -> float | None:
    """Train a network in place; return the loss that it ends at.

    Without a teacher the loss is the task's loss with the targets. With one it is

        (1 - h) T^2 KL(teacher || student, both softened by T) + h loss(student, targets)

    with temperature T and hard weight h of the recipe (Hinton et al., arXiv:1503.02531), the
    divergence being the task's.

    Where memory is too short for what a step keeps, its images go through the network in parts
    (`gensynth.data.passes.parts_of_a_step`), of sizes that follow from the teacher where there is
    one, so that all its students ask for the same answers. The gradient is that of the whole batch,
    but for norms, which take their statistics of a part.

    Args:
        network: trained in place, left in evaluation mode.
        views: the training images.
        recipe: how long and how.
        compute: device, precision, compilation.
        task: what for.
        teacher: whose views must be `views`.
        first_epoch: number of the first epoch, for other views than those of epoch 0.
        checkpoint: a file that takes weights and momentum after every epoch; if it exists,
            training goes on from it, to the same end as without the interruption.
        progress: called with (share of steps done, mean loss of the last 50 steps or fewer).

    Returns:
        the loss with the targets, mean over the last quarter of the steps: of images that are new
        to the network, if there is one epoch. None if a checkpoint held all of them.

    Raises:
        RunError: if the checkpoint cannot be written; the last one is as it was.
    """
    compute.place(network)
    optimizer = descent(network, recipe.peak_lr, recipe.weight_decay)
    steps_an_epoch = len(views) // recipe.batch
    if steps_an_epoch == 0:
        raise DataError(
            f"training needs at least one batch of images, got {len(views)} images and "
            f"batches of {recipe.batch}"
        )
    steps = max(1, round(recipe.epochs * steps_an_epoch))
    count = _parts(network if teacher is None else teacher.network, recipe.batch, compute)
    step = resume(checkpoint, network, optimizer) if checkpoint else 0
    forward = compute.compiled(network) if recipe.compiled else network
    network.train()
    losses: list[float] = []
    ends: list[torch.Tensor] = []
    last: list[torch.Tensor] = []
    while step < steps:
        passed = step // steps_an_epoch
        epoch = first_epoch + passed
        with _dropout_of(views.seed, epoch):
            left = min(steps - passed * steps_an_epoch, steps_an_epoch)
            parts = views.epoch(epoch, recipe.batch // count, limit=left * count)
            for place, batch in enumerate(parts):
                if place % count == 0:
                    optimizer.zero_grad(set_to_none=True)
                    ends = []
                with compute.precision():
                    outputs = as_float(forward(batch.images))
                hard = task.loss(outputs, batch.targets)
                if step >= min(steps - 1, (1 - LAST) * steps):
                    last.append(hard.detach())
                if teacher is None:
                    loss = hard
                else:
                    answers = teacher.answers(epoch, batch.images, batch.places)
                    divergence = task.divergence(outputs, answers, recipe.temperature)
                    soft = recipe.temperature**2 * divergence
                    loss = (1 - recipe.hard_weight) * soft + recipe.hard_weight * hard
                (loss / count).backward()  # type: ignore[no-untyped-call]
                ends.append(loss.detach())
                if len(ends) < count:
                    continue
                for group in optimizer.param_groups:
                    group["lr"] = recipe.rate(step, steps)
                optimizer.step()
                step += 1
                if progress is not None:
                    losses = [*losses[-49:], float(torch.stack(ends).mean())]
                    progress(step / steps, sum(losses) / len(losses))
        if checkpoint is not None:
            keep(checkpoint, network, optimizer, step)
        give_back_memory()
    network.eval()
    return float(torch.stack(last).mean()) if last else None


def _parts(whole: nn.Module, batch: int, compute: Compute) -> int:
    """Return in how many parts a step's images go through a network, or through a smaller one."""
    if not isinstance(whole, Network):  # of which nobody knows what it keeps
        return 1
    return parts_of_a_step(all_elements(whole.graph), batch, compute.memory_bytes)


@contextlib.contextmanager
def _dropout_of(seed: int, epoch: int) -> Iterator[None]:
    """Draw dropout within the body as a function of seed and epoch, as views are drawn."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(int(stream(seed, "dropout", epoch).integers(2**62)))
        yield
