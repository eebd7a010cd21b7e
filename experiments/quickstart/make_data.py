"""Make the Fashion-MNIST subset that ships in `gensynth/data/fashion`.

    python experiments/quickstart/make_data.py FOLDER gensynth/data/fashion

FOLDER holds the four official files, `*-ubyte.gz`, from
https://github.com/zalandoresearch/fashion-mnist or as Debian packs them again
(dataset-fashion-mnist): their unpacked bytes are checked. The draw is fixed. The SHA-256
of each file written is printed; `gensynth.data.fashion_mnist` holds them.
"""

import gzip
import hashlib
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from gensynth.errors import DataError
from gensynth.randomness import stream

# SHA-256 of the unpacked official files, which are the same however they were packed.
OFFICIAL_SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
CLASSES = 10
TRAIN_A_CLASS = 600
SEARCH_A_CLASS = 150
TEST_A_CLASS = 320


def read_official(folder: Path, name: str) -> np.ndarray:
    """Return the array of one official IDX file: big-endian sizes, then bytes.

    Raises:
        DataError: if the file is missing or its bytes are not the official ones.
    """
    packed = folder / f"{name}.gz"
    if not packed.exists():
        raise DataError(f"{packed} is missing; FOLDER must hold the four official files")
    content = gzip.decompress(packed.read_bytes())
    if hashlib.sha256(content).hexdigest() != OFFICIAL_SHA256[name]:
        raise DataError(f"{packed} does not hold the official bytes: its SHA-256 differs")
    dimensions = content[3]
    sizes = np.frombuffer(content, ">u4", dimensions, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(sizes)


def draw(labels: np.ndarray, purpose: str, *shares: int) -> list[np.ndarray]:
    """Return one set of positions a share: that many of every class, in official order."""
    parts: list[list[np.ndarray]] = [[] for _ in shares]
    for label in range(CLASSES):
        members = np.flatnonzero(labels == label)
        shuffled = stream(0, purpose, label).permutation(members)
        cuts = np.split(shuffled[: sum(shares)], np.cumsum(shares)[:-1])
        for part, cut in zip(parts, cuts, strict=True):
            part.append(cut)
    return [np.sort(np.concatenate(part)) for part in parts]


def write(folder: Path, split: str, images: np.ndarray, labels: np.ndarray) -> None:
    """Write a split as one tall picture and one digit a label, and print their SHA-256.

    Images are turned on their side first: clothes vary less down a column than along a
    row, and the picture is 5 % smaller for it.
    """
    column = np.ascontiguousarray(images.transpose(0, 2, 1)).reshape(-1, images.shape[1])
    pictures, marks = folder / f"{split}.png", folder / f"{split}.txt"
    Image.fromarray(column).save(pictures, compress_level=9)
    marks.write_text("".join(str(label) for label in labels))
    for path in (pictures, marks):
        print(path.name, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())


def main(official: Path, target: Path) -> None:
    """Draw the subset from the official files and write it."""
    images = read_official(official, "train-images-idx3-ubyte")
    labels = read_official(official, "train-labels-idx1-ubyte")
    train, search = draw(labels, "fashion-mnist-train", TRAIN_A_CLASS, SEARCH_A_CLASS)
    write(target, "train", images[train], labels[train])
    write(target, "search", images[search], labels[search])
    images = read_official(official, "t10k-images-idx3-ubyte")
    labels = read_official(official, "t10k-labels-idx1-ubyte")
    (test,) = draw(labels, "fashion-mnist-test", TEST_A_CLASS)
    write(target, "test", images[test], labels[test])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
