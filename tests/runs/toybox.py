"""A data set, networks and a run so small that the command line can be run whole in a test.

They stand in a module of their own, as a user's would; its source is written where a test
works. Importing this module does not import torch.
"""

import importlib
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.places import ROOT

MODULE = '''
"""A data set of four classes that a small network learns in a few steps, and such networks."""

import numpy as np
import torch
from torch import nn

from gensynth.data.dataset import Augmentation, Dataset, Split


def split(name, n, seed):
    random = np.random.default_rng(seed)
    labels = np.arange(n) % 4
    images = random.integers(0, 140, (n, 1, 8, 8))
    for image, label in zip(images, labels):
        row, column = divmod(int(label), 2)
        image[0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 50
    return Split(name, images.astype(np.uint8), labels.astype(np.int64))


def data(classes=("a", "b", "c", "d")):
    return Dataset(
        "toy", classes, split("train", 320, 0), split("search", 80, 1), split("test", 120, 2),
        (0.3,), (0.2,), Augmentation(pad=0, flip=False), "made up",
    )


def mislabelled():
    return data(("a", "b", "c"))


class Net(nn.Module):
    def __init__(self, classes=4, channels=1, side=8):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 8, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 16, 3, 2, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(16)
        self.fc = nn.Linear(4 * side * side, classes)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return self.fc(torch.flatten(x, 1))


def colour():
    return Net(channels=3)


def large():
    return Net(side=32)


def ten():
    return Net(classes=10)


class Undecided(Net):
    def forward(self, x):
        x = self.conv1(x)
        if x.sum() > 0:
            x = -x
        return self.fc(torch.flatten(self.conv2(x), 1))
'''

RUN = """
requirements = ["top1 >= 60%", "macs <= 12k"]

[prototype]
network = "toy:Net"
weights = "toy.safetensors"

[data]
source = "toy:data"

[search]
cycles = 3
warmup_images = 640
images = 320
probe_images = 64
candidates = 16
align = 2

[finalists]
aim = "point"
epochs = 3
batch = 32
peak_lr = 0.05

[latency]
repeats = 20
"""

READING = "reading the data and the prototype\n"
"""What the command says on stderr before anything else."""

Command = Callable[..., tuple[int, str, str]]
"""Arguments -> exit code, stdout, stderr."""


def toy_module(folder: Path) -> Any:
    """Import toy.py, and leave nothing of it behind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "dont_write_bytecode", True)
        patch.syspath_prepend(folder)
        patch.delitem(sys.modules, "toy", raising=False)
        return importlib.import_module("toy")


def train(folder: Path) -> None:
    """Leave weights that tell the classes apart in toy.safetensors."""
    import torch

    from gensynth.data.views import Views
    from gensynth.network.compute import Compute
    from gensynth.tasks.classification import Classification
    from gensynth.training.fit import Recipe, fit

    toy = toy_module(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = toy.Net()
    data = toy.data()
    recipe = Recipe(epochs=5, batch=32, peak_lr=0.05)
    fit(network, Views(data, data.train, 0, "cpu"), recipe, Compute(), Classification())
    save_weights(network, folder / "toy.safetensors")


def save_weights(network: Any, path: Path) -> None:
    from safetensors.torch import save_file

    save_file({name: t.contiguous() for name, t in network.state_dict().items()}, path)


def environment() -> dict[str, str]:
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "80",
    }


def python(
    *arguments: str, cwd: Path, limit_bytes: int | None = None
) -> subprocess.CompletedProcess[str]:
    def limit() -> None:
        if limit_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd, env=environment(), capture_output=True, text=True, preexec_fn=limit,
    )  # fmt: skip


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
