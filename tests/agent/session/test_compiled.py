"""The agent is compiled once for a Python, and what is damaged or cannot be kept is not run."""

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from gensynth.devices import package
from gensynth.devices.agent.session.compiled import compiled


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """The agent's file in a folder of its own."""
    compiled.cache_clear()
    file = tmp_path / "agent-0.pyz"
    file.write_bytes(package.agent().content)
    return file


def test_it_plays_its_roles_without_its_sources(archive: Path) -> None:
    made = compiled(str(archive))
    assert all(name.endswith(".pyc") for name in zipfile.ZipFile(made).namelist())
    archive.unlink()
    command = [sys.executable, "-E", "-s", "-S", made, "rule"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == "the first argument must be a role, got 'rule'\n"


def test_it_is_made_once(archive: Path) -> None:
    made = compiled(str(archive))
    archive.write_bytes(b"cannot be compiled")
    compiled.cache_clear()
    assert compiled(str(archive)) == made


def test_a_damaged_one_is_made_again(archive: Path) -> None:
    made = Path(compiled(str(archive)))
    made.write_bytes(made.read_bytes()[:-1])
    compiled.cache_clear()
    again = Path(compiled(str(archive)))
    assert again.stem.rpartition("-")[2] == hashlib.sha256(again.read_bytes()).hexdigest()


def test_where_it_cannot_be_kept_the_sources_are_run(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: str, target: str) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", full)
        assert compiled(str(archive)) == str(archive)
    assert list(archive.parent.iterdir()) == [archive]
