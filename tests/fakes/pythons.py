"""Pythons of a version, where they are installed, and environments of this one."""

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest


def python(version: str) -> str:
    """A real Python of that version, or the test is skipped."""
    installed = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    found = str(installed[-1]) if installed else shutil.which(f"python{version}")
    # A version manager's stand-in may be there without what it stands for.
    if found is None or subprocess.run([found, "-c", ""], capture_output=True).returncode:
        pytest.skip(f"no Python {version} is installed")
    return found


def environment(folder: Path) -> tuple[Path, Path]:
    """Make an environment of this Python that has all that this one has.

    Returns:
        Its Python, and the folder for packages of its own, which come first.
    """
    venv.create(folder, symlinks=True)
    paths = {"base": str(folder), "platbase": str(folder)}
    packages = Path(sysconfig.get_path("purelib", "venv", paths))
    ours = sysconfig.get_path("purelib")
    (packages / "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
    return folder / "bin" / Path(sys.executable).name, packages
