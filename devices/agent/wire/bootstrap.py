"""The first thing that runs on a board: get the agent's file if it is not there, and become it.

The host sends this file's source as one line, before there is anything of ours on the board;
so it stands alone. It answers with MARKER and a word in a line: `need` until it has the file, then
`have`; or `fail REASON`.
"""

import hashlib
import os
import shutil
import sys
import time
from typing import IO

MARKER = b"\x93GSYN-BOOT "
WEEK_S = 7 * 24 * 3600


def default_home() -> str:
    """Return the path of $GENSYNTH_AGENT_HOME, or of gensynth-agent in the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    home = os.environ.get("GENSYNTH_AGENT_HOME") or os.path.join(cache, "gensynth-agent")
    return os.path.abspath(home)


def check_owner(home: str) -> None:
    """Refuse a folder whose files others may have written: what is in it is run.

    As ssh does with the files that it believes.

    Raises:
        ValueError: naming the folder and what to do.
    """
    found = os.stat(home)
    if found.st_uid not in (0, os.geteuid()):
        raise ValueError(
            "the agent's folder {} must be its user's, and belongs to user {}; remove it, or set "
            "GENSYNTH_AGENT_HOME to another".format(home, found.st_uid)
        )
    if found.st_mode & 0o022:
        raise ValueError(
            "others can write in the agent's folder {}; run chmod go-w {}".format(home, home)
        )


def become_agent(stream: IO[bytes], sha256: str, size: int) -> None:
    """Replace this process by the agent of that hash, taken from the stream if it is not there.

    Args:
        stream: unbuffered, so that what follows the file stays for the agent.
    """
    home = default_home()
    path = os.path.join(home, "agent-{}.pyz".format(sha256))
    try:
        os.makedirs(home, mode=0o700, exist_ok=True)
        check_owner(home)
        if _hash(path) != sha256:
            _say("need")
            _write(path, _read(stream, size), sha256)
        os.utime(path, None)
        _remove_old(home, path)
    except (OSError, ValueError) as error:
        _say("fail " + str(error).replace("\n", " "))
        raise SystemExit(1) from error
    _say("have")
    os.environ["GENSYNTH_AGENT_HOME"] = home
    # Out of the working folder: LD_LIBRARY_PATH often has an empty entry, which is that folder.
    os.chdir("/")
    python = _own_python()
    os.execv(python, [python, "-E", "-s", "-S", path, "serve"])


def _own_python() -> str:
    """Return this Python, for which two variables name another from 3.11 on, -E or not."""
    named = [os.environ.pop(name, None) for name in ("PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__")]
    called = getattr(sys, "orig_argv", [""])[0]
    return (any(named) and shutil.which(called)) or sys.executable


def _say(word: str) -> None:
    os.write(1, MARKER + word.encode("utf-8", "replace") + b"\n")


def _hash(path: str) -> str:
    if not os.path.exists(path):
        return ""
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def _read(stream: IO[bytes], size: int) -> bytes:
    content = b""
    while len(content) < size:
        part = stream.read(min(1 << 16, size - len(content)))
        if not part:
            raise ValueError("the agent's file was cut after {} bytes".format(len(content)))
        content += part
    return content


def _write(path: str, content: bytes, sha256: str) -> None:
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError("the agent's file arrived damaged")
    folder, name = os.path.split(path)
    partial = os.path.join(folder, ".partial-{}-0-{}".format(os.getpid(), name))
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.rename(partial, path)
    finally:
        if os.path.exists(partial):
            os.remove(partial)


def _remove_old(home: str, path: str) -> None:
    """Remove agents that no host has asked for in a week."""
    for name in os.listdir(home):
        other = os.path.join(home, name)
        try:
            if name.startswith("agent-") and other != path:
                if time.time() - os.stat(other).st_mtime > WEEK_S:
                    os.remove(other)
        except FileNotFoundError:  # another session was faster
            pass
