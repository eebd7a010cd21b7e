"""A prototype that is trained within the run."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from gensynth.config import PrototypeConfig, RunConfig
from gensynth.errors import Interrupted
from gensynth.runs.prepare import prepare
from gensynth.runs.run import resume, synth
from tests.runs import tiny
from tests.runs.stopping import Stop, networks


@pytest.fixture
def training(weights: Path) -> Callable[[Path], RunConfig]:
    """Configurations of runs that train their prototype for three short epochs."""
    return lambda out: tiny.config(
        weights, out, requirements=("macs <= 60k",),
        prototype=PrototypeConfig(
            network="tests.runs.tiny:net", train=True, epochs=3, batch=32
        ),
    )  # fmt: skip


def test_a_prototype_is_trained_within_the_run_where_that_is_asked(
    training: Callable[[Path], RunConfig], tmp_path: Path
) -> None:
    result = synth(training(tmp_path / "run"))
    record = json.loads((result.path / "prototype" / "training.json").read_text())
    assert record["recipe"]["epochs"] == 3
    assert record["search"]["correct"] == result.prototype.search_score.to_document()["correct"]
    assert not (result.path / "training").exists()


@pytest.mark.slow
def test_an_interrupted_training_of_the_prototype_goes_on_to_the_same_run(
    training: Callable[[Path], RunConfig], tmp_path: Path
) -> None:
    whole = synth(training(tmp_path / "whole"))
    with pytest.raises(Interrupted, match="before the first cycle; go on with: .* --resume"):
        synth(training(tmp_path / "run"), listener=Stop(progress="prototype"))
    checkpoint = tmp_path / "run" / "training" / "checkpoint.safetensors"
    with safe_open(checkpoint, framework="np") as file:
        assert int(file.metadata()["step"]) > 0
    trained_s = json.loads((tmp_path / "run" / "phases.json").read_text())["prepare"]
    resumed = resume(tmp_path / "run")
    assert json.loads((resumed.path / "phases.json").read_text())["prepare"] > trained_s > 0
    assert networks(resumed.path) == networks(whole.path)
    assert not (resumed.path / "training").exists()
    record = json.loads((resumed.path / "prototype" / "training.json").read_text())
    assert record["train_s"] is None


def test_a_plan_trains_no_prototype(training: Callable[[Path], RunConfig], tmp_path: Path) -> None:
    job = prepare(training(tmp_path / "run"), listener=Stop(progress="prototype"))
    assert job.forecast().search_score is None
    assert job.reach.costs["macs"][0] < job.reach.costs["macs"][1]
    assert not (tmp_path / "run").exists()


def test_training_goes_on_from_the_weights_that_are_given(weights: Path, tmp_path: Path) -> None:
    # At a rate of nothing, what was learned before is all that there is.
    prototype = PrototypeConfig(
        network="tests.runs.tiny:net", weights=weights, train=True, epochs=1, peak_lr=1e-9
    )
    config = tiny.config(weights, None, prototype=prototype, requirements=("macs <= 60k",))
    job = prepare(config, training=lambda _: tmp_path / "training")
    begun = load_file(weights)
    for key, tensor in job.prototype.weights.items():
        if "running" not in key:
            assert torch.allclose(tensor, begun[key], atol=1e-6), key
    recipe = json.loads(job.training["training.json"])["recipe"]
    assert (recipe["epochs"], recipe["peak_lr"], recipe["batch"]) == (1, 1e-9, 128)
