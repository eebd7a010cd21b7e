"""Built-in prototype networks by name, and the trained weights that ship with them.

    REGISTRY    name -> the module:attribute that makes it
    create      a name or the user's own module:factory -> a network, untrained
    shipped     a name and a data set -> the weights file in this package, if there is one

The networks: resnet, mobilenet, shufflenet tell images apart; refinenet, which has no short name,
tells pixels apart; detectnet and small_detector find objects. Importing this package does not
import torch.
"""

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gensynth.errors import ConfigError, PrototypeError
from gensynth.references import import_object
from gensynth.suggestion import did_you_mean

if TYPE_CHECKING:
    from torch import nn

REGISTRY = {
    "detectnet": "gensynth.prototypes.detectnet:detectnet",
    "small_detector": "gensynth.prototypes.small_detector:small_detector",
    "resnet8": "gensynth.prototypes.resnet:resnet8",
    "resnet20": "gensynth.prototypes.resnet:resnet20",
    "resnet32": "gensynth.prototypes.resnet:resnet32",
    "resnet56": "gensynth.prototypes.resnet:resnet56",
    "mobilenet": "gensynth.prototypes.mobilenet:mobilenet",
    "refinenet": "gensynth.prototypes.refinenet:refinenet",
    "shufflenet": "gensynth.prototypes.shufflenet:shufflenet",
}
WEIGHTS = Path(__file__).parent / "weights"


def create(name: str, *, classes: int, channels: int) -> "nn.Module":
    """Make an untrained prototype.

    Args:
        name: a built-in name, or `module:attribute` of a factory, a class or a network.
            A factory is called with those of `classes` and `channels` that it takes.
        classes: number of classes it must tell apart.
        channels: channels of its images.

    Raises:
        ConfigError: if no such name or attribute is known; it names the nearest.
        PrototypeError: if what the factory makes is no torch module.
    """
    from torch import nn

    if name not in REGISTRY and ":" not in name:
        raise ConfigError(
            f"unknown prototype '{name}'; {did_you_mean(name, REGISTRY)}; "
            "name your own as module:factory"
        )
    found = import_object(REGISTRY.get(name, name), "prototype")
    network = found if isinstance(found, nn.Module) else _call(found, name, classes, channels)
    if not isinstance(network, nn.Module):
        raise PrototypeError(
            f"prototype '{name}' must be or make a torch.nn.Module, got {type(network).__name__}"
        )
    return network


def shipped(name: str, data: str) -> Path | None:
    """Return the weights file of a built-in prototype trained on a built-in data set.

    Its record, `.json` beside it, says how it was trained and what it reached.

    Args:
        name: of the prototype.
        data: of the data set; "fashion-mnist" and "fashion-mnist-subset" are the same.
    """
    path = WEIGHTS / f"{name}-{data.removesuffix('-subset')}.safetensors"
    return path if name in REGISTRY and path.exists() else None


def _call(factory: Any, name: str, classes: int, channels: int) -> Any:
    if not callable(factory):
        raise PrototypeError(
            f"prototype '{name}' must be a factory or a torch.nn.Module, "
            f"got {type(factory).__name__}"
        )
    taken = inspect.signature(factory).parameters
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in taken.values())
    offered = {"classes": classes, "channels": channels}
    return factory(**{key: value for key, value in offered.items() if open_ended or key in taken})
