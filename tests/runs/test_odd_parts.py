"""A prototype with a part that cannot be looked into, written or timed goes as far as it can."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import gensynth
from gensynth.bench import subjects
from gensynth.config import PrototypeConfig
from gensynth.errors import Interrupted, PrototypeError, RunError
from gensynth.render.live import console
from gensynth.render.result import result as show
from gensynth.runs.run import resume, synth
from tests.places import ROOT
from tests.runs import tiny
from tests.runs.stopping import Heard, Stop


def test_a_part_that_cannot_be_looked_into_is_in_the_onnx_files(tmp_path: Path) -> None:
    prototype = PrototypeConfig(
        network="tests.runs.tiny:odd", weights=tiny.trained(tmp_path, tiny.odd)
    )
    config = tiny.config(tmp_path, tmp_path / "run", prototype=prototype)
    with pytest.raises(Interrupted):
        synth(config, listener=Stop(cycle=1))
    result = resume(tmp_path / "run")
    for finalist in result.finalists:
        assert finalist.latency is not None
        card = json.loads((finalist.folder / "card.json").read_text())
        assert card["parity"]["relative"] <= 1e-4
    with pytest.raises(PrototypeError, match="opaque"):
        gensynth.load(result.finalists[0].folder)
    network = gensynth.load(result.finalists[0].folder, prototype=tiny.odd(3, 1))
    assert sum(p.numel() for p in network.parameters()) == result.finalists[0].params


@pytest.mark.slow
def test_a_part_that_onnx_has_no_word_for_costs_only_the_onnx_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tiny.trained(tmp_path, tiny.wordless)
    prototype = PrototypeConfig(network="tests.runs.tiny:wordless", weights=weights)
    config = tiny.config(tmp_path, tmp_path / "run", prototype=prototype)
    heard = Heard()
    result = synth(config, listener=heard)
    assert any("no ONNX files" in note and "i0e" in note for note in heard.notes)
    assert not list(result.path.rglob("network.onnx"))
    assert all(finalist.latency is None for finalist in result.finalists)
    with pytest.raises(RunError, match=r"has no ONNX file, .* says: gensynth export") as refused:
        subjects.find([result.path])
    hint = shlex.split(str(refused.value).partition("says: gensynth ")[2])
    said = subprocess.run(
        [sys.executable, "-m", "gensynth", *hint],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert said.returncode == 2
    assert "i0e" in said.stderr
    assert "Traceback" not in said.stderr
    console().print(show(result, 80))
    assert "finalists/*/weights.safetensors" in capsys.readouterr().out


@pytest.mark.slow
def test_what_cannot_be_timed_on_noise_ends_without_a_latency(tmp_path: Path) -> None:
    weights = tiny.trained(tmp_path, tiny.logarithmic)
    prototype = PrototypeConfig(network="tests.runs.tiny:logarithmic", weights=weights)
    heard = Heard()
    config = tiny.config(tmp_path, tmp_path / "run", prototype=prototype)
    result = synth(config, listener=heard)
    assert any("no latency" in note and "not finite" in note for note in heard.notes)
    for finalist in result.finalists:
        assert (finalist.folder / "network.onnx").exists()
        assert finalist.latency is None
