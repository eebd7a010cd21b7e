"""A torch module and a data set in the place of names, as a notebook has them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import gensynth
from gensynth.config import PrototypeConfig, RunConfig
from gensynth.errors import ConfigError, Interrupted
from gensynth.export.targets import find_target
from gensynth.runs.artefacts import Order, export
from gensynth.runs.family_training import distil
from gensynth.runs.prepare import prepare
from gensynth.runs.result import Result
from gensynth.runs.run import resume
from tests.runs import tiny
from tests.runs.stopping import Stop, networks


def module(weights: Path) -> tiny.Net:
    network = tiny.net(3, 1)
    network.load_state_dict(load_file(weights))
    return network.train()


def weights_of(result: Result) -> dict[str, bytes]:
    """The finalists' weights; graphs have the prototype's name in them, and differ."""
    return {k: v for k, v in networks(result.path).items() if k.endswith(".safetensors")}


def config(out: Path) -> RunConfig:
    named = tiny.config(Path("absent"), out)
    return replace(named, prototype=PrototypeConfig())


@pytest.mark.slow
def test_objects_give_the_networks_that_their_names_give(
    weights: Path, finished: Result, tmp_path: Path
) -> None:
    network, data = module(weights), tiny.bars()
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    result = gensynth.synth(config(tmp_path / "run"), prototype=network, dataset=data)
    assert weights_of(result) == weights_of(finished)
    assert result.prototype.name == "Net"
    assert all(torch.equal(network.state_dict()[key], tensor) for key, tensor in before.items())
    assert not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_a_stopped_run_of_objects_is_gone_on_with_by_giving_them_again(
    weights: Path, finished: Result, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with pytest.raises(Interrupted):
        gensynth.synth(
            config(out), prototype=module(weights), dataset=tiny.bars(), listener=Stop(cycle=1)
        )
    with pytest.raises(ConfigError, match=r"a Python object.*gensynth\.resume\(RUN, prototype="):
        resume(out)
    untrained = tiny.net(3, 1)  # its weights are in the run folder
    result = gensynth.resume(out, prototype=untrained, dataset=tiny.bars())
    assert weights_of(result) == weights_of(finished)
    family = distil(out, [5], prototype=untrained, dataset=tiny.bars())
    assert family.judged == 1
    order = Order(find_target("x86-cpu"), "fp32", None, None)
    written = export(out, order)
    assert all(one.artefact.accuracy is None for one in written)  # its data are not there


def test_a_module_is_not_trained_anew(weights: Path) -> None:
    asked = replace(config(Path("out")), prototype=PrototypeConfig(train=True))
    with pytest.raises(ConfigError, match="a prototype given as a module is trained already"):
        gensynth.synth(asked, prototype=module(weights), dataset=tiny.bars())
    assert not Path("out").exists()


def test_only_one_of_them_may_be_an_object(weights: Path) -> None:
    from gensynth.runs.objects import Objects

    objects = Objects(prototype=module(weights))
    asked = objects.named(config(Path("out")))
    job = prepare(asked, objects=objects)
    assert job.dataset.name == "bars"
