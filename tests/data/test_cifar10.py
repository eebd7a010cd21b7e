"""CIFAR-10 is read from its official files, and nothing else passes for them."""

import hashlib
import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from gensynth.data import cifar10
from gensynth.errors import DataError


def batch_file(first_label: int) -> bytes:
    """Three images of one batch, laid out as the data set's page says."""
    images = [bytes([first_label + i]) + bytes([i]) * 1024 + bytes(2048) for i in range(3)]
    return b"".join(images)


def pack(path: Path, files: dict[str, bytes]) -> str:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def test_a_missing_batch_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data_batch_1\.bin is missing"):
        cifar10.load(tmp_path)


def test_a_pipe_is_not_waited_for_as_a_batch(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "data_batch_1.bin")
    with pytest.raises(DataError, match="data_batch_1.bin: it must be a plain file"):
        cifar10.load(tmp_path)


def test_a_truncated_batch_is_refused_by_its_md5(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1.bin").write_bytes(bytes(3073 * 9_999))
    with pytest.raises(DataError, match=r"data_batch_1\.bin .* 30726927 bytes of 30730000"):
        cifar10.load(tmp_path)


def test_a_record_is_a_label_then_red_green_and_blue_planes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The layout of https://www.cs.toronto.edu/~kriz/cifar.html, "Binary version".
    red, green, blue = bytes(range(256)) * 4, bytes([7]) * 1024, bytes([9]) * 1024
    record = bytes([3]) + red + green + blue
    content = record * 20
    (tmp_path / "one.bin").write_bytes(content)
    md5 = {"one.bin": hashlib.md5(content, usedforsecurity=False).hexdigest()}
    monkeypatch.setattr(cifar10, "TRAIN_MD5", md5)
    monkeypatch.setattr(cifar10, "TEST_MD5", md5)
    monkeypatch.setattr(cifar10, "SEARCH_IMAGES", 5)
    dataset = cifar10.load(tmp_path)
    assert (len(dataset.train), len(dataset.search), len(dataset.test)) == (15, 5, 20)
    image = dataset.test.images[0]
    assert dataset.test.labels[0] == 3
    assert image[0, 0].tolist() == list(range(32))  # first row of red
    assert image[0, 1, 0] == 32
    assert (image[1] == 7).all()
    assert (image[2] == 9).all()


def test_an_archive_is_fetched_and_unpacked_once(site: tuple[Path, str], tmp_path: Path) -> None:
    folder, address = site
    md5 = pack(folder / "small.tar.gz", {"data_batch_1.bin": batch_file(0)})
    cache = tmp_path / "cache"
    found = cifar10.download(cache, url=f"{address}/small.tar.gz", md5=md5)
    assert (found / "data_batch_1.bin").read_bytes() == batch_file(0)
    (folder / "small.tar.gz").unlink()
    assert cifar10.download(cache, url=f"{address}/small.tar.gz", md5=md5) == found


def test_an_archive_of_another_checksum_is_refused_and_leaves_nothing(
    site: tuple[Path, str], tmp_path: Path
) -> None:
    folder, address = site
    pack(folder / "small.tar.gz", {"data_batch_1.bin": batch_file(0)})
    cache = tmp_path / "cache"
    with pytest.raises(DataError, match="could not be fetched .* --data-folder"):
        cifar10.download(cache, url=f"{address}/small.tar.gz")
    assert list(cache.iterdir()) == []


def test_an_archive_that_cannot_be_unpacked_leaves_nothing(
    site: tuple[Path, str], tmp_path: Path
) -> None:
    folder, address = site
    noise = np.random.default_rng(0).bytes(5000)
    (folder / "small.tar.gz").write_bytes(noise)
    md5 = hashlib.md5(noise, usedforsecurity=False).hexdigest()
    cache = tmp_path / "cache"
    with pytest.raises(DataError, match="could not be fetched"):
        cifar10.download(cache, url=f"{address}/small.tar.gz", md5=md5)
    assert list(cache.iterdir()) == []


def test_an_absent_archive_is_a_data_error(site: tuple[Path, str], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="404"):
        cifar10.download(tmp_path / "cache", url=f"{site[1]}/none.tar.gz")
