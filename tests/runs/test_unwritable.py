"""A finalist that cannot be written as ONNX: named, and the run ends with the others."""

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gensynth.bench import subjects
from gensynth.config import LatencyConfig, RunConfig
from gensynth.errors import ExportError, RunError
from gensynth.export import export_network
from gensynth.export.from_torch import from_network
from gensynth.export.parity import Parity, check_network
from gensynth.goals.score import Proportion
from gensynth.network.module import Network
from gensynth.render.result import result as show
from gensynth.runs import publish
from gensynth.runs.cards import Entrant
from gensynth.runs.folder import RunFolder
from gensynth.runs.result import read_result
from gensynth.runs.run import resume, synth
from tests.onnx_files.written import convolution, unary
from tests.runs import tiny
from tests.runs.stopping import Heard, ledger

TOP1 = Proportion("top1", 1, 2)


def fails_for(name_of_weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the ONNX file of whichever network stands in that folder be another one's."""

    def other(network: Network, images: torch.Tensor, path: Path, **said: Any) -> Parity:
        if path.parent.name == name_of_weights:
            with torch.no_grad():
                wrong = copy.deepcopy(network)
                wrong.state_dict()["head.bias"].add_(1.0)
            return check_network(from_network(wrong.eval()), network, images)
        return export_network(network, images, path, **said)

    monkeypatch.setattr(publish, "export_network", other)


def test_one_finalist_that_cannot_be_written_is_named_and_the_run_ends_with_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny.config(tiny.trained(tmp_path), tmp_path / "run")
    heard = Heard()
    fails_for("network-1", monkeypatch)
    result = synth(config, listener=heard)
    (lost,) = [f for f in result.finalists if not (f.folder / "network.onnx").exists()]
    (kept,) = [f for f in result.finalists if f is not lost]
    assert [note for note in heard.notes if "ONNX" in note] == [
        f"no ONNX file of {lost.name}, so no latency either: {lost.no_onnx_because}"
    ]
    assert "the file differs from the network by" in str(lost.no_onnx_because)
    assert (lost.latency, kept.no_onnx_because) == (None, None)
    assert kept.latency is not None
    assert kept.ratios is not None
    assert kept.ratios.latency is not None
    text = show(result, 400)
    assert f"{lost.name} has no ONNX file: the file differs" in text
    assert "finalists/*/network.onnx" in text
    assert show(read_result(result.path), 400) == text
    with pytest.raises(RunError, match="time the others by their names, gensynth bench") as refused:
        subjects.find([result.path])
    assert str(kept.folder) in str(refused.value)
    assert str(lost.folder) + " " not in str(refused.value).partition("bench ")[2]


def test_one_network_that_cannot_be_timed_leaves_the_others_their_latency(tmp_path: Path) -> None:
    none: Any = None  # of the networks only the files are looked at
    found = [Entrant(name, name, none, TOP1, None) for name in ("whole", "a", "b")]
    for entrant in found:
        (tmp_path / entrant.name).mkdir()
        convolution(tmp_path / entrant.name / "network.onnx")
    unary(tmp_path / "a" / "network.onnx", "Log", [1, 3, 4, 4])  # of noise, which is negative too
    heard, job = Heard(), SimpleNamespace(config=RunConfig(latency=LatencyConfig(repeats=1)))
    run = RunFolder(tmp_path, None)
    records, ratios = publish.time_all(run, job, found, heard)  # type: ignore[arg-type]
    assert (list(records), list(ratios)) == (["whole", "b"], ["b"])
    (note,) = heard.notes
    assert note.startswith("no latency of a: ")
    assert "not finite" in note


@pytest.mark.slow
def test_a_run_that_stopped_there_ends_when_it_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny.config(tiny.trained(tmp_path), tmp_path / "run")

    def stops(*arguments: object) -> None:
        raise ExportError("FermiNet-A: the file differs from the network")

    with monkeypatch.context() as before:
        before.setattr(publish, "export_all", stops)  # as every resumed run did once
        with pytest.raises(ExportError):
            synth(config)
    spent = ledger(tmp_path / "run")
    fails_for("network-1", monkeypatch)
    result = resume(tmp_path / "run")
    assert len(result.finalists) == 2
    assert sum(f.no_onnx_because is not None for f in result.finalists) == 1
    assert ledger(tmp_path / "run") == spent  # the test images are looked at once
