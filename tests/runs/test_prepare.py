"""What a run is made ready from, what is refused before anything is written, and the forecast."""

import dataclasses
import math
import os
import pickle
import re
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gensynth.config import (
    DataConfig,
    DeviceConfig,
    FinalistsConfig,
    PrototypeConfig,
    RunConfig,
    SearchConfig,
    TaskConfig,
)
from gensynth.data.dataset import Dataset, Split
from gensynth.errors import ConfigError, DataError, GensynthError, PrototypeError, UnreachableError
from gensynth.goals.requirements import parse, parse_all
from gensynth.goals.utility import Utility
from gensynth.graph.cost import cost
from gensynth.network.compute import Compute
from gensynth.progress import Silent
from gensynth.runs.ahead import forecast as forecasting
from gensynth.runs.ahead.forecast import (
    TIMED_STEPS,
    Pace,
    pace,
    point_at_limits,
    views_kept,
)
from gensynth.runs.ahead.reach import certificate_told, frozen_macs_share, reach_of
from gensynth.runs.plan import PROTOTYPE_BATCH, settings_of, with_batches
from gensynth.runs.prepare import Job, check_size, prepare
from gensynth.runs.run import synth
from gensynth.search.inquisitor import FULL
from gensynth.space.coupling import couple
from gensynth.space.space import Space
from gensynth.tasks.classification import Classification
from gensynth.trace import trace
from gensynth.training.evaluator import Evaluator
from gensynth.training.pretrain import recipe_of
from tests.runs import tiny


@pytest.fixture(scope="module")
def job(weights: Path) -> Job:
    return prepare(tiny.config(weights, None))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_latency_without_a_device_is_of_this_machine_and_is_asked_of_it(job: Job) -> None:
    assert not job.hardware
    config = dataclasses.replace(job.config, requirements=("top1 >= 40%", "latency_ms <= 5ms"))
    found = prepare(config)
    assert [r.text for r in found.requirements] == ["top1 >= 40%", "latency_ms@local <= 5ms"]
    (board,) = found.hardware.boards
    assert (board.device.name, board.names) == ("local", ("latency_ms",))


def test_a_limit_on_the_peak_of_activations_stands_in_the_forecast(job: Job) -> None:
    limit = parse("peak_mib <= 0.008")
    expected = reach_of(
        job.config, (limit,), job.dataset, job.task, job.prototype, job.space, job.step,
        job.hardware,
    )  # fmt: skip
    # The block's convolution reads and writes 8 x 12 x 12: 9,216 bytes.
    assert expected.costs["peak_mib"][1] == 9_216 / 2**20
    assert expected.limits["peak_mib"] == 0.008


def test_what_is_relative_is_settled_by_the_prototypes_graph_and_search_score(job: Job) -> None:
    asked = ("macs <= 80%", "top1 >= prototype - 5")
    found = prepare(dataclasses.replace(job.config, requirements=asked))
    macs, correct = cost(job.prototype.graph).macs, job.search_score.to_document()["correct"]
    macs_limit, top1_limit = (r.limit for r in found.requirements)
    assert macs_limit == pytest.approx(0.8 * macs)
    assert top1_limit == pytest.approx(100 * correct / 150 - 5, abs=1e-4)
    assert found.settings.limits == {"macs": int(0.8 * macs)}
    # As the run folder keeps it: read again, it is the same limit without a look at the prototype.
    assert found.config.requirements == tuple(r.text for r in found.requirements)
    assert [parse(text) for text in found.config.requirements] == list(found.requirements)


def test_a_run_is_judged_by_the_quality_that_is_required(job: Job) -> None:
    found = prepare(dataclasses.replace(job.config, requirements=("smallest_recall >= 20%",)))
    assert found.config.task.metric == found.search_score.metric == "smallest_recall"
    assert found.search_score.value <= job.search_score.value


class Crash:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch executed",)


TWO_DEVICES = dict.fromkeys(["local", "x86"], DeviceConfig())
REFUSED = [
    pytest.param(
        {"requirements": ("mac <= 20M",)}, ConfigError, "unknown metric 'mac'", id="metric"
    ),
    pytest.param({"requirements": ("top1 > ",)}, ConfigError, "cannot be read", id="unreadable"),
    pytest.param(
        {"requirements": ("macs <= 1",)}, UnreachableError, "no network of this prototype",
        id="unreachable",
    ),
    pytest.param(
        {"requirements": ("peak_mib <= 1KiB",)}, UnreachableError, "the least peak is",
        id="unreachable peak",
    ),
    pytest.param(
        {"requirements": ("latency_ms <= 5",), "devices": TWO_DEVICES},
        ConfigError, "one of the run's devices, local, x86", id="of which device",
    ),
    pytest.param({"utility": "netscor"}, ConfigError, "netscore", id="utility"),
    pytest.param(
        {"utility": "top1 - p99_ms"}, ConfigError, "known of finalists only",
        id="utility of a device",
    ),
    pytest.param(
        {"data": DataConfig(source="fashion-mnst")}, ConfigError,
        "did you mean 'fashion-mnist'", id="data",
    ),
    pytest.param(
        {"prototype": PrototypeConfig(network="resnet9")}, ConfigError, "unknown prototype",
        id="prototype",
    ),
    pytest.param(
        {"prototype": PrototypeConfig(network="tests.runs.tiny:net")}, PrototypeError,
        "--train-prototype", id="no weights",
    ),
    pytest.param(
        {"prototype": PrototypeConfig(network="tests.runs.tiny:net", weights=Path("absent"))},
        PrototypeError, "no weights file .*/absent", id="weights absent",
    ),
    pytest.param(
        {"task": TaskConfig(class_weights=(1.0, 2.0))}, ConfigError, "each of 3 classes, got 2",
        id="class weights",
    ),
]  # fmt: skip


def test_norms_want_as_many_positions_of_few_large_images_as_of_many_small_ones() -> None:
    for side, enough in ((32, 256), (96, 29), (512, 16)):
        for count in (enough, enough - 1):
            part = Split("train", np.zeros((count, 1, side, side), np.uint8), np.zeros(count, int))
            data = Dataset("few", ("a", "b"), part, part, part, (0.0,), (1.0,))
            if count == enough:
                check_size(data)
                continue
            with pytest.raises(DataError, match=f"at least {enough} of {side} x {side} pixels"):
                check_size(data)


def test_a_batch_that_the_images_do_not_fill_is_a_quarter_of_them_and_this_is_said() -> None:
    config = RunConfig(prototype=PrototypeConfig(train=True))  # 128 of either
    assert with_batches(config, 128) == (config, [])
    smaller, said = with_batches(config, 127)
    assert (smaller.finalists.batch, smaller.prototype.batch) == (31, 31)
    assert said == [
        f"a batch of [{table}] has 31 images and not 128, since 127 are there to train on"
        for table in ("finalists", "prototype")
    ]
    assert recipe_of(tiny.bars(), begins=False).batch == PROTOTYPE_BATCH


class Heard(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_a_run_of_few_images_says_that_its_batches_are_smaller(weights: Path) -> None:
    heard = Heard()
    asked = FinalistsConfig(batch=100_000)
    job = prepare(tiny.config(weights, None, finalists=asked), listener=heard)
    count = len(job.dataset.train)
    assert job.recipe.batch == job.config.finalists.batch == count // 4
    (said,) = (text for text in heard.notes if "batch" in text)
    assert said == (
        f"a batch of [finalists] has {count // 4} images and not 100000, since {count} are there "
        "to train on"
    )


@pytest.mark.parametrize(("changes", "kind", "words"), REFUSED)
def test_what_cannot_be_meant_is_refused_before_a_folder_is_made(
    weights: Path, changes: dict[str, object], kind: type[GensynthError], words: str
) -> None:
    config = tiny.config(weights, Path("run").resolve(), **changes)
    with pytest.raises(kind, match=words):
        synth(config)
    assert list(Path.cwd().iterdir()) == []


def test_a_pickle_in_the_place_of_weights_is_refused_and_not_run(weights: Path) -> None:
    path = Path("weights.pt")
    path.write_bytes(pickle.dumps(Crash()))
    prototype = PrototypeConfig(network="tests.runs.tiny:net", weights=path)
    with pytest.raises(PrototypeError, match="pickled object could run code"):
        prepare(tiny.config(weights, None, prototype=prototype))
    assert not Path("executed").exists()


def test_weights_of_another_network_are_refused(weights: Path) -> None:
    prototype = PrototypeConfig(network="resnet8", weights=weights)
    with pytest.raises(PrototypeError, match="does not fit prototype 'resnet8'"):
        prepare(tiny.config(weights, None, prototype=prototype))


def test_a_run_folder_that_is_taken_is_refused_before_the_prototype_is_trained(
    weights: Path,
) -> None:
    Path("run").mkdir()
    Path("run/notes.txt").write_text("mine")
    prototype = PrototypeConfig(network="tests.runs.tiny:net", train=True)
    config = tiny.config(weights, Path("run").resolve(), prototype=prototype)
    with pytest.raises(GensynthError, match="is not empty"):
        synth(config)
    assert [path.name for path in Path("run").iterdir()] == ["notes.txt"]


def test_the_plan_says_what_the_run_file_says(job: Job) -> None:
    settings = job.settings
    assert settings.limits == {"macs": 60_000}
    assert settings.objective.least_score == 0.40
    assert settings.objective.fidelity == FULL
    assert settings.recipe.epochs * len(job.dataset.train) == pytest.approx(256)
    assert settings.warmup == 1  # 256 images of the warm-up, 256 a network
    assert (job.recipe.epochs, job.recipe.batch) == (3, 32)


def test_frozen_weights_take_part_in_no_warm_up(weights: Path) -> None:
    search = SearchConfig(learn_weights=False, probe_images=30)
    settings = prepare(tiny.config(weights, None, search=search)).settings
    assert (settings.warmup, settings.reptile_rate) == (0, 0.0)
    assert [settings.first_epoch(cycle) for cycle in range(3)] == [0, 0, 0]


def test_the_same_run_file_gives_the_same_stimuli(weights: Path, job: Job) -> None:
    other = prepare(tiny.config(weights, None))
    network = job.prototype.network()
    assert np.array_equal(
        np.concatenate(job.probe(network, seed=0).channel_nats),
        np.concatenate(other.probe(network, seed=0).channel_nats),
    )


class Skip(nn.Module):
    """x * conv(x) ties the convolution to the image, which cannot be narrowed."""

    def __init__(self) -> None:
        super().__init__()
        self.tied = nn.Conv2d(1, 1, 3, padding=1)
        self.free = nn.Conv2d(1, 4, 3, padding=1)
        self.head = nn.Linear(4 * 144, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(torch.relu(self.free(x * self.tied(x))).flatten(1))
        return logits


def test_what_no_group_touches_is_the_frozen_share() -> None:
    coupling = couple(trace(Skip(), torch.zeros(1, 1, 12, 12), name="skip"))
    # By hand: 9 * 144 are tied to the image, 4 * 9 * 144 and 4 * 144 * 3 are not.
    assert frozen_macs_share(coupling) == pytest.approx(1296 / (1296 + 5184 + 1728))


def test_the_forecast_gives_the_range_that_the_space_has(job: Job) -> None:
    forecast = job.reach
    whole = cost(job.prototype.graph)
    assert [forecast.costs[name][1] for name in ("macs", "params")] == [whole.macs, whole.params]
    smallest = job.space.coupling.apply(
        job.space.selection(job.space.smallest(), 0, [np.arange(s) for s in job.space.sizes])
    )
    assert forecast.costs["macs"][0] == cost(smallest).macs
    assert forecast.limits == {"macs": 60_000}
    assert forecast.frozen_macs_share == 0
    assert dict(forecast.groups) == {"stem": 8, "narrow": 12}  # inner is added to stem
    times = job.forecast()
    assert 0 < min(part.each_s for part in times.parts if part.count) < times.total_s


def test_what_is_paid_once_a_network_is_no_part_of_a_forecast_step(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    once_s, real_s = 1000.0, time.perf_counter
    compilations: list[nn.Module] = []

    def compiled(compute: Compute, network: nn.Module) -> nn.Module:
        compilations.append(network)
        return network

    monkeypatch.setattr(Compute, "compiled", compiled)
    monkeypatch.setattr(time, "perf_counter", lambda: real_s() + once_s * len(compilations))
    recipe = dataclasses.replace(job.recipe, compiled=True)
    found = pace(job.evaluator, job.probe, job.space, {"macs": 60_000}, recipe)
    assert compilations
    assert 0 < found.step_s < once_s / TIMED_STEPS


def test_answers_that_do_not_fit_in_memory_are_forecast_for_every_network(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = math.prod(job.prototype.graph[job.prototype.graph.outputs[0]].shape)
    recipe = dataclasses.replace(job.recipe, epochs=2.0)
    # Whole batches of float32 answers, two epochs of them.
    seen = 2 * (len(job.dataset.train) // recipe.batch) * recipe.batch
    assert views_kept(job.evaluator, recipe) == (seen, seen)
    monkeypatch.setattr(forecasting, "ROOM_BYTES", 10 * 4 * outputs + 3)
    assert views_kept(job.evaluator, recipe) == (seen, 10)
    pace = Pace(step_s=0.0, teach_s=1.0, image_s=0.0, probe_s=0.0, switch_s=0.0)
    unmoved = dataclasses.replace(job.settings.search, reptile_rate=0.0)  # no teacher in cycles
    settings = dataclasses.replace(job.settings, warmup=0, search=unmoved)
    parts = pace.parts(settings, recipe, job.evaluator, full_networks=0, count=3)
    steps = seen / recipe.batch
    assert sum(part.total_s for part in parts) == pytest.approx(steps * (1 + 2 * (1 - 10 / seen)))


def test_a_forecast_leaves_nothing_that_the_run_would_find(job: Job) -> None:
    before = {key: tensor.clone() for key, tensor in job.prototype.weights.items()}
    answers = dict(job.evaluator.teacher._answers)
    job.forecast()
    assert all(torch.equal(before[key], job.prototype.weights[key]) for key in before)
    assert job.evaluator.teacher._answers == answers


def test_the_timed_network_is_the_widest_that_meets_the_limits(job: Job) -> None:
    space: Space = job.space
    points = point_at_limits(space, {"macs": 60_000})
    assert 20_000 < space.costs(points)[0, 0] <= 60_000


@pytest.mark.parametrize(
    ("requirements", "utility", "budgeted"),
    [
        (["top1 >= 87%", "macs <= 4M"], "netscore", ()),  # which are all exact ones
        (["top1 >= 87%"], "top1", ()),  # nothing is asked
        (["macs <= 4M"], "top1", ("macs",)),
        (["size_mib <= 1"], "top1", ("params",)),
        (["top1 >= 87%"], "-log10(macs)", ("macs",)),
    ],
)
def test_a_family_is_made_cheaper_in_what_is_asked_about(
    job: Job, requirements: list[str], utility: str, budgeted: tuple[str, ...]
) -> None:
    asked = parse_all(requirements)
    settings = settings_of(
        job.config, asked, Utility(utility), "top1", job.space, len(job.dataset.train), {}
    )
    assert settings.budgeted == budgeted


@pytest.mark.parametrize(
    ("images", "text"),
    [
        # Wilson's bound by hand: n of n right show n / (n + 1.645^2), which is 90 % from
        # 9 * 2.706 = 24.35 images on.
        (24, "24 test images are too few .* always right; 25 would be enough"),
        (25, '25 test images certify "top1 >= 90%" of one network from 100.00 % on'),
    ],
)
def test_a_plan_says_how_many_test_images_a_certificate_takes(images: int, text: str) -> None:
    told = certificate_told(parse("top1 >= 90%"), images, Classification(), 1)
    assert re.match(text, told)


def test_the_plan_is_told_before_the_prototype_is_scored(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[object] = []

    def scored(*_: object) -> None:
        heard.append("scored")
        raise KeyboardInterrupt

    monkeypatch.setattr(Evaluator, "score", scored)
    with pytest.raises(KeyboardInterrupt):
        prepare(tiny.config(weights, None), tell=lambda found: heard.append(found.groups))
    assert heard == [(("stem", 8), ("narrow", 12)), "scored"]


def test_a_recipe_without_training_is_refused() -> None:
    with pytest.raises(ConfigError, match="epochs is of the prototype's training, .* train = true"):
        PrototypeConfig(epochs=3)
