"""A module as training left it, made plain: the same numbers without what was put around them.

    DataParallel, torch.compile, averages of weights      the module within
    weight_norm, spectral_norm, parametrizations, masks   the weight that they give, as it is now
    lazy layers                                           made for the images that they will see
    half and double precision                             float32
    modules in a plain list or dictionary                 a ModuleList, so that they have names

What is compiled by torch.jit has no modules of Python's left and is refused.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune
from torch.nn.utils.spectral_norm import SpectralNorm, remove_spectral_norm
from torch.nn.utils.weight_norm import WeightNorm, remove_weight_norm

from gensynth.errors import PrototypeError

Shape = tuple[int, ...]

_AROUND = {
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "AveragedModel": "module",
    "ModelEmaV2": "module",
    "ModelEmaV3": "module",
    "OptimizedModule": "_orig_mod",
}
"""What stands around a network by its type's name, and where that keeps it."""


def copied(module: nn.Module) -> nn.Module:
    """Return a copy of a module, of one too that holds computed tensors, as masked weights are."""
    computed = {
        id(value): value.detach().clone()
        for inner in module.modules()
        for value in vars(inner).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    return copy.deepcopy(module, computed)


def unwrapped(module: nn.Module, *, name: str) -> nn.Module:
    """Return a network without what stands around it; its weights may be those of a file.

    Raises:
        PrototypeError: if torch.jit has compiled it.
    """
    while (place := _AROUND.get(type(module).__name__)) is not None:
        module = getattr(module, place)
    if any(isinstance(inner, torch.jit.ScriptModule) for inner in module.modules()):
        raise PrototypeError(
            f"prototype '{name}' is compiled by torch.jit, which leaves nothing to look into; give "
            "the module that was compiled"
        )
    for inner in list(module.modules()):
        inner_name = {type(m).__name__: m for m in inner.children()}
        for child in inner_name.keys() & _AROUND.keys():
            _replace(inner, inner_name[child])
        _register(inner)
    return module


def plain(module: nn.Module, shapes: Sequence[Shape], *, name: str) -> nn.Module:
    """Make a module plain, in place, in evaluation mode; what it computes stays what it is.

    Args:
        module: as `unwrapped` returns it.
        shapes: of one image for each of its inputs, the batch left out.
        name: of the prototype, for a message.

    Raises:
        PrototypeError: if lazy layers cannot be made, or something in it cannot be folded.
    """
    module.eval()
    for inner in list(module.modules()):
        _fold(inner, name)
    if any(nn.parameter.is_lazy(t) for t in (*module.parameters(), *module.buffers())):
        try:
            with torch.no_grad():
                module(*[torch.zeros(2, *shape) for shape in shapes])
        except Exception as error:  # a user's code may raise anything
            raise PrototypeError(
                f"prototype '{name}' has lazy layers, and they cannot be made for inputs of "
                f"{' and '.join(map(str, shapes))}: {(str(error) or 'no message').splitlines()[0]}"
            ) from error
    return module.float()


def _replace(outer: nn.Module, around: nn.Module) -> None:
    """Put the module within in the place of what stands around it."""
    for key, child in outer.named_children():
        if child is around:
            outer._modules[key] = getattr(child, _AROUND[type(child).__name__])


def _register(module: nn.Module) -> None:
    """Give names to modules that a plain list or dictionary holds, so that they have weights."""
    for key, value in list(vars(module).items()):
        held: Any = None
        if isinstance(value, list | tuple) and value and _are_modules(value):
            held = nn.ModuleList(value)
        elif isinstance(value, dict) and value and _are_modules(value.values()):
            held = nn.ModuleDict(value) if all(isinstance(k, str) for k in value) else None
        if held is not None and key not in ("_modules", "_parameters", "_buffers"):
            known = set(module.modules())
            if not known.issuperset(held.children()):
                del module.__dict__[key]
                module._modules[key] = held
                for inner in held.children():
                    for own in inner.modules():
                        _register(own)


def _are_modules(values: Any) -> bool:
    return all(isinstance(value, nn.Module) for value in values)


def _fold(module: nn.Module, name: str) -> None:
    """Leave one module the weights that it computes with now."""
    try:
        if parametrize.is_parametrized(module):
            _unparametrize(module)
        for hook in list(module._forward_pre_hooks.values()):
            if isinstance(hook, WeightNorm):
                remove_weight_norm(module, hook.name)
            elif isinstance(hook, SpectralNorm):
                remove_spectral_norm(module, hook.name)
            elif isinstance(hook, prune.BasePruningMethod):
                prune.remove(module, hook._tensor_name)  # type: ignore[no-untyped-call]
    except Exception as error:  # a parametrization may be the user's own
        raise PrototypeError(
            f"prototype '{name}' has a {type(module).__name__} whose weights are computed, and "
            f"they cannot be made constant: {(str(error) or 'no message').splitlines()[0]}; do it "
            "in its factory"
        ) from error


def _unparametrize(module: nn.Module) -> None:
    """Give a module its own class and its weights back.

    torch's `remove_parametrizations` takes the weight from the class, which a copy shares with
    the user's own module.
    """
    held: Any = module.parametrizations
    found = {tensor: getattr(module, tensor).detach().clone() for tensor in held}
    trained = {tensor: any(p.numel() for p in held[tensor].parameters()) for tensor in held}
    del module._modules["parametrizations"]
    module.__class__ = type(module).__bases__[0]
    for tensor, value in found.items():
        if trained[tensor]:
            module._parameters[tensor] = nn.Parameter(value)
        else:
            module._buffers[tensor] = value
