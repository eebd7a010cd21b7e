"""Where a training is: weights, momentum and step, kept after every epoch and taken up again."""

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import nn

from gensynth import atomic_files
from gensynth.errors import RunError
from gensynth.network import ties


def keep(path: Path, network: nn.Module, optimizer: torch.optim.SGD, step: int) -> None:
    """Keep where a training is after `step` steps.

    Raises:
        RunError: if the file cannot be written; the last one is as it was.
    """
    state = ties.once(network.state_dict())
    tensors = {f"network.{k}": v.contiguous() for k, v in state.items()}
    calls = {
        k: m.calls for k, m in network.named_modules() if type(getattr(m, "calls", None)) is int
    }
    for index, parameter in enumerate(_parameters(optimizer)):
        if parameter in optimizer.state:  # not a part that nothing returns
            momentum = optimizer.state[parameter]["momentum_buffer"]
            tensors[f"momentum.{index}"] = momentum.contiguous()
    progress = {"step": str(step), "calls": json.dumps(calls)}
    try:
        atomic_files.write_bytes(path, save(tensors, metadata=progress))
    except OSError as error:
        raise RunError(
            f"the checkpoint {path} could not be written, {atomic_files.reason(error)}; what was "
            "kept before it is whole: make room and go on with --resume"
        ) from error


def resume(path: Path, network: nn.Module, optimizer: torch.optim.SGD) -> int:
    """Take up a training; return the steps that are done, 0 where nothing is kept."""
    if not path.exists():
        return 0
    with safe_open(path, framework="pt") as file:
        step = int(file.metadata()["step"])
        calls = json.loads(file.metadata()["calls"])
    tensors = load_file(path)
    kept = {k.removeprefix("network."): v for k, v in tensors.items() if k.startswith("network.")}
    network.load_state_dict(ties.named(network, kept))
    for name, count in calls.items():  # of norms that average over all calls alike
        network.get_submodule(name).calls = count
    for index, parameter in enumerate(_parameters(optimizer)):
        if f"momentum.{index}" not in tensors:
            continue
        momentum = torch.empty_like(parameter)  # keeps channels last
        momentum.copy_(tensors[f"momentum.{index}"])
        optimizer.state[parameter]["momentum_buffer"] = momentum
    return step


def _parameters(optimizer: torch.optim.SGD) -> list[torch.Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]
