"""A prototype with its weights, a whole run of it that all may read, and a run folder to write."""

from pathlib import Path

import pytest

from gensynth.config_file import read
from gensynth.runs.folder import RunFolder
from gensynth.runs.result import Result, read_result
from gensynth.runs.run import synth
from gensynth.runs.trust import note
from tests.once import made_once
from tests.runs import tiny
from tests.runs.instant import instant_warm_up

__all__ = ["instant_warm_up"]


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the tiny prototype, trained for a second."""
    return made_once(tmp_path_factory, "weights", tiny.trained) / "tiny.safetensors"


@pytest.fixture(scope="session")
def finished(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """Only to be read."""

    def make(folder: Path) -> None:
        synth(tiny.config(weights, folder / "run"), command="by hand")

    run = made_once(tmp_path_factory, "tiny", make) / "run"
    note(read(run / "run.toml"))  # what another process's user has named, this one's has not
    return read_result(run)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A new run folder."""
    path = tmp_path / "run"
    RunFolder.create(path, "seed = 1\n", {"torch": "2.13.0"}).close()
    return path
