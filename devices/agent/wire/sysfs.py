"""Small files of the kernel below a root folder: "/" on a board, a made tree in a test.

What is not there, or may not be read, is None; nothing here knows what a file means.
"""

import glob
import os
import re
from typing import List, Optional

_INTEGER = re.compile(r"\s*(-?\d+)")


def locate(root: str, name: str) -> str:
    """Return the path of an absolute name below the root."""
    return os.path.join(root, name.lstrip("/"))


def text(root: str, name: str) -> Optional[str]:
    """Return a file's text without the blanks and NULs around it, or None."""
    try:
        with open(locate(root, name), "rb") as file:
            return file.read().decode("utf-8", "replace").strip("\0 \t\r\n")
    except OSError:
        return None


def number(root: str, name: str) -> Optional[int]:
    """Return the integer that a file begins with ("32760 ma" is 32760), or None."""
    found = _INTEGER.match(text(root, name) or "")
    return int(found.group(1)) if found else None


def matching(root: str, pattern: str) -> List[str]:
    """Return the absolute names below the root that match a shell pattern, sorted."""
    start = root.rstrip("/")
    return sorted(
        name[len(start) :] for name in glob.glob(glob.escape(start) + "/" + pattern.lstrip("/"))
    )


def executable(root: str, name: str) -> Optional[str]:
    """Return the path of a program below the root's own folders for programs, or None."""
    for folder in ("usr/sbin", "usr/bin", "sbin", "bin", "opt/vc/bin"):
        path = os.path.join(root, folder, name)
        if os.access(path, os.X_OK) and os.path.isfile(path):
            return path
    return None
