"""One job a board, whoever asks for it: a name that the kernel lets one process have.

The lock of `lock` lies in a user's own folder, so another user of the board has another. An
abstract socket belongs to the whole machine (its network namespace), needs no folder that both
may write, and is free again when the last process that holds it is gone, however it ended.
"""

import contextlib
import errno
import hashlib
import os
import pwd
import socket
import struct
import sys
from typing import Dict, Optional

_WAITING = 64  # callers who ask whose it is; none is ever answered
_CREDENTIALS = struct.Struct("3i")  # struct ucred: process, user, group


def claim(root: str) -> Optional[socket.socket]:
    """Return the board's name, to be kept open while it is used; None if somebody has it.

    Where there are no such names (on a Mac), or a sandbox forbids them, the socket has none; what
    another user does there is then only seen in what is used of the processors.

    Args:
        root: the folder below which the board's files are; a made tree is a board of its own.
    """
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    if not sys.platform.startswith("linux"):
        return found
    try:
        found.bind(_name(root))
        found.listen(_WAITING)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            found.close()
            return None
    return found


def holder(root: str) -> Dict[str, str]:
    """Return who has the board's name, as the owner of a lock."""
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as asking:
        asking.setblocking(False)
        try:
            asking.connect(_name(root))
            answer = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        except OSError:  # it was given back just now, or too many ask
            return {"host": "another user"}
    return {"host": "another user, {}".format(_user(_CREDENTIALS.unpack(answer)[1]))}


def _name(root: str) -> str:
    board = os.environ.get("GENSYNTH_AGENT_BOARD") or os.path.realpath(root)
    return "\0gensynth board " + hashlib.sha256(os.fsencode(board)).hexdigest()


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return "#{}".format(number)
