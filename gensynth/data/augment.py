"""How training images are changed: what a run file asks for, and what suits where it asks nothing.

    none            nothing
    crop            crops of images padded by an eighth of the side
    flip            half of the images mirrored left to right
    trivialaugment, randaugment, autoaugment, augmix    the policies of torchvision.transforms.v2
    module:function     one's own: (channels, height, width), uint8 -> the same

Where nothing is asked, images are cropped, and mirrored unless the names of the classes say that
left and right differ (`gensynth.data.labelled.suits_mirroring`).

A policy, and one's own function, draws from torch's global generator, which is seeded for every
image: an epoch is the same again, however it is cut into batches. Both change pixels alone, so they
are for classes, not for masks and boxes.
"""

import dataclasses
import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from gensynth.data.dataset import Augmentation, Dataset
from gensynth.errors import ConfigError, DataError
from gensynth.references import import_object
from gensynth.suggestion import did_you_mean

PLAIN = ("none", "crop", "flip")
POLICIES = {
    "trivialaugment": "TrivialAugmentWide",
    "randaugment": "RandAugment",
    "autoaugment": "AutoAugment",
    "augmix": "AugMix",
}
"""By name the class of torchvision.transforms.v2, with that class's own defaults."""

Change = Callable[[torch.Tensor], torch.Tensor]
"""(channels, height, width), uint8 -> the same."""


def augmented_as(dataset: Dataset, names: Sequence[str]) -> Dataset:
    """Return a data set whose training images are changed as is asked; no names leave it.

    Raises:
        ConfigError: if something asked for is unknown, cannot be imported, or is not for this kind
            of labels.
    """
    if not names:
        return dataset
    if "none" in names and len(names) > 1:
        raise ConfigError(
            f'augment in [data] must be "none" alone or without it, got {list(names)}'
        )
    policies = tuple(name for name in names if name not in PLAIN)
    if policies and not (dataset.train.labels.dtype == np.int64 and dataset.train.labels.ndim == 1):
        raise ConfigError(
            f"{policies[0]} changes images and not what is marked in them; masks and boxes have "
            'augment = "none", "crop", "flip" or ["crop", "flip"]'
        )
    opened_change(policies)
    pad = dataset.augmentation.pad or max(1, min(dataset.shape[1:]) // 8)
    made = Augmentation(pad if "crop" in names else 0, "flip" in names, policies)
    return dataclasses.replace(dataset, augmentation=made)


def opened_change(policies: Sequence[str]) -> Change | None:
    """Return what policies do to one image, one after the other; None if there are none.

    Raises:
        ConfigError: if one is unknown or cannot be imported.
    """
    changes = [_opened(name) for name in policies]
    if not changes:
        return None

    def change(image: torch.Tensor) -> torch.Tensor:
        changed = image
        for name, one in zip(policies, changes, strict=True):
            changed = one(changed)
            found = getattr(changed, "dtype", type(changed)), getattr(changed, "shape", None)
            if found != (torch.uint8, image.shape):
                raise DataError(
                    f"augment '{name}' must give back a uint8 tensor of shape "
                    f"{tuple(image.shape)}, got {found[0]} of shape {found[1]}"
                )
        return changed

    return change


def changed_images(images: torch.Tensor, change: Change, seeds: Sequence[int]) -> torch.Tensor:
    """Return a batch of images, each changed under its own seed; nothing else is drawn from."""
    changed = []
    with torch.random.fork_rng(devices=[]):
        for image, seed in zip(images.cpu(), seeds, strict=True):
            torch.default_generator.manual_seed(seed)
            changed.append(change(image.contiguous()))
    return torch.stack(changed).to(images.device)


def _opened(name: str) -> Change:
    if ":" in name:
        made: Any = import_object(name, "augmentation")
        if not callable(made):
            raise ConfigError(
                f"augment in [data] must name a function of one image, got '{name}', which is a "
                f"{type(made).__name__}"
            )
        own: Change = made
        return own
    if name not in POLICIES:
        known = (*PLAIN, *POLICIES)
        raise ConfigError(
            f"unknown augment '{name}' in [data]; {did_you_mean(name, known)}; your own is "
            "module:function"
        )
    try:
        v2 = importlib.import_module("torchvision.transforms.v2")
    except ImportError as error:
        raise ConfigError(
            f"augment '{name}' is torchvision's, which is not installed; install it with: pip "
            "install 'gensynth[augment]'"
        ) from error
    policy: Change = getattr(v2, POLICIES[name])()
    return policy
