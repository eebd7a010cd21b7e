"""A long training that is stopped and taken up again, as often as one likes.

`train` keeps, after every epoch, the network's tensors, the momentum and the learning curve
in one safetensors file, and the same call goes on from it. The momentum is kept in bfloat16, to
make the file small, and the training itself goes on with the rounded momentum: so on one
machine, with the same versions and threads, an interrupted training ends with the weights of
one that was not.

Nothing here knows what is trained, or on what: the caller gives batches, loss and measure.
"""

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import nn

from gensynth import atomic_files
from gensynth.network.compute import Compute
from gensynth.network.outputs import Outputs, as_float
from gensynth.training.fit import descent

Batches = Callable[[int], Iterable[tuple[torch.Tensor, Any]]]
"""Number of an epoch -> its (inputs, targets)."""
Loss = Callable[[Outputs, Any], torch.Tensor]
"""(outputs in float32, targets) -> scalar."""


@dataclass(frozen=True)
class Schedule:
    """Stochastic gradient descent with Nesterov momentum 0.9, its rate a half cosine.

    Attributes:
        epochs: passes over the training images.
        batch: images a step.
        peak_lr: largest rate, reached after `warmup_epochs` of linear rise; from there the
            rate follows a half cosine to zero.
        warmup_epochs: length of the rise.
        weight_decay: L2 penalty on weights of two or more dimensions; norms and biases have none.
        measured_every: epochs from one measurement to the next; the last is always measured.
        compiled: whether to train through `torch.compile` where there is a C++ compiler.
    """

    epochs: int
    batch: int
    peak_lr: float
    warmup_epochs: int
    weight_decay: float
    measured_every: int
    compiled: bool

    def rate(self, epochs: float) -> float:
        """Return the learning rate after so many epochs, a fraction within one."""
        if epochs < self.warmup_epochs:
            return self.peak_lr * epochs / self.warmup_epochs
        share = (epochs - self.warmup_epochs) / (self.epochs - self.warmup_epochs)
        return self.peak_lr * (1 + math.cos(math.pi * share)) / 2


def train(
    network: nn.Module,
    batches: Batches,
    steps: int,
    schedule: Schedule,
    compute: Compute,
    *,
    state: Path,
    curve_file: Path,
    loss: Loss,
    measure: Callable[[nn.Module], Mapping[str, Any]],
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Train a network in place, from its state if there is one, to the end of the schedule.

    Args:
        network: left in evaluation mode.
        batches: the same number of an epoch must give the same batches again.
        steps: batches an epoch.
        schedule: how long and at what rate.
        compute: device, precision, compilation.
        state: the file that takes the state after every epoch.
        curve_file: the file that takes the learning curve after every epoch, as JSON lines.
        loss: of one batch.
        measure: gives what an epoch's entry in the learning curve says of the network.
        say: takes a line of progress.

    Returns:
        the learning curve, an entry an epoch: "epoch", mean "loss" of its steps, wall time
        "train_s", which other work on the machine and pauses lengthen, the processor time
        "cpu_s" of all threads, and, where measured, what `measure` gave.

    Raises:
        SystemExit: if the state is of another schedule.
    """
    compute.place(network)
    optimizer = descent(network, schedule.peak_lr, schedule.weight_decay)
    curve = _take_up(state, network, optimizer, schedule) if state.exists() else []
    if len(curve) == schedule.epochs:
        network.eval()
        return curve
    if schedule.compiled and not compute.compiler:
        say("no C++ compiler or no headers of Python: training is not compiled, and slower")
    forward = compute.compiled(network) if schedule.compiled else network
    start, first = time.perf_counter(), len(curve)
    for epoch in range(first, schedule.epochs):
        began, cpu_began = time.perf_counter(), time.process_time()
        network.train()
        total = torch.zeros(())
        for step, (inputs, targets) in enumerate(batches(epoch)):
            for group in optimizer.param_groups:
                group["lr"] = schedule.rate(epoch + (step + 1) / steps)
            with compute.precision():
                outputs = forward(inputs)
            value = loss(as_float(outputs), targets)
            optimizer.zero_grad(set_to_none=True)
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += value.detach().cpu()
        entry: dict[str, Any] = {
            "epoch": epoch + 1,
            "loss": round(float(total) / steps, 4),
            "train_s": round(time.perf_counter() - began, 1),
            "cpu_s": round(time.process_time() - cpu_began, 1),
        }
        if (epoch + 1) % schedule.measured_every == 0 or epoch + 1 == schedule.epochs:
            network.eval()
            entry.update(measure(network))
        curve.append(entry)
        _keep(state, network, optimizer, schedule, curve)
        lines = "".join(json.dumps(entry) + "\n" for entry in curve)
        atomic_files.write_bytes(curve_file, lines.encode())
        done = epoch + 1 - first
        left_s = (time.perf_counter() - start) / done * (schedule.epochs - epoch - 1)
        words = "  ".join(f"{name} {value}" for name, value in entry.items())
        say(f"{words}  of {schedule.epochs}, {_duration(left_s)} left")
    network.eval()
    return curve


def _duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"


def _keep(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.SGD,
    schedule: Schedule,
    curve: list[dict[str, Any]],
) -> None:
    tensors = {f"network.{k}": v.contiguous() for k, v in network.state_dict().items()}
    for index, parameter in enumerate(_parameters(optimizer)):
        live = optimizer.state[parameter]["momentum_buffer"]
        kept = live.bfloat16()
        live.copy_(kept)
        tensors[f"momentum.{index}"] = kept.contiguous()
    facts = {"schedule": json.dumps(asdict(schedule)), "curve": json.dumps(curve)}
    atomic_files.write_bytes(path, save(tensors, metadata=facts))


def _take_up(
    path: Path, network: nn.Module, optimizer: torch.optim.SGD, schedule: Schedule
) -> list[dict[str, Any]]:
    with safe_open(path, framework="pt") as file:
        facts = file.metadata()
    if json.loads(facts["schedule"]) != asdict(schedule):
        raise SystemExit(
            f"{path} is the state of another schedule, {facts['schedule']}; name another "
            "folder, or remove it to begin anew"
        )
    tensors = load_file(path)
    network.load_state_dict(
        {k.removeprefix("network."): v for k, v in tensors.items() if k.startswith("network.")}
    )
    for index, parameter in enumerate(_parameters(optimizer)):
        momentum = torch.empty_like(parameter)  # keeps channels last
        momentum.copy_(tensors[f"momentum.{index}"])
        optimizer.state[parameter]["momentum_buffer"] = momentum
    curve: list[dict[str, Any]] = json.loads(facts["curve"])
    return curve


def _parameters(optimizer: torch.optim.SGD) -> list[torch.Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]
