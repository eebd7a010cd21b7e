"""The document's own task: a network that gives two maps, images with any number of points."""

import importlib.util
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import gensynth
from gensynth.config import (
    DataConfig,
    FinalistsConfig,
    LatencyConfig,
    PrototypeConfig,
    RunConfig,
    SearchConfig,
    TaskConfig,
)
from gensynth.data.dataset import Augmentation, Dataset, Split
from gensynth.data.views import Views
from gensynth.errors import ConfigError
from gensynth.goals import metrics
from gensynth.network.compute import Compute
from gensynth.render.result import result as table
from gensynth.runs.family import asked_of
from gensynth.runs.objects import Objects
from gensynth.runs.prepare import prepare
from gensynth.runs.result import read_result
from gensynth.tasks import open_task
from gensynth.training.fit import Recipe, fit
from tests.places import ROOT
from tests.runs import tiny_boxes


def program() -> str:
    """The program in docs/tasks.md."""
    text = (ROOT / "docs" / "tasks.md").read_text()
    (found,) = re.findall(r"```python\n(# points.py\n.*?)```", text, re.DOTALL)
    return str(found)


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The same as a module."""
    file = tmp_path_factory.mktemp("own") / "points.py"
    file.write_text(program())
    spec = importlib.util.spec_from_file_location("points", file)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def dots() -> Dataset:
    """Squares' centres as points."""

    def points(split: Split) -> Split:
        rows = split.labels
        centres = (rows[:, :, :2] + rows[:, :, 2:4]) / 2
        centres[rows[:, :, 4] < 0] = -1
        return Split(split.name, split.images, centres.astype(np.float32))

    data = tiny_boxes.squares()
    return Dataset(
        "dots", ("dot",), points(data.train), points(data.search), points(data.test),
        data.mean, data.std, Augmentation(pad=1, flip=True),
    )  # fmt: skip


def config(weights: Path, out: Path) -> RunConfig:
    return RunConfig(
        requirements=("counted >= 20%", "macs <= 250k"),
        prototype=PrototypeConfig(network="tests.runs.tiny_boxes:grid", weights=weights),
        search=SearchConfig(
            cycles=1, images=128, warmup_images=128, probe_images=24, candidates=4, shortlist=1,
            full_networks=0, round_to=1,
        ),
        finalists=FinalistsConfig(count=1, epochs=1, batch=32),
        latency=LatencyConfig(repeats=5),
        data=DataConfig(source="tests.runs.test_own_task:dots"),
        out=out,
    )  # fmt: skip


def without_counted() -> dict[str, metrics.Metric]:
    """The metrics that are known where no task has brought its own."""
    return {name: one for name, one in metrics._METRICS.items() if name != "counted"}


def test_the_documents_task_runs_from_the_search_to_a_card(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, task = dots(), module.Points()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = tiny_boxes.grid(1, 1)
    views = Views(data, data.train, 0, targets=task.targets(data.train, "cpu"))
    fit(network, views, Recipe(epochs=3, batch=32, peak_lr=0.1), Compute(), task)
    weights = tmp_path / "net.safetensors"
    save_file({key: t.contiguous() for key, t in network.state_dict().items()}, weights)
    result = gensynth.synth(config(weights, tmp_path / "run"), dataset=data, task=task)
    card = json.loads((result.finalists[0].folder / "card.json").read_bytes())
    assert card["certificate"]["metric"] == "counted"
    assert card["certificate"]["n"] == 60
    assert "top1" not in (result.finalists[0].folder / "card.json").read_text()
    monkeypatch.setattr(metrics, "_METRICS", without_counted())  # as in a process of its own
    assert str(asked_of(result.path, ["macs <= 200k"]).requirements[0]) == "counted >= 20%"
    assert "counted on 60 test images" in table(read_result(result.path))
    with pytest.raises(ConfigError, match="is a Python object, which its folder cannot make"):
        gensynth.resume(result.path, overrides={"search.cycles": 2}, trust=True)


def test_a_run_file_may_name_the_task_and_require_its_metric(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "_METRICS", without_counted())
    (tmp_path / "counting.py").write_text(program())
    asked = replace(
        config(tmp_path, tmp_path / "run"),
        prototype=PrototypeConfig(network="tests.runs.tiny_boxes:grid", train=True),
        task=TaskConfig(kind="counting:Points"),
        modules=(tmp_path,),
    )
    job = prepare(asked, objects=Objects(dataset=dots()))
    assert job.task.metric == "counted"
    assert next(str(one) for one in job.requirements) == "counted >= 20%"


def test_a_task_that_lacks_a_part_is_refused_by_its_name() -> None:
    with pytest.raises(ConfigError, match="task 'builtins:dict' must have .*; it lacks"):
        open_task(TaskConfig(kind="builtins:dict"))
    with pytest.raises(ConfigError, match="no module 'nowhere'"):
        open_task(TaskConfig(kind="nowhere:Task"))
    with pytest.raises(ConfigError, match="must be one of classification, segmentation, detection"):
        TaskConfig(kind="detektion")
