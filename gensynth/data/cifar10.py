"""CIFAR-10 in its official binary version (Krizhevsky, 2009).

Each record is one label byte and 3,072 pixel bytes: 1,024 red, 1,024 green, 1,024 blue,
row by row. The 50,000 training images are cut once, by a fixed draw, into 45,000 for
training and 5,000 (500 a class) for search; the 10,000 test images are certification's.
"""

import hashlib
import tarfile
import tempfile
from pathlib import Path

import numpy as np

from gensynth.data.dataset import Augmentation, Dataset, Split, hold_out
from gensynth.errors import DataError
from gensynth.outside import read_bytes

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
ARCHIVE_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
FOLDER = "cifar-10-batches-bin"
CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer",
    "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2470, 0.2435, 0.2616)
TRAIN_MD5 = {
    "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
    "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
    "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
    "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
    "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
}
TEST_MD5 = {"test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d"}
RECORD_BYTES = 1 + 3 * 32 * 32
SEARCH_IMAGES = 5_000


def load(folder: Path) -> Dataset:
    """Read CIFAR-10 from a folder that holds its official binary files.

    Args:
        folder: `cifar-10-batches-bin` itself or the folder around it.

    Raises:
        DataError: if a file is missing, truncated or not the official one, by its MD5.
    """
    folder = folder / FOLDER if (folder / FOLDER).is_dir() else folder
    train_images, train_labels = _read(folder, TRAIN_MD5)
    test_images, test_labels = _read(folder, TEST_MD5)
    train, search = hold_out(train_images, train_labels, SEARCH_IMAGES)
    return Dataset(
        name="cifar10",
        classes=CLASSES,
        train=train,
        search=search,
        test=Split("test", test_images, test_labels),
        mean=MEAN,
        std=STD,
        augmentation=Augmentation(pad=4, flip=True),
        source="CIFAR-10 binary version, official bytes by MD5",
    )


def download(cache: Path, *, url: str = URL, md5: str = ARCHIVE_MD5) -> Path:
    """Fetch and unpack the official archive once; return the folder of its batches.

    The folder appears whole or not at all, whatever stops the download or the unpacking.

    Args:
        cache: the folder that keeps it, made if absent.
        url: of the archive, or of a copy of it.
        md5: of the archive.

    Raises:
        DataError: if the archive cannot be fetched or its MD5 is not the official one.
    """
    import pooch
    import requests

    folder = cache / FOLDER
    if folder.is_dir():
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".cifar10-", dir=cache) as partial:
            archive = pooch.retrieve(url, f"md5:{md5}", path=partial, progressbar=False)
            with tarfile.open(archive) as tar:
                tar.extractall(partial, filter="data")
            (Path(partial) / FOLDER).rename(folder)
    except (requests.RequestException, ValueError, OSError, tarfile.TarError) as error:
        raise DataError(
            f"CIFAR-10 could not be fetched from {url}: {error}; fetch it by hand, unpack "
            "it and name its folder: --data-folder FOLDER"
        ) from error
    return folder


def _read(folder: Path, batches: dict[str, str]) -> tuple[np.ndarray, np.ndarray]:
    records = []
    for name, md5 in batches.items():
        path = folder / name
        if not path.exists():
            raise DataError(
                f"{path} is missing; CIFAR-10 needs {', '.join((*TRAIN_MD5, *TEST_MD5))} "
                "of the binary version in one folder"
            )
        try:
            content = read_bytes(path)
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror}") from error
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
            raise DataError(
                f"{path} is not the official file: its MD5 must be {md5}, and it has "
                f"{len(content)} bytes of {10_000 * RECORD_BYTES}; fetch it again"
            )
        records.append(np.frombuffer(content, np.uint8).reshape(-1, RECORD_BYTES))
    table = np.concatenate(records)
    return table[:, 1:].reshape(-1, 3, 32, 32), table[:, 0].astype(np.int64)
