"""The Fashion-MNIST subset that ships with gensynth (Xiao et al., arXiv:1708.07747).

6,000 images for training and 1,500 for search come from the official training images,
3,200 for certification from the official test images, the same number of every class.
`fashion/README.txt` says how the files are laid out; the bytes are checked when they are
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
    "train.png": "83a799e42bb06c7d53117e74f1442905eae9e6cb571d65cf70717bfc46afadce",
    "train.txt": "8e0c8d8ed306c72d861858b34c111f508fb7158e0b94aaeb5c3a092de5a90472",
    "search.png": "8ebd681c9068df51178275d21779b6f545090a7a749f900c61fa5f403d9a7692",
    "search.txt": "dc5e89ea40b103d2f3603df47abc85c16ab2205c05494da236d7f8d430544463",
    "test.png": "02e28c36100d8e8246eb11d7055140b5e31fe88444a609e56a2b38560cb32402",
    "test.txt": "f0aecf3710545e1424a96a9fb0a537c012f00dbc152106536bb1830f2b9d7d73",
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
    labels = np.frombuffer(_read(folder, f"{name}.txt"), np.uint8) - ord("0")
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
