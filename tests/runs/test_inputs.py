"""What a run was begun with is found again from any other working directory."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gensynth import references
from gensynth.config import DataConfig, FinalistsConfig, PrototypeConfig, RunConfig
from gensynth.config_file import read
from gensynth.errors import Interrupted
from gensynth.progress import Silent
from gensynth.runs.artefacts import export, order
from gensynth.runs.family_training import distil
from gensynth.runs.run import resume, synth
from tests.runs.stopping import Stop
from tests.runs.toybox import toy_module


def pictures(folder: Path, toy: Path) -> None:
    """Write the toy's images as a folder by class."""
    data = toy_module(toy).data()
    for split in (data.train, data.search, data.test):
        for number, (image, label) in enumerate(zip(split.images, split.labels, strict=True)):
            place = folder / split.name / data.classes[label]
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.ascontiguousarray(image[0])).save(place / f"{number:03d}.png")


class Heard(Silent):
    """Remembers the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def begun(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that was begun by relative names, and stopped."""
    pictures(here / "pictures", here)
    monkeypatch.delitem(sys.modules, "toy", raising=False)
    own = here / "networks"
    own.mkdir()
    (here / "toy.py").rename(own / "toy.py")
    base = read(here / "toy.toml")
    config = RunConfig(
        requirements=("macs <= 12k",),
        out=Path("run"),
        modules=(Path("networks"),),
        prototype=PrototypeConfig(network="toy:Net", weights=Path("toy.safetensors")),
        data=DataConfig(source="pictures", colour="grey", mean=(0.3,), std=(0.2,)),
        search=replace(base.search, cycles=1),
        finalists=FinalistsConfig(count=1, epochs=1, batch=32),
        latency=base.latency,
    )
    with pytest.raises(Interrupted):
        synth(config, listener=Stop(phase="initialise"))
    return here / "run"


def leave(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Work elsewhere, as a process that has imported nothing of the run."""
    folder.mkdir(exist_ok=True)
    patch.chdir(folder)
    patch.delitem(sys.modules, "toy", raising=False)
    patch.setattr(sys, "path", [p for p in sys.path if "networks" not in p])
    references.search(())


def test_a_run_goes_on_and_is_used_from_another_directory(
    begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(monkeypatch, tmp_path / "elsewhere")
    result = resume(begun)
    leave(monkeypatch, tmp_path / "elsewhere")
    (drawn,) = distil(begun, [5]).drawn
    assert drawn.certificate is not None
    leave(monkeypatch, tmp_path / "elsewhere")
    heard = Heard()
    (written,) = export(result.finalists[0].folder, order(target="x86-cpu"), listener=heard)
    assert written.artefact.accuracy is not None
    assert heard.notes == []
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_another_module_of_the_same_name_does_not_take_its_place(
    begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(monkeypatch, tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "toy.py").write_text("raise SystemError('not this one')")
    with pytest.raises(Interrupted):
        resume(begun, listener=Stop(phase="initialise"))


def test_the_run_file_names_the_folder_in_which_a_module_was_found(begun: Path) -> None:
    config = read(begun / "run.toml")
    assert config.modules == (begun.parent / "networks",)
    assert config.prototype.weights == begun.parent / "toy.safetensors"
    assert config.data.source == str(begun.parent / "pictures")
