"""The agent as one file: a zip archive that Python runs, the same bytes from the same sources.

Nothing is compressed, so that no zlib's version shows in the hash, and a board that has the
file never gets it again.
"""

import functools
import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_PREFIX = "gensynth/devices/"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # a zip file knows no time before it
_MAIN = b"from gensynth.devices.agent.session.main import main\n\nmain()\n"


@dataclass(frozen=True)
class Agent:
    """The agent's file.

    Attributes:
        content: of the file.
    """

    content: bytes

    @functools.cached_property
    def sha256(self) -> str:
        """Hash of the content."""
        return hashlib.sha256(self.content).hexdigest()


def sources() -> dict[str, bytes]:
    """Return every member of the agent's archive by its path."""
    here = Path(__file__).parent
    modules = {
        _PREFIX + path.relative_to(here).as_posix(): path.read_bytes()
        for path in (here / "agent").rglob("*.py")
    }
    empty = {"gensynth/__init__.py": b"", "gensynth/devices/__init__.py": b""}
    return {"__main__.py": _MAIN, **empty, **modules}


def pack(members: Mapping[str, bytes]) -> Agent:
    """Return an archive of these members.

    Args:
        members: content by path, `__main__.py` among them.
    """
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
        for path in sorted(members):
            member = zipfile.ZipInfo(path, _EPOCH)
            member.create_system = 3  # Unix, whatever this machine is
            member.external_attr = 0o644 << 16
            file.writestr(member, members[path])
    return Agent(archive.getvalue())


@functools.cache
def agent() -> Agent:
    """Return the agent that belongs to this version."""
    return pack(sources())
