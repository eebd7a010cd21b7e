"""Devices in a run's loop: what is measured steers it, and a device that is away spoils nothing."""

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from gensynth.bench.estimate.calibration import Known
from gensynth.bench.estimate.kernels import Kernel
from gensynth.bench.estimate.sample import Sample
from gensynth.config import RunConfig
from gensynth.errors import ConfigError, ExportError, Interrupted, RunError, UnreachableError
from gensynth.export import export_network
from gensynth.export.parity import Parity
from gensynth.network.module import Network
from gensynth.progress import Silent
from gensynth.run_files import DEVICE_COSTS_FILE
from gensynth.runs import publish
from gensynth.runs.certification import certify
from gensynth.runs.family import generate
from gensynth.runs.family_training import distil
from gensynth.runs.inputs import begun_from
from gensynth.runs.result import Result
from gensynth.runs.run import resume, synth
from tests.fakes.modelled_device import ModelledDevice, milliseconds
from tests.runs import tiny

LIMIT_MS = 0.045
STATE = ("generator", "inquisitor")
KNOWN_OF = "gensynth.runs.hardware.calibration.known_of"
REQUIRED = ("top1 >= 40%", f"latency_ms@local <= {LIMIT_MS}")


def journal(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "journal.jsonl").read_text().splitlines()]


@dataclass(frozen=True)
class Undisturbed:
    """A run that a modelled device was there for all the time, and the device; only to be read."""

    result: Result
    device: ModelledDevice


@pytest.fixture(scope="module")
def whole(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    out, device = tmp_path_factory.mktemp("runs") / "run", ModelledDevice()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gensynth.runs.hardware.hardware.measured", device)
        patch.setenv("XDG_DATA_HOME", str(out.parent / "data"))
        return Undisturbed(synth(tiny.config(weights, out, requirements=REQUIRED)), device)


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was measured before."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> Callable[[ModelledDevice], ModelledDevice]:
    """Put a modelled device in the bench's place."""

    def into_place(device: ModelledDevice) -> ModelledDevice:
        monkeypatch.setattr("gensynth.runs.hardware.hardware.measured", device)
        return device

    return into_place


@pytest.fixture
def config(weights: Path, tmp_path: Path) -> RunConfig:
    return tiny.config(weights, tmp_path / "run", requirements=REQUIRED)


def finalists_ms(result: Result) -> list[float]:
    return [
        milliseconds((folder / "network.onnx").read_bytes())
        for folder in sorted((result.path / "finalists").iterdir())
    ]


def family_ms(path: Path) -> float:
    drawn = generate(path, range(30)).drawn
    return float(np.median([one.costs["latency_ms@local"] for one in drawn]))


Put = Callable[[ModelledDevice], ModelledDevice]


def test_networks_are_as_fast_as_required_and_the_journal_says_what_steered(
    whole: Undisturbed,
) -> None:
    result, device = whole.result, whole.device
    prototype = milliseconds((result.path / "prototype" / "network.onnx").read_bytes())
    assert prototype > LIMIT_MS >= max(finalists_ms(result))
    first, *cycles = journal(result.path)
    assert len(first["measured"]) == 12
    for one in first["measured"]:
        figure = one["estimated"]["latency_ms"]
        assert figure["provenance"] == "estimate"
        assert figure["measurements"] == 0
    for entry in cycles:
        assert {one["why"] for one in entry["measured"]} <= {"cycle", "worth"}
        figure = entry["figures"]["latency_ms@local"]
        assert figure["provenance"] == "measured"
        assert entry["limits"]["latency_ms@local"] <= LIMIT_MS
    assert device.grades[:-1] == ["loop"] * (len(device.grades) - 1)
    assert device.grades[-1] == "quick"


@pytest.mark.slow
def test_a_card_has_the_figures_of_its_network_whatever_became_of_the_others(
    config: RunConfig, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot_write_one(network: Network, images: torch.Tensor, path: Path, **said: Any) -> Parity:
        if path.parent.name == "network-1":
            raise ExportError("it has no ONNX file")
        return export_network(network, images, path, **said)

    monkeypatch.setattr(publish, "export_network", cannot_write_one)
    put(ModelledDevice())
    result = synth(config)
    (lost,) = [one for one in result.finalists if one.no_onnx_because is not None]
    for folder in (result.path / "finalists").iterdir():
        card = json.loads((folder / "card.json").read_text())
        figure = card["figures"]["latency_ms@local"]
        if folder == lost.folder:
            assert figure["provenance"] != "measured"
            continue
        assert figure["provenance"] == "measured"
        expected = milliseconds((folder / "network.onnx").read_bytes())
        assert figure["value"] == pytest.approx(expected, rel=1e-9)


@pytest.mark.slow
def test_a_device_that_is_away_leaves_estimates_and_ends_in_the_same_family(
    whole: Undisturbed, config: RunConfig, put: Put, tmp_path: Path
) -> None:
    put(ModelledDevice(away={1, 2}))  # in the dozen, and after the first cycle
    cut = synth(config)
    first, entry, last = journal(cut.path)
    lost = [one["status"] == "device_lost" for one in first["measured"]]
    assert lost == [False] * 4 + [True] * 8  # the last four are not asked for
    assert {one["status"] for one in entry["measured"]} == {"device_lost"}
    assert entry["figures"]["latency_ms@local"]["provenance"] == "calibrated estimate"
    again = [one for one in last["measured"] if one["why"] == "again"]
    assert {one["status"] for one in again} == {"ok"}  # what is owed is asked for once more
    assert max(finalists_ms(cut)) <= LIMIT_MS
    copy = shutil.copytree(whole.result.path, tmp_path / "whole")
    assert family_ms(cut.path) == pytest.approx(family_ms(copy), rel=0.3)


@pytest.mark.slow
def test_a_device_that_is_slower_today_teaches_nothing_wrong(config: RunConfig, put: Put) -> None:
    put(ModelledDevice(drift=(1.0, 1.5, 1.0, 0.8)))
    result = synth(config)
    assert max(finalists_ms(result)) <= LIMIT_MS


@pytest.mark.slow
def test_a_stopped_run_counts_nothing_twice_and_ends_with_the_same_bytes(
    config: RunConfig, put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel("conv plain", "v", 10**6, 10**4, 10**4, {"read": 8, "written": 8})
    before = [Sample((kernel,), ms, None, (ms,)) for ms in (0.04, 0.05)]
    known = Known(tuple(before), (None, None))
    monkeypatch.setattr(KNOWN_OF, lambda *_, **__: known)
    whole_device = put(ModelledDevice())
    whole = synth(config)

    class Stops(Silent):
        def cycle(self, entry: Any, of: int) -> None:
            if entry["cycle"] == 1 and not stopped:
                stopped.append(True)
                raise KeyboardInterrupt

    stopped: list[bool] = []
    device = put(ModelledDevice())
    path = tmp_path / "stopped"
    with pytest.raises(Interrupted):
        synth(replace(config, out=path), listener=Stops())
    monkeypatch.setattr(KNOWN_OF, lambda *_, **__: pytest.fail("the store has the run's own now"))
    ended = resume(path)
    figure = journal(path)[0]["measured"][0]["estimated"]["latency_ms"]
    assert (figure["provenance"], figure["measurements"]) == ("calibrated estimate", 2)
    assert sum(device.calls) == sum(whole_device.calls)
    for one, other in zip(
        sorted((ended.path / "finalists").iterdir()),
        sorted((whole.path / "finalists").iterdir()),
        strict=True,
    ):
        for file in ("graph.json", "weights.safetensors"):
            assert (one / file).read_bytes() == (other / file).read_bytes()


def test_a_learned_generator_draws_within_the_limit_without_its_device(
    whole: Undisturbed, tmp_path: Path
) -> None:
    path = shutil.copytree(whole.result.path, tmp_path / "run")
    family = generate(path, range(12))
    assert {drawn.costs["latency_ms@local"] <= LIMIT_MS for drawn in family.drawn} == {True}
    costs = path / DEVICE_COSTS_FILE
    content, tables = costs.read_bytes(), load_file(costs)
    costs.write_bytes(content[:-1])
    with pytest.raises(RunError, match="device costs in .* are damaged"):
        generate(path, range(12, 14))
    save_file({**tables, "0": tables["0"][:, :-1].clone()}, costs)
    with pytest.raises(RunError, match="device costs in .* belong to another prototype"):
        generate(path, range(12, 14))


@pytest.mark.slow
def test_what_was_learned_under_a_devices_limit_begins_a_run_without_the_device(
    whole: Undisturbed, tmp_path: Path
) -> None:
    asked = {
        "requirements": ["top1 >= 40%", "macs <= 1/3"], "search.cycles": 1, "finalists.count": 1,
        "finalists.epochs": 1, "out": tmp_path / "run",
    }  # fmt: skip
    done = synth(begun_from(whole.result.path, asked, trust=True))
    (limits, learned), (own, known) = (
        [json.loads((run / "state" / state / f"{name}.json").read_text()) for name in STATE]
        for run, state in ((done.path, "0000"), (whole.result.path, "0002"))
    )
    assert list(limits["limits"]) == ["macs"]
    assert "latency_ms@local" in own["limits"]
    assert learned["inquisitor"] == known["inquisitor"]


@pytest.mark.slow
def test_a_utility_may_weigh_a_device(config: RunConfig, put: Put) -> None:
    put(ModelledDevice())
    utility = "netscore + 10 * log10(throughput@local)"
    result = synth(replace(config, requirements=("top1 >= 40%",), utility=utility))
    card = json.loads(next((result.path / "finalists").glob("*/card.json")).read_text())
    throughput = card["figures"]["throughput@local"]["value"]
    expected = card["scores"]["netscore"] + 10 * math.log10(throughput)
    assert card["scores"]["utility"] == pytest.approx(expected)


def test_a_latency_that_no_network_has_is_refused_before_anything_is_trained(
    config: RunConfig,
) -> None:
    with pytest.raises(UnreachableError, match=r'likely to have "latency_ms@local <= 1e-9".*95 %'):
        synth(replace(config, requirements=("latency_ms@local <= 1e-9",)))
    assert config.out is not None
    assert not config.out.exists()


def test_a_part_that_cannot_be_looked_into_has_no_estimate(
    config: RunConfig, tmp_path: Path
) -> None:
    weights = tiny.trained(tmp_path, tiny.odd)
    odd = replace(config.prototype, network="tests.runs.tiny:odd", weights=weights)
    with pytest.raises(ConfigError, match="cannot be estimated.*gensynth bench RUN"):
        synth(replace(config, prototype=odd))


@pytest.mark.slow
def test_networks_that_are_made_later_are_weighed_by_the_same_utility(
    config: RunConfig, put: Put
) -> None:
    put(ModelledDevice())
    result = synth(replace(config, utility="netscore - latency_ms@local - power_w@jetson-tx2"))
    distil(result.path, [5])
    card = json.loads((result.path / "generated" / "5" / "card.json").read_text())
    figure = card["figures"]["latency_ms@local"]
    assert figure["provenance"] == "calibrated estimate"
    assert figure["measurements"] >= 12
    folder = next((result.path / "finalists").iterdir())
    weights = load_file(folder / "weights.safetensors")
    save_file(
        {key: 0.999 * value for key, value in weights.items()}, folder / "weights.safetensors"
    )
    certify(folder)
    scores = json.loads((folder / "card.json").read_text())["scores"]
    assert scores["utility"] < scores["netscore"]


def test_a_latency_out_of_reach_is_refused_before_the_prototype_is_trained(
    config: RunConfig,
) -> None:
    untrained = replace(config.prototype, weights=None, train=True)
    impossible = replace(config, prototype=untrained, requirements=("latency_ms@local <= 1e-9",))
    with pytest.raises(UnreachableError):
        synth(impossible)
    assert config.out is not None
    assert not config.out.exists()
