"""Files and folders that are either there whole or not there at all.

What is written survives `kill -9` and a power cut at any moment: bytes go to a hidden
neighbour (`.partial-NAME`), are flushed to the disk, and one rename makes them visible. A
replaced folder stands as `.old-NAME` for an instant; `recover` puts it back if the process
died in that instant, and sweeps up everything else that was left half done.

Nothing here turns an `OSError` into a message, only into its `reason`: the caller knows what
was lost.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from gensynth.outside import WEIGHTS_BYTES, check_plain

PARTIAL = ".partial-"
OLD = ".old-"

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def write_bytes(path: Path, content: bytes) -> None:
    """Write or replace a file; its folder must exist."""
    partial = path.with_name(PARTIAL + path.name)
    try:
        _write_new(partial, content)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write or replace a JSON file; its folder must exist."""
    write_bytes(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """Return a document as it stands in a file.

    Raises:
        ValueError: if a number in it is not finite.
    """
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a plain file's content."""
    check_plain(path, WEIGHTS_BYTES)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_folder(path: Path, files: Mapping[str, bytes], *, keep: Collection[str] = ()) -> None:
    """Write or replace a folder of files; the folder above it is made if absent.

    Args:
        path: of the folder. A link to a folder stays, and the folder that it leads to is replaced.
        files: content by plain file name.
        keep: names of what stands in the folder before and stays there, folders included.

    Raises:
        ValueError: if a name is not that of a visible file in the folder itself.
        OSError: what the operating system said; what stood at `path` before still does.
    """
    for name in files:
        if name != Path(name).name or name.startswith("."):
            raise ValueError(f"a file's name must be plain, got {name!r}")
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(PARTIAL + path.name)
    try:
        put_back(path)
        _remove(partial)
        partial.mkdir()
        for name, content in files.items():
            _write_new(partial / name, content)
        for name in keep:
            _carry(path / name, partial / name)
        sync_folder(partial)
        _swap(partial, path)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    sync_folder(path.parent)


def append(path: Path, lines: bytes) -> None:
    """Append lines to a file, which is made if absent.

    A process killed meanwhile can leave a line without its end, which a reader must leave
    out; an error leaves the file as it was.
    """
    new = not path.exists()
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        try:
            rest = memoryview(lines)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)
    if new:
        sync_folder(path.parent)


def remove_folder(path: Path) -> None:
    """Remove a folder so that no one ever sees a part of it under its name."""
    partial = path.with_name(PARTIAL + path.name)
    _remove(partial)
    path.rename(partial)
    shutil.rmtree(partial)


def put_back(path: Path) -> None:
    """Put back a folder, or remove its old state, if a killed process was replacing it."""
    old = path.with_name(OLD + path.name)
    if path.exists():
        _remove(old)
    elif old.exists():
        old.rename(path)


def recover(folder: Path) -> None:
    """Put back or sweep up what a killed process left half done directly in this folder."""
    for old in folder.glob(OLD + "*"):
        put_back(old.with_name(old.name.removeprefix(OLD)))
    for partial in folder.glob(PARTIAL + "*"):
        _remove(partial)


def sync_folder(folder: Path) -> None:
    """Flush a folder's list of names to the disk, without which a rename can be lost."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_new(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _swap(partial: Path, path: Path) -> None:
    if not path.exists():
        partial.rename(path)
        return
    old = path.with_name(OLD + path.name)
    path.rename(old)
    try:
        partial.rename(path)
    except OSError:
        old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)  # what stays is swept up by `recover`


def _carry(source: Path, target: Path) -> None:
    """Put a file, a link or a folder in a second place, as safe on the disk as in the first."""
    if source.is_dir() and not source.is_symlink():
        target.mkdir()
        for inside in source.iterdir():
            _carry(inside, target / inside.name)
        sync_folder(target)
        return
    try:
        target.hardlink_to(source)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target, follow_symlinks=False)
        if not target.is_symlink():
            with target.open("rb") as file:
                os.fsync(file.fileno())


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def reason(error: OSError) -> str:
    """Return why something could not be written, for a message; an error may have no number."""
    return "the disk is full" if error.errno in _FULL else error.strerror or str(error)
