"""Pythons of a version, where they are installed."""

import shutil
import subprocess
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
