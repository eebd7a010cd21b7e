"""Weights as people have them, read into a module.

    read_checkpoint    a file -> tensors by name: safetensors, or .pt and .pth read as tensors alone
    load_weights       a file -> a trained module; all must fit
    begin_from         tensors -> a module that is trained from there; a head of other classes stays

A checkpoint holds the weights under some name beside others, and their names begin with what was
put around the network in training: both are looked through. Nothing in a file is executed.
"""

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from gensynth.errors import PrototypeError
from gensynth.network import ties
from gensynth.outside import WEIGHTS_BYTES, check_plain

WRAPPERS = (
    "state_dict", "model_state_dict", "model", "net", "network", "weights", "params", "module",
    "ema", "model_ema", "ema_state_dict", "state_dict_ema",
)  # fmt: skip
"""Where a checkpoint keeps the weights, the first that it has; those being averaged come last."""
AROUND = ("module", "_orig_mod")
"""What DataParallel and torch.compile put into names."""
COUNTER = "num_batches_tracked"


def load_weights(module: nn.Module, path: Path, *, name: str) -> None:
    """Fill a trained module from a file; nothing in the file is executed.

    A tensor that the module has under several names may have any of them in the file, as
    `safetensors.torch.save_model` writes it.

    Raises:
        PrototypeError: if the file cannot be read or does not fit the module.
    """
    begin_from(module, read_checkpoint(path, name=name), str(path), name=name, train=False)


def begin_from(
    module: nn.Module, tensors: Mapping[str, Tensor], source: str, *, name: str, train: bool
) -> tuple[str, ...]:
    """Fill a module from tensors by name.

    Args:
        module: takes them in its own precision.
        tensors: by the module's names, or by these with something put before them.
        source: where they come from, for the message.
        name: of the prototype.
        train: whether it is trained from there: then a head of another number of classes stays.

    Returns:
        the names of the tensors that stayed as they were.

    Raises:
        PrototypeError: if they do not fit.
    """
    own = module.state_dict()
    lazy = {key for key, tensor in own.items() if nn.parameter.is_lazy(tensor)}
    found = _renamed(tensors, own)
    try:
        found = (
            found if lazy else ties.named(module, found)
        )  # what is not there yet is one with none
    except ValueError as error:
        raise PrototypeError(f"{source} does not fit prototype '{name}': it {error}") from error
    missing = sorted(key for key in own.keys() - found.keys() if not key.endswith(COUNTER))
    surplus = sorted(found.keys() - own.keys())
    wrong = sorted(
        key for key in own.keys() & found.keys() - lazy if own[key].shape != found[key].shape
    )
    head = _head(wrong, own, found) if not missing and not surplus else ()
    if head and not train:
        theirs, ours = (tuple(tensors[head[0]].shape) for tensors in (found, own))
        raise PrototypeError(
            f"{source} tells {theirs[0]} classes apart, and prototype '{name}' {ours[0]} "
            f"({head[0]} is {theirs}, not {ours}); add --train-prototype to go on from all its "
            "other weights"
        )
    if missing or surplus or (wrong and not head):
        faults = [f"lacks {key}" for key in missing[:2]]
        faults += [f"has the unknown {key}" for key in surplus[:2]]
        faults += [
            f"has {key} as {tuple(found[key].shape)}, not {tuple(own[key].shape)}"
            for key in wrong[:2]
        ]
        raise PrototypeError(f"{source} does not fit prototype '{name}': it {'; '.join(faults)}")
    module.load_state_dict({k: t for k, t in found.items() if k not in head}, strict=False)
    return head


def read_checkpoint(path: Path, *, name: str) -> dict[str, Tensor]:
    """Return the tensors of a file, by name.

    Raises:
        PrototypeError: if it is absent, no such file, or holds more than tensors.
    """
    if path.is_dir():
        raise PrototypeError(
            f"the weights of prototype '{name}' must be one file, and {path} is a folder; name "
            "the file in it"
        )
    try:
        check_plain(path, WEIGHTS_BYTES)
        with path.open("rb") as file:
            begin = file.read(9)
        # A safetensors file begins with the length of its JSON, in eight bytes.
        return load_file(path) if begin[8:] == b"{" else _unpickled(path)
    except FileNotFoundError as error:
        raise PrototypeError(f"no weights file {path} for prototype '{name}'") from error
    except SafetensorError as error:
        raise PrototypeError(
            f"{path} is not a whole safetensors file ({error}); copy or save it anew"
        ) from error
    except OSError as error:
        raise PrototypeError(f"{path} cannot be read: {error.strerror}") from error


def _unpickled(path: Path) -> dict[str, Tensor]:
    """Return the weights in a checkpoint that torch.save wrote, read as tensors alone."""
    try:
        with warnings.catch_warnings():  # about pickles of another protocol, which are refused
            warnings.simplefilter("ignore")
            held = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # a damaged pickle raises what it likes
        raise PrototypeError(
            f"{path} is neither a safetensors file nor a checkpoint of tensors alone; a pickled "
            "object could run code when read, so it is refused: save the weights with "
            "torch.save(model.state_dict(), FILE) or safetensors.torch.save_file"
        ) from error
    while isinstance(held, Mapping):
        inner = [held[key] for key in WRAPPERS if isinstance(held.get(key), Mapping)]
        if not inner:
            break
        held = inner[0]
    tensors = {k: t for k, t in held.items() if isinstance(t, Tensor)} if _by_name(held) else {}
    if not tensors:
        raise PrototypeError(
            f"{path} has no weights by name: it holds {_kind(held)}; save them with "
            "torch.save(model.state_dict(), FILE)"
        )
    return tensors


def _by_name(held: Any) -> bool:
    return isinstance(held, Mapping) and all(isinstance(key, str) for key in held)


def _kind(held: Any) -> str:
    if _by_name(held):
        return f"{', '.join(list(held)[:4])}" if held else "nothing"
    return f"a {type(held).__name__}"


def _renamed(tensors: Mapping[str, Tensor], own: Iterable[str]) -> dict[str, Tensor]:
    """Return tensors under a module's names, without what was put before or into them."""
    wanted = set(own)
    ways = (dict(tensors), _bare(tensors), _without_prefix(tensors))
    return max(ways, key=lambda found: len(wanted & found.keys()))  # the first of equal ones


def _bare(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leave out what was put around modules, and the counter of an average."""
    return {
        ".".join(part for part in key.split(".") if part not in AROUND): tensor
        for key, tensor in tensors.items()
        if key != "n_averaged"
    }


def _without_prefix(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leave out the first word, where all names begin with the same, such as "model"."""
    bare = _bare(tensors)
    words = {key.partition(".")[0] for key in bare}
    return {k.partition(".")[2]: t for k, t in bare.items()} if len(words) == 1 else bare


def _head(
    wrong: list[str], own: Mapping[str, Tensor], found: Mapping[str, Tensor]
) -> tuple[str, ...]:
    """Return the tensors that differ in their first dimension alone, all alike: in classes."""
    if not all(own[key].ndim and own[key].shape[1:] == found[key].shape[1:] for key in wrong):
        return ()
    counts = {(len(own[key]), len(found[key])) for key in wrong}
    return tuple(wrong) if len(counts) == 1 else ()
