"""Networks of timm and torchvision by name: `timm:resnet18`, `torchvision:mobilenet_v2`.

    make        the network, untrained, for classes and channels of one's own
    pretrain    the weights that the library fetches, in place of the first ones
    sees        how its images were normalised, and of which size they were

The libraries are imported here, late, and need not be installed (`pip install gensynth[timm]`,
`gensynth[torchvision]`).
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from gensynth.errors import ConfigError, PrototypeError
from gensynth.prototypes import factories
from gensynth.prototypes.checkpoint import begin_from
from gensynth.suggestion import did_you_mean


@dataclass(frozen=True)
class Sees:
    """How the images were that a network's published weights were trained on.

    Attributes:
        classes: that it told apart; None where that is not known.
        size: side of the square images; None where they were of any size.
        mean, std: of each channel, red first, of images scaled to [0, 1].
    """

    classes: int | None
    size: int | None
    mean: tuple[float, ...]
    std: tuple[float, ...]


def make(name: str, *, classes: int, channels: int, arguments: Mapping[str, Any]) -> factories.Made:
    """Make a library's network without trained weights.

    Raises:
        ConfigError: if the library is not installed, or has no such network.
        PrototypeError: if it cannot be made so.
    """
    library, _, network = name.partition(":")
    found = _import(library)
    if library == "timm":
        _check_name(name, network, found.list_models())
        factory = partial(found.create_model, network, pretrained=False)
    else:
        _check_name(name, network, found.models.list_models())
        factory = partial(found.models.get_model_builder(network), weights=None)
        if "weights_backbone" in factories.names(factory):
            factory = partial(factory, weights_backbone=None)
    factory.__name__ = network  # type: ignore[attr-defined]
    return factories.call(factory, name, classes=classes, channels=channels, arguments=arguments)


def sees(name: str) -> Sees | None:
    """Return how a network's published weights see images; None if none are published.

    Raises:
        ConfigError: if the library is not installed.
    """
    library, _, network = name.partition(":")
    found = _import(library)
    if library == "timm":
        known = found.get_pretrained_cfg(network)
        if known is None or not known.has_weights:
            return None
        _, height, width = known.input_size
        size = height if height == width else None
        return Sees(known.num_classes, size, tuple(known.mean), tuple(known.std))
    if network not in found.models.list_models():
        return None
    (*_, weights) = found.models.get_model_weights(network)
    asked, categories = weights.transforms(), weights.meta.get("categories")
    sizes = getattr(asked, "crop_size", [None])
    if not hasattr(asked, "mean"):  # a detector normalises by itself
        return None
    return Sees(
        len(categories) if categories else None, sizes[0], tuple(asked.mean), tuple(asked.std)
    )


def pretrain(network: nn.Module, name: str, *, channels: int, train: bool) -> tuple[str, ...]:
    """Give a network the weights that its library fetches.

    Args:
        network: that `make` has made.
        name: of it.
        channels: of its images; timm brings the first layer of its weights to these.
        train: whether it is trained from there, so that a head of other classes may stay as it is.

    Returns:
        the tensors that stayed as they were: the head, where the classes are others.

    Raises:
        PrototypeError: if they cannot be fetched, or do not fit.
    """
    try:
        tensors = _fetch(name, channels)
    except Exception as error:  # whatever a library's download may raise
        raise PrototypeError(
            f"the published weights of {name} could not be fetched "
            f"({type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}); "
            "name a file of them by --weights, or set pretrained = false in [prototype]"
        ) from error
    return begin_from(network, tensors, f"what is published of {name}", name=name, train=train)


def _fetch(name: str, channels: int) -> dict[str, Tensor]:
    library, _, network = name.partition(":")
    found = _import(library)
    if library == "timm":
        # timm's own reading: some weights are published under other names than the network's.
        made = found.create_model(network, pretrained=True, in_chans=channels)
        return dict(made.state_dict())
    (*_, weights) = found.models.get_model_weights(network)
    return dict(weights.get_state_dict(progress=False, check_hash=True))


def _import(library: str) -> Any:
    try:
        importlib.import_module(f"{library}.models")
        return importlib.import_module(library)
    except ImportError as error:
        raise ConfigError(
            f"{library} is not installed here; it comes with: pip install 'gensynth[{library}]'"
        ) from error
    except RuntimeError as error:  # torchvision beside a torch that it was not built for
        raise ConfigError(
            f"{library} cannot be imported beside this torch ({error}); install the {library} "
            "that was built for it"
        ) from error


def _check_name(name: str, network: str, known: list[str]) -> None:
    if network.partition(".")[0] not in known:  # timm: resnet18.a1_in1k
        (*_, library) = name.partition(":")[:1]
        raise ConfigError(
            f"unknown prototype '{name}'; {library} has {len(known)} networks; "
            f"{_nearest(network, known)}"
        )


def _nearest(network: str, known: list[str]) -> str:
    said = did_you_mean(network, known)
    return said if said.startswith("did") else f"see {', '.join(known[:3])} and so on"
