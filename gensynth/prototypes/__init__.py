"""Built-in prototype networks by name, and the trained weights that ship with them.

    REGISTRY    name -> the module:attribute that makes it
    make        a name, timm:NAME, torchvision:NAME or the user's own module:factory -> a network,
                untrained, and how it was asked for
    create      the network alone
    shipped     a name and a data set -> the weights file in this package, if there is one
    factories   a factory is called with the words that it takes
    libraries   what timm and torchvision know of a network: its weights, how it sees images
    checkpoint  weights as people have them, read into a module
    plain       a module without what training has put around it

The networks: resnet, mobilenet, shufflenet tell images apart; refinenet, which has no short name,
tells pixels apart; detectnet and small_detector find objects. Importing this package does not
import torch.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gensynth.errors import ConfigError, PrototypeError
from gensynth.references import import_object
from gensynth.suggestion import did_you_mean

if TYPE_CHECKING:
    from torch import nn

    from gensynth.prototypes.factories import Made

LIBRARIES = ("timm", "torchvision")
"""Whose networks are named `timm:NAME`; they need not be installed."""

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


def create(
    name: str, *, classes: int, channels: int, arguments: Mapping[str, Any] | None = None
) -> "nn.Module":
    """Make an untrained prototype: the network alone of what `make` returns."""
    return make(name, classes=classes, channels=channels, arguments=arguments).network


def make(
    name: str, *, classes: int, channels: int, arguments: Mapping[str, Any] | None = None
) -> "Made":
    """Make an untrained prototype, and say how it was asked for.

    Args:
        name: a built-in name, a library's network as `timm:NAME` or `torchvision:NAME`, or
            `module:attribute` of a factory, a class or a network. A factory is called with
            classes and channels under the names that it takes, see `factories`.
        classes: number of classes it must tell apart.
        channels: channels of its images.
        arguments: further ones of the factory, by name.

    Raises:
        ConfigError: if no such name or attribute is known; it names the nearest.
        PrototypeError: if what the factory makes is no torch module, or it cannot be called so.
    """
    from torch import nn

    from gensynth.prototypes import factories, libraries

    given = arguments or {}
    if is_of_library(name):
        return libraries.make(name, classes=classes, channels=channels, arguments=given)
    if name not in REGISTRY and ":" not in name:
        raise ConfigError(
            f"unknown prototype '{name}'; {did_you_mean(name, REGISTRY)}; "
            "name your own as module:factory"
        )
    found = import_object(REGISTRY.get(name, name), "prototype")
    if isinstance(found, nn.Module):
        if given:
            raise PrototypeError(f"prototype '{name}' is a module, which takes no arguments")
        return factories.Made(found)
    if not callable(found):
        raise PrototypeError(
            f"prototype '{name}' must be a factory or a torch.nn.Module, got {type(found).__name__}"
        )
    made = factories.call(found, name, classes=classes, channels=channels, arguments=given)
    if not isinstance(made.network, nn.Module):
        raise PrototypeError(
            f"prototype '{name}' must be or make a torch.nn.Module, "
            f"got {type(made.network).__name__}"
        )
    return made


def is_of_library(name: str) -> bool:
    """Return whether a prototype's name is that of a library's network, such as `timm:resnet18`."""
    library, colon, network = name.partition(":")
    return bool(colon and network) and library in LIBRARIES


def shipped(name: str, data: str) -> Path | None:
    """Return the weights file of a built-in prototype trained on a built-in data set.

    Its record, `.json` beside it, says how it was trained and what it reached.

    Args:
        name: of the prototype.
        data: of the data set; "fashion-mnist" and "fashion-mnist-subset" are the same.
    """
    path = WEIGHTS / f"{name}-{data.removesuffix('-subset')}.safetensors"
    return path if name in REGISTRY and path.exists() else None
