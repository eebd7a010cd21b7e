"""More networks of a learned generator: reproducible, within the costs, certified if asked."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

import gensynth
from gensynth.errors import ConfigError, Interrupted, RunError, UnreachableError
from gensynth.goals.verdicts import Verdict
from gensynth.graph.activations import peak_mib
from gensynth.graph.cost import cost
from gensynth.graph.graph import Graph, Selection
from gensynth.network.files import read_graph
from gensynth.progress import Silent
from gensynth.render import documents
from gensynth.render.family import budgets
from gensynth.runs.budgets import within
from gensynth.runs.family import Family, architecture, generate, open_generator
from gensynth.runs.family_training import distil
from gensynth.runs.result import Result, read_result
from gensynth.runs.run import synth
from gensynth.search.generator import Generator
from tests.runs import tiny

SEEDS = range(12)


@pytest.fixture(scope="module", name="finished")
def copied(finished: Result, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A run of our own, since more networks and looks at the test images are added to it."""
    return read_result(shutil.copytree(finished.path, tmp_path_factory.mktemp("family") / "run"))


@pytest.fixture(scope="module")
def family(finished: Result) -> Family:
    return generate(finished.path, SEEDS)


def graphs(family: Family) -> dict[int, bytes]:
    return {drawn.seed: (drawn.folder / "graph.json").read_bytes() for drawn in family.drawn}


def test_every_seed_gives_a_network_within_the_costs(family: Family) -> None:
    assert [drawn.seed for drawn in family.drawn] == list(SEEDS)
    for drawn in family.drawn:
        graph = Graph.from_json((drawn.folder / "graph.json").read_text())
        counted = cost(graph)
        assert drawn.costs == {"macs": counted.macs, "params": counted.params}
        assert counted.macs <= 60_000
        assert drawn.verdicts["macs <= 60k"] is Verdict.SATISFIED
        assert graph.sha256 == drawn.graph_sha256


def test_a_learned_generator_obeys_a_tighter_limit_as_far_as_it_has_learned(
    finished: Result, family: Family
) -> None:
    lines = (finished.path / "journal.jsonl").read_text().splitlines()
    trained = [entry for entry in map(json.loads, lines) if entry["cycle"] > 0]
    records = (finished.path / "attempts").glob("*/attempt.json")
    least = min(one["macs"] for one in [*trained, *(json.loads(r.read_text()) for r in records)])
    tight = generate(finished.path, SEEDS[:4], requirements=["macs <= 52k", "top1 >= 99%"])
    for drawn in tight.drawn:
        graph = Graph.from_json((drawn.folder / "graph.json").read_text())
        assert cost(graph).macs == drawn.costs["macs"] <= 52_000
        assert drawn.folder.name == f"macs-52000-{drawn.seed}"
        assert list(drawn.verdicts) == ["macs <= 52k", "top1 >= 99%"]
    # Those of the run's own limit stay as they were.
    assert graphs(generate(finished.path, SEEDS)) == graphs(family)
    with pytest.raises(UnreachableError) as refusal:
        generate(finished.path, SEEDS, requirements=["macs <= 1/100"])
    assert str(refusal.value).startswith("macs <= 1,247 is less than this run has learned of, ")
    assert f"--from {finished.path} --require 'macs <= 1247' --out" in str(refusal.value)
    assert f"smallest network has {least:,}; " in str(refusal.value)
    with pytest.raises(ConfigError, match="cannot be asked of a learned generator"):
        generate(finished.path, SEEDS, requirements=["latency_ms@local <= 1"])


def test_of_each_budget_the_best_predicted_of_its_networks_is_kept(finished: Result) -> None:
    found = within(finished.path, "macs <= 52k, 58k, 1k", SEEDS[:4])
    assert [budget.requirement for budget in found] == [
        f"macs <= {n}" for n in ("52k", "58k", "1k")
    ]
    for budget, limit in zip(found[:2], (52_000, 58_000), strict=True):
        every = generate(finished.path, SEEDS[:4], requirements=[budget.requirement]).drawn
        assert budget.best is not None
        assert budget.best.costs["macs"] <= limit
        assert budget.best.predicted[1] == max(
            one.predicted[1] for one in every if one.verdict is not Verdict.VIOLATED
        )
        assert (budget.best.folder / "graph.json").exists()
    assert found[2].best is None
    assert "macs <= 1,000 is less than this run has learned of" in found[2].why
    table = budgets(found).splitlines()
    assert [line.split()[:3] for line in table[1:4]] == [
        ["macs", "<=", n] for n in ("52k", "58k", "1k")
    ]
    first, second, none = documents.budgets(found)
    assert list(first) == list(second)
    assert set(none) < set(first)
    with pytest.raises(UnreachableError):
        within(finished.path, "macs <= 1k", SEEDS[:1])
    with pytest.raises(ConfigError, match="a budget is over a cost"):
        within(finished.path, "top1 >= 80%, 90%", SEEDS[:1])


def test_within_a_budget_of_the_peak_are_only_networks_whose_peak_it_allows(
    finished: Result,
) -> None:
    every = generate(finished.path, range(20, 24)).drawn
    peaks = {one.seed: peak_mib(read_graph(one.folder / "graph.json")) for one in every}
    least = min(peaks.values())
    (found,) = within(finished.path, f"peak_mib <= {least}", range(20, 24))
    assert found.best is not None
    assert peaks[found.best.seed] == least
    with pytest.raises(UnreachableError, match="holds of none of the 4 networks"):
        within(finished.path, f"peak_mib < {least}", range(20, 24))


def test_a_network_follows_from_generator_prototype_graph_and_seed(
    finished: Result, family: Family, tmp_path: Path
) -> None:
    # A folder with nothing else of the run but what a reader needs to be told it is one.
    for name in ("FORMAT", "run.toml", "result.json", "generator.json", "inquisitor.json"):
        (tmp_path / name).write_bytes((finished.path / name).read_bytes())
    (tmp_path / "prototype").mkdir()
    graph = (finished.path / "prototype" / "graph.json").read_bytes()
    (tmp_path / "prototype" / "graph.json").write_bytes(graph)
    (tmp_path / "state").mkdir()
    backwards = generate(tmp_path, reversed(SEEDS))  # not even the company of others matters
    assert graphs(backwards) == graphs(family)


def test_a_finalist_is_its_seeds_network_by_the_generator_beside_it(finished: Result) -> None:
    space = open_generator(finished.path)[0].space
    assert finished.finalists
    for finalist in finished.finalists:
        made_in = json.loads((finalist.folder / "card.json").read_text())["made_in"]
        text = (finished.path / "attempts" / made_in / "generator.json").read_text()
        assert finalist.seed is not None
        graph = Generator.from_json(text, space).generate(finalist.seed)
        assert graph.to_json() == (finalist.folder / "graph.json").read_text()


def test_predictions_are_ranges_that_judge_the_requirements(family: Family) -> None:
    for drawn in family.drawn:
        low, mean, high = drawn.predicted
        assert 0 <= low < mean < high <= 1
        verdict = drawn.verdicts["top1 >= 40%"]
        assert (verdict is Verdict.SATISFIED) == (low >= 0.40)
        assert (verdict is Verdict.VIOLATED) == (high < 0.40)


def test_the_family_is_diverse(family: Family) -> None:
    assert family.median_distance is not None
    assert family.median_distance >= 0.05
    shapes = set()
    for drawn in family.drawn:
        selection = Graph.from_json((drawn.folder / "graph.json").read_text()).selection
        widths = {name: len(kept) for name, kept in selection.kept.items()}
        shapes.add((tuple(sorted(widths.items())), selection.removed))
    assert family.architectures == len(shapes)


def test_which_channels_a_network_keeps_is_no_part_of_its_architecture() -> None:
    one = Selection({"a": (0, 2), "b": (1,)}, ("add",), {"conv": "separable"})
    same = Selection({"b": (0,), "a": (1, 3)}, ("add",), {"conv": "separable"})
    wider = Selection({"a": (0, 2, 3), "b": (1,)}, ("add",), {"conv": "separable"})
    whole = Selection(one.kept, (), one.substitutes)
    dense = Selection(one.kept, one.removed)
    assert architecture(one) == architecture(same)
    assert len({architecture(s) for s in (one, wider, whole, dense)}) == 4


def test_asking_again_writes_nothing(finished: Result, family: Family) -> None:
    before = {f: f.stat().st_mtime_ns for f in family.path.rglob("*")}
    assert generate(finished.path, SEEDS) == family
    assert {f: f.stat().st_mtime_ns for f in before} == before


def test_no_seeds_give_no_networks(finished: Result) -> None:
    assert generate(finished.path, []).drawn == ()


class StopAfter(Silent):
    """Presses Ctrl-C when the second network is half trained."""

    def progress(self, what: str, share: float, text: str) -> None:
        if what == "seed-101" and share > 0.5:
            raise KeyboardInterrupt


class Trained(Silent):
    """Hears which networks are trained."""

    def __init__(self) -> None:
        self.heard: set[str] = set()

    def progress(self, what: str, share: float, text: str) -> None:
        if what.startswith("seed-"):
            self.heard.add(what)


def judged(run: Result) -> int:
    """How many networks the test split has judged, the prototype left out."""
    ledger = map(json.loads, (run.path / "ledger.jsonl").read_text().splitlines())
    return len({entry["network"] for entry in ledger if entry["event"] == "result"}) - 1


def test_distilled_networks_are_certified_together_and_nothing_is_done_twice(
    finished: Result,
) -> None:
    with pytest.raises(Interrupted, match="stopped after 1 of 2 networks"):
        distil(finished.path, [100, 101], listener=StopAfter())
    rest = Trained()
    family = distil(finished.path, [100, 101], listener=rest)
    assert rest.heard == {"seed-101"}
    for drawn in family.drawn:
        assert drawn.certificate is not None
        assert (drawn.certificate.sharing, drawn.certificate.score.n) == (judged(finished), 180)
        network = gensynth.load(drawn.folder)
        assert sum(p.numel() for p in network.parameters()) == drawn.costs["params"]
        card = json.loads((drawn.folder / "card.json").read_text())
        additions = [vertex.name for vertex in network.graph.vertices if vertex.op == "add"]
        assert len(additions) + len(card["removed_blocks"]) == 1  # the prototype has one
        assert card["operators"] == {}  # the run allows none
    met = [
        all(verdict is Verdict.SATISFIED for verdict in (drawn.point_verdicts or {}).values())
        for drawn in family.drawn
    ]
    assert (family.satisfied, family.judged) == (sum(met), 2)
    if all(met):  # One-sided 95 % Wilson of 2 of 2: 2 / (2 + 1.645^2)
        assert family.share_lower_bound == pytest.approx(2 / (2 + 1.6449**2), abs=1e-4)
    looked = Trained()
    assert distil(finished.path, [100, 101], listener=looked) == family
    assert looked.heard == set()
    ledger = map(json.loads, (finished.path / "ledger.jsonl").read_text().splitlines())
    results = [entry["network"] for entry in ledger if entry["event"] == "result"]
    folders = [finished.prototype.folder, *(finalist.folder for finalist in finished.finalists)]
    folders += [drawn.folder for drawn in family.drawn]
    digests = [
        hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
        for folder in folders
    ]
    assert sorted(results) == sorted(set(digests))  # each network once, even if two are alike


@pytest.mark.slow
def test_seeds_asked_for_one_by_one_share_the_confidence_as_well(finished: Result) -> None:
    first = distil(finished.path, [110]).drawn[0].certificate
    second = distil(finished.path, [111]).drawn[0].certificate
    assert first is not None
    assert second is not None
    assert first.sharing < second.sharing == judged(finished)


def test_two_seeds_of_one_network_share_its_training(finished: Result) -> None:
    seeds: dict[str, list[int]] = {}
    for drawn in generate(finished.path, range(200, 400)).drawn:
        seeds.setdefault(drawn.graph_sha256, []).append(drawn.seed)
    one, other, third = next(same for same in seeds.values() if len(same) > 2)[:3]
    heard = Trained()
    family = distil(finished.path, [one, other], listener=heard)
    assert heard.heard == {f"seed-{one}"}
    card = json.loads((family.drawn[1].folder / "card.json").read_text())
    assert card["search"]["trained_as_seed"] == one
    first, second = family.drawn
    assert (first.seed, second.seed) == (one, other)
    assert first.certificate == second.certificate
    assert first.search_score == second.search_score
    again = Trained()
    assert distil(finished.path, [other, one], listener=again).drawn == (second, first)
    distil(finished.path, [third], listener=again)  # nor in a later call
    assert again.heard == set()


def test_a_family_needs_a_finished_run(finished: Result, tmp_path: Path) -> None:
    class Stop(Silent):
        def cycle(self, entry: Mapping[str, object], total: int) -> None:
            raise KeyboardInterrupt

    config = tiny.config(finished.path / "prototype" / "weights.safetensors", tmp_path / "run")
    with pytest.raises(Interrupted):
        synth(config, listener=Stop())
    with pytest.raises(RunError, match="is not finished"):
        generate(tmp_path / "run", [0])


def test_load_names_the_networks_of_a_run(finished: Result) -> None:
    with pytest.raises(RunError, match="name one of FermiNet-A, FermiNet-B"):
        gensynth.load(finished.path)
