"""Where a training is: weights, momentum and step, kept after every epoch and taken up again."""

import json
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import nn
from typing_extensions import TypedDict

from gensynth import atomic_files
from gensynth.errors import RunError
from gensynth.network import ties
from gensynth.network.layers import COUNT
from gensynth.outside import WEIGHTS_BYTES, Form, Natural, check_plain


class _Progress(TypedDict):
    """What a checkpoint says beside its tensors; the second is JSON."""

    step: Annotated[str, Field(pattern=r"^\d{1,18}$")]
    calls: str


_PROGRESS: Form[_Progress] = Form(_Progress)
_CALLS: Form[dict[str, int]] = Form(dict[str, Natural])


def keep(path: Path, network: nn.Module, optimizer: torch.optim.SGD, step: int) -> None:
    """Keep where a training is after `step` steps.

    Raises:
        RunError: if the file cannot be written; the last one is as it was.
    """
    state = ties.once(network.state_dict())
    tensors = {f"network.{k}": v.contiguous() for k, v in state.items()}
    calls = {
        name: int(norm.num_batches_tracked)
        for name, norm in network.named_modules()
        if norm._buffers.get(COUNT) is not None and COUNT in norm._non_persistent_buffers_set
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
    """Put a network and its optimiser where a training was left; return the step, 0 without.

    Raises:
        RunError: if what is kept is damaged, or another network's.
    """
    if not path.exists():
        return 0
    try:
        check_plain(path, WEIGHTS_BYTES)
        with safe_open(path, framework="pt") as file:
            progress = _PROGRESS.check(file.metadata() or {})
        step, calls = int(progress["step"]), _CALLS.read(progress["calls"])
        tensors = load_file(path)
        kept = {
            k.removeprefix("network."): v for k, v in tensors.items() if k.startswith("network.")
        }
        network.load_state_dict(ties.named(network, kept))
        for name, count in calls.items():  # of norms that average over all calls alike
            norm: Any = network.get_submodule(name)
            norm.num_batches_tracked.fill_(count)
        for index, parameter in enumerate(_parameters(optimizer)):
            if f"momentum.{index}" not in tensors:
                continue
            momentum = torch.empty_like(parameter)  # keeps channels last
            momentum.copy_(tensors[f"momentum.{index}"])
            optimizer.state[parameter]["momentum_buffer"] = momentum
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from error
    except (SafetensorError, ValueError, KeyError, AttributeError, RuntimeError) as error:
        # torch says of another network's tensors and modules with the last two.
        raise RunError(
            f"the checkpoint {path} is damaged, or another network's; remove it to train from the "
            f"beginning: {error}"
        ) from error
    return step


def _parameters(optimizer: torch.optim.SGD) -> list[torch.Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]
