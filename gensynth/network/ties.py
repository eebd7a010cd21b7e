"""One tensor under several names: what PyTorch ties by assigning one parameter to two modules.

    aliases      which names are further ones of a tensor
    once         each tensor under its first name, as a file keeps it
    named        what a file keeps, under all names of a module
    check_views  refuses parameters that share a part of their memory

Two tensors are one if they lie at the same place in memory with the same shape and strides.
"""

from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from gensynth.errors import PrototypeError


def aliases(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Return, for every further name of a tensor, its first one."""
    first: dict[object, str] = {}
    found = {name: first.setdefault(identity(tensor), name) for name, tensor in tensors.items()}
    return {name: one for name, one in found.items() if name != one}


def once(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return each tensor under its first name alone."""
    further = aliases(tensors)
    return {name: tensor for name, tensor in tensors.items() if name not in further}


def named(module: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a file's tensors under every name that a module has for them.

    Args:
        module: whose state dict names them.
        tensors: for a tensor of several names, at least one of them.

    Raises:
        ValueError: if two names of one tensor have different values.
    """
    own = module.state_dict()
    groups: dict[str, list[str]] = defaultdict(list)
    for name, first in aliases(own).items():
        groups[first].append(name)
    complete = dict(tensors)
    for first, further in groups.items():
        present = [name for name in (first, *further) if name in tensors]
        for name in present[1:]:
            if not torch.equal(tensors[present[0]], tensors[name]):
                raise ValueError(
                    f"has different values for {present[0]} and {name}, which are one tensor"
                )
        if present:
            complete |= dict.fromkeys((first, *further), tensors[present[0]])
    return complete


def identity(tensor: Tensor) -> object:
    """Return what two names of one tensor have in common, and no other tensor has."""
    if tensor.numel() == 0 or tensor.data_ptr() == 0:  # it lies nowhere
        return id(tensor)
    return tensor.device, tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride()


def check_views(module: nn.Module) -> None:
    """Refuse a parameter that is a view of another one, such as its transpose or a slice.

    Each would be trained by itself, and what they share would be lost.

    Raises:
        PrototypeError: naming both.
    """
    by_storage: dict[int, list[tuple[str, Tensor]]] = defaultdict(list)
    for name, tensor in once(module.state_dict(keep_vars=True)).items():
        if tensor.numel() and tensor.data_ptr():
            by_storage[tensor.untyped_storage().data_ptr()].append((name, tensor))
    for together in by_storage.values():
        for number, (name, tensor) in enumerate(together):
            for other, earlier in together[:number]:
                trained = isinstance(tensor, nn.Parameter) or isinstance(earlier, nn.Parameter)
                if trained and _overlap(earlier, tensor):
                    raise PrototypeError(
                        f"{name} {tuple(tensor.shape)} is a view of {other} "
                        f"{tuple(earlier.shape)}: a tensor must be one with another or share no "
                        "memory with it; clone it, or use the one tensor in both places"
                    )


def _overlap(first: Tensor, second: Tensor) -> bool:
    return bool(torch.isin(_bytes(first), _bytes(second)).any())


def _bytes(tensor: Tensor) -> Tensor:
    """Return the address of every element: (elements,)."""
    places = torch.zeros((), dtype=torch.long)
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        places = places[..., None] + torch.arange(size) * stride
    return tensor.data_ptr() + places.flatten() * tensor.element_size()
