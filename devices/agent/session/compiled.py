"""The agent compiled for this Python, so that not each of its processes does that again.

    agent-HASH.pyz            the sources, put there by the link
    agent-HASH-TAG-OWN.pyz    what this Python made of them: TAG is its own, such as cpython-36,
                              and OWN the hash of that file, so that a damaged one is not run

To compile them takes half of a short job's processor time. Where the disk is full, processes start
from the sources.
"""

import contextlib
import functools
import hashlib
import importlib.util
import io
import marshal
import os
import sys

from gensynth.devices.agent.wire.spool import partial_name

# After the magic number: no flags, and no time or size of a source, since none lies beside it.
_HEADER = importlib.util.MAGIC_NUMBER + bytes(12 if sys.version_info >= (3, 7) else 8)


@functools.lru_cache(maxsize=None)
def compiled(archive: str) -> str:
    """Return the path of the agent's compiled archive, made if it is not there.

    Args:
        archive: of its sources; itself where nothing can be written.
    """
    try:
        found = _find(archive) or _make(archive)
        os.utime(found, None)  # what no host has asked for in a week is removed
    except OSError:
        return archive
    return found


def _stem(archive: str) -> str:
    return "{}-{}-".format(os.path.splitext(archive)[0], sys.implementation.cache_tag)


def _find(archive: str) -> str:
    folder, stem = os.path.split(_stem(archive))
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if name.startswith(stem):
            with open(path, "rb") as file:
                if name == "{}{}.pyz".format(stem, hashlib.sha256(file.read()).hexdigest()):
                    return path
    return ""


def _make(archive: str) -> str:
    import zipfile  # late: it is needed once

    made = io.BytesIO()
    with zipfile.ZipFile(archive) as sources, zipfile.ZipFile(made, "w") as file:
        for name in sources.namelist():
            where = os.path.join(archive, name)
            code = compile(sources.read(name), where, "exec", dont_inherit=True)
            file.writestr(name + "c", _HEADER + marshal.dumps(code))
    content = made.getvalue()
    path = "{}{}.pyz".format(_stem(archive), hashlib.sha256(content).hexdigest())
    partial = partial_name(path)
    try:
        with open(partial, "wb") as written:
            written.write(content)
        os.rename(partial, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(partial)
    return path
