"""The Fashion-MNIST subset that ships with gensynth (Xiao et al., arXiv:1708.07747).

6,000 images for training and 1,500 for search come from the official training images,
3,200 for certification from the official test images, the same number of every class.
`fashion/README.md` says how the files are laid out; the bytes are checked when they are
read, because a damaged picture can still decode.
"""

import hashlib
import io
from pathlib import Path

import numpy as np
from PIL import Image

from gensynth.data.dataset import Augmentation, Dataset, Split
from gensynth.errors import DataError

NAME = "fashion-mnist-subset"
FOLDER = Path(__file__).parent / "fashion"
CLASSES = (
    "t-shirt/top", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
SIDE = 28
MEAN = (0.2868,)
STD = (0.3536,)
SHA256 = {
    "search.png": "8ebd681c9068df51178275d21779b6f545090a7a749f900c61fa5f403d9a7692",
    "test.png": "02e28c36100d8e8246eb11d7055140b5e31fe88444a609e56a2b38560cb32402",
    "train.png": "83a799e42bb06c7d53117e74f1442905eae9e6cb571d65cf70717bfc46afadce",
    "search.labels": "d9d5a499c93c877c7df590da9729525969727488b1a98affe0cfa86f46d843f6",
    "test.labels": "05125f70547798ebc80e9ad0e3b7ec9cf7b094285e7221c7c6d1d5b0d959218f",
    "train.labels": "6afeb83caf04100abbf18610df5ca05a3e3b82c1b78ed0797cdae39a6b67eda8",
}


def load(folder: Path = FOLDER) -> Dataset:
    """Read the shipped subset.

    Raises:
        DataError: if a file is missing or damaged, by its SHA-256.
    """
    return Dataset(
        name=NAME,
        classes=CLASSES,
        train=_split(folder, "train"),
        search=_split(folder, "search"),
        test=_split(folder, "test"),
        mean=MEAN,
        std=STD,
        augmentation=Augmentation(pad=2, flip=True),
        source="Fashion-MNIST subset shipped with gensynth, its bytes by SHA-256",
    )


def _split(folder: Path, name: str) -> Split:
    column = np.asarray(Image.open(io.BytesIO(_read(folder, f"{name}.png"))))
    # (n * width, height), each image on its side -> (n, 1, height, width)
    images = column.reshape(-1, 1, SIDE, SIDE).transpose(0, 1, 3, 2)
    labels = np.frombuffer(_read(folder, f"{name}.labels"), np.uint8)
    return Split(name, np.ascontiguousarray(images), labels.astype(np.int64))


def _read(folder: Path, name: str) -> bytes:
    path = folder / name
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing; install gensynth again") from error
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256[name]:
        raise DataError(
            f"{path} is damaged: its SHA-256 must be {SHA256[name]}, got {found} of "
            f"{len(content)} bytes; install gensynth again"
        )
    return content
