"""A prototype with its weights, a whole run of it that all may read, and a run folder to write."""

from pathlib import Path

import pytest

from gensynth.runs.folder import RunFolder
from gensynth.runs.result import Result
from gensynth.runs.run import synth
from tests.runs import tiny


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the tiny prototype, trained for a second."""
    return tiny.trained(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="session")
def finished(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """Only to be read."""
    return synth(tiny.config(weights, tmp_path_factory.mktemp("runs") / "run"), command="by hand")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A new run folder."""
    path = tmp_path / "run"
    RunFolder.create(path, "seed = 1\n", {"torch": "2.13.0"}).close()
    return path
