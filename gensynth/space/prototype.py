"""The prototype phi: a trained network of the user's, read as a graph.

A `Prototype` holds what the rest needs of it: its graph, its weights as tensors, the
freedom its channels have. The user's module itself is only asked for its structure.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from gensynth.errors import PrototypeError
from gensynth.graph.graph import Graph
from gensynth.network import ties
from gensynth.network.module import Network, build, opaque_modules
from gensynth.outside import WEIGHTS_BYTES, check_plain
from gensynth.space.coupling import Coupling, couple
from gensynth.trace import trace


@dataclass(frozen=True)
class Prototype:
    """A trained network and its freedom.

    Attributes:
        graph: what it computes.
        weights: its state dict, on the processor; a tensor of several names under one of them.
        coupling: which channels and blocks can go.
        opaque: the user's own modules, by the name of the vertex they stand at.
    """

    graph: Graph
    weights: dict[str, Tensor]
    coupling: Coupling
    opaque: dict[str, nn.Module]

    def network(self) -> Network:
        """Return a network that computes what the prototype does, bit for bit."""
        return build(self.graph, self.weights, opaque=self.opaque)


def read_prototype(
    module: nn.Module,
    shape: tuple[int, int, int],
    *,
    name: str,
    outputs: tuple[str, ...] = (),
) -> Prototype:
    """Read a trained module as a prototype.

    Args:
        module: left as it is.
        shape: (channels, height, width) of its images.
        name: what to call it.
        outputs: see `gensynth.trace.trace`.

    Raises:
        PrototypeError: if it cannot be traced, does not take such images, or has no width that
            could be another.
    """
    graph = trace(module, torch.zeros(1, *shape), name=name, outputs=outputs)
    coupling = couple(graph)
    if not coupling.groups:
        raise PrototypeError(
            f"prototype '{name}' has no width that can change: every channel is tied to an "
            "input, an output or a part that cannot be looked into; `gensynth inspect` says why"
        )
    weights = {
        key: tensor.detach().clone()
        for key, tensor in module.state_dict().items()
        if key not in graph.tied_keys
    }
    return Prototype(graph, weights, coupling, opaque_modules(graph, module))


def load_weights(module: nn.Module, path: Path, *, name: str) -> None:
    """Fill a module from a safetensors file; nothing in the file is executed.

    A tensor that the module has under several names may have any of them in the file, as
    `safetensors.torch.save_model` writes it.

    Raises:
        PrototypeError: if the file is no safetensors file or does not fit the module.
    """
    if path.is_dir():
        raise PrototypeError(
            f"the weights of prototype '{name}' must be one safetensors file, and {path} is a "
            "folder; name the file in it"
        )
    try:
        check_plain(path, WEIGHTS_BYTES)
        tensors = load_file(path)
    except FileNotFoundError as error:
        raise PrototypeError(f"no weights file {path} for prototype '{name}'") from error
    except (SafetensorError, OSError, KeyError) as error:  # KeyError: a type torch has not
        raise PrototypeError(
            f"{path} is not a safetensors file ({error}); a pickled checkpoint could run code "
            "when read, so it is refused: save its state dict with safetensors.torch.save_file"
        ) from error
    try:
        tensors = ties.named(module, tensors)
    except ValueError as error:
        raise PrototypeError(f"{path} does not fit prototype '{name}': it {error}") from error
    own = module.state_dict()
    counters = {key for key in own if key.endswith("num_batches_tracked")}
    missing = sorted(own.keys() - tensors.keys() - counters)
    surplus = sorted(tensors.keys() - own.keys())
    wrong = sorted(
        key for key in own.keys() & tensors.keys() if own[key].shape != tensors[key].shape
    )
    if missing or surplus or wrong:
        faults = [f"lacks {key}" for key in missing[:2]]
        faults += [f"has the unknown {key}" for key in surplus[:2]]
        faults += [
            f"has {key} as {tuple(tensors[key].shape)}, not {tuple(own[key].shape)}"
            for key in wrong[:2]
        ]
        raise PrototypeError(f"{path} does not fit prototype '{name}': it {'; '.join(faults)}")
    module.load_state_dict(tensors, strict=False)
