"""Torch-Pruning on one of the networks: half of the channels, by its own recipe.

It is needed for this table only, and not installed with gensynth:

    pip install --no-deps torch-pruning==1.6.1
    python -m experiments.families.rival resnet

It is told which layers make the outputs, since it would cut those too, and nothing else, as
for a network that its user has not taken apart by hand. It handles a network if it removes
channels and what is left runs and gives outputs of the prototype's shapes; whether their
values are right is not asked. Prints one line of JSON.

Times are of `time.thread_time`: under a limit on its processor time, a process's own clock
only ticks every 4 ms.
"""

import copy
import json
import sys
import time
import warnings
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from experiments.families.networks import network, output_layers
from gensynth.trace import trace

VERSION = "1.6.1"
RUNS = 3
COUNTED = frozenset("convolution _convolution addmm mm".split())


def installed() -> bool:
    """Return whether the rival is here, in the version that is compared."""
    try:
        return metadata.version("torch-pruning") == VERSION
    except metadata.PackageNotFoundError:
        return False


def half(module: nn.Module, images: tuple[Tensor, ...], outputs: list[str]) -> nn.Module:
    """Return the network with half of its channels, as Torch-Pruning cuts it.

    Args:
        module: is cut itself.
        images: one batch for each input.
        outputs: paths of the layers that make the outputs.
    """
    import torch_pruning as tp

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pruner = tp.pruner.BasePruner(
            module,
            images if len(images) > 1 else images[0],
            importance=tp.importance.MagnitudeImportance(p=2),
            pruning_ratio=0.5,
            ignored_layers=[module.get_submodule(path) for path in outputs],
        )
        pruner.step()
    return module


def judge(name: str) -> dict[str, Any]:
    """Return what came of a network.

    Returns:
        "fault" in a few words, "" if the network is handled; then "macs_left", the share of
        the MACs that the pruned network has, and "cpu_ms" of each of some runs.
    """
    module, images = network(name)
    outputs = output_layers(trace(module, images, name=name))
    cpu_ms = []
    try:
        for _ in range(RUNS):
            pruned = copy.deepcopy(module)
            start = time.thread_time()
            half(pruned, images, outputs)
            cpu_ms.append(1e3 * (time.thread_time() - start))
    except Exception as error:  # noqa: BLE001 - whatever it raises is the result
        return {"fault": f"{type(error).__name__} while pruning", "message": str(error)}
    try:
        left = macs(pruned, images) / macs(module, images)
        shapes = shapes_of(pruned, images)
    except Exception as error:  # noqa: BLE001
        return {"fault": f"{type(error).__name__} when run", "message": str(error)}
    fault = "nothing pruned" if left == 1 else ""
    if shapes != shapes_of(module, images):
        fault = "outputs of another shape"
    return {"fault": fault, "macs_left": left, "cpu_ms": cpu_ms}


def macs(module: nn.Module, images: tuple[Tensor, ...]) -> int:
    """Return what torch counts for convolutions and linear layers."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*images)
    counts = counter.get_flop_counts()["Global"]
    return int(sum(n for operator, n in counts.items() if operator.__name__ in COUNTED)) // 2


def shapes_of(module: nn.Module, images: tuple[Tensor, ...]) -> list[tuple[int, ...]]:
    """Return the shapes of a network's outputs."""
    with torch.no_grad():
        found = module(*images)
    if isinstance(found, Mapping):
        found = tuple(found.values())
    return [tuple(x.shape) for x in (found if isinstance(found, (tuple, list)) else [found])]


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(judge(sys.argv[1])))
