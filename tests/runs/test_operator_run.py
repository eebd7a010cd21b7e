"""A whole run with operators on: its networks, that a stop changes nothing, that seeds repeat."""

import json
import shutil
from pathlib import Path

import pytest
import torch

import gensynth
from gensynth.config import SearchConfig
from gensynth.errors import Interrupted
from gensynth.graph.cost import cost
from gensynth.runs.family import generate
from gensynth.runs.result import Result
from gensynth.runs.run import resume, synth
from tests.runs import tiny
from tests.runs.stopping import Stop, networks
from tests.runs.toybox import RUN, Command

CHOICES = ("separable", "low_rank_2", "grouped_2")
SEEDS = range(100, 106)


def config(weights: Path, out: Path) -> gensynth.config.RunConfig:
    search = SearchConfig(
        cycles=2, warmup_images=256, images=256, probe_images=60, candidates=48, round_to=1,
        substitutes=CHOICES,
    )  # fmt: skip
    return tiny.config(weights, out, search=search, requirements=("top1 >= 40%", "macs <= 30k"))


@pytest.fixture(scope="module")
def finished(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    return synth(config(weights, tmp_path_factory.mktemp("runs") / "run"))


def test_finalists_have_other_operators_within_the_cost(finished: Result) -> None:
    found = [gensynth.load(finalist.folder) for finalist in finished.finalists]
    assert any(network.graph.selection.substitutes for network in found)
    for finalist, network in zip(finished.finalists, found, strict=True):
        counted = cost(network.graph)
        assert (finalist.params, finalist.macs) == (counted.params, counted.macs)
        assert counted.params == sum(p.numel() for p in network.parameters())
        assert finalist.macs <= 30_000


def test_the_files_say_which_operators_there_are(finished: Result) -> None:
    generator = json.loads((finished.path / "generator.json").read_text())
    assert generator["operators"] == list(CHOICES)
    state = json.loads((finished.path / "inquisitor.json").read_text())["inquisitor"]
    assert len(state["operator_nats"]) == 3  # stem, inner, narrow
    assert {len(line[2]) for line in state["divergences"]} == {3}
    attempt = json.loads((finished.path / "attempts" / "network-1" / "attempt.json").read_text())
    assert len(attempt["operators"]) == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    "stop",
    [Stop(cycle=1), Stop(phase="finalists"), Stop(progress="network-1")],
    ids=["cycle", "finalists", "network"],
)
def test_a_stopped_run_ends_with_the_same_bytes(
    finished: Result, weights: Path, tmp_path: Path, stop: Stop
) -> None:
    out = tmp_path / "run"
    with pytest.raises(Interrupted):
        synth(config(weights, out), listener=stop)
    resume(out)
    assert networks(out) == networks(finished.path)


def test_generated_graphs_follow_from_the_seed_byte_for_byte(
    finished: Result, tmp_path: Path
) -> None:
    family = generate(finished.path, SEEDS)
    graphs = [(drawn.folder / "graph.json").read_bytes() for drawn in family.drawn]
    assert all(drawn.costs["macs"] <= 30_000 for drawn in family.drawn)
    shutil.copytree(finished.path, tmp_path / "copy", ignore=shutil.ignore_patterns("generated"))
    again = generate(tmp_path / "copy", reversed(SEEDS))
    assert [(d.folder / "graph.json").read_bytes() for d in reversed(again.drawn)] == graphs
    assert any(json.loads(graph)["selection"].get("operators") for graph in graphs)


def test_a_card_names_the_convolutions_that_are_not_dense(finished: Result) -> None:
    for finalist in finished.finalists:
        graph = gensynth.load(finalist.folder).graph
        changed = set()
        for conv in (v for v in graph.vertices if v.name in ("stem", "inner", "narrow")):
            _, read, *kernel = conv.tensors["weight"]
            if (read, kernel) != (graph[conv.inputs[0]].shape[0], [3, 3]):
                changed.add(conv.name)
        card = json.loads((finalist.folder / "card.json").read_text())
        assert card["operators"].keys() == changed
        assert set(card["operators"].values()) <= set(CHOICES)


def test_a_substitute_computes_what_was_kept_of_it(finished: Result) -> None:
    images = torch.randn(2, 1, tiny.SIDE, tiny.SIDE)
    for finalist in finished.finalists:
        first, second = gensynth.load(finalist.folder), gensynth.load(finalist.folder)
        with torch.no_grad():
            assert torch.equal(first(images), second(images))


def test_plan_says_where_operators_may_stand(gensynth: Command) -> None:
    options = ["--substitute", "separable", "--substitute", "grouped_4", "--operator", "low_rank_2"]
    code, out, _ = gensynth("synth", "toy.toml", "--plan", *options)
    assert code == 0
    # conv1 reads a single channel and conv2 halves the image.
    said = "substitutes: separable for 2 places, grouped_4 for 1 place, low_rank_2 for 1 place"
    assert said in " ".join(out.split())
    # By hand, conv1 1 to 2 at 64 places and conv2 2 to 2 at 16, fc 32 to 4. Separable:
    # 64 (9 + 2) + 16 (18 + 4); low rank, conv1 alone: 64 (3 + 6). So 576 + 352 + 128.
    assert [line.split() for line in out.splitlines() if line.startswith("MACs")] == [
        ["MACs", "1.06", "k", "<=", "12.0", "k", "24.1", "k"]
    ]


def test_an_operator_that_nobody_knows_is_refused_with_the_nearest(gensynth: Command) -> None:
    code, out, err = gensynth("synth", "toy.toml", "--substitute", "seperable")
    assert (code, out) == (2, "")
    message = "unknown substitute 'seperable' in [search]; did you mean 'separable'?"
    assert err.endswith(f"error: {message}\n")


def test_a_run_file_s_unknown_operator_is_refused_with_the_file_s_name(
    gensynth: Command, here: Path
) -> None:
    (here / "toy.toml").write_text(
        RUN.replace("cycles = 3", 'cycles = 3\noperators = ["separable", "low_rank"]')
    )
    code, out, err = gensynth("synth", "toy.toml")
    assert (code, out) == (2, "")
    message = "unknown substitute 'low_rank' in [search]; did you mean 'low_rank_4'?"
    assert err.endswith(f"error: toy.toml: {message}\n")
